#include "devices/vga/scan_line.h"

#include "devices/vga/display.h"

namespace vpc::devices::vga {
namespace {

constexpr unsigned kFontPlane = 2;
constexpr unsigned kGlyphBytes = 32;
constexpr std::uint8_t kBlinkBit = 0x80;
constexpr std::uint8_t kSecondFontBit = 0x08;

/// The only attributes that underline: the MDA's 1 and 9 on black, with or without blinking.
constexpr bool underlines(std::uint8_t attribute) {
    return (attribute & 0x77) == 0x01;
}

constexpr bool draws_lines(std::uint8_t code) {
    return code >= 0xC0 && code <= 0xDF;
}

}  // namespace

ScanLinePainter::ScanLinePainter(const Display& display) : display_(display), colors_(display.colors()) {}

void ScanLinePainter::paint(std::uint16_t counter, unsigned row, unsigned characters,
                            std::span<std::uint32_t> to) const {
    if (!display_.graphics.graphics()) {
        paint_text(counter, row, characters, to.data());
        return;
    }
    for (unsigned i = 0; i < characters; ++i) {
        const auto fetched = display_.crtc.memory_address(display_.crtc.counter_at(counter, i), row);
        const std::uint32_t word = display_.memory.word(fetched);
        switch (display_.graphics.shift()) {
            case GraphicsController::Shift::Planar:
                paint_planar(word, &to[i * 8]);
                break;
            case GraphicsController::Shift::Interleaved:
                paint_interleaved(word, &to[i * 8]);
                break;
            case GraphicsController::Shift::Packed:
                paint_packed(word, &to[i * 8]);
                break;
        }
    }
}

void ScanLinePainter::paint_text(std::uint16_t first, unsigned row, unsigned characters, std::uint32_t* to) const {
    const Crtc& crtc = display_.crtc;
    const unsigned dots = display_.character_dots();
    const unsigned fonts[2] = {display_.sequencer.font_offset(false), display_.sequencer.font_offset(true)};
    const bool cursor_in_row = crtc.cursor_enabled() && row >= crtc.cursor_first_row() && row <= crtc.cursor_last_row();
    for (unsigned i = 0; i < characters; ++i) {
        const std::uint16_t counter = crtc.counter_at(first, i);
        const std::uint32_t cell = display_.memory.word(crtc.memory_address(counter, row));
        const auto code = static_cast<std::uint8_t>(cell);
        const auto attribute = static_cast<std::uint8_t>(cell >> 8);
        const unsigned font = fonts[(attribute & kSecondFontBit) != 0 ? 1 : 0];
        unsigned glyph = display_.memory.byte(kFontPlane, font + code * kGlyphBytes + row) * 2u;  // bit 0: ninth dot
        if (display_.attributes.line_graphics() && draws_lines(code)) {
            glyph |= (glyph >> 1) & 1;
        }
        if ((cursor_in_row && counter == crtc.cursor_location()) ||
            (underlines(attribute) && row == crtc.underline_row())) {
            glyph = 0x1FF;
        }
        const std::uint32_t foreground = colors_[attribute & 0x0F];
        const bool blinks = display_.attributes.blink();
        const std::uint32_t background = colors_[(attribute & (blinks ? ~kBlinkBit : 0xFF)) >> 4 & 0x0F];
        for (unsigned dot = 0; dot < dots; ++dot) {
            *to++ = (glyph >> (8 - dot) & 1) != 0 ? foreground : background;
        }
    }
}

void ScanLinePainter::paint_planar(std::uint32_t word, std::uint32_t* to) const {
    for (unsigned dot = 0; dot < 8; ++dot) {
        const std::uint32_t bits = word >> (7 - dot) & 0x01010101u;
        to[dot] = colors_[(bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0F];
    }
}

void ScanLinePainter::paint_interleaved(std::uint32_t word, std::uint32_t* to) const {
    // Planes 0 and 1 hold the low pairs of bits of the first and the last four pixels, planes 2 and 3 the high ones.
    for (unsigned dot = 0; dot < 8; ++dot) {
        const unsigned low_plane = dot / 4;
        const unsigned shift = 6 - 2 * (dot % 4);
        const unsigned low = word >> (8 * low_plane + shift) & 3;
        const unsigned high = word >> (8 * (low_plane + 2) + shift) & 3;
        to[dot] = colors_[low | high << 2];
    }
}

void ScanLinePainter::paint_packed(std::uint32_t word, std::uint32_t* to) const {
    for (unsigned pixel = 0; pixel < 4; ++pixel) {
        to[2 * pixel] = to[2 * pixel + 1] = display_.dac.color(static_cast<std::uint8_t>(word >> (8 * pixel)));
    }
}

}  // namespace vpc::devices::vga
