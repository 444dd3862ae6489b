#pragma once
#include <array>
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The VGA's DAC, ports 3C6h-3C9h (IBM PS/2 Hardware Interface Technical Reference, Video): 256 colours of 3 x 6 bits
/// behind one address counter. The Bochs adapter can widen it to 3 x 8 bits; colours keep their brightness then.
class Dac {
  public:
    /// 3C6h. True when it changed.
    bool write_mask(std::uint8_t value);
    std::uint8_t mask() const { return mask_; }
    /// 3C7h: fetches the colour to be read; the address is then already that of the next.
    void write_read_address(std::uint8_t value);
    /// 3C8h.
    void write_write_address(std::uint8_t value);
    std::uint8_t address() const { return address_; }
    /// What 3C7h reads as: 3 after an address for reading, 0 after one for writing.
    std::uint8_t state() const { return reading_ ? 3 : 0; }
    /// 3C9h: red, green, blue in turn; the third stores the colour. True when a colour changed.
    bool write_data(std::uint8_t value);
    std::uint8_t read_data();
    std::uint8_t peek_data() const { return holding_[component_ % 3]; }

    /// The colour on the screen for `index`, after the mask, as XRGB with 8 bits each.
    std::uint32_t color(std::uint8_t index) const;

    void set_eight_bits(bool eight_bits);

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    using Color = std::array<std::uint8_t, 3>;

    std::array<Color, 256> colors_{};
    Color holding_{};
    std::uint8_t mask_ = 0xFF;
    std::uint8_t address_ = 0;
    std::uint8_t component_ = 0;
    bool reading_ = false;
    bool eight_bits_ = false;
};

}  // namespace vpc::devices::vga
