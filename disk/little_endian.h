#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace vpc::disk {

/// Numbers as boot records, FAT, NTFS, ext and VHDX store them. The caller sees to it that they lie within `bytes`.
inline std::uint16_t little16(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return static_cast<std::uint16_t>(bytes[offset] | bytes[offset + 1] << 8);
}
inline std::uint32_t little32(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return little16(bytes, offset) | std::uint32_t{little16(bytes, offset + 2)} << 16;
}
inline std::uint64_t little64(std::span<const std::uint8_t> bytes, std::size_t offset) {
    return little32(bytes, offset) | std::uint64_t{little32(bytes, offset + 4)} << 32;
}

}  // namespace vpc::disk
