#pragma once
#include <cstdint>
#include <set>
#include <vector>

#include "disk/file.h"

namespace vpc::disk::vhd {

/// The block allocation table (BAT) of a dynamic or differencing disk, whole in memory: for every block the sector of
/// the file where its bitmap starts, its data behind it. Changes stay in memory until write_dirty().
class BlockTable {
  public:
    static constexpr std::uint32_t kUnallocated = 0xFFFFFFFF;

    /// Reads `entries` entries at byte `offset`. The caller has bounded both.
    static Result<BlockTable> load(File& file, std::uint64_t offset, std::uint32_t entries);

    std::uint32_t size() const { return entries_; }
    std::uint32_t operator[](std::uint32_t block) const { return table_[block]; }
    void set(std::uint32_t block, std::uint32_t sector);

    bool dirty() const { return !dirty_sectors_.empty(); }
    /// Writes all changed entries, whole sectors of the table at a time. What fails stays to be written.
    Status write_dirty(File& file);

  private:
    std::uint64_t offset_ = 0;
    std::uint32_t entries_ = 0;
    /// In this machine's byte order, with the padding up to the next sector, which is written back as it was found.
    std::vector<std::uint32_t> table_;
    std::set<std::uint32_t> dirty_sectors_;
};

}  // namespace vpc::disk::vhd
