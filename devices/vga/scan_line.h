#pragma once
#include <array>
#include <cstdint>
#include <span>

namespace vpc::devices::vga {

struct Display;

/// Turns what the CRTC fetches in one scan line into dots. Looks up the colours once, when it is made; the display must
/// not change while it is used.
class ScanLinePainter {
  public:
    explicit ScanLinePainter(const Display& display);

    /// `counter` is the address counter at the line's left end, `row` the line's place in its character row. Fills `to`
    /// with `characters` times the display's dots per character.
    void paint(std::uint16_t counter, unsigned row, unsigned characters, std::span<std::uint32_t> to) const;

  private:
    void paint_text(std::uint16_t counter, unsigned row, unsigned characters, std::uint32_t* to) const;
    void paint_planar(std::uint32_t word, std::uint32_t* to) const;
    void paint_interleaved(std::uint32_t word, std::uint32_t* to) const;
    void paint_packed(std::uint32_t word, std::uint32_t* to) const;

    const Display& display_;
    std::array<std::uint32_t, 16> colors_;
};

}  // namespace vpc::devices::vga
