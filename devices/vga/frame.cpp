#include "devices/vga/frame.h"

#include <algorithm>

#include "devices/vga/display.h"
#include "devices/vga/linear_frame.h"
#include "devices/vga/scan_line.h"

namespace vpc::devices::vga {
namespace {

/// By how many dots the picture moves to the left.
unsigned panned_dots(const Display& display) {
    const unsigned panning = display.attributes.pel_panning();
    if (display.character_dots() == 9) {
        return panning < 8 ? panning + 1 : 0;
    }
    return panning & 7;  // 256-colour pixels are two dots wide and pan by even numbers
}

}  // namespace

namespace {

Frame render_linear_frame(const Display& display) {
    Frame frame{.width = display.dispi.width(), .height = display.dispi.height(), .pixels = {}};
    frame.pixels.resize(static_cast<std::size_t>(frame.width) * frame.height);
    if (!display.linear_shows()) {
        return frame;  // black
    }
    for (unsigned line = 0; line < frame.height; ++line) {
        paint_linear_line(display, line, std::span(frame.pixels).subspan(std::size_t{line} * frame.width, frame.width));
    }
    return frame;
}

}  // namespace

Frame render_frame(const Display& display) {
    if (display.dispi.enabled()) {
        return render_linear_frame(display);
    }
    const Crtc& crtc = display.crtc;
    const unsigned columns = crtc.horizontal_displayed();
    const unsigned dots = columns * display.character_dots();
    const unsigned repeat = display.sequencer.half_dot_clock() ? 2 : 1;
    Frame frame{.width = dots * repeat, .height = crtc.vertical_displayed(), .pixels = {}};
    frame.pixels.resize(static_cast<std::size_t>(frame.width) * frame.height);
    if (display.sequencer.screen_off() || !crtc.running()) {
        return frame;  // black
    }
    if (!display.attributes.palette_on_display()) {
        std::fill(frame.pixels.begin(), frame.pixels.end(), display.dac.color(display.attributes.overscan()));
        return frame;
    }

    const ScanLinePainter painter(display);
    std::vector<std::uint32_t> line((columns + 1) * display.character_dots());  // one character more, for the panning
    unsigned panning = panned_dots(display);
    std::uint16_t counter = crtc.start_address();
    unsigned row = crtc.preset_row();
    bool repeated = false;
    for (unsigned y = 0; y < frame.height; ++y) {
        if (y == crtc.line_compare() + 1) {
            counter = 0;
            row = 0;
            repeated = false;
            if (display.attributes.split_stops_panning()) {
                panning = 0;
            }
        }
        painter.paint(counter, row, columns + 1, line);
        std::uint32_t* to = &frame.pixels[static_cast<std::size_t>(y) * frame.width];
        for (unsigned dot = 0; dot < dots; ++dot) {
            for (unsigned copy = 0; copy < repeat; ++copy) {
                *to++ = line[dot + panning];
            }
        }
        if (crtc.double_scan() && !repeated) {
            repeated = true;
            continue;
        }
        repeated = false;
        if (row + 1 == crtc.row_height()) {
            row = 0;
            counter = static_cast<std::uint16_t>(counter + crtc.row_pitch());
        } else {
            row = (row + 1) & 0x1F;  // a five-bit counter: a preset row below the last one goes all the way round
        }
    }
    return frame;
}

}  // namespace vpc::devices::vga
