#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "disk/block_device.h"

namespace vpc::disk::volume {

/// Reads bytes of a part of a disk, at any offset. Beyond its end is Corrupt: only a damaged file system leads there.
class VolumeReader {
  public:
    /// The part must lie within the disk, and the disk must outlive the reader.
    VolumeReader(BlockDevice& disk, std::uint64_t first_sector, std::uint64_t sectors)
        : disk_(disk), first_sector_(first_sector), sectors_(sectors) {}

    std::uint64_t sectors() const { return sectors_; }
    Status read(std::uint64_t offset, std::span<std::uint8_t> bytes);

  private:
    BlockDevice& disk_;
    std::uint64_t first_sector_;
    std::uint64_t sectors_;
    std::vector<std::uint8_t> whole_sectors_;
};

}  // namespace vpc::disk::volume
