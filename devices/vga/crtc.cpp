#include "devices/vga/crtc.h"

#include "core/state_stream.h"

namespace vpc::devices::vga {
namespace {

constexpr std::uint8_t kProtect = 0x80;          // vertical retrace end
constexpr std::uint8_t kOverflowCompare = 0x10;  // overflow: line compare bit 8, never protected
constexpr std::uint8_t kDoubleword = 0x40;       // underline location
constexpr std::uint8_t kByteMode = 0x40;         // mode control
constexpr std::uint8_t kAddressWrap = 0x20;      // mode control

}  // namespace

bool Crtc::write_data(std::uint8_t value) {
    if (index_ >= kRegisters) {
        return false;
    }
    if (index_ <= kOverflow && (registers_[kVerticalRetraceEnd] & kProtect) != 0) {
        if (index_ != kOverflow) {
            return false;
        }
        value = static_cast<std::uint8_t>((registers_[kOverflow] & ~kOverflowCompare) | (value & kOverflowCompare));
    }
    const bool changed = registers_[index_] != value;
    registers_[index_] = value;
    return changed;
}

unsigned Crtc::with_overflow(Register low, unsigned bit_8, unsigned bit_9) const {
    const unsigned overflow = registers_[kOverflow];
    return registers_[low] | ((overflow >> bit_8) & 1) << 8 | ((overflow >> bit_9) & 1) << 9;
}

unsigned Crtc::vertical_total() const {
    return (with_overflow(kVerticalTotal, 0, 5) + 2) * lines_per_count();
}
unsigned Crtc::vertical_displayed() const {
    return (with_overflow(kVerticalDisplayEnd, 1, 6) + 1) * lines_per_count();
}
unsigned Crtc::vertical_retrace_start() const {
    return with_overflow(kVerticalRetraceStart, 2, 7) * lines_per_count();
}

unsigned Crtc::vertical_retrace_lines() const {
    // The end register holds the low four bits of the first line after the retrace.
    const unsigned lines = (registers_[kVerticalRetraceEnd] - registers_[kVerticalRetraceStart]) & 0x0Fu;
    return (lines == 0 ? 16 : lines) * lines_per_count();
}

unsigned Crtc::line_compare() const {
    const unsigned count = registers_[kLineCompare] | ((registers_[kOverflow] >> 4) & 1u) << 8 |
                           ((registers_[kMaximumScanLine] >> 6) & 1u) << 9;
    return (count + 1) * lines_per_count() - 1;
}

std::uint16_t Crtc::start_address() const {
    const unsigned byte_panning = (registers_[kPresetRowScan] >> 5) & 3u;
    return static_cast<std::uint16_t>(pair(kStartAddressHigh) + byte_panning);
}

unsigned Crtc::address_shift() const {
    if ((registers_[kUnderlineLocation] & kDoubleword) != 0) {
        return 2;
    }
    return (registers_[kModeControl] & kByteMode) != 0 ? 0 : 1;
}

std::uint16_t Crtc::memory_address(std::uint16_t counter, unsigned row) const {
    const unsigned mode = registers_[kModeControl];
    unsigned address = counter;
    switch (address_shift()) {
        case 2:
            address = address << 2 | ((address >> 12) & 3);
            break;
        case 1:
            address = address << 1 | ((address >> ((mode & kAddressWrap) != 0 ? 15 : 13)) & 1);
            break;
        default:
            break;
    }
    if ((mode & 0x01) == 0) {
        address = (address & ~0x2000u) | (row & 1) << 13;
    }
    if ((mode & 0x02) == 0) {
        address = (address & ~0x4000u) | ((row >> 1) & 1) << 14;
    }
    return static_cast<std::uint16_t>(address);
}

void Crtc::serialize(StateStream& stream) {
    stream.field(index_);
    stream.field(registers_);
}

}  // namespace vpc::devices::vga
