#pragma once
#include <array>
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The VGA's sequencer, ports 3C4h (index) and 3C5h (data): dot clock, plane write enables, fonts, memory layout.
/// Reserved bits read as 0. Register and bit names are IBM's (PS/2 Hardware Interface Technical Reference, Video).
class Sequencer {
  public:
    enum Register : std::uint8_t { kReset, kClockingMode, kMapMask, kCharacterMapSelect, kMemoryMode, kRegisters };

    void write_index(std::uint8_t value) { index_ = value & 0x07; }
    std::uint8_t index() const { return index_; }
    /// True when the indexed register has a new value.
    bool write_data(std::uint8_t value);
    std::uint8_t read_data() const { return index_ < kRegisters ? registers_[index_] : 0; }

    bool eight_dots() const { return (registers_[kClockingMode] & 0x01) != 0; }
    /// Each dot lasts two dot clocks: the 320- and 360-dot modes.
    bool half_dot_clock() const { return (registers_[kClockingMode] & 0x08) != 0; }
    bool screen_off() const { return (registers_[kClockingMode] & 0x20) != 0; }
    /// One bit per plane that CPU stores may change.
    std::uint8_t map_mask() const { return registers_[kMapMask]; }
    /// Odd addresses store to the odd planes only and even ones to the even planes. The register bit says the reverse.
    bool odd_even() const { return (registers_[kMemoryMode] & 0x04) == 0; }
    bool chain_four() const { return (registers_[kMemoryMode] & 0x08) != 0; }
    /// Where in plane 2 the font of characters with attribute bit 3 set, or clear, begins.
    std::uint16_t font_offset(bool attribute_bit_3) const;

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    std::uint8_t index_ = 0;
    std::array<std::uint8_t, kRegisters> registers_{};
};

}  // namespace vpc::devices::vga
