#pragma once
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The Bochs adapter's display interface ("VBE DISPI", version B0C5h): sixteen-bit registers behind an index port and a
/// data port, 1CEh and 1CFh, that switch from the VGA to packed-pixel frames of any size. Register names and semantics
/// are those of Bochs' interface description (iodev/display, "vbe_display_api.txt").
///
/// What the description leaves open, and is so here: geometry written while a mode is on is ignored; a mode that does
/// not fit the memory or whose depth does not exist is not switched on (the enable bit reads as 0); a virtual width
/// that is smaller than the picture's, or too large for its lines to fit the memory, is ignored; the picture wraps at
/// the memory's end whatever the offsets are.
class BochsDispi {
  public:
    enum Register : std::uint8_t {
        kId,
        kXResolution,
        kYResolution,
        kBitsPerPixel,
        kEnable,
        kBank,
        kVirtualWidth,
        kVirtualHeight,
        kXOffset,
        kYOffset,
        kVideoMemory64K,
        kRegisters
    };
    // Bits of the enable register.
    static constexpr std::uint16_t kEnabled = 0x01;
    static constexpr std::uint16_t kGetCapabilities = 0x02;
    static constexpr std::uint16_t kEightBitDac = 0x20;
    static constexpr std::uint16_t kLinearFrameBuffer = 0x40;
    static constexpr std::uint16_t kNoClear = 0x80;

    static constexpr std::uint16_t kIdLowest = 0xB0C0;
    static constexpr std::uint16_t kIdHighest = 0xB0C5;
    // What reading the geometry gives with kGetCapabilities set; Bochs' own figures.
    static constexpr std::uint16_t kMaximumWidth = 2560;
    static constexpr std::uint16_t kMaximumHeight = 1600;
    static constexpr std::uint16_t kMaximumDepth = 32;

    void write_index(std::uint16_t value) { index_ = value; }
    std::uint16_t index() const { return index_; }

    enum class Change : std::uint8_t { None, View, Mode, ModeAndClear };
    /// What the write did: View when another part of the memory, or more of it, shows or is in the window; Mode when a
    /// mode began or ended or the DAC got wider; ModeAndClear when a mode began with a black screen.
    Change write_data(std::uint16_t value);
    std::uint16_t read_data() const;

    bool enabled() const { return (enable_ & kEnabled) != 0; }
    bool eight_bit_dac() const { return (enable_ & kEightBitDac) != 0; }
    unsigned width() const { return x_resolution_; }
    unsigned height() const { return y_resolution_; }
    /// 4, 8, 15, 16, 24 or 32. Four means the VGA's planes.
    unsigned bits_per_pixel() const { return bits_per_pixel_; }
    /// Bytes in the memory from a line to the next, or plane offsets in four-bit modes.
    std::uint32_t pitch() const { return pitch_of(virtual_width_); }
    /// Of the byte (or plane offset) that holds the upper left pixel, which is its start_pixel()th from the left.
    std::uint32_t start() const;
    unsigned start_pixel() const { return bits_per_pixel_ == 4 ? x_offset_ % 8u : 0; }
    std::uint32_t bank() const { return bank_; }

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    std::uint32_t pitch_of(std::uint32_t pixels) const;
    std::uint32_t memory_in_units() const;
    bool fits(std::uint32_t virtual_width) const;
    Change write_enable(std::uint16_t value);

    std::uint16_t index_ = 0;
    std::uint16_t id_ = kIdHighest;
    std::uint16_t x_resolution_ = 0;
    std::uint16_t y_resolution_ = 0;
    std::uint16_t bits_per_pixel_ = 8;
    std::uint16_t enable_ = 0;
    std::uint16_t bank_ = 0;
    std::uint16_t virtual_width_ = 0;
    std::uint16_t x_offset_ = 0;
    std::uint16_t y_offset_ = 0;
};

}  // namespace vpc::devices::vga
