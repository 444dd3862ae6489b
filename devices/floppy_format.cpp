#include "devices/floppy_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace vpc::devices {
namespace {

using enum FloppyDriveType;

// The formats of DOS, and the 21 sectors a track of Microsoft's distribution disks (DMF).
constexpr std::array kFormats{
    FloppyFormat{"160 KB", 40, 1, 8, FloppyRate::Kbps250, Kb360},
    FloppyFormat{"180 KB", 40, 1, 9, FloppyRate::Kbps250, Kb360},
    FloppyFormat{"320 KB", 40, 2, 8, FloppyRate::Kbps250, Kb360},
    FloppyFormat{"360 KB", 40, 2, 9, FloppyRate::Kbps250, Kb360},
    FloppyFormat{"720 KB", 80, 2, 9, FloppyRate::Kbps250, Kb720},
    FloppyFormat{"1.2 MB", 80, 2, 15, FloppyRate::Kbps500, Mb1_2},
    FloppyFormat{"1.44 MB", 80, 2, 18, FloppyRate::Kbps500, Mb1_44},
    FloppyFormat{"1.68 MB", 80, 2, 21, FloppyRate::Kbps500, Mb1_44},
    FloppyFormat{"2.88 MB", 80, 2, 36, FloppyRate::Kbps1000, Mb2_88},
};

std::string_view drive_name(FloppyDriveType drive) {
    switch (drive) {
        case Kb360:
            return "360 KB";
        case Mb1_2:
            return "1.2 MB";
        case Kb720:
            return "720 KB";
        case Mb1_44:
            return "1.44 MB";
        case Mb2_88:
            return "2.88 MB";
        case None:
            break;
    }
    return "missing";
}

}  // namespace

const FloppyFormat* find_floppy_format(std::uint64_t image_sectors) {
    const auto* const found = std::find_if(kFormats.begin(), kFormats.end(), [image_sectors](const FloppyFormat& each) {
        return each.total_sectors() == image_sectors;
    });
    return found != kFormats.end() ? found : nullptr;
}

bool drive_takes(FloppyDriveType drive, const FloppyFormat& format) {
    switch (drive) {
        case Mb1_2:
            return format.drive == Mb1_2 || format.drive == Kb360;
        case Mb1_44:
            return format.drive == Mb1_44 || format.drive == Kb720;
        case Mb2_88:
            return format.drive == Mb2_88 || format.drive == Mb1_44 || format.drive == Kb720;
        default:
            return format.drive == drive;
    }
}

FloppyDriveType drive_for(std::uint64_t image_sectors) {
    const FloppyFormat* format = find_floppy_format(image_sectors);
    if (format == nullptr) {
        return None;
    }
    return format->drive == Kb720 ? Mb1_44 : format->drive;
}

std::string floppy_problem(FloppyDriveType drive, std::uint64_t image_sectors) {
    const FloppyFormat* format = find_floppy_format(image_sectors);
    if (format == nullptr) {
        std::string names;
        for (const FloppyFormat& each : kFormats) {
            names += fmt::format("{}{} ({})", names.empty() ? "" : ", ", each.name, each.total_sectors() * 512);
        }
        return fmt::format("has {} bytes, which is no floppy disk; there are {}", image_sectors * 512, names);
    }
    if (drive == None) {
        return "cannot be inserted: there is no such floppy drive";
    }
    if (!drive_takes(drive, *format)) {
        return fmt::format("is a {} floppy disk, which does not fit the {} drive", format->name, drive_name(drive));
    }
    return {};
}

}  // namespace vpc::devices
