#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace vpc::devices {

/// The sectors of a data track as they are on the disc, ECMA-130 clause 14: Mode 1, 2352 bytes. An ISO image holds the
/// 2048 bytes of user data of each; the rest follows from them and from the sector's address.
namespace cd_frame {

inline constexpr std::size_t kSize = 2352;
inline constexpr std::size_t kUserData = 2048;
/// The first block whose address, minutes:seconds:frames from the disc's start, a header cannot tell: 100 minutes.
inline constexpr std::uint32_t kFirstWithoutAddress = 100 * 60 * 75 - 150;

/// READ CD's choice of a sector's parts, byte 9 of the packet (MMC-3 6.1.15).
inline constexpr std::uint8_t kWantsSync = 0x80;
inline constexpr std::uint8_t kWantsSubheader = 0x40;  // Mode 1 has none
inline constexpr std::uint8_t kWantsHeader = 0x20;
inline constexpr std::uint8_t kWantsUserData = 0x10;
inline constexpr std::uint8_t kWantsEdcAndEcc = 0x08;

/// Bytes of a sector that such a choice has; nothing when it is none: parts that do not lie beside each other.
std::optional<std::size_t> size_of(std::uint8_t parts);

/// A whole sector. `lba` is below kFirstWithoutAddress, `data` kUserData bytes long.
std::array<std::uint8_t, kSize> build(std::uint32_t lba, std::span<const std::uint8_t> data);

/// The chosen parts of consecutive sectors whose user data `data` is. `parts` is a choice that size_of() knows.
std::vector<std::uint8_t> cut(std::uint32_t lba, std::span<const std::uint8_t> data, std::uint8_t parts);

}  // namespace cd_frame

}  // namespace vpc::devices
