#pragma once
#include <cstdint>

#include "core/cpu_state.h"

namespace vpc::unicorn {

/// Bits of SegmentRegister::attributes (Intel SDM volume 3, 3.4.5 and 3.5).
namespace attribute {
inline constexpr std::uint16_t kAccessed = 1u << 0;    ///< code and data
inline constexpr std::uint16_t kWritable = 1u << 1;    ///< data; readable for code
inline constexpr std::uint16_t kExpandDown = 1u << 2;  ///< data; conforming for code
inline constexpr std::uint16_t kCode = 1u << 3;        ///< code, not data
inline constexpr std::uint16_t kNotSystem = 1u << 4;   ///< S: code or data, not system
inline constexpr std::uint16_t kPresent = 1u << 7;
inline constexpr std::uint16_t kBig = 1u << 14;  ///< D/B
inline constexpr std::uint16_t kGranularity = 1u << 15;
inline constexpr std::uint16_t kTypeMask = 0x1F;  ///< type and S together
inline constexpr unsigned kDplShift = 5;
}  // namespace attribute

/// Values of kTypeMask for system descriptors and gates.
namespace system_type {
inline constexpr unsigned kTss16 = 0x01;
inline constexpr unsigned kLdt = 0x02;
inline constexpr unsigned kTss16Busy = 0x03;
inline constexpr unsigned kTaskGate = 0x05;
inline constexpr unsigned kInterruptGate16 = 0x06;
inline constexpr unsigned kTrapGate16 = 0x07;
inline constexpr unsigned kTss32 = 0x09;
inline constexpr unsigned kTss32Busy = 0x0B;
inline constexpr unsigned kInterruptGate32 = 0x0E;
inline constexpr unsigned kTrapGate32 = 0x0F;
inline constexpr unsigned kBusyBit = 0x02;
}  // namespace system_type

/// A segment descriptor as it stands in the GDT or LDT.
struct Descriptor {
    std::uint32_t low = 0;
    std::uint32_t high = 0;

    std::uint16_t attributes() const { return static_cast<std::uint16_t>((high >> 8) & 0xF0FF); }
    unsigned type() const { return attributes() & attribute::kTypeMask; }
    unsigned dpl() const { return (attributes() >> attribute::kDplShift) & 3; }
    bool present() const { return (attributes() & attribute::kPresent) != 0; }
    bool is(std::uint16_t bits) const { return (attributes() & bits) == bits; }
    bool code() const { return is(attribute::kNotSystem | attribute::kCode); }
    bool conforming_code() const { return code() && is(attribute::kExpandDown); }
    bool writable_data() const { return is(attribute::kNotSystem | attribute::kWritable) && !is(attribute::kCode); }
    bool readable() const { return is(attribute::kNotSystem) && (!is(attribute::kCode) || is(attribute::kWritable)); }
    std::uint32_t base() const { return (low >> 16) | ((high & 0xFF) << 16) | (high & 0xFF000000); }
    std::uint32_t limit() const {
        const std::uint32_t raw = (low & 0xFFFF) | (high & 0x000F0000);
        return is(attribute::kGranularity) ? (raw << 12) | 0xFFF : raw;
    }
    SegmentRegister load(std::uint16_t selector) const {
        return {.selector = selector, .base = base(), .limit = limit(), .attributes = attributes()};
    }
};

inline unsigned requested_privilege(std::uint16_t selector) {
    return selector & 3;
}
inline bool null_selector(std::uint16_t selector) {
    return (selector & ~3) == 0;
}

}  // namespace vpc::unicorn
