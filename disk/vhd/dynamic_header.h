#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

inline constexpr std::size_t kDynamicHeaderSize = 1024;
inline constexpr std::array<std::uint8_t, 8> kDynamicHeaderCookie = {'c', 'x', 's', 'p', 'a', 'r', 's', 'e'};
inline constexpr std::uint32_t kHeaderVersion = 0x00010000;
inline constexpr std::uint32_t kDefaultBlockSize = 0x00200000;
/// Microsoft's tools use 512 KiB and 2 MiB; other powers of two within these bounds are read, too.
inline constexpr std::uint32_t kMinBlockSize = kSectorSize;
inline constexpr std::uint32_t kMaxBlockSize = std::uint32_t{256} << 20;
/// Entries a table may have here: enough for 2040 GiB in blocks of 512 KiB, and 16 MiB of memory.
inline constexpr std::uint32_t kMaxTableEntries = std::uint32_t{4} << 20;

/// Where the path of a differencing disk's parent is stored, in one platform's way of writing it.
struct ParentLocatorEntry {
    FourCc platform_code = {};               ///< zeros: unused
    std::uint32_t platform_data_space = 0;   ///< room for the path; bytes in practice, sectors by the specification
    std::uint32_t platform_data_length = 0;  ///< of the path, in bytes
    std::uint32_t reserved = 0;
    std::uint64_t platform_data_offset = 0;  ///< of the path in the file, in bytes
    bool operator==(const ParentLocatorEntry&) const = default;
};

/// "Dynamic Disk Header Format" of the specification, with its field names: where the block allocation table is, and
/// for differencing disks who the parent is.
struct DynamicHeader {
    std::array<std::uint8_t, 8> cookie = kDynamicHeaderCookie;
    std::uint64_t data_offset = kNoNextStructure;
    std::uint64_t table_offset = 0;  ///< of the block allocation table, in bytes
    std::uint32_t header_version = kHeaderVersion;
    std::uint32_t max_table_entries = 0;
    std::uint32_t block_size = kDefaultBlockSize;  ///< data bytes in a block, its bitmap not counted
    std::uint32_t checksum = 0;                    ///< as found; serialise() computes its own
    std::array<std::uint8_t, 16> parent_unique_id = {};
    std::uint32_t parent_time_stamp = 0;
    std::uint32_t reserved = 0;
    std::array<std::uint8_t, 512> parent_unicode_name = {};  ///< UTF-16BE, filled up with zeros
    std::array<ParentLocatorEntry, 8> parent_locator_entries = {};
    std::array<std::uint8_t, 256> reserved2 = {};

    bool operator==(const DynamicHeader&) const = default;
};

using DynamicHeaderBytes = std::array<std::uint8_t, kDynamicHeaderSize>;

/// Takes the bytes apart without judging them. Needs kDynamicHeaderSize bytes.
DynamicHeader parse_dynamic_header(std::span<const std::uint8_t> bytes);
/// The bytes with a right checksum.
DynamicHeaderBytes serialise(const DynamicHeader& header);

/// Cookie and checksum are right.
bool is_intact_dynamic_header(std::span<const std::uint8_t> bytes);

/// Entries a disk of that many bytes needs.
constexpr std::uint64_t needed_table_entries(std::uint64_t disk_size, std::uint32_t block_size) {
    return (disk_size + block_size - 1) / block_size;
}

/// The table as stored: whole sectors.
constexpr std::uint64_t table_bytes(std::uint32_t entries) {
    return (std::uint64_t{entries} * 4 + kSectorSize - 1) / kSectorSize * kSectorSize;
}

/// Bytes of the bitmap that precedes a block's data: a bit per sector, in whole sectors.
constexpr std::uint32_t bitmap_bytes(std::uint32_t block_size) {
    const std::uint32_t bytes = (block_size / kSectorSize + 7) / 8;
    return (bytes + kSectorSize - 1) / kSectorSize * kSectorSize;
}

/// Bytes `begin` to `end` of a file.
struct FileRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// Where everything lies that is no block: footer copy, header, table and the parent's paths.
std::vector<FileRange> structures_of(const DynamicHeader& header, const Footer& footer);

/// Refuses a header that cannot be right for this footer in a file whose structures end at `end` (where the footer
/// begins): wrong version, illegal block size, a table that is too short, misplaced or beyond the end. `name` is the
/// file's. Does not look at cookie and checksum.
Status check_dynamic_header(const DynamicHeader& header, const Footer& footer, std::uint64_t end,
                            const std::string& name);

}  // namespace vpc::disk::vhd
