#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "disk/block_device.h"

namespace vpc::disk::volume {

/// A part of the disk that may hold a file system. Sectors count from the start of the disk.
struct Partition {
    std::uint64_t first = 0;
    std::uint64_t sectors = 0;
    std::string doubt;  ///< why it must not be looked into; empty: it may be
};

/// The partitions of a master boot record (table at byte 446: 4 entries of 16 bytes, type at 4, first sector at 8 and
/// number of sectors at 12, little-endian; signature 55 AAh at 510) and the logical ones in the chains of extended
/// partitions (types 05h, 0Fh, 85h), by first sector. Empty without a table. A disk whose table has an entry that
/// starts at sector 0 is one volume, as Windows writes it on disks without partitions.
///
/// Overlapping partitions, those that reach beyond the disk, and types that another program manages (GPT, Windows'
/// dynamic disks, LVM, RAID) carry a doubt. Fails when the disk cannot be read.
Result<std::vector<Partition>> read_partitions(BlockDevice& disk);

}  // namespace vpc::disk::volume
