#include "devices/vga/attribute_controller.h"

#include "core/state_stream.h"

namespace vpc::devices::vga {
namespace {

constexpr std::uint8_t kIndexBits = 0x1F;
constexpr std::uint8_t kPaletteAddressSource = 0x20;

std::uint8_t implemented_bits(unsigned index) {
    switch (index) {
        case AttributeController::kModeControl:
            return 0xEF;
        case AttributeController::kOverscanColor:
            return 0xFF;
        case AttributeController::kHorizontalPelPanning:
        case AttributeController::kColorSelect:
            return 0x0F;
        default:  // the palette and the colour plane enable
            return 0x3F;
    }
}

}  // namespace

bool AttributeController::write(std::uint8_t value) {
    data_next_ = !data_next_;
    if (data_next_) {  // this byte was the index
        const bool blanked = ((index_ ^ value) & kPaletteAddressSource) != 0;
        index_ = value & (kIndexBits | kPaletteAddressSource);
        return blanked;
    }
    const unsigned index = index_ & kIndexBits;
    // The display owns the palette while bit 5 of the index is set: the CPU's stores are lost.
    if (index >= kRegisters || (index < kModeControl && palette_on_display())) {
        return false;
    }
    const auto kept = static_cast<std::uint8_t>(value & implemented_bits(index));
    const bool changed = registers_[index] != kept;
    registers_[index] = kept;
    return changed;
}

std::uint8_t AttributeController::read_data() const {
    const unsigned index = index_ & kIndexBits;
    return index < kRegisters ? registers_[index] : 0;
}

std::uint8_t AttributeController::dac_index(unsigned color) const {
    const unsigned select = registers_[kColorSelect];
    unsigned index = registers_[kPalette + (color & registers_[kColorPlaneEnable] & 0x0F)];
    if ((mode() & 0x80) != 0) {  // P5, P4 select
        index = (index & 0x0F) | (select & 0x03) << 4;
    }
    return static_cast<std::uint8_t>((index & 0x3F) | (select & 0x0C) << 4);
}

void AttributeController::serialize(StateStream& stream) {
    stream.field(index_);
    stream.field(data_next_);
    stream.field(registers_);
}

}  // namespace vpc::devices::vga
