#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "disk/file.h"

namespace vpc::disk::vhd {

/// The bitmaps in front of a dynamic disk's blocks: which sectors were ever written. Read when first needed; blocks
/// whose bits are all set, which is nearly every block of nearly every image, cost one bit of memory afterwards.
/// Changes stay in memory until write_dirty().
class SectorBitmaps {
  public:
    SectorBitmaps(std::uint32_t blocks, std::uint32_t sectors_per_block);

    /// Sectors of a block that are alike.
    struct Run {
        bool present = false;
        std::uint32_t count = 0;
    };

    /// The run that begins at `first`, cut off after `limit` sectors. The block's bitmap lies at byte `offset`.
    Result<Run> run_at(File& file, std::uint32_t block, std::uint64_t offset, std::uint32_t first, std::uint32_t limit);
    /// A whole bitmap, until the next call; nothing when it holds ones only.
    Result<std::span<const std::uint8_t>> bitmap(File& file, std::uint32_t block, std::uint64_t offset);
    /// Sets `count` bits from `first` on.
    Status mark_present(File& file, std::uint32_t block, std::uint64_t offset, std::uint32_t first,
                        std::uint32_t count);
    /// This block's bitmap is known to hold ones only.
    void mark_full(std::uint32_t block) { full_[block] = true; }

    /// The block was dropped or lies elsewhere now; its bitmap has no changes.
    void forget(std::uint32_t block);

    /// Bitmaps with changes. They are held in memory until they have been written, so the owner keeps this small.
    std::size_t dirty() const { return dirty_.size(); }
    /// Writes all changed bitmaps. What fails stays to be written.
    Status write_dirty(File& file);

  private:
    struct Dirty {
        std::uint64_t offset = 0;
        std::vector<std::uint8_t> bytes;
    };

    Result<std::span<const std::uint8_t>> find(File& file, std::uint32_t block, std::uint64_t offset);
    std::size_t place_of(std::uint32_t block) const { return block % kept_block_.size(); }
    std::span<std::uint8_t> kept_at(std::size_t place) { return std::span(kept_).subspan(place * length_, length_); }
    bool is_full(std::span<const std::uint8_t> bitmap) const;

    std::uint32_t sectors_per_block_;
    std::size_t length_;  ///< of a bitmap, in bytes
    std::vector<bool> full_;
    /// Unchanged bitmaps, one behind the other: a block's number says in which place its own is, if it is there.
    std::vector<std::uint8_t> kept_;
    std::vector<std::uint32_t> kept_block_;  ///< whose bitmap is in a place
    std::unordered_map<std::uint32_t, Dirty> dirty_;
};

}  // namespace vpc::disk::vhd
