#pragma once
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

namespace vpc::disk::vhd {

/// Every number in a VHD is stored with its most significant byte first.
template <std::unsigned_integral T>
T load_big_endian(std::span<const std::uint8_t> bytes, std::size_t offset) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        value = value << 8 | bytes[offset + i];
    }
    return static_cast<T>(value);
}

template <std::unsigned_integral T>
void store_big_endian(std::span<std::uint8_t> bytes, std::size_t offset, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i) {
        bytes[offset + i] = static_cast<std::uint8_t>(std::uint64_t{value} >> 8 * (sizeof(T) - 1 - i));
    }
}

}  // namespace vpc::disk::vhd
