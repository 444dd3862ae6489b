#include "devices/vga/scan_timing.h"

#include <algorithm>

#include "devices/vga/crtc.h"
#include "devices/vga/sequencer.h"

namespace vpc::devices::vga {

void ScanTiming::configure(const Crtc& crtc, const Sequencer& sequencer, std::uint8_t miscellaneous_output) {
    // 2 and 3 select clocks from the feature connector, which has none: they run at the first one's speed here.
    dot_clock_ = ((miscellaneous_output >> 2) & 3) == 1 ? kClock720 : kClock640;
    const std::int64_t character_dots = (sequencer.eight_dots() ? 8 : 9) * (sequencer.half_dot_clock() ? 2 : 1);
    line_dots_ = crtc.horizontal_total() * character_dots;
    displayed_dots_ = crtc.horizontal_displayed() * character_dots;
    lines_ = crtc.vertical_total();
    displayed_lines_ = crtc.vertical_displayed();
    retrace_line_ = crtc.vertical_retrace_start();
    retrace_lines_ = crtc.vertical_retrace_lines();
    frame_time_ = std::max<Nanoseconds>(line_dots_ * lines_ * kSecond / dot_clock_, 1);
}

ScanTiming::Beam ScanTiming::beam(Nanoseconds now) const {
    const Nanoseconds since_frame_start = now % frame_time_;
    const std::int64_t dot = since_frame_start * dot_clock_ / kSecond;
    const std::int64_t line = dot / line_dots_;
    return {.displaying = line < displayed_lines_ && dot % line_dots_ < displayed_dots_,
            .vertical_retrace = line >= retrace_line_ && line < retrace_line_ + retrace_lines_};
}

}  // namespace vpc::devices::vga
