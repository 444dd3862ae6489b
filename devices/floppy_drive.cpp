#include "devices/floppy_drive.h"

#include <algorithm>
#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

// Drives reach a little farther than the last cylinder of any format.
constexpr int kLastStep40 = 41;
constexpr int kLastStep80 = 82;

int last_step(FloppyDriveType type) {
    return type == FloppyDriveType::Kb360 ? kLastStep40 : kLastStep80;
}

}  // namespace

void FloppyDrive::insert(std::shared_ptr<disk::BlockDevice> medium) {
    eject();
    medium_ = std::move(medium);
    format_ = medium_ ? find_floppy_format(medium_->sectors()) : nullptr;
}

std::shared_ptr<disk::BlockDevice> FloppyDrive::eject() {
    changed_ = true;
    format_ = nullptr;
    return std::exchange(medium_, nullptr);
}

void FloppyDrive::step(int steps) {
    if (!present() || steps == 0) {
        return;
    }
    cylinder_ = static_cast<std::uint8_t>(std::clamp(cylinder_ + steps, 0, last_step(type_)));
    if (medium_) {
        changed_ = false;
    }
}

std::optional<std::uint8_t> FloppyDrive::track() const {
    if (format_ == nullptr) {
        return std::nullopt;
    }
    unsigned track = cylinder_;
    if (format_->cylinders == 40 && last_step(type_) == kLastStep80) {
        if (track % 2 != 0) {
            return std::nullopt;  // between two tracks
        }
        track /= 2;
    }
    return track < format_->cylinders ? std::optional(static_cast<std::uint8_t>(track)) : std::nullopt;
}

bool FloppyDrive::reads_at(FloppyRate rate) const {
    if (format_ == nullptr) {
        return false;
    }
    // A 1.2 MB drive turns at 360 rpm, where the 250 kbit/s of a 360 KB drive's 300 rpm become 300.
    const bool double_density_5_inch = format_->drive == FloppyDriveType::Kb360;
    return rate == format_->rate || (double_density_5_inch && rate == FloppyRate::Kbps300);
}

std::uint8_t FloppyDrive::sector_passing(std::int64_t time) const {
    constexpr std::int64_t kTurn300 = 200'000'000;  // nanoseconds
    constexpr std::int64_t kTurn360 = 166'666'667;
    if (format_ == nullptr) {
        return 1;
    }
    const std::int64_t turn = type_ == FloppyDriveType::Mb1_2 ? kTurn360 : kTurn300;
    return static_cast<std::uint8_t>(time % turn * format_->sectors / turn + 1);
}

void FloppyDrive::power_on() {
    changed_ = true;
}

void FloppyDrive::serialize(StateStream& stream) {
    std::uint64_t sectors = medium_ ? medium_->sectors() : 0;
    const std::uint64_t have = sectors;
    FloppyDriveType type = type_;
    stream.field(type);
    stream.field(sectors);
    if (type != type_ || sectors != have) {
        stream.refuse("a floppy drive or the disk in it is another one now than when the state was saved");
    }
    ranged_field(stream, cylinder_, 0, kLastStep80);
    stream.field(changed_);
}

}  // namespace vpc::devices
