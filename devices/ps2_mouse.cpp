#include "devices/ps2_mouse.h"

#include <algorithm>
#include <cstdlib>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::int32_t kMostCounts = 1 << 20;  // beyond it movement is lost: far more than any screen

enum Command : std::uint8_t {
    kScaleOne = 0xE6,
    kScaleTwo = 0xE7,
    kSetResolution = 0xE8,
    kRequestStatus = 0xE9,
    kStreamMode = 0xEA,
    kReadData = 0xEB,
    kEndWrap = 0xEC,
    kWrapMode = 0xEE,
    kRemoteMode = 0xF0,
    kIdentify = 0xF2,
    kSetRate = 0xF3,
    kEnable = 0xF4,
    kDisable = 0xF5,
    kSetDefaults = 0xF6,
    kResend = 0xFE,
    kReset = 0xFF,
};

constexpr std::uint8_t kAck = 0xFA;
constexpr std::uint8_t kNack = 0xFE;
constexpr std::uint8_t kError = 0xFC;  // the second invalid byte in a row
constexpr std::uint8_t kSelfTestPassed = 0xAA;

constexpr std::uint8_t kIntelliMouse = 3;
constexpr std::uint8_t kExplorer = 4;

// The first byte of a packet, and the status's.
constexpr unsigned kAlwaysOne = 0x08;
constexpr unsigned kRightNegative = 0x10;
constexpr unsigned kUpNegative = 0x20;
constexpr unsigned kStatusScaleTwo = 0x10;
constexpr unsigned kStatusReporting = 0x20;
constexpr unsigned kStatusRemote = 0x40;

constexpr std::uint8_t kThreeButtons = Ps2Mouse::kLeft | Ps2Mouse::kRight | Ps2Mouse::kMiddle;
constexpr std::uint8_t kFiveButtons = kThreeButtons | Ps2Mouse::kSide | Ps2Mouse::kExtra;

bool is_rate(std::uint8_t value) {
    static constexpr std::array<std::uint8_t, 7> kRates = {10, 20, 40, 60, 80, 100, 200};
    return std::find(kRates.begin(), kRates.end(), value) != kRates.end();
}

/// Scaling 2:1.
int scaled_twice(int counts) {
    static constexpr std::array<int, 6> kSmall = {0, 1, 1, 3, 6, 9};
    const int size = std::abs(counts);
    const int result = size < static_cast<int>(kSmall.size()) ? kSmall[static_cast<std::size_t>(size)] : 2 * size;
    return counts < 0 ? -result : result;
}

/// What of `value` lies between `least` and `most`; the rest stays.
int take(std::int32_t& value, int least, int most) {
    const int taken = std::clamp<int>(value, least, most);
    value -= taken;
    return taken;
}

}  // namespace

Ps2Mouse::Ps2Mouse(VirtualClock& clock) : clock_(clock) {
    sample_ = clock.make_event("PS/2 mouse sample", [this](std::int64_t, Nanoseconds) { sample(); });
    self_test_ = clock.make_event("PS/2 mouse self-test", [this](std::int64_t, Nanoseconds) {
        size_ = last_size_ = 0;
        answer(kSelfTestPassed);
        answer(identification_);
        announce();
    });
    reset();
}

void Ps2Mouse::reset() {
    self_test_.cancel();
    size_ = last_size_ = awaiting_ = identification_ = 0;
    wrapping_ = refused_ = false;
    earlier_rates_.fill(0);
    set_defaults();
}

void Ps2Mouse::set_defaults() {
    mode_ = Mode::Stream;
    reporting_ = double_scale_ = false;
    resolution_ = 2;
    rate_ = 100;
    sample_.cancel();
    forget_changes();
}

void Ps2Mouse::forget_changes() {
    changes_.fill({});
    changes_[0].buttons = told_buttons_ = buttons_;
    change_count_ = 1;
    wake_ = false;
}

// ---- from the user -------------------------------------------------------------------------------------------------

/// Where movement with these buttons down is collected.
Ps2Mouse::Change& Ps2Mouse::change_with(std::uint8_t buttons) {
    Change& last = changes_[change_count_ - 1u];
    if (last.buttons == buttons) {
        return last;
    }
    const bool nothing_to_tell = last.buttons == told_buttons_ && last.right == 0 && last.up == 0 && last.wheel == 0;
    if (change_count_ == 1 && nothing_to_tell) {
        last.buttons = buttons;
        return last;
    }
    if (change_count_ < changes_.size()) {
        Change& next = changes_[change_count_++];
        next = {.buttons = buttons};
        return next;
    }
    last.buttons = buttons;  // somebody clicks faster than the guest listens
    return last;
}

void Ps2Mouse::move(int right, int down, int wheel) {
    const auto add = [](std::int32_t& sum, int more) {
        sum = std::clamp(sum + std::clamp(more, -kMostCounts, kMostCounts), -kMostCounts, kMostCounts);
    };
    Change& change = change_with(buttons_);
    add(change.right, right);
    add(change.up, -std::max(down, -kMostCounts));
    add(change.wheel, wheel);
    sample_soon();
}

void Ps2Mouse::set_buttons(std::uint8_t buttons) {
    buttons_ = buttons & kFiveButtons;
    change_with(buttons_);
    sample_soon();
}

void Ps2Mouse::wake_driver() {
    wake_ = true;
    sample_soon();
}

bool Ps2Mouse::has_changes() const {
    const Change& first = changes_[0];
    return wake_ || change_count_ > 1 || first.buttons != told_buttons_ || first.right != 0 || first.up != 0 ||
           first.wheel != 0;
}

void Ps2Mouse::sample_soon() {
    if (mode_ == Mode::Stream && !reporting_) {
        forget_changes();
    } else if (mode_ == Mode::Stream && !wrapping_ && size_ == 0 && !self_test_.pending() && !sample_.pending() &&
               has_changes()) {
        sample_.schedule(clock_.now());
    }
}

void Ps2Mouse::sample() {
    if (mode_ != Mode::Stream || !reporting_ || wrapping_ || size_ != 0 || self_test_.pending() || !has_changes()) {
        return;
    }
    last_size_ = 0;
    add_packet(double_scale_);
    sample_.schedule(clock_.now() + kSecond / rate_);
    announce();
}

/// The oldest changes, as much as fits.
void Ps2Mouse::add_packet(bool scaled) {
    Change& change = changes_[0];
    const int most = scaled ? 127 : 255;
    const auto counts = [&](std::int32_t& value) {
        const int taken = take(value, -most, most);
        return scaled ? scaled_twice(taken) : taken;
    };
    const int right = counts(change.right);
    const int up = counts(change.up);
    unsigned first = kAlwaysOne | (change.buttons & kThreeButtons);
    first |= right < 0 ? kRightNegative : 0u;
    first |= up < 0 ? kUpNegative : 0u;
    answer(static_cast<std::uint8_t>(first));
    answer(static_cast<std::uint8_t>(right));
    answer(static_cast<std::uint8_t>(up));
    if (identification_ == 0) {
        change.wheel = 0;
    } else {
        const auto wheel = static_cast<unsigned>(take(change.wheel, -8, 7));
        const unsigned more_buttons = static_cast<unsigned>(change.buttons & (kSide | kExtra)) << 1;
        answer(static_cast<std::uint8_t>(identification_ == kExplorer ? (wheel & 0x0F) | more_buttons : wheel));
    }
    told_buttons_ = change.buttons;
    wake_ = false;
    if (change_count_ > 1 && change.right == 0 && change.up == 0 && change.wheel == 0) {
        std::shift_left(changes_.begin(), changes_.end(), 1);
        changes_.back() = {};
        --change_count_;
    }
}

// ---- towards the host ----------------------------------------------------------------------------------------------

void Ps2Mouse::answer(std::uint8_t byte) {
    if (size_ < output_.size() && last_size_ < last_.size()) {
        output_[size_++] = byte;
        last_[last_size_++] = byte;
    }
}

std::uint8_t Ps2Mouse::take_byte() {
    if (size_ == 0) {
        return 0;
    }
    const std::uint8_t byte = output_[0];
    std::shift_left(output_.begin(), output_.end(), 1);
    if (--size_ == 0) {
        sample_soon();
    }
    return byte;
}

// ---- from the host -------------------------------------------------------------------------------------------------

void Ps2Mouse::receive(std::uint8_t byte) {
    size_ = 0;  // a new byte cuts off what was being said
    if (byte == kResend && !wrapping_) {
        std::copy(last_.begin(), last_.end(), output_.begin());
        size_ = last_size_;
        return;
    }
    self_test_.cancel();  // unless it is another reset
    last_size_ = 0;
    if (wrapping_ && byte != kReset && byte != kEndWrap) {
        answer(byte);
        return;
    }
    const std::uint8_t waiting = awaiting_;
    awaiting_ = 0;
    if (waiting != 0 && byte < kScaleOne) {
        parameter(waiting, byte);
    } else {
        command(byte);
    }
    if (size_ == 0) {
        sample_soon();
    }
}

void Ps2Mouse::refuse() {
    answer(refused_ ? kError : kNack);
    refused_ = !refused_;
}

void Ps2Mouse::parameter(std::uint8_t command, std::uint8_t byte) {
    if (command == kSetResolution ? byte > 3 : !is_rate(byte)) {
        awaiting_ = command;  // a right one may follow
        refuse();
        return;
    }
    refused_ = false;
    answer(kAck);
    if (command == kSetResolution) {
        resolution_ = byte;
        return;
    }
    if (earlier_rates_[0] == 200 && byte == 80) {
        if (earlier_rates_[1] == 100) {
            identification_ = kIntelliMouse;
        } else if (earlier_rates_[1] == 200) {
            identification_ = kExplorer;
        }
    }
    earlier_rates_ = {earlier_rates_[1], byte};
    rate_ = byte;
}

void Ps2Mouse::command(std::uint8_t byte) {
    const bool was_refused = refused_;
    refused_ = false;
    answer(kAck);
    switch (byte) {
        case kScaleOne:
            double_scale_ = false;
            return;
        case kScaleTwo:
            double_scale_ = true;
            return;
        case kSetResolution:
        case kSetRate:
            awaiting_ = byte;
            return;
        case kRequestStatus: {
            unsigned status = mode_ == Mode::Remote ? kStatusRemote : 0u;
            status |= reporting_ ? kStatusReporting : 0u;
            status |= double_scale_ ? kStatusScaleTwo : 0u;
            status |= (buttons_ & kLeft) != 0 ? 4u : 0u;
            status |= (buttons_ & kMiddle) != 0 ? 2u : 0u;
            status |= (buttons_ & kRight) != 0 ? 1u : 0u;
            answer(static_cast<std::uint8_t>(status));
            answer(resolution_);
            answer(rate_);
            return;
        }
        case kStreamMode:
            mode_ = Mode::Stream;
            forget_changes();
            return;
        case kReadData:
            add_packet(false);
            return;
        case kEndWrap:
            wrapping_ = false;
            forget_changes();
            return;
        case kWrapMode:
            wrapping_ = true;
            forget_changes();
            return;
        case kRemoteMode:
            mode_ = Mode::Remote;
            forget_changes();
            return;
        case kIdentify:
            answer(identification_);
            return;
        case kEnable:
            reporting_ = true;
            forget_changes();
            return;
        case kDisable:
            reporting_ = false;
            forget_changes();
            return;
        case kSetDefaults:
            set_defaults();
            return;
        case kReset:
            reset();
            answer(kAck);
            self_test_.schedule(clock_.now() + kSelfTestTime);
            return;
        default:
            size_ = last_size_ = 0;
            refused_ = was_refused;
            refuse();
            return;
    }
}

void Ps2Mouse::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        std::fill(output_.begin() + size_, output_.end(), std::uint8_t{0});
        std::fill(last_.begin() + last_size_, last_.end(), std::uint8_t{0});
        stream.field(output_);
        stream.field(last_);
        ranged_field(stream, size_, 0, kLongestAnswer);
        ranged_field(stream, last_size_, 0, kLongestAnswer);
        ranged_field(stream, change_count_, 1, kMostChanges);
        for (Change& change : changes_) {
            for (std::int32_t* counts : {&change.right, &change.up, &change.wheel}) {
                ranged_field(stream, *counts, -kMostCounts, kMostCounts);
            }
            ranged_field(stream, change.buttons, 0, kFiveButtons);
        }
        ranged_field(stream, mode_, Mode::Stream, Mode::Remote);
        for (bool* flag : {&wake_, &wrapping_, &reporting_, &double_scale_, &refused_}) {
            stream.field(*flag);
        }
        stream.field(awaiting_);
        stream.field(earlier_rates_);
        ranged_field(stream, identification_, 0, kExplorer);
        ranged_field(stream, resolution_, 0, 3);
        ranged_field(stream, rate_, 10, 200);
        ranged_field(stream, buttons_, 0, kFiveButtons);
        ranged_field(stream, told_buttons_, 0, kFiveButtons);
    });
}

}  // namespace vpc::devices
