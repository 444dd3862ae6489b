#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "devices/vga/vga.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {

/// The register values of a BIOS video mode, from IBM's tables. The attribute registers follow the sixteen of the
/// palette.
struct VgaMode {
    std::uint8_t miscellaneous_output;
    std::array<std::uint8_t, 5> sequencer;
    std::array<std::uint8_t, 25> crtc;
    std::array<std::uint8_t, 9> graphics;
    std::array<std::uint8_t, 21> attributes;
};

// clang-format off
inline constexpr VgaMode kMode3 = {  // text, 80 x 25 characters of 9 x 16 dots
    .miscellaneous_output = 0x67,
    .sequencer = {0x03, 0x00, 0x03, 0x00, 0x02},
    .crtc = {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0x00,
             0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0E, 0x00, 0xFF},
    .attributes = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A,
                   0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C, 0x00, 0x0F, 0x08, 0x00}};
inline constexpr VgaMode kMode4 = {  // 320 x 200 in 4 colours, the CGA's
    .miscellaneous_output = 0x63,
    .sequencer = {0x03, 0x09, 0x03, 0x00, 0x02},
    .crtc = {0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x14, 0x00, 0x96, 0xB9, 0xA2, 0xFF},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x30, 0x0F, 0x00, 0xFF},
    .attributes = {0x00, 0x13, 0x15, 0x17, 0x02, 0x04, 0x06, 0x07, 0x10, 0x11, 0x12,
                   0x13, 0x14, 0x15, 0x16, 0x17, 0x01, 0x00, 0x03, 0x00, 0x00}};
inline constexpr VgaMode kMode6 = {  // 640 x 200 in 2 colours, the CGA's
    .miscellaneous_output = 0x63,
    .sequencer = {0x03, 0x01, 0x01, 0x00, 0x06},
    .crtc = {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x00, 0x96, 0xB9, 0xC2, 0xFF},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0D, 0x00, 0xFF},
    .attributes = {0x00, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17,
                   0x17, 0x17, 0x17, 0x17, 0x17, 0x01, 0x00, 0x01, 0x00, 0x00}};
inline constexpr VgaMode kMode12 = {  // 640 x 480 in 16 colours
    .miscellaneous_output = 0xE3,
    .sequencer = {0x03, 0x01, 0x0F, 0x00, 0x06},
    .crtc = {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0x0B, 0x3E, 0x00, 0x40, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0xEA, 0x8C, 0xDF, 0x28, 0x00, 0xE7, 0x04, 0xE3, 0xFF},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x0F, 0xFF},
    .attributes = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3A,
                   0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x01, 0x00, 0x0F, 0x00, 0x00}};
inline constexpr VgaMode kMode13 = {  // 320 x 200 in 256 colours
    .miscellaneous_output = 0x63,
    .sequencer = {0x03, 0x01, 0x0F, 0x00, 0x0E},
    .crtc = {0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0x41, 0x00, 0x00, 0x00,
             0x00, 0x00, 0x00, 0x9C, 0x8E, 0x8F, 0x28, 0x40, 0x96, 0xB9, 0xA3, 0xFF},
    .graphics = {0x00, 0x00, 0x00, 0x00, 0x00, 0x40, 0x05, 0x0F, 0xFF},
    .attributes = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A,
                   0x0B, 0x0C, 0x0D, 0x0E, 0x0F, 0x41, 0x00, 0x0F, 0x00, 0x00}};
// clang-format on

/// Random numbers in the width of the machine's registers.
class Random {
  public:
    explicit Random(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine_()); }

  private:
    std::mt19937 engine_;
};

/// A VGA on a bench, programmed as the video BIOS does it. DAC colour n is (n, 63 - n, n ^ 21) / 63.
class VgaTest : public testing::Test {
  protected:
    Bench bench;
    Vga& vga = bench.add_device<Vga>(bench.ports, bench.memory, bench.clock);

    void sequencer(std::uint8_t index, std::uint8_t value) { indexed(0x3C4, index, value); }
    void graphics(std::uint8_t index, std::uint8_t value) { indexed(0x3CE, index, value); }
    void crtc(std::uint8_t index, std::uint8_t value) { indexed(0x3D4, index, value); }
    std::uint8_t read_indexed(std::uint16_t port, std::uint8_t index) {
        bench.out(port, index);
        return static_cast<std::uint8_t>(bench.in(static_cast<std::uint16_t>(port + 1)));
    }
    /// Leaves the palette with the display.
    void attribute(std::uint8_t index, std::uint8_t value) {
        bench.in(0x3DA);
        bench.out(0x3C0, index);
        bench.out(0x3C0, value);
        bench.out(0x3C0, 0x20);
    }
    void dac(std::uint8_t index, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
        bench.out(0x3C8, index);
        bench.out(0x3C9, red);
        bench.out(0x3C9, green);
        bench.out(0x3C9, blue);
    }

    void set_mode(const VgaMode& mode) {
        bench.out(0x3C2, mode.miscellaneous_output);
        for (std::uint8_t i = 0; i < mode.sequencer.size(); ++i) {
            sequencer(i, mode.sequencer[i]);
        }
        crtc(0x11, 0);  // lifts the write protection
        for (std::uint8_t i = 0; i < mode.crtc.size(); ++i) {
            crtc(i, mode.crtc[i]);
        }
        for (std::uint8_t i = 0; i < mode.graphics.size(); ++i) {
            graphics(i, mode.graphics[i]);
        }
        for (std::uint8_t i = 0; i < mode.attributes.size(); ++i) {
            attribute(i, mode.attributes[i]);
        }
        for (unsigned i = 0; i < 256; ++i) {
            dac(static_cast<std::uint8_t>(i), i & 63, (63 - i) & 63, (i ^ 21) & 63);
        }
    }
    static std::uint32_t dac_color(unsigned index) {
        const auto widen = [](unsigned six_bits) { return (six_bits & 63) * 4 + (six_bits & 63) / 16; };
        return widen(index) << 16 | widen(63 - index) << 8 | widen(index ^ 21);
    }

    void store(std::uint32_t address, std::uint32_t value, unsigned size = 1) {
        bench.memory.write_bus(address, value, size);
    }
    std::uint32_t load(std::uint32_t address, unsigned size = 1) { return bench.memory.read_bus(address, size); }

    void print(unsigned column, unsigned row, std::string_view text, std::uint8_t attribute_byte = 0x07) {
        for (const char character : text) {
            store(0xB8000 + (row * 80 + column++) * 2, static_cast<std::uint8_t>(character) | attribute_byte << 8, 2);
        }
    }
    /// One plane's contents, read as the BIOS reads fonts: linearly through A0000h. Leaves the VGA in that set-up.
    std::vector<std::uint8_t> plane(std::uint8_t number, std::uint32_t size = 0x10000) {
        sequencer(4, 0x06);
        graphics(4, number);
        graphics(5, 0x00);
        graphics(6, 0x05);
        std::vector<std::uint8_t> bytes;
        for (std::uint32_t i = 0; i < size; ++i) {
            bytes.push_back(static_cast<std::uint8_t>(load(0xA0000 + i)));
        }
        return bytes;
    }
    /// Puts 16 scan lines of a character into the first font, as the BIOS does, and restores text access.
    void load_glyph(std::uint8_t code, std::span<const std::uint8_t, 16> rows, std::uint32_t font = 0) {
        sequencer(2, 0x04);
        sequencer(4, 0x07);
        graphics(5, 0x00);
        graphics(6, 0x04);
        for (std::uint32_t i = 0; i < rows.size(); ++i) {
            store(0xA0000 + font + code * 32u + i, rows[i]);
        }
        sequencer(2, 0x03);
        sequencer(4, 0x02);
        graphics(5, 0x10);
        graphics(6, 0x0E);
    }

  private:
    void indexed(std::uint16_t port, std::uint8_t index, std::uint8_t value) {
        bench.out(port, static_cast<std::uint32_t>(index | value << 8), 2);
    }
};

}  // namespace vpc::devices::test
