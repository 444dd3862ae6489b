#include "devices/vga/dac.h"

#include <algorithm>

#include "core/state_stream.h"

namespace vpc::devices::vga {

bool Dac::write_mask(std::uint8_t value) {
    const bool changed = mask_ != value;
    mask_ = value;
    return changed;
}

void Dac::write_read_address(std::uint8_t value) {
    reading_ = true;
    component_ = 0;
    holding_ = colors_[value];
    address_ = static_cast<std::uint8_t>(value + 1);
}

void Dac::write_write_address(std::uint8_t value) {
    reading_ = false;
    component_ = 0;
    address_ = value;
}

bool Dac::write_data(std::uint8_t value) {
    holding_[component_ % 3] = eight_bits_ ? value : value & 0x3F;
    component_ = static_cast<std::uint8_t>((component_ + 1) % 3);
    if (component_ != 0) {
        return false;
    }
    const bool changed = colors_[address_] != holding_;
    colors_[address_] = holding_;
    ++address_;
    return changed;
}

std::uint8_t Dac::read_data() {
    const std::uint8_t value = peek_data();
    component_ = static_cast<std::uint8_t>((component_ + 1) % 3);
    if (component_ == 0) {
        holding_ = colors_[address_++];
    }
    return value;
}

std::uint32_t Dac::color(std::uint8_t index) const {
    std::uint32_t result = 0;
    for (const std::uint32_t component : colors_[index & mask_]) {
        result = result << 8 | (eight_bits_ ? component : (component << 2 | component >> 4) & 0xFF);
    }
    return result;
}

void Dac::set_eight_bits(bool eight_bits) {
    if (eight_bits == eight_bits_) {
        return;
    }
    eight_bits_ = eight_bits;
    const auto convert = [eight_bits](Color& color) {
        for (std::uint8_t& component : color) {
            component = static_cast<std::uint8_t>(eight_bits ? component << 2 : component >> 2);
        }
    };
    std::for_each(colors_.begin(), colors_.end(), convert);
    convert(holding_);
}

void Dac::serialize(StateStream& stream) {
    for (Color& color : colors_) {
        stream.field(color);
    }
    stream.field(holding_);
    stream.field(mask_);
    stream.field(address_);
    stream.field(component_);
    stream.field(reading_);
    stream.field(eight_bits_);
}

}  // namespace vpc::devices::vga
