#pragma once
#include <cstdint>
#include <vector>

namespace vpc::devices {

/// A picture as the monitor gets it: `width` dots in each of `height` scan lines, row by row, 00RRGGBBh each. The
/// border is left out. Modes that repeat dots or lines come with the repetitions: 320x200 modes are 640 x 400.
struct Frame {
    unsigned width = 0;
    unsigned height = 0;
    std::vector<std::uint32_t> pixels;
};

/// Some lines of a frame.
struct FrameBand {
    unsigned first = 0;
    unsigned count = 0;
};

namespace vga {

struct Display;

/// The whole screen at this moment, blinking things in their "on" phase. At most 4608 x 2048 in VGA modes.
Frame render_frame(const Display& display);

}  // namespace vga
}  // namespace vpc::devices
