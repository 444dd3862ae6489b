#include "devices/vga/linear_frame.h"

#include <array>
#include <vector>

#include "devices/vga/display.h"

namespace vpc::devices::vga {
namespace {

constexpr std::uint32_t widen5(std::uint32_t value) {
    return (value & 0x1F) << 3 | (value & 0x1F) >> 2;
}
constexpr std::uint32_t widen6(std::uint32_t value) {
    return (value & 0x3F) << 2 | (value & 0x3F) >> 4;
}
constexpr std::uint32_t from_15_bits(std::uint32_t pixel) {
    return widen5(pixel >> 10) << 16 | widen5(pixel >> 5) << 8 | widen5(pixel);
}
constexpr std::uint32_t from_16_bits(std::uint32_t pixel) {
    return widen5(pixel >> 11) << 16 | widen6(pixel >> 5) << 8 | widen5(pixel);
}

void paint_planes(const Display& display, unsigned line, std::span<std::uint32_t> to) {
    const std::array<std::uint32_t, 16> colors = display.colors();
    const std::uint32_t first = display.dispi.start() + line * display.dispi.pitch();
    for (std::uint32_t i = 0; i < to.size(); ++i) {
        const std::uint32_t pixel = i + display.dispi.start_pixel();
        const std::uint32_t bits = display.memory.word(first + pixel / 8) >> (7 - pixel % 8) & 0x01010101u;
        to[i] = colors[(bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0F];
    }
}

template <unsigned kBytes, typename Color>
void paint_pixels(const std::uint8_t* from, std::span<std::uint32_t> to, Color color) {
    for (std::uint32_t& pixel : to) {
        std::uint32_t value = 0;
        for (unsigned byte = 0; byte < kBytes; ++byte) {
            value |= std::uint32_t{from[byte]} << (8 * byte);
        }
        from += kBytes;
        pixel = color(value);
    }
}

}  // namespace

LinearSpan linear_span(const Display& display, unsigned line) {
    const BochsDispi& dispi = display.dispi;
    return {.first = (dispi.start() + line * dispi.pitch()) % VideoRam::kSize,
            .size = dispi.width() * ((dispi.bits_per_pixel() + 7) / 8)};
}

void paint_linear_line(const Display& display, unsigned line, std::span<std::uint32_t> to) {
    const BochsDispi& dispi = display.dispi;
    if (dispi.bits_per_pixel() == 4) {
        paint_planes(display, line, to);
        return;
    }
    const LinearSpan span = linear_span(display, line);
    const std::uint8_t* memory = display.memory.ram().data();
    const std::uint8_t* from = memory + span.first;
    std::vector<std::uint8_t> wrapped;
    if (span.size > VideoRam::kSize - span.first) {
        wrapped.assign(from, memory + VideoRam::kSize);
        wrapped.insert(wrapped.end(), memory, memory + (span.size - wrapped.size()));
        from = wrapped.data();
    }
    switch (dispi.bits_per_pixel()) {
        case 8: {
            std::array<std::uint32_t, 256> colors{};
            for (unsigned i = 0; i < colors.size(); ++i) {
                colors[i] = display.dac.color(static_cast<std::uint8_t>(i));
            }
            paint_pixels<1>(from, to, [&](std::uint32_t value) { return colors[value]; });
            break;
        }
        case 15:
            paint_pixels<2>(from, to, from_15_bits);
            break;
        case 16:
            paint_pixels<2>(from, to, from_16_bits);
            break;
        case 24:
            paint_pixels<3>(from, to, [](std::uint32_t value) { return value; });
            break;
        default:
            paint_pixels<4>(from, to, [](std::uint32_t value) { return value & 0xFFFFFF; });
            break;
    }
}

}  // namespace vpc::devices::vga
