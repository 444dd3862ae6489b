#include "devices/parallel_port.h"

#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint16_t kBase = 0x378;
constexpr Nanoseconds kHalfCycle = 5 * kMicrosecond;

enum Register : std::uint16_t { kData = 0, kStatus = 1, kControl = 2 };

// Status. Busy is inverted between the connector and the register.
constexpr std::uint8_t kNotBusy = 0x80;
constexpr std::uint8_t kNotAcknowledge = 0x40;
constexpr std::uint8_t kPaperOut = 0x20;
constexpr std::uint8_t kSelected = 0x10;
constexpr std::uint8_t kNoError = 0x08;
constexpr std::uint8_t kStatusUnused = 0x07;
constexpr std::uint8_t kFloating = kNotAcknowledge | kPaperOut | kSelected | kNoError | kStatusUnused;

constexpr std::uint8_t kStrobe = 0x01;
constexpr std::uint8_t kNotInitialise = 0x04;
constexpr std::uint8_t kInterruptEnable = 0x10;
constexpr std::uint8_t kInput = 0x20;  // the data register reads the connector, where nobody drives
constexpr std::uint8_t kControlWritable = 0x3F;
constexpr std::uint8_t kControlUnused = 0xC0;

}  // namespace

ParallelPort::ParallelPort(PortBus& ports, VirtualClock& clock, Line irq, Printer printer)
    : clock_(clock), irq_(std::move(irq)), printer_(std::move(printer)) {
    phase_end_ = clock.make_event("parallel port printer", [this](std::int64_t, Nanoseconds) { next_phase(); });
    const auto look = [this](std::uint16_t offset, unsigned) { return read(offset); };
    ports_ = ports.claim({.owner = "parallel port", .first = kBase, .count = 3},
                         {.read = look,
                          .write = [this](std::uint16_t offset, std::uint32_t value,
                                          unsigned) { write(offset, static_cast<std::uint8_t>(value)); },
                          .peek = look});
}

void ParallelPort::reset() {
    data_ = control_ = 0;
    phase_ = Phase::Idle;
    phase_end_.cancel();
    printer_error_ = false;
    set_interrupt(false);
}

void ParallelPort::set_interrupt(bool level) {
    interrupt_ = level;
    irq_.set(level);
}

std::uint8_t ParallelPort::read(std::uint16_t offset) const {
    switch (offset) {
        case kData:
            return (control_ & kInput) != 0 ? 0xFF : data_;
        case kStatus:
            return status();
        default:
            return control_ | kControlUnused;
    }
}

std::uint8_t ParallelPort::status() const {
    if (!printer_) {
        return kFloating;
    }
    unsigned value = kSelected | kStatusUnused;
    value |= phase_ == Phase::Idle && !printer_error_ ? kNotBusy : 0u;
    value |= phase_ != Phase::Acknowledging ? kNotAcknowledge : 0u;
    value |= printer_error_ ? unsigned{kPaperOut} : kNoError;
    return static_cast<std::uint8_t>(value);
}

void ParallelPort::write(std::uint16_t offset, std::uint8_t value) {
    if (offset == kData) {
        data_ = value;
    } else if (offset == kControl) {
        write_control(value);
    }
}

void ParallelPort::write_control(std::uint8_t value) {
    const bool strobed = (control_ & kStrobe) == 0 && (value & kStrobe) != 0;
    control_ = value & kControlWritable;
    if (!printer_) {
        return;
    }
    if ((control_ & kNotInitialise) == 0) {
        phase_ = Phase::Idle;
        phase_end_.cancel();
        set_interrupt(false);
        printer_error_ = false;
    } else if (strobed && phase_ == Phase::Idle && !printer_error_) {
        set_interrupt(false);
        if (printer_(data_)) {
            phase_ = Phase::Busy;
            phase_end_.schedule(clock_.now() + kHalfCycle);
        } else {
            printer_error_ = true;
        }
    }
    if ((control_ & kInterruptEnable) == 0) {
        set_interrupt(false);
    }
}

void ParallelPort::next_phase() {
    switch (phase_) {
        case Phase::Busy:
            phase_ = Phase::Acknowledging;
            phase_end_.schedule(clock_.now() + kHalfCycle);
            break;
        case Phase::Acknowledging:
            phase_ = Phase::Idle;
            if ((control_ & kInterruptEnable) != 0) {
                set_interrupt(true);
            }
            break;
        case Phase::Idle:
            break;
    }
}

void ParallelPort::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(data_);
        ranged_field(stream, control_, 0, kControlWritable);
        ranged_field(stream, phase_, Phase::Idle, Phase::Acknowledging);
        stream.field(printer_error_);
        stream.field(interrupt_);
    });
    if (stream.loading()) {
        irq_.set(interrupt_);
    }
}

}  // namespace vpc::devices
