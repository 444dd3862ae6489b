#pragma once
#include <array>
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The VGA's attribute controller, ports 3C0h (index and data, in turn) and 3C1h (reading): the 16-colour palette in
/// front of the DAC, and what attributes mean. Reserved bits read as 0. Names are IBM's.
class AttributeController {
  public:
    enum Register : std::uint8_t {
        kPalette = 0x00,  // 16 of them
        kModeControl = 0x10,
        kOverscanColor,
        kColorPlaneEnable,
        kHorizontalPelPanning,
        kColorSelect,
        kRegisters
    };

    /// A byte to 3C0h: index or data, as the flip-flop says, which it then turns. True when the picture may change.
    bool write(std::uint8_t value);
    /// Reading input status 1 makes the next byte to 3C0h an index.
    void reset_flip_flop() { data_next_ = false; }
    std::uint8_t index() const { return index_; }
    std::uint8_t read_data() const;

    /// The guest has handed the palette to the display; until then the screen shows the overscan colour.
    bool palette_on_display() const { return (index_ & 0x20) != 0; }
    /// Characters C0h-DFh repeat their eighth dot in the ninth.
    bool line_graphics() const { return (mode() & 0x04) != 0; }
    /// Attribute bit 7 means blinking instead of a bright background.
    bool blink() const { return (mode() & 0x08) != 0; }
    /// Below the line compare, panning is off.
    bool split_stops_panning() const { return (mode() & 0x20) != 0; }
    std::uint8_t overscan() const { return registers_[kOverscanColor]; }
    std::uint8_t pel_panning() const { return registers_[kHorizontalPelPanning]; }
    /// What a four-bit pixel or attribute looks up in the DAC.
    std::uint8_t dac_index(unsigned color) const;

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    std::uint8_t mode() const { return registers_[kModeControl]; }

    std::uint8_t index_ = 0;  // with bit 5, palette address source
    bool data_next_ = false;
    std::array<std::uint8_t, kRegisters> registers_{};
};

}  // namespace vpc::devices::vga
