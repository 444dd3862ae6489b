#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "disk/file.h"

namespace vpc::disk::vhdx {

/// The first bytes of a VHDX file. Section numbers here and in the sources are those of Microsoft's specification of
/// the format, [MS-VHDX]. All its numbers are little-endian.
inline constexpr std::string_view kSignature = "vhdxfile";

using Id = std::array<std::uint8_t, 16>;

/// What has to be known of a VHDX image to read it.
struct Layout {
    std::uint64_t disk_size = 0;  ///< bytes, a multiple of 512
    std::uint64_t block_size = 0;
    std::uint64_t table_offset = 0;  ///< of the block allocation table, in the file
    /// Payload blocks between two entries for bitmaps in the table (2.5.1).
    std::uint64_t chunk_ratio = 0;
    Id data_id = {};  ///< changes with the contents; by it a child knows its parent
    bool has_parent = false;
    std::uint64_t parent_locator_offset = 0;  ///< in the file
    std::uint32_t parent_locator_size = 0;

    std::uint64_t blocks() const { return (disk_size + block_size - 1) / block_size; }
    /// Where the table's entry for a payload block is, in the file.
    std::uint64_t entry_offset(std::uint64_t block) const { return table_offset + 8 * (block + block / chunk_ratio); }
    /// Where the entry for the bitmap of a payload block is.
    std::uint64_t bitmap_entry_offset(std::uint64_t block) const {
        return table_offset + 8 * ((block / chunk_ratio + 1) * (chunk_ratio + 1) - 1);
    }
};

/// Sectors that share a bitmap (2.4).
inline constexpr std::uint64_t kChunkSectors = std::uint64_t{1} << 23;

/// What an entry of the block allocation table says of a payload block (2.5.1.1).
enum class BlockState : std::uint8_t {
    NotPresent = 0,  ///< the parent holds it; zeros without one
    Undefined = 1,
    Zero = 2,
    Unmapped = 3,
    FullyPresent = 6,
    PartiallyPresent = 7,  ///< a bitmap tells which sectors are the parent's
};

inline BlockState state_of(std::uint64_t table_entry) {
    return static_cast<BlockState>(table_entry & 7);
}
/// Where in the file the block is, if it is stored.
inline std::uint64_t offset_of(std::uint64_t table_entry) {
    return table_entry >> 20 << 20;
}

/// Reads and checks the headers, the region table, the metadata and the block allocation table, so that nothing in
/// them can mislead a reader. Corrupt where they contradict each other or the file; Unsupported for what cannot be read
/// truthfully: a log with changes that were never applied (the table and the data are older than what the log says),
/// another version of the format, unknown required parts, sectors of another size than 512 bytes.
Result<Layout> load_layout(File& file);

}  // namespace vpc::disk::vhdx
