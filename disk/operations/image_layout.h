#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "disk/block_device.h"
#include "disk/file.h"
#include "disk/operations/convert.h"
#include "disk/write_queue.h"

namespace vpc::disk {

/// Where the sectors of a new image go in its file, while it is filled from its start to its end.
class ImageLayout {
  public:
    virtual ~ImageLayout() = default;

    /// Everything that can be written before the sectors.
    virtual Status begin(File& file) = 0;
    /// A piece's first `length` bytes are `sector` and what follows, and at least one of them is not zero. Where to
    /// write which of them. Pieces come in ascending order, begin at multiples of kPieceSize and end there or at the
    /// end of the disk.
    virtual Result<std::vector<WriteQueue::Part>> place(WriteQueue::Piece& piece, std::uint64_t sector,
                                                        std::size_t length) = 0;
    /// Everything that can be written after the sectors only.
    virtual Status end(File& file) = 0;
};

/// For Raw, Fixed and Dynamic. `source` tells size, geometry and creator. Unsupported for what no such image can be.
Result<std::unique_ptr<ImageLayout>> make_layout(BlockDevice& source, const ConvertTarget& target);

}  // namespace vpc::disk
