#include "disk/open_image.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "disk/log.h"
#include "disk/raw_disk.h"
#include "disk/transfer.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/vhd/fixed_disk.h"
#include "disk/vhd/footer.h"

namespace vpc::disk {
namespace {

using vhd::DiskType;
using vhd::Footer;
using vhd::FooterBytes;

/// What the search for a footer has found.
struct FoundFooter {
    Footer footer;
    std::uint64_t offset = 0;        ///< of the footer at the end; where the file ends if there is none
    std::string damage;              ///< empty, or what is wrong with the image, for a message
    bool footer_to_restore = false;  ///< the last sector is the place of a footer that never got there
};

/// The file's bytes at `offset`, or nothing where it is too short.
template <std::size_t size>
Result<std::optional<std::array<std::uint8_t, size>>> read_at(File& file, std::uint64_t file_size,
                                                              std::uint64_t offset) {
    if (offset > file_size || size > file_size - offset) {
        return std::nullopt;
    }
    std::array<std::uint8_t, size> bytes = {};
    if (auto status = file.read(offset, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return bytes;
}

bool has_copy_at_start(const Footer& footer) {
    return footer.disk_type == DiskType::Dynamic || footer.disk_type == DiskType::Differencing;
}

/// Looks at the start of the file, where guest data of a raw disk may lie as well: a footer counts only together with
/// a dynamic disk header.
Result<std::optional<FoundFooter>> find_copy(File& file, std::uint64_t size, const FooterBytes& copy,
                                             const FooterBytes& end) {
    const Footer footer = vhd::parse_footer(copy);
    if (!vhd::has_footer_cookie(copy) || !has_copy_at_start(footer)) {
        return std::nullopt;
    }
    const auto header = read_at<vhd::kDynamicHeaderSize>(file, size, footer.data_offset);
    if (!header) {
        return tl::unexpected<Error>(header.error());
    }
    if (!*header || vhd::parse_dynamic_header(**header).cookie != vhd::kDynamicHeaderCookie) {
        return std::nullopt;
    }
    if (!vhd::is_intact_footer(copy)) {
        if (!vhd::is_intact_dynamic_header(**header)) {
            return std::nullopt;
        }
        return FoundFooter{
            .footer = footer, .offset = size, .damage = "the footer is missing, and the checksum of its copy is wrong"};
    }
    const ConstBuffer last_sector(end);
    if (size % kSectorSize == 0 && all_zeros({&last_sector, 1})) {
        return FoundFooter{.footer = footer, .offset = size, .footer_to_restore = true};
    }
    return FoundFooter{.footer = footer, .offset = size, .damage = "the footer at its end is missing or damaged"};
}

/// `size` is at least a sector. Nothing found: the file is no VHD.
Result<std::optional<FoundFooter>> find_footer(File& file, std::uint64_t size) {
    const auto end = read_at<vhd::kFooterSize>(file, size, size - vhd::kFooterSize);
    const auto copy = read_at<vhd::kFooterSize>(file, size, 0);
    if (!end || !copy) {
        return tl::unexpected<Error>(end ? copy.error() : end.error());
    }
    const auto at_end = [&](const FooterBytes& bytes, std::uint64_t offset) {
        FoundFooter found = {.footer = vhd::parse_footer(bytes), .offset = offset};
        if (has_copy_at_start(found.footer) && vhd::is_intact_footer(**copy) && **copy != bytes) {
            log().warn("{}: the footer and its copy at the start of the file differ; the footer is used", file.name());
        }
        return found;
    };
    if (vhd::is_intact_footer(**end)) {
        return at_end(**end, size - vhd::kFooterSize);
    }
    FooterBytes old_end = {};
    if (size % kSectorSize == vhd::kOldFooterSize) {
        std::copy((*end)->begin() + 1, (*end)->end(), old_end.begin());
        if (vhd::is_intact_footer(old_end)) {
            return at_end(old_end, size - vhd::kOldFooterSize);
        }
    }
    auto from_copy = find_copy(file, size, **copy, **end);
    if (!from_copy || (*from_copy && vhd::is_intact_footer(**copy))) {
        return from_copy;
    }
    const std::string damage = "the checksum of its footer is wrong";
    if (vhd::has_footer_cookie(**end)) {
        return FoundFooter{.footer = vhd::parse_footer(**end), .offset = size - vhd::kFooterSize, .damage = damage};
    }
    if (vhd::has_footer_cookie(old_end)) {
        return FoundFooter{
            .footer = vhd::parse_footer(old_end), .offset = size - vhd::kOldFooterSize, .damage = damage};
    }
    return from_copy;
}

Result<std::unique_ptr<BlockDevice>> open_vhd(std::unique_ptr<File> file, const FoundFooter& found, OpenMode mode) {
    const std::string name = file->name();
    const Footer& footer = found.footer;
    const bool writing = mode == OpenMode::ReadWrite;
    if (!found.damage.empty()) {
        if (writing) {
            return fail(ErrorCode::Corrupt,
                        name + " is a damaged VHD: " + found.damage + "; open it read-only, or repair it first");
        }
        log().warn("{} is a damaged VHD: {}", name, found.damage);
    }
    if (auto status = vhd::check_footer(footer, name); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (footer.disk_type == DiskType::Differencing) {
        return fail(ErrorCode::Unsupported, name +
                                                " is a differencing VHD: this version does not read them; merge it "
                                                "into a disk of its own first");
    }
    if (writing && footer.saved_state != 0) {
        return fail(ErrorCode::InUse, name +
                                          " belongs to a machine in saved state: resume that machine or discard "
                                          "its state first, or open the disk read-only");
    }
    if (footer.disk_type == DiskType::Fixed) {
        if (footer.current_size / kSectorSize * kSectorSize > found.offset) {
            return fail(ErrorCode::Corrupt, name + " is damaged: its footer gives the disk " +
                                                std::to_string(footer.current_size) + " bytes, but only " +
                                                std::to_string(found.offset) + " are there");
        }
        return std::make_unique<vhd::FixedDisk>(std::move(file), footer, mode);
    }
    File& opened = *file;
    const bool restoring = writing && found.footer_to_restore;
    const std::uint64_t footer_offset = restoring ? found.offset - vhd::kFooterSize : found.offset;
    auto disk = vhd::DynamicDisk::open(std::move(file), footer, footer_offset, mode);
    if (!disk) {
        return tl::unexpected<Error>(disk.error());
    }
    if (restoring) {
        log().warn("{}: the footer was missing after an interrupted write; it has been put back", name);
        Status status = opened.write(footer_offset, ConstBuffer(vhd::serialise(footer)));
        if (status) {
            status = opened.sync();
        }
        if (!status) {
            return tl::unexpected<Error>(status.error());
        }
    }
    return std::move(*disk);
}

/// Formats that a raw disk's first sector cannot be mistaken for in practice, and whose images would be destroyed if
/// they were taken for raw disks.
Status refuse_other_formats(const FooterBytes& start, const std::string& name) {
    struct Signature {
        std::size_t offset;
        std::string_view bytes;
        const char* format;
    };
    static constexpr std::array kSignatures = {
        Signature{0, "vhdxfile", "VHDX"},
        Signature{0, "QFI\xFB", "QCOW"},
        Signature{0, "KDMV", "VMDK"},
        Signature{64, "\x7F\x10\xDA\xBE", "VDI"},
    };
    for (const Signature& signature : kSignatures) {
        if (std::equal(signature.bytes.begin(), signature.bytes.end(), start.begin() + signature.offset,
                       [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; })) {
            return fail(ErrorCode::Unsupported, name + " is a " + signature.format +
                                                    " image, which this version does not read; convert it to VHD");
        }
    }
    return {};
}

Result<std::unique_ptr<BlockDevice>> open_raw(std::unique_ptr<File> file, std::uint64_t size, OpenMode mode) {
    FooterBytes start;
    if (auto status = file->read(0, Buffer(start)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (auto status = refuse_other_formats(start, file->name()); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (size % kSectorSize != 0) {
        return fail(ErrorCode::NotAnImage, file->name() + " has " + std::to_string(size) +
                                               " bytes: a raw disk image is a multiple of 512 bytes long");
    }
    return std::make_unique<RawDisk>(std::move(file), size / kSectorSize, mode);
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, OpenMode mode) {
    if (auto status = file->lock(mode == OpenMode::ReadWrite ? LockKind::Exclusive : LockKind::Shared); !status) {
        return tl::unexpected<Error>(status.error());
    }
    const auto size = file->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kSectorSize) {
        return fail(ErrorCode::NotAnImage,
                    file->name() + (*size == 0 ? " is empty" : " is shorter than a sector") + ": it is no disk image");
    }
    const auto found = find_footer(*file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    return *found ? open_vhd(std::move(file), **found, mode) : open_raw(std::move(file), *size, mode);
}

Result<std::unique_ptr<BlockDevice>> open_image(const std::filesystem::path& path, OpenMode mode) {
    auto file = open_file(path, mode);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    return open_image(std::move(*file), mode);
}

}  // namespace vpc::disk
