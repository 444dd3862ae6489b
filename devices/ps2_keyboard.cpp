#include "devices/ps2_keyboard.h"

#include <algorithm>
#include <vector>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint8_t kDefaultRate = 0x2B;  // 500 ms, then 10.9 a second
constexpr Nanoseconds kShortestRepeat = kMillisecond;

enum Command : std::uint8_t {
    kSetLeds = 0xED,
    kEcho = 0xEE,
    kScanSet = 0xF0,
    kIdentify = 0xF2,
    kSetRate = 0xF3,
    kEnable = 0xF4,
    kDisable = 0xF5,
    kSetDefaults = 0xF6,
    kAllTypematic = 0xF7,
    kAllMakeBreak = 0xF8,
    kAllMake = 0xF9,
    kAllTypematicMakeBreak = 0xFA,
    kKeyTypematic = 0xFB,
    kKeyMakeBreak = 0xFC,
    kKeyMake = 0xFD,
    kResend = 0xFE,
    kReset = 0xFF,
};

constexpr std::uint8_t kAck = 0xFA;
constexpr std::uint8_t kNack = 0xFE;
constexpr std::uint8_t kSelfTestPassed = 0xAA;
constexpr std::uint8_t kExtended = 0xE0;
constexpr std::uint8_t kBreak = 0xF0;
constexpr std::uint8_t kSystemRequest = 0x84;
constexpr std::uint8_t kShift = 0x12;

bool is_command(std::uint8_t byte) {
    return byte >= kSetLeds;
}

}  // namespace

Ps2Keyboard::Ps2Keyboard(VirtualClock& clock) : clock_(clock) {
    typematic_ = clock.make_event("PS/2 keyboard typematic", [this](std::int64_t, Nanoseconds late) { repeat(late); });
    self_test_ = clock.make_event("PS/2 keyboard self-test", [this](std::int64_t, Nanoseconds) {
        testing_ = false;
        reply(kSelfTestPassed);
        announce();
    });
    reset();
}

void Ps2Keyboard::reset() {
    self_test_.cancel();
    testing_ = false;
    reply_size_ = last_sent_ = awaiting_ = 0;
    light(0);
    scan_set_ = 2;
    scanning_ = true;
    system_request_ = plain_print_screen_ = false;
    set_defaults();
}

void Ps2Keyboard::set_defaults() {
    rate_ = kDefaultRate;
    for (unsigned code = 0; code < kinds_.size(); ++code) {
        kinds_[code] = static_cast<std::uint8_t>(default_set3_kind(static_cast<std::uint8_t>(code)));
    }
    clear_buffer();
}

void Ps2Keyboard::light(std::uint8_t leds) {
    if (std::exchange(leds_, leds) != leds && on_leds_) {
        on_leds_(leds_);
    }
}

void Ps2Keyboard::clear_buffer() {
    buffer_size_ = 0;
    repeating_ = Key::None;
    typematic_.cancel();
}

// ---- towards the host ----------------------------------------------------------------------------------------------

void Ps2Keyboard::reply(std::uint8_t byte) {
    if (reply_size_ < reply_.size()) {
        reply_[reply_size_++] = byte;
    }
}

std::uint8_t Ps2Keyboard::take_byte() {
    if (reply_size_ != 0) {
        last_sent_ = reply_[0];
        std::shift_left(reply_.begin(), reply_.end(), 1);
        --reply_size_;
        return last_sent_;
    }
    if (buffer_size_ == 0) {
        return 0;
    }
    last_sent_ = buffer_[0];
    std::shift_left(buffer_.begin(), buffer_.end(), 1);
    --buffer_size_;
    return last_sent_;
}

/// All of a key's bytes or none of them; the first that do not fit leave the overrun code in their place.
void Ps2Keyboard::push(std::span<const std::uint8_t> bytes) {
    if (bytes.size() <= room()) {
        std::copy(bytes.begin(), bytes.end(), buffer_.begin() + buffer_size_);
        buffer_size_ = static_cast<std::uint8_t>(buffer_size_ + bytes.size());
    } else {
        const std::uint8_t overrun = scan_set_ == 1 ? 0xFF : 0x00;
        if (buffer_size_ < buffer_.size() && (buffer_size_ == 0 || buffer_[buffer_size_ - 1u] != overrun)) {
            buffer_[buffer_size_++] = overrun;
        }
    }
    announce();
}

// ---- from the host -------------------------------------------------------------------------------------------------

void Ps2Keyboard::receive(std::uint8_t byte) {
    if (byte == kResend) {
        reply_size_ = 0;
        reply(last_sent_);
        return;
    }
    reply_size_ = 0;  // a new byte cuts off the answer to the one before
    if (testing_) {   // and the self-test, unless it is another reset
        self_test_.cancel();
        testing_ = false;
    }
    const std::uint8_t waiting = awaiting_;
    awaiting_ = 0;
    if (waiting != 0 && !is_command(byte)) {
        parameter(waiting, byte);
    } else {
        command(byte);
    }
}

void Ps2Keyboard::command(std::uint8_t byte) {
    switch (byte) {
        case kSetLeds:
        case kScanSet:
        case kSetRate:
            awaiting_ = byte;
            break;
        case kKeyTypematic:
        case kKeyMakeBreak:
        case kKeyMake:
            clear_buffer();
            scanning_ = false;  // until F4h
            awaiting_ = byte;
            break;
        case kEcho:
            reply(kEcho);
            return;
        case kIdentify:
            reply(kAck);
            reply(0xAB);
            reply(0x83);
            return;
        case kEnable:
            clear_buffer();
            scanning_ = true;
            break;
        case kDisable:
            set_defaults();
            scanning_ = false;
            break;
        case kSetDefaults:
            set_defaults();
            scanning_ = true;
            break;
        case kAllTypematic:
            set_all_kinds(Set3Kind::Typematic);
            break;
        case kAllMakeBreak:
            set_all_kinds(Set3Kind::MakeBreak);
            break;
        case kAllMake:
            set_all_kinds(Set3Kind::Make);
            break;
        case kAllTypematicMakeBreak:
            set_all_kinds(Set3Kind::TypematicMakeBreak);
            break;
        case kReset:
            reset();
            testing_ = true;
            self_test_.schedule(clock_.now() + kSelfTestTime);
            break;
        default:
            reply(kNack);
            return;
    }
    reply(kAck);
}

void Ps2Keyboard::parameter(std::uint8_t command, std::uint8_t byte) {
    switch (command) {
        case kSetLeds:
            light(byte & 7);
            break;
        case kSetRate:
            rate_ = byte & 0x7F;
            break;
        case kScanSet:
            if (byte > 3) {
                reply(kNack);
                return;
            }
            reply(kAck);
            if (byte == 0) {
                reply(scan_set_);
            } else {
                scan_set_ = byte;
                clear_buffer();
            }
            return;
        case kKeyTypematic:
            kinds_[byte] = static_cast<std::uint8_t>(Set3Kind::Typematic);
            awaiting_ = command;  // more keys may follow
            break;
        case kKeyMakeBreak:
            kinds_[byte] = static_cast<std::uint8_t>(Set3Kind::MakeBreak);
            awaiting_ = command;
            break;
        case kKeyMake:
            kinds_[byte] = static_cast<std::uint8_t>(Set3Kind::Make);
            awaiting_ = command;
            break;
        default:
            break;
    }
    reply(kAck);
}

void Ps2Keyboard::set_all_kinds(Set3Kind kind) {
    clear_buffer();
    kinds_.fill(static_cast<std::uint8_t>(kind));
}

// ---- keys ----------------------------------------------------------------------------------------------------------

void Ps2Keyboard::key(Key key, bool pressed) {
    const auto index = static_cast<std::size_t>(key);
    if (scan_codes(key).set2 == 0 || pressed_[index] == pressed) {
        return;
    }
    pressed_[index] = pressed;
    if (pressed && repeats(key)) {
        repeating_ = key;
        typematic_.schedule(clock_.now() + repeat_delay());
    } else if (pressed || repeating_ == key) {
        repeating_ = Key::None;
        typematic_.cancel();
    }
    emit(key, pressed);
}

void Ps2Keyboard::release_all() {
    for (std::size_t index = 0; index < kKeys; ++index) {
        if (pressed_[index]) {
            key(static_cast<Key>(index), false);
        }
    }
}

void Ps2Keyboard::emit(Key key, bool pressed) {
    if (!scanning_ || testing_) {
        return;
    }
    if (scan_set_ == 3) {
        emit_set3(key, pressed);
        return;
    }
    const bool control = down(Key::LeftCtrl) || down(Key::RightCtrl);
    if (key == Key::Pause) {  // sends everything when it goes down
        static constexpr std::uint8_t kPause[] = {0xE1, 0x14, 0x77, 0xE1, kBreak, 0x14, kBreak, 0x77};
        static constexpr std::uint8_t kControlPause[] = {kExtended, 0x7E, kExtended, kBreak, 0x7E};
        if (pressed) {
            emit_set2(control ? std::span<const std::uint8_t>(kControlPause) : kPause);
        }
        return;
    }
    const ScanCodes codes = scan_codes(key);
    std::vector<std::uint8_t> bytes;
    const auto add = [&](bool extended, std::uint8_t code) {
        if (extended) {
            bytes.push_back(kExtended);
        }
        if (!pressed) {
            bytes.push_back(kBreak);
        }
        bytes.push_back(code);
    };
    if (key == Key::PrintScreen) {
        if (pressed) {
            system_request_ = down(Key::LeftAlt) || down(Key::RightAlt);
            plain_print_screen_ = control || down(Key::LeftShift) || down(Key::RightShift);
        }
        if (system_request_) {
            add(false, kSystemRequest);
        } else if (plain_print_screen_) {
            add(true, codes.set2);
        } else if (pressed) {
            add(true, kShift);
            add(true, codes.set2);
        } else {
            add(true, codes.set2);
            add(true, kShift);
        }
    } else {
        add(codes.extended, codes.set2);
    }
    emit_set2(bytes);
}

/// Set 1 is set 2 with each code translated and the break prefix folded into bit 7.
void Ps2Keyboard::emit_set2(std::span<const std::uint8_t> bytes) {
    if (scan_set_ == 2) {
        push(bytes);
        return;
    }
    std::vector<std::uint8_t> set1;
    unsigned break_bit = 0;
    for (const std::uint8_t byte : bytes) {
        if (byte == kBreak) {
            break_bit = 0x80;
        } else {
            set1.push_back(static_cast<std::uint8_t>(translate_scan_code(byte) | break_bit));
            break_bit = 0;
        }
    }
    push(set1);
}

void Ps2Keyboard::emit_set3(Key key, bool pressed) {
    const std::uint8_t code = scan_codes(key).set3;
    if (pressed) {
        push(std::span(&code, 1));
    } else if ((kinds_[code] & static_cast<std::uint8_t>(Set3Kind::MakeBreak)) != 0) {
        const std::uint8_t bytes[] = {kBreak, code};
        push(bytes);
    }
}

// ---- typematic -----------------------------------------------------------------------------------------------------

bool Ps2Keyboard::repeats(Key key) const {
    if (scan_set_ == 3) {
        return (kinds_[scan_codes(key).set3] & static_cast<std::uint8_t>(Set3Kind::Typematic)) != 0;
    }
    return key != Key::Pause;
}

Nanoseconds Ps2Keyboard::repeat_delay() const {
    return ((rate_ >> 5 & 3) + 1) * 250 * kMillisecond;
}

/// (8 + A) * 2^B / 240 seconds; A is bits 2-0 of the rate, B bits 4-3.
Nanoseconds Ps2Keyboard::repeat_period() const {
    return (Nanoseconds{8 + (rate_ & 7)} << (rate_ >> 3 & 3)) * kSecond / 240;
}

/// Repeats that a late host missed are not made up for.
void Ps2Keyboard::repeat(Nanoseconds late) {
    if (repeating_ == Key::None) {
        return;
    }
    const Nanoseconds period = repeat_period();
    typematic_.schedule(clock_.now() + std::max(period - late % period, kShortestRepeat));
    emit(repeating_, true);
}

void Ps2Keyboard::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        std::fill(buffer_.begin() + buffer_size_, buffer_.end(), std::uint8_t{0});
        std::fill(reply_.begin() + reply_size_, reply_.end(), std::uint8_t{0});
        stream.field(buffer_);
        stream.field(reply_);
        ranged_field(stream, buffer_size_, 0, static_cast<std::uint8_t>(buffer_.size()));
        ranged_field(stream, reply_size_, 0, static_cast<std::uint8_t>(reply_.size()));
        ranged_field(stream, scan_set_, 1, 3);
        ranged_field(stream, rate_, 0, 0x7F);
        for (std::uint8_t* value : {&last_sent_, &awaiting_, &leds_}) {
            stream.field(*value);
        }
        for (bool* flag : {&scanning_, &testing_, &system_request_, &plain_print_screen_}) {
            stream.field(*flag);
        }
        ranged_field(stream, repeating_, Key::None, Key::Keypad9);
        stream.field(kinds_);
        stream.field(pressed_);
    });
    if (stream.loading() && on_leds_) {
        on_leds_(leds_);
    }
}

}  // namespace vpc::devices
