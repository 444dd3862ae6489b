#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "disk/file.h"
#include "disk/operations/check.h"
#include "disk/operations/operation.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk::vhd {

/// The part of an examination that is about dynamic and differencing images: header, parent's paths, table, blocks and
/// bitmaps. Used once, in the order of its members; the file and the rest outlive it.
class BlockExaminer {
  public:
    /// The footer has passed check_footer(). Findings are added to `findings`.
    BlockExaminer(File& file, const Footer& footer, std::uint64_t end, std::vector<Finding>& findings,
                  WorkMeter& meter);

    /// Reads header and table.
    Status examine_header();
    /// Whether there are a header and a table that can be right. Nothing below is to be called otherwise.
    bool usable() const { return table_.has_value(); }
    const DynamicHeader& header() const { return header_; }
    bool header_intact() const { return header_intact_; }

    /// Where blocks have to end: at the footer, or at the end of the file.
    void set_end_of_room(std::uint64_t end) { end_of_room_ = end; }
    /// Judges every block. Reads bitmaps, and what dynamic images store in sectors that these call unwritten.
    Status examine_table();

    /// The end of the last structure and block that lie in the file.
    std::uint64_t end() const;
    /// Whether a block reaches beyond the end of the room for blocks, and how that can be put right.
    Remedy overhang() const { return overhang_; }
    std::uint64_t end_with_overhang() const { return end_with_overhang_; }
    /// Where a footer can stand behind `end`, so that an image laid out for sectors of 4 KiB stays one.
    std::uint64_t footer_place(std::uint64_t end) const;
    /// The header's checksum is wrong, and everything that the header says is right.
    bool checksum_to_repair() const { return !header_intact_ && table_is_right_; }
    /// The table's sectors, by their offset, without the blocks that lie outside or on structures.
    std::map<std::uint64_t, std::vector<std::uint8_t>> table_without_lost_blocks() const;
    /// A bitmap that lacks bits.
    struct IncompleteBitmap {
        std::uint64_t offset = 0;   ///< in the file
        std::uint32_t sectors = 0;  ///< of the disk that lie in its block
    };
    const std::vector<IncompleteBitmap>& incomplete_bitmaps() const { return incomplete_bitmaps_; }

  private:
    void add(FindingKind kind, Remedy remedy, const std::string& text);
    template <typename Text>
    void add_counted(FindingKind kind, Remedy remedy, Text text);
    void add_counts();
    bool lies_on_structure(std::uint64_t begin) const;
    bool lies_outside(std::uint64_t begin) const { return begin + bitmap_bytes(header_.block_size) >= end_of_room_; }
    bool overlaps_the_one_before(std::size_t sound) const;
    Status judge_block(std::uint32_t block);
    Status judge_overhang(std::uint32_t block);
    void find_overlaps();
    Status examine_bitmaps();
    void examine_paths();
    std::uint32_t sectors_of(std::uint32_t block) const;

    std::uint64_t place_of(std::uint32_t block) const { return std::uint64_t{(*table_)[block]} * kSectorSize; }
    std::uint64_t slot() const { return std::uint64_t{bitmap_bytes(header_.block_size)} + header_.block_size; }

    File& file_;
    const Footer& footer_;
    std::uint64_t end_of_room_;
    std::vector<Finding>& findings_;
    WorkMeter& meter_;
    DynamicHeader header_;
    bool header_intact_ = false;
    std::optional<BlockTable> table_;
    std::vector<FileRange> structures_;
    std::vector<std::uint32_t> sound_;  ///< blocks that lie where blocks may lie, in the order of the file
    std::vector<IncompleteBitmap> incomplete_bitmaps_;
    std::map<FindingKind, std::size_t> counts_;
    bool table_is_right_ = true;
    bool aligned_ = false;  ///< blocks' data begins at multiples of 4096
    Remedy overhang_ = Remedy::None;
    std::uint64_t end_with_overhang_ = 0;
};

}  // namespace vpc::disk::vhd
