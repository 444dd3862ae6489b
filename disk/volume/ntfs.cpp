// NTFS versions 1.2 to 3.1. Microsoft never published the format; field names and offsets are those of the Linux-NTFS
// project's documentation.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "disk/little_endian.h"
#include "disk/volume/file_system.h"

namespace vpc::disk::volume {
namespace {

using Bytes = std::vector<std::uint8_t>;

struct Layout {
    std::uint64_t cluster_size = 0;  // bytes
    std::uint64_t clusters = 0;
    std::uint64_t mft = 0;  // cluster
    std::uint32_t record_size = 0;
};

struct Run {
    std::uint64_t length = 0;  // clusters
    std::uint64_t cluster = 0;
};

/// Contents of a file, or where they are.
struct Data {
    std::uint64_t size = 0;
    std::vector<Run> runs;
};

constexpr std::uint64_t kLogFileRecord = 2;
constexpr std::uint64_t kVolumeRecord = 3;
constexpr std::uint64_t kBitmapRecord = 6;
constexpr std::uint32_t kAttributeData = 0x80;
constexpr std::uint32_t kAttributeVolumeInformation = 0x70;
constexpr std::uint32_t kAttributeEnd = 0xFFFFFFFF;
constexpr std::size_t kMaximumRuns = 1 << 16;

tl::unexpected<Error> damaged(const std::string& what) {
    return fail(ErrorCode::Corrupt, what);
}

/// Every 512 bytes of a record end with a number that tells whether all of it was written; the bytes that belong
/// there are kept in an array in the record. Puts them back; false when a piece is missing.
bool apply_fixups(std::span<std::uint8_t> record) {
    const std::size_t array = little16(record, 4);
    const std::size_t count = little16(record, 6);
    if (count != record.size() / kSectorSize + 1 || array + count * 2 > record.size()) {
        return false;
    }
    for (std::size_t i = 1; i < count; ++i) {
        const std::size_t place = i * kSectorSize - 2;
        if (little16(record, place) != little16(record, array)) {
            return false;
        }
        record[place] = record[array + i * 2];
        record[place + 1] = record[array + i * 2 + 1];
    }
    return true;
}

bool begins_with(std::span<const std::uint8_t> bytes, std::string_view text) {
    return bytes.size() >= text.size() && std::equal(text.begin(), text.end(), bytes.begin());
}

/// The bytes of the first attribute of this type without a name; empty when there is none or the record is damaged.
std::span<const std::uint8_t> find_attribute(std::span<const std::uint8_t> record, std::uint32_t type) {
    std::size_t offset = little16(record, 20);
    while (offset + 24 <= record.size()) {
        const std::uint32_t found = little32(record, offset);
        if (found == kAttributeEnd) {
            return {};
        }
        const std::uint32_t length = little32(record, offset + 4);
        if (length < 24 || length > record.size() - offset) {
            return {};
        }
        if (found == type && record[offset + 9] == 0) {
            return record.subspan(offset, length);
        }
        offset += length;
    }
    return {};
}

/// The mapping pairs of an attribute that is not resident: sizes of both fields, length, signed step of the cluster.
Result<std::vector<Run>> parse_runs(std::span<const std::uint8_t> pairs, std::uint64_t clusters) {
    std::vector<Run> runs;
    std::int64_t cluster = 0;
    for (std::size_t place = 0; place < pairs.size() && pairs[place] != 0;) {
        const std::size_t length_size = pairs[place] & 0x0F;
        const std::size_t step_size = pairs[place] >> 4;
        ++place;
        if (length_size == 0 || length_size > 8 || step_size == 0 || step_size > 8 ||
            length_size + step_size > pairs.size() - place || runs.size() == kMaximumRuns) {
            return damaged("a list of its clusters is damaged");
        }
        std::uint64_t length = 0;
        for (std::size_t i = 0; i < length_size; ++i) {
            length |= std::uint64_t{pairs[place + i]} << i * 8;
        }
        place += length_size;
        std::uint64_t step = (pairs[place + step_size - 1] & 0x80) != 0 ? std::numeric_limits<std::uint64_t>::max() : 0;
        for (std::size_t i = 0; i < step_size; ++i) {
            step = (step & ~(std::uint64_t{0xFF} << i * 8)) | std::uint64_t{pairs[place + i]} << i * 8;
        }
        place += step_size;
        cluster = static_cast<std::int64_t>(static_cast<std::uint64_t>(cluster) + step);
        if (cluster < 0 || static_cast<std::uint64_t>(cluster) >= clusters || length == 0 ||
            length > clusters - static_cast<std::uint64_t>(cluster)) {
            return damaged("a list of its clusters is damaged");
        }
        runs.push_back({.length = length, .cluster = static_cast<std::uint64_t>(cluster)});
    }
    return runs;
}

class Ntfs final : public FileSystem {
  public:
    Ntfs(VolumeReader& volume, const Layout& layout) : volume_(volume), layout_(layout) {}

    std::string name() const override { return "NTFS"; }

    Status find_free(const FreeRun& free_run) override {
        mft_ = Data{.size = layout_.record_size,
                    .runs = {{.length = layout_.clusters - layout_.mft, .cluster = layout_.mft}}};
        auto mft = data_of(0);
        if (!mft) {
            return tl::unexpected<Error>(mft.error());
        }
        mft_ = std::move(*mft);
        if (auto done = check_marked_clean(); !done) {
            return done;
        }
        if (auto done = check_log(); !done) {
            return done;
        }
        const auto bitmap = data_of(kBitmapRecord);
        if (!bitmap) {
            return tl::unexpected<Error>(bitmap.error());
        }
        if (bitmap->size < (layout_.clusters + 7) / 8) {
            return damaged("its bitmap is shorter than the volume");
        }
        return read_bitmap(*bitmap, free_run);
    }

  private:
    Status read_bitmap(const Data& bitmap, const FreeRun& free_run) {
        Bytes piece(64 * 1024);
        const std::uint64_t sectors_per_cluster = layout_.cluster_size / kSectorSize;
        for (std::uint64_t first = 0; first < layout_.clusters; first += std::uint64_t{piece.size()} * 8) {
            const std::uint64_t bits =
                std::min<std::uint64_t>(std::uint64_t{piece.size()} * 8, layout_.clusters - first);
            const auto bytes = std::span(piece).first(static_cast<std::size_t>((bits + 7) / 8));
            if (auto done = read_data(bitmap, first / 8, bytes); !done) {
                return done;
            }
            for_each_run_of_zeros(bytes, bits, [&](std::uint64_t bit, std::uint64_t count) {
                free_run((first + bit) * sectors_per_cluster, count * sectors_per_cluster);
            });
        }
        return {};
    }

    /// $Volume says when a volume waits for chkdsk or for another repair.
    Status check_marked_clean() {
        const auto record = read_record(kVolumeRecord);
        if (!record) {
            return tl::unexpected<Error>(record.error());
        }
        const auto attribute = find_attribute(*record, kAttributeVolumeInformation);
        const std::size_t value = attribute.empty() ? 0 : little16(attribute, 20);
        if (attribute.empty() || attribute[8] != 0 || value + 12 > attribute.size()) {
            return damaged("its volume record is damaged");
        }
        constexpr std::uint16_t kDirty = 0x0001;
        constexpr std::uint16_t kChkdskUnderway = 0x4000;
        if ((little16(attribute, value + 10) & (kDirty | kChkdskUnderway)) != 0) {
            return fail(ErrorCode::Unsupported, "it is marked dirty: let Windows check it first");
        }
        return {};
    }

    /// A volume that was in use when the machine stopped has a log to be replayed, and is not marked dirty. The newer
    /// of the two restart pages at the log's start says whether it was closed; a log of FFh bytes is unused.
    Status check_log() {
        const auto log = data_of(kLogFileRecord);
        if (!log) {
            return tl::unexpected<Error>(log.error());
        }
        constexpr std::size_t kPage = 4096;  // of NTFS on x86, whatever the cluster size
        std::optional<std::uint64_t> newest;
        bool clean = false;
        bool unused = true;
        for (std::uint64_t i = 0; i < 2; ++i) {
            Bytes page(kPage);
            if (auto done = read_data(*log, i * kPage, page); !done) {
                return done;
            }
            unused = unused && std::all_of(page.begin(), page.end(), [](std::uint8_t byte) { return byte == 0xFF; });
            const std::size_t area = little16(page, 24);
            if (!begins_with(page, "RSTR") || little32(page, 16) != kPage || area + 16 > kPage || !apply_fixups(page)) {
                continue;
            }
            const std::uint64_t sequence = little64(page, area);
            const bool page_clean = little16(page, area + 12) == 0xFFFF || (little16(page, area + 14) & 0x0002) != 0;
            clean = newest == sequence ? clean && page_clean : !newest || sequence > *newest ? page_clean : clean;
            newest = std::max(newest.value_or(0), sequence);
        }
        if (!unused && !clean) {
            return fail(ErrorCode::Unsupported,
                        "it was not cleanly unmounted: let Windows start from it and shut down");
        }
        return {};
    }

    Result<Bytes> read_record(std::uint64_t number) {
        Bytes record(layout_.record_size);
        if (auto done = read_data(mft_, number * layout_.record_size, record); !done) {
            return tl::unexpected<Error>(done.error());
        }
        constexpr std::uint16_t kInUse = 0x0001;
        if (!begins_with(record, "FILE") || !apply_fixups(record) || (little16(record, 22) & kInUse) == 0) {
            return damaged("record " + std::to_string(number) + " of its master file table is damaged");
        }
        return record;
    }

    Result<Data> data_of(std::uint64_t number) {
        const auto record = read_record(number);
        if (!record) {
            return tl::unexpected<Error>(record.error());
        }
        const auto attribute = find_attribute(*record, kAttributeData);
        const std::string file = "file " + std::to_string(number) + " of its master file table";
        if (attribute.size() < 64 || attribute[8] != 1) {
            return damaged(file + " has no clusters");
        }
        if (little16(attribute, 12) != 0) {  // compressed, encrypted or sparse: none of Windows' own files ever is
            return damaged(file + " is stored in a way that is not supported");
        }
        const std::size_t pairs = little16(attribute, 32);
        if (pairs > attribute.size() || little64(attribute, 16) != 0) {
            return damaged(file + " is damaged");
        }
        auto runs = parse_runs(attribute.subspan(pairs), layout_.clusters);
        if (!runs) {
            return tl::unexpected<Error>(runs.error());
        }
        return Data{.size = little64(attribute, 48), .runs = std::move(*runs)};
    }

    /// Where the runs do not reach, the rest of a long list stands in another record: those are not followed.
    Status read_data(const Data& data, std::uint64_t offset, std::span<std::uint8_t> bytes) {
        for (const Run& run : data.runs) {
            const std::uint64_t size = run.length * layout_.cluster_size;
            if (offset >= size) {
                offset -= size;
                continue;
            }
            const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), size - offset));
            if (auto done = volume_.read(run.cluster * layout_.cluster_size + offset, bytes.first(length)); !done) {
                return done;
            }
            bytes = bytes.subspan(length);
            offset = 0;
            if (bytes.empty()) {
                return {};
            }
        }
        return fail(ErrorCode::Unsupported, "its master file table or bitmap is in too many fragments");
    }

    VolumeReader& volume_;
    Layout layout_;
    Data mft_;
};

}  // namespace

Result<std::unique_ptr<FileSystem>> recognise_ntfs(VolumeReader& volume) {
    std::array<std::uint8_t, kSectorSize> boot = {};
    if (volume.sectors() == 0) {
        return nullptr;
    }
    if (auto done = volume.read(0, boot); !done) {
        return tl::unexpected<Error>(done.error());
    }
    if (!begins_with(std::span(boot).subspan(3), "NTFS    ") || boot[510] != 0x55 || boot[511] != 0xAA) {
        return nullptr;
    }
    const std::uint32_t bytes_per_sector = little16(boot, 11);
    // From 244 on the byte is a negative power of two, which clusters above 64 KiB need.
    const std::uint32_t sectors_per_cluster = boot[13] >= 244 ? 1u << (256 - boot[13]) : boot[13];
    // Likewise: clusters in a record, or the negative power of two of its bytes.
    const std::uint8_t record = boot[64];
    Layout layout;
    layout.cluster_size = std::uint64_t{bytes_per_sector} * sectors_per_cluster;
    if (!std::has_single_bit(bytes_per_sector) || bytes_per_sector < kSectorSize || bytes_per_sector > 4096 ||
        !std::has_single_bit(sectors_per_cluster) || layout.cluster_size > 2 << 20) {
        return nullptr;
    }
    const std::uint64_t record_size =
        record >= 0x80 ? (256 - record < 32 ? std::uint64_t{1} << (256 - record) : 0) : record * layout.cluster_size;
    const std::uint64_t total = little64(boot, 40);  // one less than the partition: the last is a copy of the first
    layout.mft = little64(boot, 48);
    layout.clusters = total / sectors_per_cluster;
    if (!std::has_single_bit(record_size) || record_size < kSectorSize || record_size > 64 * 1024 ||
        total > volume.sectors() * kSectorSize / bytes_per_sector || layout.mft >= layout.clusters) {
        return nullptr;
    }
    layout.record_size = static_cast<std::uint32_t>(record_size);
    return std::make_unique<Ntfs>(volume, layout);
}

}  // namespace vpc::disk::volume
