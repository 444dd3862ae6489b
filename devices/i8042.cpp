#include "devices/i8042.h"

#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"
#include "devices/scan_codes.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr Nanoseconds kAnswerDelay = 20 * kMicrosecond;
constexpr Nanoseconds kDeviceDelay = 100 * kMicrosecond;

// Status, port 64h.
constexpr std::uint8_t kStatusOutputFull = 0x01;
constexpr std::uint8_t kStatusSystem = 0x04;
constexpr std::uint8_t kStatusCommand = 0x08;
constexpr std::uint8_t kStatusNotInhibited = 0x10;
constexpr std::uint8_t kStatusAux = 0x20;
constexpr std::uint8_t kStatusTimeOut = 0x40;

// The command byte, RAM byte 0.
constexpr std::uint8_t kKeyboardInterrupt = 0x01;
constexpr std::uint8_t kAuxInterrupt = 0x02;
constexpr std::uint8_t kSystemFlag = 0x04;
constexpr std::uint8_t kKeyboardDisabled = 0x10;
constexpr std::uint8_t kAuxDisabled = 0x20;
constexpr std::uint8_t kTranslate = 0x40;

// The output port.
constexpr std::uint8_t kOutNoReset = 0x01;
constexpr std::uint8_t kOutA20 = 0x02;
constexpr std::uint8_t kOutKeyboardFull = 0x10;
constexpr std::uint8_t kOutAuxFull = 0x20;
constexpr std::uint8_t kOutAfterReset = 0xC0 | 0x0C | kOutA20 | kOutNoReset;

constexpr std::uint8_t kInputPort = 0xA0;  // keyboard not locked, no manufacturing jumper

enum Command : std::uint8_t {
    kReadRam = 0x20,
    kWriteRam = 0x60,
    kTestPassword = 0xA4,
    kDisableAux = 0xA7,
    kEnableAux = 0xA8,
    kTestAux = 0xA9,
    kSelfTest = 0xAA,
    kTestKeyboard = 0xAB,
    kDisableKeyboard = 0xAD,
    kEnableKeyboard = 0xAE,
    kReadInputPort = 0xC0,
    kReadOutputPort = 0xD0,
    kWriteOutputPort = 0xD1,
    kWriteKeyboardBuffer = 0xD2,
    kWriteAuxBuffer = 0xD3,
    kWriteAux = 0xD4,
    kDisableA20 = 0xDD,
    kEnableA20 = 0xDF,
    kReadTestInputs = 0xE0,
    kPulse = 0xF0,
};

constexpr std::uint8_t kNoPassword = 0xF1;
constexpr std::uint8_t kSelfTestPassed = 0x55;
constexpr std::uint8_t kInterfaceGood = 0x00;
constexpr std::uint8_t kNoDevice = 0xFE;
constexpr std::uint8_t kBreakPrefix = 0xF0;

}  // namespace

I8042::I8042(PortBus& ports, VirtualClock& clock, Line irq1, Line irq12, Line a20, Line cpu_reset)
    : clock_(clock),
      log_(log_category("8042")),
      irq1_(std::move(irq1)),
      irq12_(std::move(irq12)),
      a20_(std::move(a20)),
      cpu_reset_(std::move(cpu_reset)) {
    delivery_ = clock.make_event("8042 output buffer", [this](std::int64_t, Nanoseconds) { deliver(); });
    data_port_ = ports.claim({.owner = "8042 data", .first = 0x60, .count = 1},
                             {.read = [this](std::uint16_t, unsigned) { return read_data(); },
                              .write = [this](std::uint16_t, std::uint32_t value,
                                              unsigned) { write_data(static_cast<std::uint8_t>(value)); },
                              .peek = [this](std::uint16_t, unsigned) { return buffer_; }});
    command_port_ = ports.claim({.owner = "8042 command", .first = 0x64, .count = 1},
                                {.read = [this](std::uint16_t, unsigned) { return status(); },
                                 .write = [this](std::uint16_t, std::uint32_t value,
                                                 unsigned) { write_command(static_cast<std::uint8_t>(value)); },
                                 .peek = [this](std::uint16_t, unsigned) { return status(); }});
    reset();
}

void I8042::connect_keyboard(Ps2Device& device) {
    keyboard_ = &device;
    device.on_ready([this] { device_ready(); });
}

void I8042::connect_aux(Ps2Device& device) {
    aux_ = &device;
    device.on_ready([this] { device_ready(); });
}

void I8042::reset() {
    ram_.fill(0);
    ram_[0] = kKeyboardDisabled | kAuxDisabled;
    pending_command_ = buffer_ = answer_ = 0;
    last_write_was_command_ = self_test_passed_ = false;
    buffer_full_ = buffer_time_out_ = answer_waits_ = answer_time_out_ = break_prefix_ = false;
    buffer_source_ = answer_source_ = Source::Controller;
    delivery_.cancel();
    output_port_ = kOutAfterReset;
    a20_.set(true);
    update_interrupts();
}

// ---- port 60h ------------------------------------------------------------------------------------------------------

std::uint8_t I8042::read_data() {
    if (buffer_full_) {
        buffer_full_ = buffer_time_out_ = false;
        update_interrupts();
        if (answer_waits_) {
            schedule_delivery(kAnswerDelay);
        } else if (keyboard_waits() || aux_waits()) {
            schedule_delivery(kDeviceDelay);
        }
    }
    return buffer_;
}

void I8042::write_data(std::uint8_t value) {
    last_write_was_command_ = false;
    const std::uint8_t command = std::exchange(pending_command_, std::uint8_t{0});
    if (command >= kWriteRam && command < kWriteRam + ram_.size()) {
        ram_[command - kWriteRam] = value;
        update_interrupts();
        device_ready();
        return;
    }
    switch (command) {
        case kWriteOutputPort:
            write_output_port(value);
            return;  // perhaps reset
        case kWriteKeyboardBuffer:
            answer(value, Source::Keyboard);
            return;
        case kWriteAuxBuffer:
            answer(value, Source::Aux);
            return;
        case kWriteAux:
            ram_[0] &= static_cast<std::uint8_t>(~kAuxDisabled);
            send(aux_, Source::Aux, value);
            return;
        default:
            ram_[0] &= static_cast<std::uint8_t>(~kKeyboardDisabled);
            send(keyboard_, Source::Keyboard, value);
            return;
    }
}

void I8042::send(Ps2Device* device, Source source, std::uint8_t value) {
    if (device == nullptr) {
        answer(kNoDevice, source, true);
        return;
    }
    if (source == Source::Keyboard) {
        break_prefix_ = false;
    }
    device->receive(value);
    device_ready();
}

// ---- port 64h ------------------------------------------------------------------------------------------------------

std::uint8_t I8042::status() const {
    unsigned value = kStatusNotInhibited;
    value |= buffer_full_ ? kStatusOutputFull : 0u;
    value |= (ram_[0] & kSystemFlag) != 0 || self_test_passed_ ? kStatusSystem : 0u;
    value |= last_write_was_command_ ? kStatusCommand : 0u;
    value |= buffer_full_ && buffer_source_ == Source::Aux ? kStatusAux : 0u;
    value |= buffer_time_out_ ? kStatusTimeOut : 0u;
    return static_cast<std::uint8_t>(value);
}

void I8042::write_command(std::uint8_t command) {
    last_write_was_command_ = true;
    pending_command_ = 0;
    if (command >= kReadRam && command < kReadRam + ram_.size()) {
        answer(ram_[command - kReadRam]);
        return;
    }
    if (command >= kWriteRam && command < kWriteRam + ram_.size()) {
        pending_command_ = command;
        return;
    }
    if (command >= kPulse) {  // bits 3-0: the output port bits that stay high
        if ((command & kOutNoReset) == 0) {
            cpu_reset_.pulse();
        }
        return;
    }
    switch (command) {
        case kTestPassword:
            answer(kNoPassword);
            return;
        case kDisableAux:
            ram_[0] |= kAuxDisabled;
            return;
        case kEnableAux:
            ram_[0] &= static_cast<std::uint8_t>(~kAuxDisabled);
            device_ready();
            return;
        case kTestAux:
        case kTestKeyboard:
            answer(kInterfaceGood);
            return;
        case kSelfTest:
            self_test_passed_ = true;
            answer(kSelfTestPassed);
            return;
        case kDisableKeyboard:
            ram_[0] |= kKeyboardDisabled;
            return;
        case kEnableKeyboard:
            ram_[0] &= static_cast<std::uint8_t>(~kKeyboardDisabled);
            device_ready();
            return;
        case kReadInputPort:
            answer(kInputPort);
            return;
        case kReadOutputPort:
            answer(output_port());
            return;
        case kWriteOutputPort:
        case kWriteKeyboardBuffer:
        case kWriteAuxBuffer:
        case kWriteAux:
            pending_command_ = command;
            return;
        case kDisableA20:
            write_output_port(output_port_ & static_cast<std::uint8_t>(~kOutA20));
            return;
        case kEnableA20:
            write_output_port(output_port_ | kOutA20);
            return;
        case kReadTestInputs:
            answer(0);
            return;
        default:
            log_->debug("unknown command {:02X}h", command);
            return;
    }
}

std::uint8_t I8042::output_port() const {
    unsigned value = output_port_ & ~unsigned{kOutKeyboardFull | kOutAuxFull};
    value |= irq1_.level() ? kOutKeyboardFull : 0u;
    value |= irq12_.level() ? kOutAuxFull : 0u;
    return static_cast<std::uint8_t>(value);
}

void I8042::write_output_port(std::uint8_t value) {
    output_port_ = value | kOutNoReset;  // the reset it causes pulls the pin up again
    a20_.set((value & kOutA20) != 0);
    if ((value & kOutNoReset) == 0) {
        cpu_reset_.pulse();
    }
}

// ---- the output buffer ---------------------------------------------------------------------------------------------

void I8042::answer(std::uint8_t value, Source source, bool time_out) {
    answer_ = value;
    answer_source_ = source;
    answer_time_out_ = time_out;
    answer_waits_ = true;
    if (!buffer_full_) {
        schedule_delivery(kAnswerDelay);
    }
}

bool I8042::keyboard_waits() const {
    return keyboard_ != nullptr && (ram_[0] & kKeyboardDisabled) == 0 && keyboard_->has_byte();
}

bool I8042::aux_waits() const {
    return aux_ != nullptr && (ram_[0] & kAuxDisabled) == 0 && aux_->has_byte();
}

void I8042::device_ready() {
    if (!buffer_full_ && (keyboard_waits() || aux_waits())) {
        schedule_delivery(kDeviceDelay);
    }
}

void I8042::schedule_delivery(Nanoseconds delay) {
    const Nanoseconds when = clock_.now() + delay;
    if (!delivery_.pending() || delivery_.when() > when) {
        delivery_.schedule(when);
    }
}

void I8042::deliver() {
    if (buffer_full_) {
        return;  // reading it goes on
    }
    if (answer_waits_) {
        answer_waits_ = false;
        fill_buffer(answer_, answer_source_, answer_time_out_);
        return;
    }
    if (keyboard_waits()) {
        std::uint8_t code = keyboard_->take_byte();
        if ((ram_[0] & kTranslate) != 0) {
            if (code == kBreakPrefix) {  // becomes bit 7 of the next one
                break_prefix_ = true;
                device_ready();
                return;
            }
            code = static_cast<std::uint8_t>(translate_scan_code(code) | (break_prefix_ ? 0x80 : 0));
            break_prefix_ = false;
        }
        fill_buffer(code, Source::Keyboard, false);
        return;
    }
    if (aux_waits()) {
        fill_buffer(aux_->take_byte(), Source::Aux, false);
    }
}

void I8042::fill_buffer(std::uint8_t value, Source source, bool time_out) {
    buffer_ = value;
    buffer_source_ = source;
    buffer_time_out_ = time_out;
    buffer_full_ = true;
    update_interrupts();
}

/// The controller's own answers raise the keyboard's interrupt.
void I8042::update_interrupts() {
    const bool from_aux = buffer_source_ == Source::Aux;
    irq1_.set(buffer_full_ && !from_aux && (ram_[0] & kKeyboardInterrupt) != 0);
    irq12_.set(buffer_full_ && from_aux && (ram_[0] & kAuxInterrupt) != 0);
}

void I8042::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(ram_);
        for (std::uint8_t* value : {&output_port_, &pending_command_, &buffer_, &answer_}) {
            stream.field(*value);
        }
        for (bool* flag : {&last_write_was_command_, &self_test_passed_, &buffer_full_, &buffer_time_out_,
                           &answer_waits_, &answer_time_out_, &break_prefix_}) {
            stream.field(*flag);
        }
        ranged_field(stream, buffer_source_, Source::Controller, Source::Aux);
        ranged_field(stream, answer_source_, Source::Controller, Source::Aux);
    });
    if (stream.loading()) {
        a20_.set((output_port_ & kOutA20) != 0);
        update_interrupts();
    }
}

}  // namespace vpc::devices
