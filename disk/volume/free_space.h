#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "disk/block_device.h"

namespace vpc::disk {

/// What find_free_space() made of one volume.
struct VolumeReport {
    std::uint64_t first_sector = 0;
    std::uint64_t sectors = 0;
    std::string file_system;         ///< "FAT12", "FAT16", "FAT32", "NTFS", "ext2", "ext3", "ext4"; empty: not known
    std::uint64_t free_sectors = 0;  ///< handed out; less than the file system's own figure where that is in doubt
    std::string skipped;             ///< why nothing (more) of it was handed out; empty: it was read to its end
};

struct FreeSpaceReport {
    std::vector<VolumeReport> volumes;  ///< by first sector
};

/// Calls `free_run(sector, count)` for every run of sectors that the file system on the disk says no file uses, in
/// ascending order. Volumes it does not know, or whose own records may not be up to date (not cleanly unmounted,
/// a journal or log that waits to be replayed, as hibernated guests leave it), are skipped and named in the result.
/// Sectors outside volumes are never handed out: boot loaders and volume managers keep data there.
///
/// Known are master boot records with logical partitions, and disks that are one volume without a partition table;
/// FAT12/16/32, NTFS, ext2/3/4. Whatever the disk holds, it needs less than 40 MiB of memory. Fails only when the
/// disk cannot be read.
Result<FreeSpaceReport> find_free_space(BlockDevice& disk,
                                        const std::function<void(std::uint64_t sector, std::uint64_t count)>& free_run);

}  // namespace vpc::disk
