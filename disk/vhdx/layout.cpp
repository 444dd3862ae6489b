#include "disk/vhdx/layout.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "disk/little_endian.h"

namespace vpc::disk::vhdx {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Guid = Id;

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = kKiB * kKiB;

// 2.2: two headers and two region tables in the first MiB.
constexpr std::array<std::uint64_t, 2> kHeaderOffsets = {64 * kKiB, 128 * kKiB};
constexpr std::size_t kHeaderSize = 4 * kKiB;
constexpr std::array<std::uint64_t, 2> kRegionTableOffsets = {192 * kKiB, 256 * kKiB};
constexpr std::size_t kTableSize = 64 * kKiB;  // of a region table, and of the metadata table
constexpr std::size_t kMaxEntries = 2047;      // in either
constexpr std::uint64_t kMaxDiskSize = std::uint64_t{64} << 40;
constexpr std::uint64_t kMaxBlockSize = 256 * kMiB;
/// The paths of a parent; the specification sets no limit, but nothing needs more.
constexpr std::uint32_t kMaxItemSize = 1 * kMiB;

// 2.2.3.1: regions.
constexpr Guid kTableRegion = {0x66, 0x77, 0xC2, 0x2D, 0x23, 0xF6, 0x00, 0x42,
                               0x9D, 0x64, 0x11, 0x5E, 0x9B, 0xFD, 0x4A, 0x08};
constexpr Guid kMetadataRegion = {0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B,
                                  0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E};
// 2.6.2: metadata.
constexpr Guid kFileParameters = {0x37, 0x67, 0xA1, 0xCA, 0x36, 0xFA, 0x43, 0x4D,
                                  0xB3, 0xB6, 0x33, 0xF0, 0xAA, 0x44, 0xE7, 0x6B};
constexpr Guid kDiskSize = {0x24, 0x42, 0xA5, 0x2F, 0x1B, 0xCD, 0x76, 0x48,
                            0xB2, 0x11, 0x5D, 0xBE, 0xD8, 0x3B, 0xF4, 0xB8};
constexpr Guid kDiskId = {0xAB, 0x12, 0xCA, 0xBE, 0xE6, 0xB2, 0x23, 0x45,
                          0x93, 0xEF, 0xC3, 0x09, 0xE0, 0x00, 0xC7, 0x46};
constexpr Guid kLogicalSectorSize = {0x1D, 0xBF, 0x41, 0x81, 0x6F, 0xA9, 0x09, 0x47,
                                     0xBA, 0x47, 0xF2, 0x33, 0xA8, 0xFA, 0xAB, 0x5F};
constexpr Guid kPhysicalSectorSize = {0xC7, 0x48, 0xA3, 0xCD, 0x5D, 0x44, 0x71, 0x44,
                                      0x9C, 0xC9, 0xE9, 0x88, 0x52, 0x51, 0xC5, 0x56};
constexpr Guid kParentLocator = {0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45,
                                 0xAB, 0xF7, 0xD3, 0xD8, 0x48, 0x34, 0xAB, 0x0C};

tl::unexpected<Error> damaged(const File& file, const std::string& what) {
    return fail(ErrorCode::Corrupt, file.name() + " is a damaged VHDX: " + what +
                                        "; have the program that made it repair it, or use another copy");
}

tl::unexpected<Error> cannot_read(const File& file, const std::string& what) {
    return fail(ErrorCode::Unsupported, file.name() + " is a VHDX " + what);
}

/// CRC-32C (Castagnoli) of a structure whose checksum, at offset 4, counts as zeros. Bit by bit: it is needed for
/// 200 KiB at most.
std::uint32_t checksum_of(std::span<const std::uint8_t> bytes) {
    std::uint32_t crc = 0xFFFFFFFF;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        crc ^= i >= 4 && i < 8 ? 0 : bytes[i];
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78 : 0);
        }
    }
    return ~crc;
}

bool begins_with(std::span<const std::uint8_t> bytes, std::string_view text) {
    return std::equal(text.begin(), text.end(), bytes.begin(),
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

/// Of headers and region tables alike.
bool is_intact(std::span<const std::uint8_t> structure, std::string_view signature) {
    return begins_with(structure, signature) && checksum_of(structure) == little32(structure, 4);
}

bool has_guid(std::span<const std::uint8_t> bytes, std::size_t offset, const Guid& guid) {
    return std::equal(guid.begin(), guid.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

Result<Bytes> read_bytes(File& file, std::uint64_t offset, std::size_t size) {
    Bytes bytes(size);
    if (auto status = file.read(offset, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return bytes;
}

/// 2.2.2: the intact header with the higher sequence number counts. A newer one that is not intact was being written
/// when something went wrong, and nobody knows what else was. Returns the id of the data.
Result<Id> check_headers(File& file) {
    std::optional<Bytes> current;
    std::uint64_t newest = 0;
    for (const std::uint64_t offset : kHeaderOffsets) {
        auto header = read_bytes(file, offset, kHeaderSize);
        if (!header) {
            return tl::unexpected<Error>(header.error());
        }
        const std::uint64_t sequence = begins_with(*header, "head") ? little64(*header, 8) : 0;
        newest = std::max(newest, sequence);
        if (is_intact(*header, "head") && (!current || sequence > little64(*current, 8))) {
            current = std::move(*header);
        }
    }
    if (!current) {
        return damaged(file, "both of its headers are wrong");
    }
    if (little64(*current, 8) != newest) {
        return damaged(file, "its newer header is wrong");
    }
    if (little16(*current, 66) != 1) {
        return cannot_read(file, "of version " + std::to_string(little16(*current, 66)) + ", and only 1 is known");
    }
    if (!has_guid(*current, 48, Guid{})) {
        return cannot_read(file,
                           "with changes in its log that are not applied yet, because it was not closed properly; "
                           "attach it once in Windows, or repair it with 'qemu-img check -r all', then try again");
    }
    Id id;
    std::copy_n(current->begin() + 32, id.size(), id.begin());
    return id;
}

struct Region {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
};

struct Regions {
    Region table;
    Region metadata;
};

Result<Regions> load_regions(File& file, std::uint64_t file_size) {
    const auto first = read_bytes(file, kRegionTableOffsets[0], kTableSize);
    const auto second = read_bytes(file, kRegionTableOffsets[1], kTableSize);
    if (!first || !second) {
        return tl::unexpected<Error>(first ? second.error() : first.error());
    }
    if (!is_intact(*first, "regi") || *first != *second) {
        return damaged(file, "its region tables are wrong or differ");
    }
    const std::uint32_t count = little32(*first, 8);
    if (count > kMaxEntries) {
        return damaged(file, "its region table has too many entries");
    }
    Regions regions;
    std::vector<Region> all = {{.offset = 0, .length = kMiB}};
    for (std::size_t at = 16; at < 16 + std::size_t{count} * 32; at += 32) {
        const Region region = {.offset = little64(*first, at + 16), .length = little32(*first, at + 24)};
        if (region.offset % kMiB != 0 || region.length % kMiB != 0 || region.length == 0 || region.offset > file_size ||
            region.length > file_size - region.offset) {
            return damaged(file, "a region lies outside the file");
        }
        all.push_back(region);
        if (has_guid(*first, at, kTableRegion)) {
            regions.table = region;
        } else if (has_guid(*first, at, kMetadataRegion)) {
            regions.metadata = region;
        } else if ((little32(*first, at + 28) & 1) != 0) {
            return cannot_read(file, "with a required part that is not known");
        }
    }
    std::sort(all.begin(), all.end(), [](const Region& a, const Region& b) { return a.offset < b.offset; });
    for (std::size_t i = 1; i < all.size(); ++i) {
        if (all[i - 1].offset + all[i - 1].length > all[i].offset) {
            return damaged(file, "its regions overlap");
        }
    }
    if (regions.table.length == 0 || regions.metadata.length == 0) {
        return damaged(file, "its block table or its metadata are missing");
    }
    return regions;
}

/// 2.6: items that describe the disk. The first table entry of an id counts, and there must be no second.
class Metadata {
  public:
    static Result<Metadata> load(File& file, const Region& region) {
        auto table = read_bytes(file, region.offset, kTableSize);
        if (!table) {
            return tl::unexpected<Error>(table.error());
        }
        const std::uint16_t count = little16(*table, 10);
        if (!begins_with(*table, "metadata") || count > kMaxEntries) {
            return damaged(file, "its metadata table is wrong");
        }
        for (std::size_t at = 32; at < 32 + std::size_t{count} * 32; at += 32) {
            const std::uint32_t offset = little32(*table, at + 16);
            const std::uint32_t length = little32(*table, at + 20);
            const bool empty = offset == 0 && length == 0;
            if (!empty && (offset < kTableSize || length == 0 || length > kMaxItemSize ||
                           std::uint64_t{offset} + length > region.length)) {
                return damaged(file, "an item of its metadata lies outside its region");
            }
            const bool known = std::any_of(kKnown.begin(), kKnown.end(),
                                           [&](const Guid* guid) { return has_guid(*table, at, *guid); });
            if (!known && (little32(*table, at + 24) & 4) != 0) {
                return cannot_read(file, "with required metadata that are not known");
            }
            for (std::size_t other = 32; other < at; other += 32) {
                if (std::equal(&(*table)[at], &(*table)[at] + 16, &(*table)[other])) {
                    return damaged(file, "an item of its metadata is there twice");
                }
            }
        }
        return Metadata(region, std::move(*table), count);
    }

    /// Where in the file an item is; nothing if there is none.
    std::optional<Region> find(const Guid& guid) const {
        for (std::size_t at = 32; at < 32 + std::size_t{count_} * 32; at += 32) {
            const std::uint32_t length = little32(table_, at + 20);
            if (has_guid(table_, at, guid) && length != 0) {
                return Region{.offset = region_.offset + little32(table_, at + 16), .length = length};
            }
        }
        return std::nullopt;
    }

    /// An item of exactly `size` bytes.
    Result<Bytes> read(File& file, const Guid& guid, std::uint32_t size) const {
        const auto item = find(guid);
        return item && item->length == size ? read_bytes(file, item->offset, size)
                                            : Result<Bytes>(damaged(file, "its metadata are incomplete"));
    }

  private:
    static constexpr std::array kKnown = {&kFileParameters,    &kDiskSize,           &kDiskId,
                                          &kLogicalSectorSize, &kPhysicalSectorSize, &kParentLocator};

    Metadata(const Region& region, Bytes table, std::uint16_t count)
        : region_(region), table_(std::move(table)), count_(count) {}

    Region region_;
    Bytes table_;
    std::uint16_t count_;
};

Result<Layout> load_parameters(File& file, const Regions& regions) {
    const auto metadata = Metadata::load(file, regions.metadata);
    if (!metadata) {
        return tl::unexpected<Error>(metadata.error());
    }
    const auto parameters = metadata->read(file, kFileParameters, 8);
    const auto size = metadata->read(file, kDiskSize, 8);
    const auto sector_size = metadata->read(file, kLogicalSectorSize, 4);
    for (const auto* item : {&parameters, &size, &sector_size}) {
        if (!*item) {
            return tl::unexpected<Error>(item->error());
        }
    }
    if (little32(*sector_size, 0) != kSectorSize) {
        return cannot_read(file, "of a disk with sectors of " + std::to_string(little32(*sector_size, 0)) +
                                     " bytes, and a VHD's have 512; copy what is on it into a new disk from within");
    }
    Layout layout;
    layout.disk_size = little64(*size, 0);
    layout.block_size = little32(*parameters, 0);
    layout.has_parent = (little32(*parameters, 4) & 2) != 0;
    layout.table_offset = regions.table.offset;
    if (layout.disk_size == 0 || layout.disk_size > kMaxDiskSize || layout.disk_size % kSectorSize != 0 ||
        !std::has_single_bit(layout.block_size) || layout.block_size < kMiB || layout.block_size > kMaxBlockSize) {
        return damaged(file, "the size of its disk or its blocks cannot be");
    }
    if (layout.has_parent) {
        const auto locator = metadata->find(kParentLocator);
        if (!locator) {
            return damaged(file, "it is a differencing image and does not say of which parent");
        }
        layout.parent_locator_offset = locator->offset;
        layout.parent_locator_size = static_cast<std::uint32_t>(locator->length);
    }
    layout.chunk_ratio = kChunkSectors * kSectorSize / layout.block_size;
    // With a parent, the last chunk has its entry for a bitmap, too.
    const std::uint64_t last =
        layout.has_parent ? layout.bitmap_entry_offset(layout.blocks() - 1) : layout.entry_offset(layout.blocks() - 1);
    if (last + 8 - layout.table_offset > regions.table.length) {
        return damaged(file, "its block table is too short for the disk");
    }
    return layout;
}

/// 2.5.1.1: what is stored has a place in the file, where nothing else is.
Status check_table(File& file, const Layout& layout, std::uint64_t file_size) {
    constexpr std::uint64_t kEntriesAtOnce = 8192;
    const std::uint64_t end =
        layout.has_parent ? layout.bitmap_entry_offset(layout.blocks() - 1) : layout.entry_offset(layout.blocks() - 1);
    const std::uint64_t count = (end - layout.table_offset) / 8 + 1;
    bool needs_bitmap = false;
    for (std::uint64_t done = 0; done < count; done += kEntriesAtOnce) {
        const std::uint64_t now = std::min(kEntriesAtOnce, count - done);
        const auto entries = read_bytes(file, layout.table_offset + done * 8, static_cast<std::size_t>(now * 8));
        if (!entries) {
            return tl::unexpected<Error>(entries.error());
        }
        for (std::uint64_t i = 0; i < now; ++i) {
            const std::uint64_t entry = little64(*entries, static_cast<std::size_t>(i * 8));
            const bool bitmap = (done + i + 1) % (layout.chunk_ratio + 1) == 0;
            const BlockState state = state_of(entry);
            const bool stored = state == BlockState::FullyPresent || state == BlockState::PartiallyPresent;
            const std::uint64_t offset = offset_of(entry);
            const std::uint64_t size = bitmap ? kMiB : layout.block_size;
            if (stored && (offset < kMiB || offset > file_size || size > file_size - offset)) {
                return damaged(file, "a block lies outside the file");
            }
            if (state == BlockState{4} || state == BlockState{5} ||
                (state == BlockState::PartiallyPresent && (bitmap || !layout.has_parent)) ||
                (bitmap && needs_bitmap && state != BlockState::FullyPresent)) {
                return damaged(file, "its block table is wrong");
            }
            needs_bitmap = !bitmap && (needs_bitmap || state == BlockState::PartiallyPresent);
        }
    }
    return {};
}

}  // namespace

Result<Layout> load_layout(File& file) {
    const auto size = file.size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kMiB) {
        return damaged(file, "it ends within its headers");
    }
    const auto id = check_headers(file);
    if (!id) {
        return tl::unexpected<Error>(id.error());
    }
    const auto regions = load_regions(file, *size);
    if (!regions) {
        return tl::unexpected<Error>(regions.error());
    }
    auto layout = load_parameters(file, *regions);
    if (!layout) {
        return layout;
    }
    layout->data_id = *id;
    if (auto status = check_table(file, *layout, *size); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return layout;
}

}  // namespace vpc::disk::vhdx
