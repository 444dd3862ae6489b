#include "devices/vmware_backdoor.h"

#include <algorithm>
#include <utility>

#include "core/state_stream.h"
#include "devices/ps2_mouse.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint16_t kPort = 0x5658;
constexpr std::uint32_t kMagic = 0x564D5868;
constexpr std::uint32_t kOpenBus = 0xFFFFFFFF;
constexpr std::uint32_t kInterfaceVersion = 6;

enum Command : std::uint16_t { kGetVersion = 10, kPointerData = 39, kPointerStatus = 40, kPointerCommand = 41 };

// Parameters of kPointerCommand.
constexpr std::uint32_t kEnable = 0x45414552;    // "REAE"
constexpr std::uint32_t kRelative = 0x4C455252;  // "RREL"
constexpr std::uint32_t kAbsolute = 0x53424152;  // "RABS"
constexpr std::uint32_t kDisable = 0x000000F5;

constexpr std::uint32_t kIdentification = 0x3442554A;  // "JUB4"
constexpr std::uint32_t kStatusFailed = 0xFFFF0000;

// The first word of a packet.
constexpr std::uint32_t kLeftButton = 0x20;
constexpr std::uint32_t kRightButton = 0x10;
constexpr std::uint32_t kMiddleButton = 0x08;

}  // namespace

VmwareBackdoor::VmwareBackdoor(PortBus& ports, Registers registers, std::function<void()> wake_driver)
    : registers_(std::move(registers)), wake_driver_(std::move(wake_driver)) {
    port_ = ports.claim({.owner = "VMware backdoor", .first = kPort, .count = 4, .widest = 4},
                        {.read = [this](std::uint16_t offset, unsigned size) { return read(offset, size); },
                         .write = [](std::uint16_t, std::uint32_t, unsigned) {}});
}

void VmwareBackdoor::reset() {
    enabled_ = absolute_ = failed_ = false;
    x_ = y_ = 0;
    buttons_ = 0;
    count_ = 0;
}

// ---- from the guest ------------------------------------------------------------------------------------------------

std::uint32_t VmwareBackdoor::read(std::uint16_t offset, unsigned size) {
    if (offset != 0 || size != 4 || registers_.get(kEax) != kMagic) {
        return kOpenBus;
    }
    switch (registers_.get(kEcx) & 0xFFFF) {
        case kGetVersion:
            registers_.set(kEbx, kMagic);
            return kInterfaceVersion;
        case kPointerData:
            return take_words(registers_.get(kEbx));
        case kPointerStatus:
            return status();
        case kPointerCommand:
            control(registers_.get(kEbx));
            return 0;
        default:
            return kOpenBus;
    }
}

std::uint32_t VmwareBackdoor::status() const {
    return enabled_ && !failed_ ? count_ : kStatusFailed;
}

std::uint32_t VmwareBackdoor::take_words(std::uint32_t count) {
    if (count == 0 || count > kPacket || count > count_) {
        failed_ = true;
        return kOpenBus;
    }
    static constexpr std::array<GeneralRegister, kPacket - 1> kFurther = {kEbx, kEcx, kEdx};
    const std::uint32_t first = queue_[0];
    for (std::uint32_t i = 1; i < count; ++i) {
        registers_.set(kFurther[i - 1], queue_[i]);
    }
    std::shift_left(queue_.begin(), queue_.begin() + count_, count);
    count_ = static_cast<std::uint16_t>(count_ - count);
    return first;
}

void VmwareBackdoor::control(std::uint32_t what) {
    switch (what) {
        case kEnable:
            enabled_ = true;
            failed_ = absolute_ = false;
            queue_[0] = kIdentification;
            count_ = 1;
            break;
        case kDisable:
            enabled_ = absolute_ = false;
            count_ = 0;
            break;
        case kAbsolute:
            absolute_ = true;
            break;
        case kRelative:
            absolute_ = false;
            break;
        default:
            break;
    }
}

// ---- from the user -------------------------------------------------------------------------------------------------

void VmwareBackdoor::move_to(std::uint16_t x, std::uint16_t y) {
    if (x != x_ || y != y_) {
        x_ = x;
        y_ = y;
        queue_packet(0);
    }
}

void VmwareBackdoor::set_buttons(std::uint8_t buttons) {
    if (buttons != buttons_) {
        buttons_ = buttons;
        queue_packet(0);
    }
}

void VmwareBackdoor::turn_wheel(int clicks) {
    if (clicks != 0) {
        queue_packet(std::clamp(clicks, -128, 127));
    }
}

/// A driver that does not listen finds the last packet changed to the present position and buttons.
void VmwareBackdoor::queue_packet(int wheel) {
    if (!absolute()) {
        return;
    }
    if (count_ + kPacket > kMostWords) {
        count_ = static_cast<std::uint16_t>(count_ - kPacket);
    }
    std::uint32_t buttons = (buttons_ & Ps2Mouse::kLeft) != 0 ? kLeftButton : 0;
    buttons |= (buttons_ & Ps2Mouse::kRight) != 0 ? kRightButton : 0;
    buttons |= (buttons_ & Ps2Mouse::kMiddle) != 0 ? kMiddleButton : 0;
    for (const std::uint32_t word :
         {buttons, std::uint32_t{x_}, std::uint32_t{y_}, static_cast<std::uint32_t>(wheel)}) {
        queue_[count_++] = word;
    }
    wake_driver_();
}

void VmwareBackdoor::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        for (bool* flag : {&enabled_, &absolute_, &failed_}) {
            stream.field(*flag);
        }
        stream.field(x_);
        stream.field(y_);
        stream.field(buttons_);
        ranged_field(stream, count_, 0, kMostWords);
        std::fill(queue_.begin() + count_, queue_.end(), 0u);
        stream.field(queue_);
    });
}

}  // namespace vpc::devices
