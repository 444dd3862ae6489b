// The power modes of an AtaDisk, and what it does on its own while no command runs: going to standby, and putting on
// the host's disk what a guest has written and never flushed.

#include <algorithm>

#include "core/io_executor.h"
#include "devices/ata_disk.h"

namespace vpc::devices {
namespace {

// CHECK POWER MODE.
constexpr std::uint8_t kPowerStandby = 0x00;
constexpr std::uint8_t kPowerIdle = 0x80;
constexpr std::uint8_t kPowerActive = 0xFF;

/// How long written data may wait in an idle disk.
constexpr Nanoseconds kFlushAfter = kSecond;

/// ATA/ATAPI-6 table 19, automatic standby timer periods; 0: none. 253 is the vendor's, between 8 and 12 hours, and 254
/// is reserved.
Nanoseconds standby_period(std::uint8_t code) {
    if (code <= 240) {
        return code * 5 * kSecond;
    }
    if (code <= 251) {
        return (code - 240) * 30 * 60 * kSecond;
    }
    switch (code) {
        case 252:
            return 21 * 60 * kSecond;
        case 255:
            return (21 * 60 + 15) * kSecond;
        default:
            return 8 * 3600 * kSecond;
    }
}

}  // namespace

void AtaDisk::idle() {
    power_ = Power::Idle;
    finish(true);
}

void AtaDisk::check_power_mode() {
    current_[ata::kSectorCount] = power_ == Power::Standby ? kPowerStandby
                                  : power_ == Power::Idle  ? kPowerIdle
                                                           : kPowerActive;
    finish(true);
}

void AtaDisk::command_ended() {
    idle_since_ = host_->now();
    set_alarm();
}

void AtaDisk::set_alarm() {
    std::optional<Nanoseconds> when;
    if (unflushed_) {
        when = idle_since_ + kFlushAfter;
    }
    const Nanoseconds period = standby_period(standby_code_);
    if (period != 0 && power_ < Power::Standby) {
        when = std::min(when.value_or(idle_since_ + period), idle_since_ + period);
    }
    host_->set_alarm(unit_, when);
}

void AtaDisk::alarm() {
    if (phase_ != Phase::Idle) {
        return;  // the end of the command sets it again
    }
    const Nanoseconds idle = host_->now() - idle_since_;
    const Nanoseconds period = standby_period(standby_code_);
    const bool to_standby = period != 0 && power_ < Power::Standby && idle >= period;
    if (unflushed_ && (to_standby || idle >= kFlushAfter)) {
        flush_in_background();
    }
    if (to_standby) {
        power_ = Power::Standby;
    }
    set_alarm();
}

/// Nobody waits for it. If it fails, so will the guest's next FLUSH CACHE: a file that could not be synced stays so.
void AtaDisk::flush_in_background() {
    unflushed_ = false;
    host_->io().submit(
        [image = image_, log = log_] {
            if (const disk::Status status = image->flush(); !status) {
                log->error("{}", status.error().message);
            }
        },
        [] {});
}

}  // namespace vpc::devices
