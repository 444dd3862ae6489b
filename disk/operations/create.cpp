#include "disk/operations/create.h"

#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "disk/open_image.h"
#include "disk/operations/write_new_file.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/vhd/new_footer.h"
#include "disk/vhd/parent_locator.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHeaderOffset = 512;
/// Bytes of the host's disk taken between two chances to stop.
constexpr std::uint64_t kReservedAtOnce = std::uint64_t{256} << 20;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

Status check_size(std::uint64_t size, bool vhd) {
    if (size < kSectorSize || size % kSectorSize != 0) {
        return fail(ErrorCode::Unsupported,
                    "a disk of " + std::to_string(size) + " bytes is not possible; choose a multiple of 512 bytes");
    }
    const std::uint64_t largest = vhd ? vhd::kMaxDiskSize : std::uint64_t{1} << 62;
    if (size > largest) {
        return fail(ErrorCode::Unsupported,
                    "a disk of " + std::to_string(size) +
                        " bytes is too large for a VHD; choose at most 2040 GiB, or a raw image");
    }
    return {};
}

/// Room for all of the blocks has to be within reach of the table's 32-bit sector numbers.
Status check_block_size(std::uint32_t block_size, std::uint64_t size) {
    if (!std::has_single_bit(block_size) || block_size < kPage || block_size > vhd::kMaxBlockSize) {
        return fail(ErrorCode::Unsupported, "a block size of " + std::to_string(block_size) +
                                                " bytes is not possible; choose a power of two from 4 KiB "
                                                "to 256 MiB");
    }
    const std::uint64_t blocks = vhd::needed_table_entries(size, block_size);
    const std::uint64_t slot = round_up(vhd::bitmap_bytes(block_size), kPage) + block_size;
    if (blocks > vhd::kMaxTableEntries || (blocks + 1) * slot > std::uint64_t{vhd::BlockTable::kUnallocated} * 512) {
        return fail(ErrorCode::Unsupported, "so large a disk needs larger blocks than " + std::to_string(block_size) +
                                                " bytes; 2 MiB always do");
    }
    return {};
}

Status write_flat(File& file, std::uint64_t size, const std::optional<vhd::Footer>& footer, bool reserve,
                  WorkMeter& meter) {
    const std::uint64_t all = size + (footer ? vhd::kFooterSize : 0);
    if (auto status = file.truncate(all); !status) {
        return status;
    }
    if (reserve) {
        meter.set_total(all);
    }
    for (std::uint64_t done = 0; reserve && done < all;) {
        const std::uint64_t length = std::min(kReservedAtOnce, all - done);
        if (auto status = meter.wait_for([&] { return file.allocate(done, length); }); !status) {
            return status;
        }
        done += length;
        if (auto status = meter.add(length); !status) {
            return status;
        }
    }
    return footer ? file.write(size, ConstBuffer(vhd::serialise(*footer))) : Status();
}

/// Footer copy, header, table, paths of the parent, footer.
Status write_blocked(File& file, const vhd::Footer& footer, vhd::DynamicHeader header, const NewImage& image) {
    header.table_offset = round_up(kHeaderOffset + vhd::kDynamicHeaderSize, kSectorSize);
    header.max_table_entries =
        static_cast<std::uint32_t>(vhd::needed_table_entries(footer.current_size, header.block_size));
    std::uint64_t end = header.table_offset + vhd::table_bytes(header.max_table_entries);
    if (footer.disk_type == vhd::DiskType::Differencing) {
        const auto paths = describe_parent(header, image.file, image.parent, end);
        if (auto status = file.write(end, ConstBuffer(paths)); !status) {
            return status;
        }
        end += paths.size();
    }
    const auto footer_bytes = vhd::serialise(footer);
    const auto header_bytes = vhd::serialise(header);
    const std::vector<std::uint8_t> unallocated(
        std::min<std::uint64_t>(vhd::table_bytes(header.max_table_entries), 1 << 20), 0xFF);
    for (std::uint64_t done = 0; done < vhd::table_bytes(header.max_table_entries); done += unallocated.size()) {
        const auto length =
            std::min<std::uint64_t>(unallocated.size(), vhd::table_bytes(header.max_table_entries) - done);
        if (auto status = file.write(header.table_offset + done, ConstBuffer(unallocated).first(length)); !status) {
            return status;
        }
    }
    if (auto status = file.write(0, ConstBuffer(footer_bytes)); !status) {
        return status;
    }
    if (auto status = file.write(kHeaderOffset, ConstBuffer(header_bytes)); !status) {
        return status;
    }
    // The file's size becomes a multiple of 4096: the mark of an image laid out like this.
    return file.write(round_up(end + vhd::kFooterSize, kPage) - vhd::kFooterSize, ConstBuffer(footer_bytes));
}

Status write_child(File& file, const NewImage& image) {
    // Opened as the child will open it, so that there is a chain to be continued.
    const auto parent =
        open_image(image.parent, OpenOptions{.mode = OpenMode::ReadOnly, .parent_folders = image.parent_folders});
    if (!parent) {
        return tl::unexpected<Error>(parent.error());
    }
    const std::uint64_t parent_size = (*parent)->sectors() * kSectorSize;
    const std::uint64_t size = image.size != 0 ? image.size : parent_size;
    if (size < parent_size) {
        return fail(ErrorCode::Unsupported, "a differencing disk cannot be smaller than its parent; choose " +
                                                std::to_string(parent_size) + " bytes or more");
    }
    if (auto status = check_size(size, true); !status) {
        return status;
    }
    vhd::Footer footer = vhd::new_footer(vhd::DiskType::Differencing, size);
    vhd::DynamicHeader header;
    if (const auto* vhd_parent = dynamic_cast<const vhd::Image*>(parent->get())) {
        footer.creator_application = vhd_parent->footer().creator_application;
        footer.creator_version = vhd_parent->footer().creator_version;
        footer.creator_host_os = vhd_parent->footer().creator_host_os;
        if (size == parent_size) {
            footer.disk_geometry = vhd_parent->footer().disk_geometry;
            footer.original_size = vhd_parent->footer().original_size;
        }
    }
    if (const auto* blocks = dynamic_cast<const vhd::DynamicDisk*>(parent->get())) {
        header.block_size = std::max<std::uint32_t>(blocks->header().block_size, kPage);
    }
    if (image.block_size != 0) {
        header.block_size = image.block_size;
    }
    if (auto status = check_block_size(header.block_size, size); !status) {
        return status;
    }
    header.parent_unique_id = (*parent)->unique_id();
    header.parent_time_stamp = time_of_change(image.parent);
    return write_blocked(file, footer, header, image);
}

Status write_contents(File& file, const NewImage& image, WorkMeter& meter) {
    if (image.type == ImageType::Differencing) {
        return write_child(file, image);
    }
    if (auto status = check_size(image.size, image.type != ImageType::Raw); !status) {
        return status;
    }
    switch (image.type) {
        case ImageType::Raw:
            return write_flat(file, image.size, std::nullopt, image.reserve, meter);
        case ImageType::Fixed:
            return write_flat(file, image.size, vhd::new_footer(vhd::DiskType::Fixed, image.size), image.reserve,
                              meter);
        default:
            break;
    }
    vhd::DynamicHeader header;
    if (image.block_size != 0) {
        header.block_size = image.block_size;
    }
    if (auto status = check_block_size(header.block_size, image.size); !status) {
        return status;
    }
    return write_blocked(file, vhd::new_footer(vhd::DiskType::Dynamic, image.size), header, image);
}

}  // namespace

std::uint32_t time_of_change(const std::filesystem::path& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 ? vhd::time_from_unix(status.st_mtime) : 0;
}

std::vector<std::uint8_t> describe_parent(vhd::DynamicHeader& header, const std::filesystem::path& child,
                                          const std::filesystem::path& parent, std::uint64_t offset) {
    std::error_code error;
    const auto real = [&error](const std::filesystem::path& path) {
        const auto result = std::filesystem::weakly_canonical(std::filesystem::absolute(path, error), error);
        return error ? path : result;
    };
    const std::filesystem::path parent_path = real(parent);
    const std::filesystem::path relative = parent_path.lexically_relative(real(child).parent_path());
    const std::string relative_text =
        relative.string().starts_with("..") ? relative.string() : "./" + relative.string();

    header.parent_unicode_name = {};
    vhd::set_parent_name(header, parent_path.filename().string());
    header.parent_locator_entries = {};
    std::vector<std::uint8_t> bytes;
    std::size_t slot = 0;
    for (const auto& [code, path] : {std::pair(vhd::kRelativeWindowsPath, relative_text),
                                     std::pair(vhd::kAbsoluteWindowsPath, parent_path.string())}) {
        const std::vector<std::uint8_t> text = vhd::windows_path(path);
        const std::uint64_t space = round_up(std::max<std::uint64_t>(text.size(), 1), vhd::kLocatorSpace);
        header.parent_locator_entries[slot++] = {.platform_code = code,
                                                 .platform_data_space = static_cast<std::uint32_t>(space),
                                                 .platform_data_length = static_cast<std::uint32_t>(text.size()),
                                                 .platform_data_offset = offset + bytes.size()};
        bytes.insert(bytes.end(), text.begin(), text.end());
        bytes.resize(round_up(bytes.size(), vhd::kLocatorSpace));
    }
    return bytes;
}

Status create_image(const NewImage& image, const Operation& operation) {
    if (image.reserve && (image.type == ImageType::Dynamic || image.type == ImageType::Differencing)) {
        return fail(ErrorCode::Unsupported, "room can be reserved for raw and fixed images only");
    }
    return write_new_file(image.file, image.overwrite, operation,
                          [&image](File& file, WorkMeter& meter) { return write_contents(file, image, meter); });
}

}  // namespace vpc::disk
