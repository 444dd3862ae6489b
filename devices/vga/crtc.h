#pragma once
#include <array>
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The VGA's CRT controller, ports 3B4h/3D4h (index) and 3B5h/3D5h (data): the picture's geometry and the addresses it
/// is fetched from. The accessors give counts, not the register's "minus one" or "minus five"; all are small and
/// bounded whatever the guest writes. Names are IBM's (PS/2 Hardware Interface Technical Reference, Video).
class Crtc {
  public:
    enum Register : std::uint8_t {
        kHorizontalTotal,
        kHorizontalDisplayEnd,
        kStartHorizontalBlanking,
        kEndHorizontalBlanking,
        kStartHorizontalRetrace,
        kEndHorizontalRetrace,
        kVerticalTotal,
        kOverflow,
        kPresetRowScan,
        kMaximumScanLine,
        kCursorStart,
        kCursorEnd,
        kStartAddressHigh,
        kStartAddressLow,
        kCursorLocationHigh,
        kCursorLocationLow,
        kVerticalRetraceStart,
        kVerticalRetraceEnd,
        kVerticalDisplayEnd,
        kOffset,
        kUnderlineLocation,
        kStartVerticalBlanking,
        kEndVerticalBlanking,
        kModeControl,
        kLineCompare,
        kRegisters
    };

    void write_index(std::uint8_t value) { index_ = value & 0x1F; }
    std::uint8_t index() const { return index_; }
    /// True when the indexed register has a new value. Registers 0-7 may be write-protected by the guest.
    bool write_data(std::uint8_t value);
    std::uint8_t read_data() const { return index_ < kRegisters ? registers_[index_] : 0; }

    unsigned horizontal_total() const { return registers_[kHorizontalTotal] + 5u; }           ///< characters, 5-260
    unsigned horizontal_displayed() const { return registers_[kHorizontalDisplayEnd] + 1u; }  ///< characters, 1-256
    // The vertical counter may count every second line (mode control bit 2): all these double then.
    unsigned vertical_total() const;          ///< lines, 2-2050
    unsigned vertical_displayed() const;      ///< lines, 1-2048
    unsigned vertical_retrace_start() const;  ///< line
    unsigned vertical_retrace_lines() const;  ///< 1-32
    /// The last line before the fetch address restarts at 0; 1023 or more when there is no split.
    unsigned line_compare() const;

    unsigned row_height() const { return (registers_[kMaximumScanLine] & 0x1Fu) + 1; }  ///< 1-32
    bool double_scan() const { return (registers_[kMaximumScanLine] & 0x80) != 0; }
    unsigned preset_row() const { return registers_[kPresetRowScan] & 0x1Fu; }
    unsigned underline_row() const { return registers_[kUnderlineLocation] & 0x1Fu; }

    bool cursor_enabled() const { return (registers_[kCursorStart] & 0x20) == 0; }
    unsigned cursor_first_row() const { return registers_[kCursorStart] & 0x1Fu; }
    unsigned cursor_last_row() const { return registers_[kCursorEnd] & 0x1Fu; }
    /// The address counter at the character that shows the cursor: its skew moves it to the right.
    std::uint16_t cursor_location() const {
        return static_cast<std::uint16_t>(pair(kCursorLocationHigh) + ((registers_[kCursorEnd] >> 5) & 3u));
    }

    /// With the byte panning; counts characters as the address counter does.
    std::uint16_t start_address() const;
    /// What the address counter gains from one character row to the next.
    std::uint16_t row_pitch() const { return static_cast<std::uint16_t>(registers_[kOffset] * 2); }
    /// The address counter of the nth character from a line's left end, where it is `counter`: it counts every
    /// character clock, or every second or fourth one. (The shift registers are loaded at each clock nevertheless:
    /// their own slower loading, the sequencer's shift/load bits, is kept and does nothing.)
    std::uint16_t counter_at(std::uint16_t counter, unsigned n) const {
        return static_cast<std::uint16_t>(counter + (n >> count_shift()));
    }
    unsigned count_shift() const {
        return (registers_[kUnderlineLocation] & 0x20) != 0 ? 2 : (registers_[kModeControl] & 0x08) != 0 ? 1 : 0;
    }
    /// Where in the planes the CRTC fetches for a value of the address counter, in scan line `row` of a character row.
    std::uint16_t memory_address(std::uint16_t counter, unsigned row) const;
    /// By how many bits memory_address shifts the counter: 0, 1 (word mode) or 2 (doubleword mode).
    unsigned address_shift() const;
    /// Scan-line bits replace address bits 13 or 14, as the CGA's and the Hercules' interleaved banks need it.
    bool banked() const { return (registers_[kModeControl] & 0x03) != 0x03; }
    /// The guest has let the sync signals out; without them a monitor shows nothing.
    bool running() const { return (registers_[kModeControl] & 0x80) != 0; }

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    std::uint16_t pair(unsigned high) const {
        return static_cast<std::uint16_t>(registers_[high] << 8 | registers_[high + 1]);
    }
    unsigned with_overflow(Register low, unsigned bit_8, unsigned bit_9) const;
    unsigned lines_per_count() const { return (registers_[kModeControl] & 0x04) != 0 ? 2 : 1; }

    std::uint8_t index_ = 0;
    std::array<std::uint8_t, kRegisters> registers_{};
};

}  // namespace vpc::devices::vga
