#pragma once
#include <cstdint>
#include <vector>

#include "disk/file.h"
#include "disk/operations/check.h"
#include "disk/operations/operation.h"

namespace vpc::disk::vhd {

/// A change to a file that is part of a repair.
struct RepairStep {
    enum class Kind {
        Write,
        Resize,          ///< `offset` is the new size
        CompleteBitmap,  ///< set the bits of sectors that hold data; `offset` is the bitmap's
        Barrier,
    };
    Kind kind = Kind::Barrier;
    std::uint64_t offset = 0;
    std::vector<std::uint8_t> bytes = {};
    std::uint32_t sectors = 0;  ///< CompleteBitmap: sectors of the disk that lie in the block
};

/// What is wrong with an image file, and how to put it right.
struct Examination {
    CheckReport report;
    std::vector<RepairStep> steps;  ///< in order; after each, and in the middle of each, the next repair would succeed
    std::uint32_t block_size = 0;   ///< of images with blocks
};

/// Examines one file, which is locked and not empty; parents are somebody else's business. `accept_loss` puts the steps
/// for Remedy::Lossy in as well. Fails only when the host does, or Cancelled.
Result<Examination> examine(File& file, bool accept_loss, WorkMeter& meter);

/// The bits of a block's sectors which hold something else than zeros although they are not set in `bitmap`, set there.
/// The bitmap lies at byte `offset`, the data behind it. Only sectors below `sectors` are looked at. Returns how many
/// there were.
Result<std::uint32_t> complete_bitmap(File& file, std::uint64_t offset, std::uint32_t block_size, std::uint32_t sectors,
                                      std::vector<std::uint8_t>& bitmap, WorkMeter& meter);

}  // namespace vpc::disk::vhd
