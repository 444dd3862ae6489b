#include "tasks/removable_media.h"

#include <fmt/format.h>

#include "core/state_stream.h"
#include "devices/atapi_cdrom.h"
#include "disk/undo_overlay.h"
#include "tasks/worker.h"

namespace vpc::tasks {
namespace {

tl::unexpected<Outcome> no_such_medium(const std::filesystem::path& file, const std::string& problem) {
    return tl::unexpected(Outcome{HResult::VM_E_IMAGE_CAPTURE_FAIL, VMTaskResult::UnexpectedError,
                                  fmt::format("'{}' {}", file.string(), problem)});
}

}  // namespace

std::string& RemovableMedia::file(RemovableDrive drive) {
    switch (drive) {
        case RemovableDrive::A:
            return floppies[0];
        case RemovableDrive::B:
            return floppies[1];
        case RemovableDrive::CdRom:
            break;
    }
    return disc;
}

void RemovableMedia::serialize(StateStream& stream) {
    stream.section("removable media", 1, [&] {
        stream.field(disc);
        for (std::size_t drive = 0; drive < floppies.size(); ++drive) {
            stream.field(floppies[drive]);
            stream.field(floppy_drives[drive]);
            if (stream.loading() && floppy_drives[drive] > devices::FloppyDriveType::Mb2_88) {
                stream.refuse("there is no such floppy drive");
            }
        }
    });
}

OpenedMedium open_disc(const std::filesystem::path& file) {
    auto image = disk::open_image(file, disk::OpenMode::ReadOnly);
    if (!image) {
        return tl::unexpected(outcome_of(tl::unexpected(image.error())));
    }
    if (const std::string problem = devices::cd_problem((*image)->sectors()); !problem.empty()) {
        return no_such_medium(file, problem);
    }
    return std::move(*image);
}

OpenedMedium open_floppy(const std::filesystem::path& file, bool discard_changes) {
    auto image = disk::open_image(file, discard_changes ? disk::OpenMode::ReadOnly : disk::OpenMode::ReadWrite);
    if (image && discard_changes) {
        image = disk::discard_changes(std::move(*image));
    }
    if (!image &&
        (image.error().code == disk::ErrorCode::AccessDenied || image.error().code == disk::ErrorCode::ReadOnly)) {
        image = disk::open_image(file, disk::OpenMode::ReadOnly);
    }
    if (!image) {
        return tl::unexpected(outcome_of(tl::unexpected(image.error())));
    }
    if (const std::uint64_t sectors = (*image)->sectors(); devices::find_floppy_format(sectors) == nullptr) {
        return no_such_medium(file, devices::floppy_problem(devices::FloppyDriveType::Mb1_44, sectors));
    }
    return std::move(*image);
}

}  // namespace vpc::tasks
