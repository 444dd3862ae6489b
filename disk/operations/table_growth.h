#pragma once
#include <cstdint>
#include <vector>

#include "disk/file.h"
#include "disk/operations/operation.h"
#include "disk/vhd/dynamic_disk.h"

namespace vpc::disk {

/// Gives a dynamic or differencing image another size, and a larger table where that needs one: the part of resize()
/// that is about images with blocks. Used once. A power failure leaves the old or the new size.
///
///  1. move_blocks(): blocks that lie where the table will be go to the end of the file. If something unknown lies
///     there, that stays, and the larger table will be at the end instead.
///  2. carry_out(): entries of blocks beyond the smaller of both sizes are emptied, what the last block holds beyond
///  the
///     old end becomes zeros; a barrier; then the new footers, with a new header if the table grows.
class TableGrowth {
  public:
    /// `footer` is what the image's footer shall be. The file outlives this object.
    TableGrowth(File& file, const vhd::Footer& footer) : file_(file), new_footer_(footer) {}

    /// `disk` is the same image, open ReadWrite, and is closed afterwards.
    Status move_blocks(vhd::DynamicDisk& disk, WorkMeter& meter);
    Status carry_out();

  private:
    Result<bool> can_grow_in_place(const vhd::DynamicDisk& disk) const;
    Status empty_entries(std::uint32_t begin, std::uint32_t end);
    Status zero_behind_end();
    Status grow_table();
    Status write_table(std::uint64_t place);
    Result<std::vector<std::uint8_t>> move_paths(vhd::DynamicHeader& header, std::uint64_t place);

    std::uint64_t table_end() const { return header_.table_offset + vhd::table_bytes(header_.max_table_entries); }
    std::uint64_t new_table_end() const { return header_.table_offset + vhd::table_bytes(new_entries_); }

    File& file_;
    vhd::Footer new_footer_;
    vhd::Footer old_footer_;
    vhd::DynamicHeader header_;
    std::uint32_t new_entries_ = 0;    ///< that the table has to have
    std::uint64_t footer_offset_ = 0;  ///< where the footer stands after move_blocks()
    std::uint32_t last_block_ = 0;     ///< where the last block of the old size lies, as in the table
    bool in_place_ = true;             ///< the larger table begins where the old one does
};

}  // namespace vpc::disk
