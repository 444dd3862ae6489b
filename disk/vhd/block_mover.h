#pragma once
#include <cstdint>
#include <vector>

#include "disk/operations/operation.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/write_queue.h"

namespace vpc::disk::vhd {

/// Takes blocks out of a dynamic or differencing disk and closes the gaps, in the file in which they lie. Whatever the
/// moment in which the power fails, the table points at blocks whose contents are complete:
///
/// * dropped blocks leave the table, then a barrier, before anything takes their place;
/// * a block is copied to an unused place, then a barrier, before the table names the new place; what lies at the old
///   one is not overwritten, only cut off at the end;
/// * the footer at the new end and the table are on the disk before the file is cut.
///
/// Between the calls the disk can be read. Threads: those of the disk.
class BlockMover {
  public:
    /// `disk` is open ReadWrite, has been flushed, and outlives this object.
    explicit BlockMover(DynamicDisk& disk) : disk_(disk) {}

    Result<std::uint64_t> file_size() const { return disk_.file_->size(); }
    /// The blocks of the disk that are stored, in the order in which they lie in the file.
    std::vector<std::uint32_t> blocks() const;
    /// Whether the file has nothing stored where this block's data would be: a hole, which reads as zeros.
    Result<bool> is_hole(std::uint32_t block) const;
    /// Takes blocks out of the table, durably: they read as zeros, or as the parent, afterwards.
    Status drop(const std::vector<std::uint32_t>& blocks);

    struct Move {
        std::uint32_t block = 0;
        std::uint64_t to = 0;  ///< byte of the file where its bitmap shall begin
    };
    /// The fewest moves after which the blocks lie as far to the front as they can: the last block to the first gap
    /// that is large enough for it, and so on.
    std::vector<Move> plan() const;
    /// What the meter hears of a move when a byte written counts as `weight` bytes read.
    std::uint64_t work_of_a_move(std::uint64_t weight = 1) const {
        return (1 + weight) * std::uint64_t{disk_.header_.block_size};
    }
    /// Carries a plan out. Stopped or failed, some blocks have moved and the disk is whole.
    Status carry_out(const std::vector<Move>& moves, WorkMeter& meter, std::uint64_t weight = 1);
    /// Bytes that shorten() is going to cut off.
    std::uint64_t bytes_to_cut() const;
    /// Cuts what lies behind the last block off the file, a piece at a time: the host takes a while to give the room
    /// free. The meter hears `weight` bytes of work for each that has gone. Stopped or failed, the file is whole.
    Status shorten(WorkMeter& meter, double weight);
    /// Moves the blocks that touch these bytes of the file behind all others, and behind `end`.
    Status clear(std::uint64_t begin, std::uint64_t end, WorkMeter& meter);

  private:
    /// Bytes of the file that no block may take.
    struct Range {
        std::uint64_t begin = 0;
        std::uint64_t end = 0;
    };

    /// A bitmap that has to be written at byte `offset` before the table may name its block's new place.
    struct WaitingBitmap {
        std::uint64_t offset = 0;
        std::vector<std::uint8_t> bytes;
    };

    std::vector<Range> structures() const;
    std::uint64_t end_of_blocks() const;
    std::uint64_t place_behind(std::uint64_t end, const std::vector<Range>& taken) const;
    Status copy_block(const Move& move, WriteQueue& queue, std::vector<WaitingBitmap>& bitmaps, WorkMeter& meter);

    DynamicDisk& disk_;
    std::uint64_t first_block_ = 0;  ///< where the first block lay before any was dropped; 0: none was
};

}  // namespace vpc::disk::vhd
