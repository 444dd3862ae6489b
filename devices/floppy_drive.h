#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "devices/ata_device.h"  // DriveStatistics
#include "devices/floppy_format.h"
#include "disk/block_device.h"

namespace vpc {
class StateStream;
}

namespace vpc::devices {

/// The mechanics of one floppy drive and the disk in it: where the head is, what the disk change and write protect
/// lines say. It moves no data: that is the controller's work. Machine's thread only.
class FloppyDrive {
  public:
    explicit FloppyDrive(FloppyDriveType type = FloppyDriveType::None) : type_(type) {}

    FloppyDriveType type() const { return type_; }
    bool present() const { return type_ != FloppyDriveType::None; }

    /// Replaces what was there. The image must fit (see floppy_problem()).
    void insert(std::shared_ptr<disk::BlockDevice> medium);
    /// Returns what was there, null for an empty drive.
    std::shared_ptr<disk::BlockDevice> eject();
    const std::shared_ptr<disk::BlockDevice>& medium() const { return medium_; }
    /// Null when the drive is empty.
    const FloppyFormat* format() const { return format_; }

    /// DSKCHG: set when the disk was taken out (and at power-on), cleared by a step with a disk in the drive.
    bool changed() const { return changed_; }
    bool write_protected() const { return medium_ && medium_->read_only(); }
    /// TRK0.
    bool at_track_0() const { return cylinder_ == 0; }
    /// So many step pulses, inwards when positive. The head stops at either end.
    void step(int steps);
    /// The disk's cylinder under the head: that is, of a 40-cylinder disk in an 80-cylinder drive, every second one.
    std::optional<std::uint8_t> track() const;
    /// Whether this disk can be read at this rate.
    bool reads_at(FloppyRate rate) const;
    /// The next sector that passes the head on any track, 1 to the number of sectors, at a time in nanoseconds.
    std::uint8_t sector_passing(std::int64_t time) const;

    void power_on();
    void serialize(StateStream& stream);

    DriveStatistics statistics;

  private:
    FloppyDriveType type_;
    std::shared_ptr<disk::BlockDevice> medium_;
    const FloppyFormat* format_ = nullptr;
    std::uint8_t cylinder_ = 0;  // of the head, in steps from track 0
    bool changed_ = true;
};

}  // namespace vpc::devices
