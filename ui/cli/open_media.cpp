#include "ui/cli/open_media.h"

#include <fmt/format.h>

#include <cstdio>

#include "devices/atapi_cdrom.h"
#include "devices/floppy_format.h"
#include "disk/undo_overlay.h"

namespace vpc::cli {
namespace {

disk::Result<std::unique_ptr<disk::BlockDevice>> open(const std::string& file, bool undo, disk::OpenMode mode) {
    auto image = disk::open_image(file, undo ? disk::OpenMode::ReadOnly : mode);
    if (image && undo) {
        image = disk::discard_changes(std::move(*image));
    }
    return image;
}

OpenedMedium with_text(disk::Result<std::unique_ptr<disk::BlockDevice>> image) {
    return image ? OpenedMedium(std::move(*image)) : tl::unexpected(image.error().message);
}

}  // namespace

OpenedMedium open_hard_disk(const std::string& file, bool undo) {
    return with_text(open(file, undo, disk::OpenMode::ReadWrite));
}

OpenedMedium open_floppy(const std::string& file, bool undo) {
    auto image = open(file, undo, disk::OpenMode::ReadWrite);
    if (!image &&
        (image.error().code == disk::ErrorCode::AccessDenied || image.error().code == disk::ErrorCode::ReadOnly)) {
        if (auto readable = disk::open_image(file, disk::OpenMode::ReadOnly)) {
            std::fprintf(stderr, "vpc: '%s' may only be read: the floppy disk is write-protected\n", file.c_str());
            image = std::move(readable);
        }
    }
    if (image) {
        // Which drive it fits is the board's business; that it is a floppy disk at all can be said here, with its name.
        const std::uint64_t sectors = (*image)->sectors();
        const devices::FloppyFormat* format = devices::find_floppy_format(sectors);
        if (format == nullptr) {
            return tl::unexpected(
                fmt::format("'{}' {}", file, devices::floppy_problem(devices::FloppyDriveType::Mb1_44, sectors)));
        }
    }
    return with_text(std::move(image));
}

OpenedMedium open_disc(const std::string& file) {
    auto image = disk::open_image(file, disk::OpenMode::ReadOnly);
    if (image) {
        if (const std::string problem = devices::cd_problem((*image)->sectors()); !problem.empty()) {
            return tl::unexpected(fmt::format("'{}' {}", file, problem));
        }
    }
    return with_text(std::move(image));
}

}  // namespace vpc::cli
