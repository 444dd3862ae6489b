#include "disk/open_image.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "disk/chain_opener.h"
#include "disk/log.h"
#include "disk/raw_disk.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/vhd/fixed_disk.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhdx/disk.h"
#include "disk/vhdx/layout.h"

namespace vpc::disk {
namespace {

using vhd::DiskType;
using vhd::Footer;
using vhd::FooterBytes;
using vhd::FoundFooter;

Result<std::unique_ptr<BlockDevice>> open_vhd(std::unique_ptr<File> file, const FoundFooter& found,
                                              const OpenOptions& options, const FindParent& find_parent) {
    const OpenMode mode = options.mode;
    const std::string name = file->name();
    const Footer& footer = found.footer;
    const bool writing = mode == OpenMode::ReadWrite;
    if (!found.damage.empty()) {
        if (writing) {
            return fail(ErrorCode::Corrupt,
                        name + " is a damaged VHD: " + found.damage + "; open it read-only, or repair it first");
        }
        if (!options.quiet) {
            log().warn("{} is a damaged VHD: {}", name, found.damage);
        }
    }
    if (auto status = vhd::check_footer(footer, name); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (found.copy_differs && !options.quiet) {
        log().warn(
            "{}: the footer and its copy at the start of the file differ; "
            "the footer is used",
            name);
    }
    if (writing && footer.saved_state != 0 && !options.allow_saved_state) {
        return fail(ErrorCode::InUse, name +
                                          " belongs to a machine in saved state: resume that "
                                          "machine or discard "
                                          "its state first, or open the disk read-only");
    }
    if (footer.disk_type == DiskType::Fixed) {
        if (footer.current_size / kSectorSize * kSectorSize > found.offset) {
            return fail(ErrorCode::Corrupt, name + " is damaged: its footer gives the disk " +
                                                std::to_string(footer.current_size) + " bytes, but only " +
                                                std::to_string(found.offset) +
                                                " are there; restore a copy of it, or repair it");
        }
        if (writing && found.growth_to_undo) {
            log().warn("{}: an interrupted enlargement has been undone", name);
            Status status = file->truncate(found.offset + vhd::kFooterSize);
            status = status ? file->sync() : status;
            if (!status) {
                return tl::unexpected<Error>(status.error());
            }
        }
        return std::make_unique<vhd::FixedDisk>(std::move(file), footer, mode);
    }
    File& opened = *file;
    const bool restoring = writing && found.footer_to_restore;
    const std::uint64_t footer_offset = restoring ? found.offset - vhd::kFooterSize : found.offset;
    std::unique_ptr<BlockDevice> parent;
    if (footer.disk_type == DiskType::Differencing) {
        const auto header = vhd::load_dynamic_header(*file, footer, footer_offset);
        if (!header) {
            return tl::unexpected<Error>(header.error());
        }
        auto found_parent = find_parent(*file, footer, header->header);
        if (!found_parent) {
            return tl::unexpected<Error>(found_parent.error());
        }
        parent = std::move(*found_parent);
    }
    auto disk = vhd::DynamicDisk::open(std::move(file), footer, footer_offset, mode, std::move(parent));
    if (!disk) {
        return tl::unexpected<Error>(disk.error());
    }
    if (restoring) {
        log().warn(
            "{}: the footer was missing after an interrupted write; it has "
            "been put back",
            name);
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
        Signature{0, "QFI\xFB", "QCOW"},
        Signature{0, "KDMV", "VMDK"},
        Signature{64, "\x7F\x10\xDA\xBE", "VDI"},
    };
    for (const Signature& signature : kSignatures) {
        if (std::equal(signature.bytes.begin(), signature.bytes.end(), start.begin() + signature.offset,
                       [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; })) {
            return fail(ErrorCode::Unsupported,
                        name + " is a " + signature.format +
                            " image, which is not read here; convert it to a VHD with the program that made it");
        }
    }
    return {};
}

Result<std::unique_ptr<BlockDevice>> open_other(std::unique_ptr<File> file, std::uint64_t size,
                                                const OpenOptions& options) {
    FooterBytes start;
    if (auto status = file->read(0, Buffer(start)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (std::equal(vhdx::kSignature.begin(), vhdx::kSignature.end(), start.begin())) {
        return vhdx::open_disk(std::move(file), options);
    }
    if (auto status = refuse_other_formats(start, file->name()); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (size % kSectorSize != 0) {
        return fail(
            ErrorCode::NotAnImage,
            file->name() + " has " + std::to_string(size) +
                " bytes, and a raw disk image is a multiple of 512 bytes long; it is cut off, or no disk image");
    }
    return std::make_unique<RawDisk>(std::move(file), size / kSectorSize, options.mode);
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, const OpenOptions& options,
                                                const FindParent& find_parent) {
    if (auto status = file->lock(lock_kind(options.mode)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    const auto size = file->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kSectorSize) {
        return fail(ErrorCode::NotAnImage, file->name() + (*size == 0 ? " is empty" : " is shorter than a sector") +
                                               ": it is no disk image; restore a copy of it");
    }
    const auto found = vhd::find_footer(*file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    return *found ? open_vhd(std::move(file), **found, options, find_parent)
                  : open_other(std::move(file), *size, options);
}

Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, OpenMode mode,
                                                std::unique_ptr<BlockDevice> parent) {
    return open_image(std::move(file), {.mode = mode},
                      [&parent](File& child, const Footer&,
                                const vhd::DynamicHeader& header) -> Result<std::unique_ptr<BlockDevice>> {
                          if (parent == nullptr) {
                              return fail(ErrorCode::Unsupported, child.name() +
                                                                      " is a differencing VHD and was opened "
                                                                      "without its parent; open it by name");
                          }
                          if (parent->unique_id() != header.parent_unique_id) {
                              return fail(ErrorCode::ParentMismatch, child.name() +
                                                                         " belongs to a parent with the id " +
                                                                         vhd::text_of_id(header.parent_unique_id) +
                                                                         ", and was given one with the id " +
                                                                         vhd::text_of_id(parent->unique_id()));
                          }
                          return std::move(parent);
                      });
}

Result<std::unique_ptr<BlockDevice>> open_image(const std::filesystem::path& path, const OpenOptions& options) {
    ChainOpener opener(options);
    return opener.open(path);
}

Result<std::unique_ptr<BlockDevice>> open_image(const std::filesystem::path& path, OpenMode mode) {
    return open_image(path, OpenOptions{.mode = mode});
}

}  // namespace vpc::disk
