#include "devices/vga/sequencer.h"

#include "core/state_stream.h"

namespace vpc::devices::vga {
namespace {

constexpr std::array<std::uint8_t, Sequencer::kRegisters> kImplementedBits = {0x03, 0x3D, 0x0F, 0x3F, 0x0E};

}  // namespace

bool Sequencer::write_data(std::uint8_t value) {
    if (index_ >= kRegisters) {
        return false;
    }
    const auto kept = static_cast<std::uint8_t>(value & kImplementedBits[index_]);
    const bool changed = registers_[index_] != kept;
    registers_[index_] = kept;
    return changed;
}

std::uint16_t Sequencer::font_offset(bool attribute_bit_3) const {
    // Map A, for attribute bit 3 set, is selected by bits 5, 3, 2; map B by bits 4, 1, 0. Maps 0-3 start every 16 KiB,
    // maps 4-7 lie 8 KiB after them.
    const unsigned select = registers_[kCharacterMapSelect];
    const unsigned quarter = attribute_bit_3 ? (select >> 2) & 3 : select & 3;
    const bool second_half = (select & (attribute_bit_3 ? 0x20u : 0x10u)) != 0;
    return static_cast<std::uint16_t>(quarter * 0x4000 + (second_half ? 0x2000 : 0));
}

void Sequencer::serialize(StateStream& stream) {
    stream.field(index_);
    stream.field(registers_);
}

}  // namespace vpc::devices::vga
