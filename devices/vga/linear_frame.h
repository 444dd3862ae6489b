#pragma once
#include <cstdint>
#include <span>

namespace vpc::devices::vga {

struct Display;

/// One line of a picture of the Bochs adapter, while its mode is on. `to` has as many pixels as the mode is wide.
void paint_linear_line(const Display& display, unsigned line, std::span<std::uint32_t> to);

/// Where in the video memory such a line lies: `size` bytes from `first` on, wrapping at the memory's end. Not for
/// four-bit modes, whose lines are spread over planes.
struct LinearSpan {
    std::uint32_t first = 0;
    std::uint32_t size = 0;
};
LinearSpan linear_span(const Display& display, unsigned line);

}  // namespace vpc::devices::vga
