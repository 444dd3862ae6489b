#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace vpc::devices {

/// Floppy drives by what they were sold for, numbered as CMOS cell 10h does.
enum class FloppyDriveType : std::uint8_t { None = 0, Kb360 = 1, Mb1_2 = 2, Kb720 = 3, Mb1_44 = 4, Mb2_88 = 5 };

/// The data rate as CCR and DSR bits 1-0 select it, for MFM.
enum class FloppyRate : std::uint8_t { Kbps500 = 0, Kbps300 = 1, Kbps250 = 2, Kbps1000 = 3 };

/// How a floppy disk is laid out. Images hold its 512-byte sectors by cylinder, head and sector, and nothing else.
struct FloppyFormat {
    std::string_view name;  ///< "1.44 MB"
    std::uint8_t cylinders = 0;
    std::uint8_t heads = 0;
    std::uint8_t sectors = 0;  ///< per track
    FloppyRate rate = FloppyRate::Kbps500;
    FloppyDriveType drive = FloppyDriveType::None;  ///< the drive it was made for

    std::uint64_t total_sectors() const { return std::uint64_t{cylinders} * heads * sectors; }
};

/// The format of an image with so many sectors; null when there is none.
const FloppyFormat* find_floppy_format(std::uint64_t image_sectors);

/// Whether disks of this format fit into such a drive and can be read there: a 3.5-inch drive takes all 3.5-inch disks
/// of up to its own density, a 1.2 MB drive also those of a 360 KB one.
bool drive_takes(FloppyDriveType drive, const FloppyFormat& format);

/// The drive to be built in for an image with so many sectors: the one its format was made for, but 1.44 MB instead of
/// 720 KB, and None when it is no floppy disk.
FloppyDriveType drive_for(std::uint64_t image_sectors);

/// Why an image with so many sectors cannot be put into such a drive, one line that begins with a verb ("has 17 bytes;
/// ..."); empty when it can.
std::string floppy_problem(FloppyDriveType drive, std::uint64_t image_sectors);

}  // namespace vpc::devices
