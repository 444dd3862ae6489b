#pragma once
#include <cstdint>

#include "core/virtual_clock.h"

namespace vpc::devices::vga {

class Crtc;
class Sequencer;

/// Where the beam is. The frame's phase is fixed to virtual time 0, so that nothing has to be scheduled or saved: every
/// question is answered from the time and the registers.
class ScanTiming {
  public:
    /// The CPU's clock inputs: what bits 3-2 of the miscellaneous output register select.
    static constexpr std::int64_t kClock640 = 25'175'000;
    static constexpr std::int64_t kClock720 = 28'322'000;

    void configure(const Crtc& crtc, const Sequencer& sequencer, std::uint8_t miscellaneous_output);

    struct Beam {
        bool displaying = false;
        bool vertical_retrace = false;
    };
    Beam beam(Nanoseconds now) const;
    /// The time from one vertical retrace to the next.
    Nanoseconds frame_time() const { return frame_time_; }

  private:
    std::int64_t dot_clock_ = kClock640;
    std::int64_t line_dots_ = 1;
    std::int64_t displayed_dots_ = 1;
    std::int64_t lines_ = 1;
    std::int64_t displayed_lines_ = 1;
    std::int64_t retrace_line_ = 0;
    std::int64_t retrace_lines_ = 1;
    Nanoseconds frame_time_ = 1;
};

}  // namespace vpc::devices::vga
