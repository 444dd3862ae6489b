#include "devices/vga/bochs_dispi.h"

#include <algorithm>

#include "core/state_stream.h"
#include "devices/vga/video_ram.h"

namespace vpc::devices::vga {
namespace {

constexpr std::uint16_t kBanks = VideoRam::kSize / 0x10000;
constexpr std::uint16_t kWidthUnit = 8;  // pixels

bool is_depth(std::uint16_t bits) {
    return bits == 4 || bits == 8 || bits == 15 || bits == 16 || bits == 24 || bits == 32;
}

}  // namespace

std::uint32_t BochsDispi::pitch_of(std::uint32_t pixels) const {
    return bits_per_pixel_ == 4 ? pixels / 8 : pixels * ((bits_per_pixel_ + 7u) / 8);
}

std::uint32_t BochsDispi::memory_in_units() const {
    return bits_per_pixel_ == 4 ? VideoRam::kSize / 4 : VideoRam::kSize;
}

bool BochsDispi::fits(std::uint32_t virtual_width) const {
    return virtual_width >= x_resolution_ && pitch_of(virtual_width) * y_resolution_ <= memory_in_units();
}

std::uint32_t BochsDispi::start() const {
    return (y_offset_ * pitch() + pitch_of(x_offset_)) % memory_in_units();
}

std::uint16_t BochsDispi::read_data() const {
    const bool capabilities = (enable_ & kGetCapabilities) != 0;
    switch (index_) {
        case kId:
            return id_;
        case kXResolution:
            return capabilities ? kMaximumWidth : x_resolution_;
        case kYResolution:
            return capabilities ? kMaximumHeight : y_resolution_;
        case kBitsPerPixel:
            return capabilities ? kMaximumDepth : bits_per_pixel_;
        case kEnable:
            return enable_;
        case kBank:
            return bank_;
        case kVirtualWidth:
            return virtual_width_;
        case kVirtualHeight:
            return enabled() ? static_cast<std::uint16_t>(std::min(memory_in_units() / pitch(), 0xFFFFu)) : 0;
        case kXOffset:
            return x_offset_;
        case kYOffset:
            return y_offset_;
        case kVideoMemory64K:
            return kBanks;
        default:
            return 0;
    }
}

BochsDispi::Change BochsDispi::write_data(std::uint16_t value) {
    const auto view = [this, &value](std::uint16_t& field) {
        const bool changed = field != value;
        field = value;
        return changed && enabled() ? Change::View : Change::None;
    };
    switch (index_) {
        case kId:
            if (value >= kIdLowest && value <= kIdHighest) {
                id_ = value;
            }
            return Change::None;
        case kXResolution:
            if (!enabled() && value <= kMaximumWidth) {
                x_resolution_ = static_cast<std::uint16_t>(value - value % kWidthUnit);
            }
            return Change::None;
        case kYResolution:
            if (!enabled() && value <= kMaximumHeight) {
                y_resolution_ = value;
            }
            return Change::None;
        case kBitsPerPixel:
            if (!enabled() && (value == 0 || is_depth(value))) {
                bits_per_pixel_ = value == 0 ? 8 : value;  // 0: as version B0C0h, which knew eight bits only
            }
            return Change::None;
        case kEnable:
            return write_enable(value);
        case kBank:
            value %= kBanks;
            return view(bank_);
        case kVirtualWidth:
            value = static_cast<std::uint16_t>(value - value % kWidthUnit);
            return enabled() && fits(value) ? view(virtual_width_) : Change::None;
        case kXOffset:
            return view(x_offset_);
        case kYOffset:
            return view(y_offset_);
        default:
            return Change::None;
    }
}

BochsDispi::Change BochsDispi::write_enable(std::uint16_t value) {
    const std::uint16_t before = enable_;
    enable_ = value & (kEnabled | kGetCapabilities | kEightBitDac | kLinearFrameBuffer | kNoClear);
    const bool begins = enabled() && (before & kEnabled) == 0;
    if (begins) {
        if (x_resolution_ == 0 || y_resolution_ == 0 || !fits(x_resolution_)) {
            enable_ = static_cast<std::uint16_t>(enable_ & ~kEnabled);
        } else {
            virtual_width_ = x_resolution_;
            x_offset_ = 0;
            y_offset_ = 0;
            bank_ = 0;
            return (value & kNoClear) != 0 ? Change::Mode : Change::ModeAndClear;
        }
    }
    return ((before ^ enable_) & (kEnabled | kEightBitDac)) != 0 ? Change::Mode : Change::None;
}

void BochsDispi::serialize(StateStream& stream) {
    stream.field(index_);
    BochsDispi loaded = *this;
    for (std::uint16_t* field :
         {&loaded.id_, &loaded.x_resolution_, &loaded.y_resolution_, &loaded.bits_per_pixel_, &loaded.enable_,
          &loaded.bank_, &loaded.virtual_width_, &loaded.x_offset_, &loaded.y_offset_}) {
        stream.field(*field);
    }
    if (!stream.loading()) {
        return;
    }
    const bool sound = loaded.id_ >= kIdLowest && loaded.id_ <= kIdHighest && loaded.x_resolution_ <= kMaximumWidth &&
                       loaded.x_resolution_ % kWidthUnit == 0 && loaded.y_resolution_ <= kMaximumHeight &&
                       is_depth(loaded.bits_per_pixel_) && loaded.bank_ < kBanks;
    if (!sound || (loaded.enabled() &&
                   (loaded.x_resolution_ == 0 || loaded.y_resolution_ == 0 || !loaded.fits(loaded.virtual_width_)))) {
        stream.refuse("the display interface has a mode that does not exist");
    }
    *this = loaded;
}

}  // namespace vpc::devices::vga
