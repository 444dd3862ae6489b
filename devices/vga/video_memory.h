#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <vector>

#include "devices/vga/graphics_controller.h"

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

class Sequencer;

/// The VGA's 256 KiB in four planes, the latches, and the way from the CPU's address to them.
///
/// The four planes' bytes at one offset lie together as one 32-bit word, plane 0 lowest: what the CRTC fetches, the
/// latches hold and the graphics controller works on is always such a word. The way in depends on a dozen registers;
/// configure() boils them down to masks, so that an access is a handful of logic operations without decisions about
/// planes.
class VideoMemory {
  public:
    static constexpr std::uint32_t kPlaneSize = 0x10000;
    /// What the CPU's window can cover: A0000h-BFFFFh.
    static constexpr std::uint32_t kApertureSize = 0x20000;

    /// To be called whenever a register of these two has changed, or the memory was switched on or off (`enabled`).
    void configure(const Sequencer& sequencer, const GraphicsController& graphics, bool enabled);

    /// The CPU's accesses; `offset` counts from A0000h, `size` is 1, 2 or 4, aligned. Outside the window the guest has
    /// selected, reads give FFh and stores vanish.
    std::uint32_t read(std::uint32_t offset, unsigned size);
    void write(std::uint32_t offset, std::uint32_t value, unsigned size);

    /// The four planes' bytes at a plane offset.
    std::uint32_t word(std::uint32_t offset) const {
        std::uint32_t value = 0;
        std::memcpy(&value, &planes_[(offset % kPlaneSize) * 4], sizeof value);
        return value;
    }
    std::uint8_t byte(unsigned plane, std::uint32_t offset) const {
        return planes_[(offset % kPlaneSize) * 4 + plane % 4];
    }

    /// Which stores show: those to `count` (65536 at most) plane offsets from `first` on, wrapping at the end, and
    /// those that change a bit of `everywhere` in a word at any offset.
    void watch(std::uint32_t first, std::uint32_t count, std::uint32_t everywhere);
    /// Counts the stores that changed something that shows.
    std::uint64_t visible_changes() const { return visible_changes_; }

    /// The contents survive a reset of the chip; the latches do not.
    void reset() { latch_ = 0; }
    void serialize(StateStream& stream);

  private:
    std::uint32_t plane_offset(std::uint32_t address) const {
        return (address & kept_bits_) | ((address >> replaced_shift_) & ~kept_bits_ & 3);
    }
    void put(std::uint32_t offset, std::uint32_t data, std::uint32_t mask) {
        const std::uint32_t old = word(offset);
        const std::uint32_t now = (old & ~mask) | (data & mask);
        if (now != old) {
            std::memcpy(&planes_[offset * 4], &now, sizeof now);
            if (((offset - watched_first_) & (kPlaneSize - 1)) < watched_count_ ||
                ((now ^ old) & watched_everywhere_) != 0) {
                ++visible_changes_;
            }
        }
    }
    std::uint8_t load_byte(std::uint32_t address);
    void store_byte(std::uint32_t address, std::uint8_t value);
    std::uint32_t combine(std::uint32_t data) const;

    std::vector<std::uint8_t> planes_ = std::vector<std::uint8_t>(kPlaneSize * 4);
    std::uint32_t latch_ = 0;

    // From here on: what configure() and watch() make of the registers.
    std::uint32_t window_first_ = 0;
    std::uint32_t window_size_ = 0;
    std::uint32_t kept_bits_ = 0xFFFF;  // of the CPU's address; the rest comes from higher ones
    unsigned replaced_shift_ = 0;
    std::array<std::uint32_t, 4> store_mask_{};  // bytes of a word that may change, by the address's low two bits
    std::array<unsigned, 4> load_shift_{};       // where read mode 0 finds its byte, by the address's low two bits
    unsigned bytes_per_word_ = 1;                // that consecutive CPU addresses have in one word: 1, 2 or 4
    bool direct_ = true;                         // stores are not altered on their way
    unsigned write_mode_ = 0;
    unsigned read_mode_ = 0;
    unsigned rotate_ = 0;
    GraphicsController::Function function_ = GraphicsController::Function::Replace;
    std::uint32_t bit_mask_ = 0;
    std::uint32_t set_reset_ = 0;
    std::uint32_t enable_set_reset_ = 0;
    std::uint32_t color_compare_ = 0;
    std::uint32_t color_care_ = 0;

    std::uint32_t watched_first_ = 0;
    std::uint32_t watched_count_ = 0;
    std::uint32_t watched_everywhere_ = 0;
    std::uint64_t visible_changes_ = 0;
};

}  // namespace vpc::devices::vga
