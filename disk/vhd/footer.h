#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "disk/block_device.h"

namespace vpc::disk::vhd {

inline constexpr std::size_t kFooterSize = 512;
/// Before Virtual PC 2004 the footer lacked its last byte, which is zero anyway.
inline constexpr std::size_t kOldFooterSize = 511;
inline constexpr std::array<std::uint8_t, 8> kFooterCookie = {'c', 'o', 'n', 'e', 'c', 't', 'i', 'x'};
/// Features: always set.
inline constexpr std::uint32_t kFeatureReserved = 0x00000002;
inline constexpr std::uint32_t kFileFormatVersion = 0x00010000;
/// Data offset of a fixed disk, and the dynamic header's: no further structure.
inline constexpr std::uint64_t kNoNextStructure = 0xFFFF'FFFF'FFFF'FFFF;
/// 2040 GiB, the largest disk the specification allows.
inline constexpr std::uint64_t kMaxDiskSize = std::uint64_t{2040} << 30;
/// Midnight of 1 January 2000, UTC, where VHD time begins, in Unix seconds.
inline constexpr std::int64_t kTimeEpoch = 946'684'800;

enum class DiskType : std::uint32_t {
    Fixed = 2,
    Dynamic = 3,
    Differencing = 4,
};

using FourCc = std::array<char, 4>;

/// The 512 bytes at the end of every VHD, "Hard Disk Footer Format" of the specification, with its field names. They
/// describe the whole disk. Types 3 and 4 keep a copy at the start of the file.
struct Footer {
    std::array<std::uint8_t, 8> cookie = kFooterCookie;
    std::uint32_t features = kFeatureReserved;
    std::uint32_t file_format_version = kFileFormatVersion;
    std::uint64_t data_offset = kNoNextStructure;  ///< of the dynamic header, in bytes
    std::uint32_t time_stamp = 0;                  ///< of creation, seconds since kTimeEpoch
    FourCc creator_application = {};
    std::uint32_t creator_version = 0;
    FourCc creator_host_os = {};
    std::uint64_t original_size = 0;  ///< bytes when it was created; never the size to use
    std::uint64_t current_size = 0;   ///< bytes now: the size of the virtual disk
    Geometry disk_geometry;
    DiskType disk_type = DiskType::Fixed;  ///< any value may be in a file
    std::uint32_t checksum = 0;            ///< as found; serialise() computes its own
    std::array<std::uint8_t, 16> unique_id = {};
    std::uint8_t saved_state = 0;  ///< 1 while the machine that owns the disk is in saved state
    std::array<std::uint8_t, 427> reserved = {};

    bool operator==(const Footer&) const = default;
};

using FooterBytes = std::array<std::uint8_t, kFooterSize>;

/// Takes the bytes apart without judging them. Needs kFooterSize bytes.
Footer parse_footer(std::span<const std::uint8_t> bytes);
/// The bytes with a right checksum.
FooterBytes serialise(const Footer& footer);

bool has_footer_cookie(std::span<const std::uint8_t> bytes);
/// Cookie and checksum are right. The fields may still be nonsense: see check_footer().
bool is_intact_footer(std::span<const std::uint8_t> bytes);

/// Refuses what no reader can handle: another major version, an unknown type, a size of nothing (Corrupt) or beyond
/// kMaxDiskSize (Unsupported). `name` is the file's, for the message.
Status check_footer(const Footer& footer, const std::string& name);

/// The sum of a footer or dynamic header whose own checksum field lies at `checksum_offset`: the complement of the sum
/// of all other bytes.
std::uint32_t checksum_of(std::span<const std::uint8_t> structure, std::size_t checksum_offset);

/// Unix seconds to VHD time and back. Times a VHD cannot hold become the nearest it can: 2000 or 2136.
std::uint32_t time_from_unix(std::int64_t seconds);
std::int64_t time_to_unix(std::uint32_t time_stamp);

}  // namespace vpc::disk::vhd
