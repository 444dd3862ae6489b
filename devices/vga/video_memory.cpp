#include "devices/vga/video_memory.h"

#include <bit>

#include "core/state_stream.h"
#include "devices/vga/sequencer.h"

namespace vpc::devices::vga {
namespace {

/// The byte in all four planes.
constexpr std::uint32_t in_all_planes(std::uint32_t byte) {
    return (byte & 0xFF) * 0x01010101u;
}

/// All bits of the planes whose bit is set in `planes`.
constexpr std::uint32_t whole_planes(unsigned planes) {
    std::uint32_t word = 0;
    for (unsigned plane = 0; plane < 4; ++plane) {
        if ((planes >> plane & 1) != 0) {
            word |= 0xFFu << (8 * plane);
        }
    }
    return word;
}

constexpr std::array<std::uint32_t, 16> kWholePlanes = [] {
    std::array<std::uint32_t, 16> table{};
    for (unsigned planes = 0; planes < table.size(); ++planes) {
        table[planes] = whole_planes(planes);
    }
    return table;
}();

}  // namespace

void VideoMemory::configure(const Sequencer& sequencer, const GraphicsController& graphics,
                            const Surroundings& surroundings) {
    const GraphicsController::Window window =
        surroundings.linear ? GraphicsController::Window{0, kBankSize} : graphics.window();
    window_first_ = window.first;
    window_size_ = surroundings.enabled ? window.size : 0;
    plane_base_ = surroundings.bank * kPlaneSize % kOffsets;
    linear_.reset();
    if (surroundings.linear) {
        linear_ = surroundings.bank * kBankSize % VideoRam::kSize;
    }

    const bool chain_odd_even = graphics.chain_odd_even() && !sequencer.chain_four();
    if (sequencer.chain_four()) {
        // Address bits 1 and 0 pick the plane; 15 and 14 take their place, which is where the CRTC's doubleword mode
        // looks for them.
        kept_bits_ = 0xFFFC;
        replaced_shift_ = 14;
    } else if (chain_odd_even) {
        // Bit 16 takes bit 0's place. It is 0 in windows of 64 KiB and less, where the chip offers the page bit of the
        // miscellaneous output register instead; no display mode but the first page's is in use.
        kept_bits_ = 0xFFFE;
        replaced_shift_ = 16;
    } else {
        kept_bits_ = 0xFFFF;
        replaced_shift_ = 0;
    }
    for (unsigned low = 0; low < 4; ++low) {
        unsigned planes = 0xF;
        unsigned read_plane = graphics.read_map();
        if (sequencer.chain_four()) {
            planes = 1u << low;
            read_plane = low;
        } else {
            if (sequencer.odd_even()) {
                planes = (low & 1) != 0 ? 0xA : 0x5;
            }
            if (graphics.odd_even_read()) {
                read_plane = (read_plane & 2) | (low & 1);
            }
        }
        store_mask_[low] = kWholePlanes[planes & sequencer.map_mask()];
        load_shift_[low] = 8 * read_plane;
    }
    bytes_per_word_ = sequencer.chain_four() ? 4 : chain_odd_even && sequencer.odd_even() ? 2 : 1;

    write_mode_ = graphics.write_mode();
    read_mode_ = graphics.read_mode();
    rotate_ = graphics.rotate();
    function_ = graphics.function();
    bit_mask_ = in_all_planes(graphics.bit_mask());
    set_reset_ = kWholePlanes[graphics.set_reset() & 0xF];
    enable_set_reset_ = kWholePlanes[graphics.enable_set_reset() & 0xF];
    color_compare_ = kWholePlanes[graphics.color_compare() & 0xF];
    color_care_ = kWholePlanes[graphics.color_dont_care() & 0xF];
    direct_ = write_mode_ == 0 && rotate_ == 0 && function_ == GraphicsController::Function::Replace &&
              enable_set_reset_ == 0 && graphics.bit_mask() == 0xFF;
}

void VideoMemory::watch(std::uint32_t first, std::uint32_t count, std::uint32_t everywhere) {
    watched_first_ = first % kPlaneSize;
    watched_count_ = count;
    watched_everywhere_ = everywhere;
}

std::uint32_t VideoMemory::read(std::uint32_t offset, unsigned size) {
    std::uint32_t value = 0;
    const std::uint32_t address = offset - window_first_;
    if (address >= window_size_) {
        return 0xFFFFFFFFu >> (32 - 8 * size);
    }
    if (linear_) {
        std::memcpy(&value, bytes_ + *linear_ + address, size);
        return value;
    }
    for (unsigned i = 0; i < size; ++i) {
        value |= static_cast<std::uint32_t>(load_byte(address + i)) << (8 * i);
    }
    return value;
}

std::uint8_t VideoMemory::load_byte(std::uint32_t address) {
    latch_ = word(plane_offset(address));
    if (read_mode_ == 0) {
        return static_cast<std::uint8_t>(latch_ >> load_shift_[address & 3]);
    }
    const std::uint32_t differs = (latch_ ^ color_compare_) & color_care_;
    return static_cast<std::uint8_t>(~(differs | differs >> 8 | differs >> 16 | differs >> 24));
}

void VideoMemory::write(std::uint32_t offset, std::uint32_t value, unsigned size) {
    const std::uint32_t address = offset - window_first_;
    if (address >= window_size_) {
        return;
    }
    if (linear_) {
        std::memcpy(bytes_ + *linear_ + address, &value, size);
        ram_.mark(*linear_ + address, size);
        return;
    }
    if (direct_ && bytes_per_word_ == 2 && size >= 2) {  // text: character and attribute at once
        const std::uint32_t mask = store_mask_[0] | store_mask_[1];
        put(plane_offset(address), (value & 0xFFFF) * 0x00010001u, mask);
        if (size == 4) {
            put(plane_offset(address + 2), (value >> 16) * 0x00010001u, mask);
        }
        return;
    }
    if (direct_ && bytes_per_word_ == 4 && size == 4) {
        put(plane_offset(address), value, store_mask_[0] | store_mask_[1] | store_mask_[2] | store_mask_[3]);
        return;
    }
    for (unsigned i = 0; i < size; ++i) {
        store_byte(address + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

void VideoMemory::store_byte(std::uint32_t address, std::uint8_t value) {
    const std::uint32_t offset = plane_offset(address);
    const std::uint32_t mask = store_mask_[address & 3];
    if (direct_) {
        put(offset, in_all_planes(value), mask);
        return;
    }
    const std::uint32_t rotated = in_all_planes(std::rotr(value, static_cast<int>(rotate_)));
    std::uint32_t data = latch_;
    switch (write_mode_) {
        case 0:
            data = combine((rotated & ~enable_set_reset_) | (set_reset_ & enable_set_reset_));
            data = (data & bit_mask_) | (latch_ & ~bit_mask_);
            break;
        case 1:  // the latches as they are
            break;
        case 2:
            data = (combine(kWholePlanes[value & 0xF]) & bit_mask_) | (latch_ & ~bit_mask_);
            break;
        default: {  // 3: the CPU's byte narrows the bit mask, the colour is set/reset whatever its enable bits say
            const std::uint32_t bits = bit_mask_ & rotated;
            data = (combine(set_reset_) & bits) | (latch_ & ~bits);
            break;
        }
    }
    put(offset, data, mask);
}

std::uint32_t VideoMemory::combine(std::uint32_t data) const {
    switch (function_) {
        case GraphicsController::Function::And:
            return data & latch_;
        case GraphicsController::Function::Or:
            return data | latch_;
        case GraphicsController::Function::Xor:
            return data ^ latch_;
        default:
            return data;
    }
}

std::optional<PlainWindow> VideoMemory::plain_window() const {
    PlainWindow window{.first = window_first_, .size = window_size_, .linear = linear_};
    if (window_size_ == 0 || linear_) {
        return window_size_ != 0 ? std::optional(window) : std::nullopt;
    }
    if (!direct_ || read_mode_ != 0 || window_size_ > kPlaneSize) {
        return std::nullopt;
    }
    for (unsigned low = 0; low < 4; ++low) {
        if (store_mask_[low] != 0xFFu << load_shift_[low]) {
            return std::nullopt;
        }
    }
    if (bytes_per_word_ == 4) {
        window.linear = plane_base_ * 4;
        return window;
    }
    if (bytes_per_word_ != 2 && kept_bits_ != 0xFFFF) {
        return std::nullopt;  // two addresses, one byte
    }
    window.plane_base = plane_base_;
    window.kept_bits = kept_bits_;
    window.replaced_shift = replaced_shift_;
    window.shifts = load_shift_;
    return window;
}

namespace {

std::uint32_t plain_offset(const PlainWindow& window, std::uint32_t address) {
    return window.plane_base +
           ((address & window.kept_bits) | ((address >> window.replaced_shift) & ~window.kept_bits & 3));
}

}  // namespace

void VideoMemory::load_plain(const PlainWindow& window, std::uint32_t offset, std::span<std::uint8_t> to) const {
    for (std::uint32_t i = 0; i < to.size(); ++i) {
        const std::uint32_t address = offset + i;
        to[i] = static_cast<std::uint8_t>(word(plain_offset(window, address)) >> window.shifts[address & 3]);
    }
}

void VideoMemory::store_plain(const PlainWindow& window, std::uint32_t offset, std::span<const std::uint8_t> from) {
    for (std::uint32_t i = 0; i + 1 < from.size(); i += 2) {
        const std::uint32_t address = offset + i;
        const unsigned shift = window.shifts[address & 3];
        const unsigned next_shift = window.shifts[(address + 1) & 3];
        const std::uint32_t first = plain_offset(window, address);
        const std::uint32_t second = plain_offset(window, address + 1);
        const std::uint32_t data = std::uint32_t{from[i]} << shift;
        const std::uint32_t next_data = std::uint32_t{from[i + 1]} << next_shift;
        if (first == second) {
            put(first, data | next_data, 0xFFu << shift | 0xFFu << next_shift);
        } else {
            put(first, data, 0xFFu << shift);
            put(second, next_data, 0xFFu << next_shift);
        }
    }
}

void VideoMemory::clear(std::uint32_t first, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
        put(first + i, 0, 0xFFFFFFFF);
    }
}

void VideoMemory::serialize(StateStream& stream) {
    ram_.serialize(stream);
    stream.field(latch_);
}

}  // namespace vpc::devices::vga
