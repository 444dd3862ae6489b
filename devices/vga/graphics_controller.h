#pragma once
#include <array>
#include <cstdint>

namespace vpc {
class StateStream;
}

namespace vpc::devices::vga {

/// The VGA's graphics controller, ports 3CEh (index) and 3CFh (data): what happens to data between the CPU and the
/// planes, and how the planes' bytes become pixels. Reserved bits read as 0. Names are IBM's.
class GraphicsController {
  public:
    enum Register : std::uint8_t {
        kSetReset,
        kEnableSetReset,
        kColorCompare,
        kDataRotate,
        kReadMapSelect,
        kMode,
        kMiscellaneous,
        kColorDontCare,
        kBitMask,
        kRegisters
    };
    enum class Function : std::uint8_t { Replace, And, Or, Xor };
    enum class Shift : std::uint8_t {
        Planar,       ///< eight pixels, one bit from each plane
        Interleaved,  ///< eight pixels of two bits: the CGA's four colours
        Packed        ///< four pixels of eight bits: 256 colours
    };
    struct Window {
        std::uint32_t first;  ///< from A0000h
        std::uint32_t size;   ///< in bytes
    };

    void write_index(std::uint8_t value) { index_ = value & 0x0F; }
    std::uint8_t index() const { return index_; }
    /// True when the indexed register has a new value.
    bool write_data(std::uint8_t value);
    std::uint8_t read_data() const { return index_ < kRegisters ? registers_[index_] : 0; }

    std::uint8_t set_reset() const { return registers_[kSetReset]; }
    std::uint8_t enable_set_reset() const { return registers_[kEnableSetReset]; }
    std::uint8_t color_compare() const { return registers_[kColorCompare]; }
    std::uint8_t color_dont_care() const { return registers_[kColorDontCare]; }
    unsigned rotate() const { return registers_[kDataRotate] & 7u; }
    Function function() const { return static_cast<Function>((registers_[kDataRotate] >> 3) & 3); }
    std::uint8_t read_map() const { return registers_[kReadMapSelect]; }
    unsigned write_mode() const { return registers_[kMode] & 3u; }
    unsigned read_mode() const { return (registers_[kMode] >> 3) & 1u; }
    /// Reads take the plane's low bit from the address.
    bool odd_even_read() const { return (registers_[kMode] & 0x10) != 0; }
    Shift shift() const;
    bool graphics() const { return (registers_[kMiscellaneous] & 0x01) != 0; }
    /// The CPU's address bit 0 selects planes and is replaced by a higher one on its way to the memory.
    bool chain_odd_even() const { return (registers_[kMiscellaneous] & 0x02) != 0; }
    Window window() const;
    std::uint8_t bit_mask() const { return registers_[kBitMask]; }

    void reset() { *this = {}; }
    void serialize(StateStream& stream);

  private:
    std::uint8_t index_ = 0;
    std::array<std::uint8_t, kRegisters> registers_{};
};

}  // namespace vpc::devices::vga
