#include "devices/i82077aa.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "devices/i82077aa_bits.h"

namespace vpc::devices {

using namespace fdc;

namespace {

// Offsets from 3F2h.
constexpr unsigned kDor = 0;
constexpr unsigned kTdr = 1;
constexpr unsigned kMsrDsr = 2;
constexpr unsigned kFifo = 3;
constexpr std::uint16_t kFirstPort = 0x3F2;
constexpr std::uint16_t kDirCcrPort = 0x3F7;

constexpr std::uint8_t kDorNotReset = 0x04;
constexpr std::uint8_t kDsrReset = 0x80;
constexpr std::uint8_t kDsrPrecompensation = 0x1C;
constexpr std::uint8_t kRate = 0x03;
constexpr std::uint8_t kDiskChanged = 0x80;

constexpr std::uint8_t kVersion = 0x90;
constexpr std::uint8_t kConfigureDefault = 0x20;  // EFIFO: the FIFO is off
constexpr std::uint8_t kLockBit = 0x80;
constexpr std::uint8_t kPerpendicularDrives = 0x3C;

constexpr Nanoseconds kReadyTime = 100 * kMicrosecond;  // reset to interrupt
constexpr Nanoseconds kSettleTime = 200 * kMicrosecond;
constexpr Nanoseconds kStepTime = 50 * kMicrosecond;
constexpr int kRecalibrateSteps = 79;

}  // namespace

I82077AA::I82077AA(PortBus& ports, VirtualClock& clock, IoExecutor& io, I8237A::Channel& dma, Line interrupt,
                   std::array<FloppyDriveType, kDrives> drives)
    : clock_(clock),
      io_(io),
      dma_(dma),
      interrupt_line_(std::move(interrupt)),
      log_(log_category("floppy")),
      drives_{FloppyDrive(drives[0]), FloppyDrive(drives[1])},
      alive_(std::make_shared<const bool>(true)) {
    ready_event_ = clock.make_event("82077AA reset", [this](std::int64_t, Nanoseconds) { leave_reset(); });
    result_event_ = clock.make_event("82077AA result", [this](std::int64_t, Nanoseconds) {
        if (phase_ == Phase::Ending) {
            phase_ = Phase::Result;
            result_interrupt_ = true;
            update_lines();
        }
    });
    for (unsigned unit = 0; unit < kUnits; ++unit) {
        seek_events_[unit] = clock.make_event(fmt::format("82077AA seek {}", unit),
                                              [this, unit](std::int64_t, Nanoseconds) { seek_ended(unit); });
    }
    const auto claim = [&](std::uint16_t first, std::uint16_t count, unsigned base) {
        return ports.claim({.owner = "82077AA", .first = first, .count = count},
                           {.read = [this, base](std::uint16_t offset, unsigned) { return read(base + offset); },
                            .write = [this, base](std::uint16_t offset, std::uint32_t value,
                                                  unsigned) { write(base + offset, static_cast<std::uint8_t>(value)); },
                            .peek = [this, base](std::uint16_t offset, unsigned) { return peek(base + offset); }});
    };
    claims_ = {claim(kFirstPort, 4, 0), claim(kDirCcrPort, 1, kDirCcrPort - kFirstPort)};
    dma_.on_ready([this] { pump(); });
    reset();
}

I82077AA::~I82077AA() {
    dma_.set_request(false);
    dma_.on_ready({});
}

void I82077AA::insert(unsigned drive, std::shared_ptr<disk::BlockDevice> medium) {
    flush(drive);
    drives_[drive].insert(std::move(medium));
}

void I82077AA::eject(unsigned drive) {
    flush(drive);
    drives_[drive].eject();
}

// ---- resets --------------------------------------------------------------------------------------------------------

/// Gives up the command in progress; work that is under way completes into nothing.
void I82077AA::cancel() {
    result_event_.cancel();
    forget_command();
}

void I82077AA::forget_command() {
    ++generation_;
    work_.reset();
    host_data_.clear();
    command_size_ = 0;
    result_size_ = 0;
    result_position_ = 0;
    phase_ = Phase::Command;
}

/// What DOR bit 2 and DSR bit 7 do.
void I82077AA::software_reset() {
    cancel();
    for (VirtualClock::Event& event : seek_events_) {
        event.cancel();
    }
    ready_event_.cancel();
    if (!locked_) {
        configuration_ = kConfigureDefault;
        precompensation_track_ = 0;
    }
    perpendicular_ &= kPerpendicularDrives;
    pcn_ = {};
    sense_ = {};
    sense_seeks_ = 0;
    sense_reset_ = 0;
    result_interrupt_ = false;
    sense_interrupt_ = false;
    phase_ = Phase::Reset;
    update_lines();
}

void I82077AA::reset() {
    locked_ = false;
    software_reset();
    digital_output_ = 0;
    tape_ = 0;
    rate_ = static_cast<std::uint8_t>(FloppyRate::Kbps250);
    precompensation_ = 0;
    specify_ = {};
    perpendicular_ = 0;
    last_eot_ = 0;
    for (FloppyDrive& drive : drives_) {
        drive.power_on();
    }
    update_lines();
}

/// Ready; the drives' polled status is reported, unless CONFIGURE has switched polling off.
void I82077AA::leave_reset() {
    if (phase_ != Phase::Reset || (digital_output_ & kDorNotReset) == 0) {
        return;
    }
    phase_ = Phase::Command;
    if ((configuration_ & kConfigureNoPolling) == 0) {
        sense_reset_ = 0x0F;
        for (unsigned unit = 0; unit < kUnits; ++unit) {
            sense_[unit] = static_cast<std::uint8_t>(kSt0ReadyChanged | unit);
        }
        sense_interrupt_ = true;
        update_lines();
    }
}

// ---- registers -----------------------------------------------------------------------------------------------------

void I82077AA::update_lines() {
    const bool moving = phase_ == Phase::DataIn || phase_ == Phase::DataOut;
    interrupt_line_.set(dma_gate() && (result_interrupt_ || sense_interrupt_ || (moving && !uses_dma())));
    dma_.set_request(dma_gate() && moving && uses_dma());
}

std::uint8_t I82077AA::main_status() const {
    unsigned status = 0;
    for (unsigned unit = 0; unit < kUnits; ++unit) {
        status |= seek_events_[unit].pending() ? 1u << unit : 0u;
    }
    const bool pio = in_transfer() && !uses_dma();
    switch (phase_) {
        case Phase::Reset:
            return 0;
        case Phase::Command:
            status |= kMsrReady | (command_size_ != 0 ? kMsrBusy : 0u);
            break;
        case Phase::DataIn:
            status |= kMsrBusy | (pio ? kMsrReady | kMsrToHost | kMsrNoDma : 0u);
            break;
        case Phase::DataOut:
            status |= kMsrBusy | (pio ? kMsrReady | kMsrNoDma : 0u);
            break;
        case Phase::Result:
            status |= kMsrReady | kMsrToHost | kMsrBusy;
            break;
        default:
            status |= kMsrBusy | (pio ? kMsrNoDma : 0u);
            break;
    }
    return static_cast<std::uint8_t>(status);
}

/// DSKCHG comes from the drive that is selected, which takes its motor bit.
std::uint8_t I82077AA::digital_input() const {
    const unsigned unit = digital_output_ & 3u;
    const bool changed = unit < kDrives && motor_on(unit) && drives_[unit].present() && drives_[unit].changed();
    return changed ? kDiskChanged : 0;
}

std::uint32_t I82077AA::peek(unsigned offset) const {
    switch (offset) {
        case kDor:
            return digital_output_;
        case kTdr:
            return tape_;
        case kMsrDsr:
            return main_status();
        case kFifo:
            if (phase_ == Phase::Result) {
                return result_[result_position_];
            }
            return phase_ == Phase::DataIn && !uses_dma() ? work_->data[position_] : 0u;
        default:
            return digital_input();
    }
}

std::uint32_t I82077AA::read(unsigned offset) {
    return offset == kFifo ? read_fifo() : peek(offset);
}

void I82077AA::write(unsigned offset, std::uint8_t value) {
    switch (offset) {
        case kDor:
            return write_digital_output(value);
        case kTdr:
            tape_ = value & 3;
            return;
        case kMsrDsr:
            rate_ = value & kRate;
            precompensation_ = value & kDsrPrecompensation;
            if ((value & kDsrReset) != 0 && (digital_output_ & kDorNotReset) != 0) {
                software_reset();
                ready_event_.schedule(clock_.now() + kReadyTime);
            }
            return;
        case kFifo:
            return write_fifo(value);
        default:
            rate_ = value & kRate;
            return;
    }
}

void I82077AA::write_digital_output(std::uint8_t value) {
    const std::uint8_t before = std::exchange(digital_output_, value);
    for (unsigned unit = 0; unit < kDrives; ++unit) {
        if (!motor_on(unit) && (before >> (4 + unit) & 1) != 0) {
            flush(unit);
        }
    }
    const bool was_reset = (before & kDorNotReset) == 0;
    const bool is_reset = (value & kDorNotReset) == 0;
    if (is_reset && !was_reset) {
        software_reset();
    } else if (was_reset && !is_reset) {
        ready_event_.schedule(clock_.now() + kReadyTime);
    }
    update_lines();
    pump();
}

std::uint8_t I82077AA::read_fifo() {
    const auto value = static_cast<std::uint8_t>(peek(kFifo));
    if (phase_ == Phase::Result) {
        result_interrupt_ = false;
        if (++result_position_ == result_size_) {
            cancel();
        }
        update_lines();
    } else if (phase_ == Phase::DataIn && !uses_dma()) {
        ++position_;
        data_in_moved();
    }
    return value;
}

void I82077AA::write_fifo(std::uint8_t value) {
    if (phase_ == Phase::DataOut && !uses_dma()) {
        host_data_[position_++] = value;
        return data_out_moved();
    }
    if (phase_ != Phase::Command) {
        return;
    }
    if (command_size_ == 0) {
        command_ = {};
    }
    command_[command_size_++] = value;
    if (command_size_ >= command_length(command_[0])) {
        execute();
    }
}

// ---- commands ------------------------------------------------------------------------------------------------------

void I82077AA::execute() {
    if (command_length(command_[0]) == 1 && !is_command(command_[0])) {
        log_->debug("command {:02X}h is not supported", command_[0]);
        return reply({kSt0Invalid});
    }
    switch (opcode()) {
        case kSpecify:
            return specify();
        case kSenseDriveStatus:
            return sense_drive();
        case kRecalibrate:
            return recalibrate();
        case kSenseInterrupt:
            return sense_interrupt();
        case kReadId:
            return read_id();
        case kFormatTrack:
            return begin_format();
        case kDumpRegisters:
            return dump_registers();
        case kSeek:
            if ((command_[0] & kRelative) != 0) {
                return relative_seek();
            }
            return seek(command_[2] - pcn_[unit()], command_[2]);
        case kVersionCommand:
            return reply({kVersion});
        case kPerpendicular:
            // OW (bit 7) lets the drive bits be changed too.
            perpendicular_ =
                static_cast<std::uint8_t>((command_[1] & 0x80) != 0 ? command_[1] & 0x3F
                                                                    : (perpendicular_ & kPerpendicularDrives) |
                                                                          (command_[1] & ~kPerpendicularDrives & 0x3F));
            return cancel();
        case kConfigure:
            return configure();
        case kLock:
            locked_ = (command_[0] & kLockBit) != 0;
            return reply({static_cast<std::uint8_t>(locked_ ? 0x10 : 0)});
        default:
            return begin_transfer();
    }
}

/// The result of a command without execution phase: no interrupt comes.
void I82077AA::reply(std::initializer_list<std::uint8_t> bytes) {
    cancel();
    std::copy(bytes.begin(), bytes.end(), result_.begin());
    result_size_ = static_cast<std::uint8_t>(bytes.size());
    phase_ = Phase::Result;
}

void I82077AA::specify() {
    specify_ = {command_[1], command_[2]};
    cancel();
}

void I82077AA::configure() {
    configuration_ = command_[2] & 0x7F;
    precompensation_track_ = command_[3];
    cancel();
}

void I82077AA::sense_drive() {
    const FloppyDrive* drive = drive_of(unit());
    unsigned st3 = kSt3Ready | kSt3TwoSided | (command_[1] & 7u);
    if (drive != nullptr && drive->present()) {
        st3 |= drive->at_track_0() ? kSt3Track0 : 0u;
        st3 |= drive->write_protected() ? kSt3WriteProtected : 0u;
    }
    reply({static_cast<std::uint8_t>(st3)});
}

void I82077AA::dump_registers() {
    const auto lock_and_perpendicular = static_cast<std::uint8_t>((locked_ ? 0x80 : 0) | (perpendicular_ & 0x3F));
    reply({pcn_[0], pcn_[1], pcn_[2], pcn_[3], specify_[0], specify_[1], last_eot_, lock_and_perpendicular,
           configuration_, precompensation_track_});
}

/// Units whose seek has ended come before those that only the reset has to report.
void I82077AA::sense_interrupt() {
    const unsigned waiting = sense_seeks_ != 0 ? sense_seeks_ : sense_reset_;
    if (waiting == 0) {
        return reply({kSt0Invalid});
    }
    unsigned unit = 0;
    while ((waiting >> unit & 1) == 0) {
        ++unit;
    }
    const auto others = static_cast<std::uint8_t>(~(1u << unit));
    sense_seeks_ &= others;
    sense_reset_ &= others;
    reply({sense_[unit], pcn_[unit]});
    sense_interrupt_ = false;
    update_lines();
    sense_interrupt_ = sense_seeks_ != 0;  // an edge of its own for each
    update_lines();
}

void I82077AA::seek(int steps, std::uint8_t cylinder) {
    const unsigned number = unit();
    if (FloppyDrive* drive = drive_of(number)) {
        drive->step(steps);
    }
    pcn_[number] = cylinder;
    sense_[number] = static_cast<std::uint8_t>(kSt0SeekEnd | (command_[1] & 7u));
    cancel();
    seek_events_[number].schedule(clock_.now() + kSettleTime + std::abs(steps) * kStepTime);
}

/// Steps outwards until TRK0 comes, but no more than 79 times.
void I82077AA::recalibrate() {
    const unsigned number = unit();
    FloppyDrive* drive = drive_of(number);
    command_[1] &= 3;
    if (drive != nullptr && drive->present()) {
        int steps = 0;
        for (; steps < kRecalibrateSteps && !drive->at_track_0(); ++steps) {
            drive->step(-1);
        }
        const bool found = drive->at_track_0();
        seek(0, 0);
        seek_events_[number].schedule(clock_.now() + kSettleTime + steps * kStepTime);
        sense_[number] |= found ? 0 : kSt0Abnormal | kSt0EquipmentCheck;
        return;
    }
    seek(0, 0);
    sense_[number] |= kSt0Abnormal | kSt0EquipmentCheck;
}

/// Its step count replaces no cylinder number: PCN moves along and wraps in its eight bits.
void I82077AA::relative_seek() {
    const bool inwards = (command_[0] & kRelativeInwards) != 0;
    const int steps = inwards ? command_[2] : -command_[2];
    seek(steps, static_cast<std::uint8_t>(pcn_[unit()] + steps));
}

void I82077AA::seek_ended(unsigned unit) {
    sense_seeks_ |= static_cast<std::uint8_t>(1u << unit);
    sense_reset_ &= static_cast<std::uint8_t>(~(1u << unit));
    sense_interrupt_ = true;
    update_lines();
}

}  // namespace vpc::devices
