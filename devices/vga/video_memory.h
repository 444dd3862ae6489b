#pragma once
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "devices/vga/graphics_controller.h"
#include "devices/vga/video_ram.h"

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

class Sequencer;

/// A window in which the CPU's loads give what its stores put there and neither depends on, nor changes, anything else
/// but the latches: it may as well be plain memory.
struct PlainWindow {
    std::uint32_t first = 0;  ///< from A0000h
    std::uint32_t size = 0;   ///< in bytes
    /// The window's bytes are the video memory's from here on. If not, they are spread over planes.
    std::optional<std::uint32_t> linear;
    std::uint32_t plane_base = 0;  ///< added to every plane offset
    std::uint32_t kept_bits = 0;
    unsigned replaced_shift = 0;
    std::array<unsigned, 4> shifts{};  ///< where the byte lies in the planes' word, by the address's low two bits
    bool operator==(const PlainWindow&) const = default;
};

/// The adapter's memory as four planes, the latches, and the way from the CPU's address to them.
///
/// The four planes' bytes at one offset lie together as one 32-bit word, plane 0 lowest: what the CRTC fetches, the
/// latches hold and the graphics controller works on is always such a word. The words are so placed in the memory that
/// chained-four addresses run through it byte by byte. The way in depends on a dozen registers; configure() boils them
/// down to masks, so that an access is a handful of logic operations without decisions about planes.
///
/// VGA modes reach 64 Ki plane offsets. The Bochs adapter's bank register moves the CPU's window through all of the
/// memory; in its modes of 8 bits a pixel and more the window shows the memory byte by byte.
class VideoMemory {
  public:
    /// What a VGA's CRTC addresses.
    static constexpr std::uint32_t kPlaneSize = 0x10000;
    /// Of all planes together, as far as the VGA knows.
    static constexpr std::uint32_t kVgaSize = kPlaneSize * 4;
    /// What the CPU's window can cover: A0000h-BFFFFh.
    static constexpr std::uint32_t kApertureSize = 0x20000;
    /// One step of the bank register.
    static constexpr std::uint32_t kBankSize = 0x10000;

    /// `ram` must outlive it.
    explicit VideoMemory(VideoRam& ram) : ram_(ram), bytes_(ram.data()) {}

    /// What lies beside the sequencer and the graphics controller on the CPU's way to the memory.
    struct Surroundings {
        bool enabled = false;
        std::uint32_t bank = 0;
        bool linear = false;  ///< byte by byte at A0000h-AFFFFh, whatever the VGA's registers say
    };
    /// To be called whenever a register of these has changed.
    void configure(const Sequencer& sequencer, const GraphicsController& graphics, const Surroundings& surroundings);
    /// Nothing when accesses need the graphics controller.
    std::optional<PlainWindow> plain_window() const;
    /// Between a plain window's bytes, from `offset` in it on, and planes. Multiples of 4.
    void load_plain(const PlainWindow& window, std::uint32_t offset, std::span<std::uint8_t> to) const;
    void store_plain(const PlainWindow& window, std::uint32_t offset, std::span<const std::uint8_t> from);

    /// The CPU's accesses; `offset` counts from A0000h, `size` is 1, 2 or 4, aligned. Outside the window the guest has
    /// selected, reads give FFh and stores vanish.
    std::uint32_t read(std::uint32_t offset, unsigned size);
    void write(std::uint32_t offset, std::uint32_t value, unsigned size);

    /// The four planes' bytes at a plane offset.
    std::uint32_t word(std::uint32_t offset) const {
        std::uint32_t value = 0;
        std::memcpy(&value, bytes_ + place(offset), sizeof value);
        return value;
    }
    std::uint8_t byte(unsigned plane, std::uint32_t offset) const {
        return static_cast<std::uint8_t>(word(offset) >> (8 * (plane % 4)));
    }
    /// Zeroes `count` words from a plane offset on.
    void clear(std::uint32_t first, std::uint32_t count);
    const VideoRam& ram() const { return ram_; }

    /// Which stores through the planes show: those to `count` (65536 at most) plane offsets from `first` on, wrapping
    /// at the end, and those that change a bit of `everywhere` in a word at any offset.
    void watch(std::uint32_t first, std::uint32_t count, std::uint32_t everywhere);
    /// Counts the stores that changed something that shows.
    std::uint64_t visible_changes() const { return visible_changes_; }

    /// The contents survive a reset of the chip; the latches do not.
    void reset() { latch_ = 0; }
    void serialize(StateStream& stream);

  private:
    static constexpr std::uint32_t kOffsets = VideoRam::kSize / 4;

    /// Where a plane offset's word lies in the memory. Chained-four addresses A have offset bits 15-2 = A15-2 and
    /// 1-0 = A15-14, and shall lie at A: the offset's bits 15-2 make the word's number, and bits 1-0 take the top of
    /// it, XORed so that 0 is where they repeat bits 15-14.
    static std::uint32_t place(std::uint32_t offset) {
        const std::uint32_t word = ((offset >> 2) & 0x3FFF) | ((offset ^ (offset >> 14)) & 3) << 14;
        return ((offset & ~0xFFFFu) | word) % kOffsets * 4;
    }
    std::uint32_t plane_offset(std::uint32_t address) const {
        return plane_base_ + ((address & kept_bits_) | ((address >> replaced_shift_) & ~kept_bits_ & 3));
    }
    void put(std::uint32_t offset, std::uint32_t data, std::uint32_t mask) {
        const std::uint32_t old = word(offset);
        const std::uint32_t now = (old & ~mask) | (data & mask);
        if (now != old) {
            std::memcpy(bytes_ + place(offset), &now, sizeof now);
            if (((offset - watched_first_) & (kPlaneSize - 1)) < watched_count_ ||
                ((now ^ old) & watched_everywhere_) != 0) {
                ++visible_changes_;
            }
        }
    }
    std::uint8_t load_byte(std::uint32_t address);
    void store_byte(std::uint32_t address, std::uint8_t value);
    std::uint32_t combine(std::uint32_t data) const;

    VideoRam& ram_;
    std::uint8_t* bytes_;  // of ram_
    std::uint32_t latch_ = 0;

    // From here on: what configure() and watch() make of the registers.
    std::uint32_t window_first_ = 0;
    std::uint32_t window_size_ = 0;
    std::optional<std::uint32_t> linear_;  // where the window begins in the memory, when it shows it byte by byte
    std::uint32_t plane_base_ = 0;
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
