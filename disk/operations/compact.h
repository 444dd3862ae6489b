#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "disk/operations/operation.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/volume/free_space.h"

namespace vpc::disk {

struct CompactOptions {
    /// Also drop blocks that hold nothing but what the file systems on the disk
    /// call free (find_free_space()).
    bool free_space = false;
    /// Where parents of a differencing image are looked for, too.
    std::vector<std::filesystem::path> parent_folders = {};
};

/// What compact() has achieved.
struct Compaction {
    std::uint64_t size_before = 0;  ///< bytes of the file
    std::uint64_t size_after = 0;
    FreeSpaceReport free_space;  ///< which volumes were understood, where that was asked for
};

/// Makes the file of a dynamic or differencing image smaller, in place: drops blocks that hold nothing but zeros, or in
/// a differencing image nothing but what its parent holds, moves blocks from the end into the gaps, and cuts the end
/// off. What the disk holds does not change, except that free space of its file systems may hold zeros or what the
/// parent holds where CompactOptions says so; nor does its id: children stay valid.
///
/// At every moment the image is whole and holds the same; after a failure, a cancellation or a power failure too, and
/// the operation can be repeated. Errors: those of open_image() for writing (InUse among them, also for a disk that
/// belongs to a machine in saved state); Unsupported for raw and fixed images, which have no blocks.
Result<Compaction> compact(const std::filesystem::path& image, const CompactOptions& options,
                           const Operation& operation);

/// The same for a disk that is open already, ReadWrite, and has been flushed.
Result<Compaction> compact(vhd::DynamicDisk& disk, const CompactOptions& options, const Operation& operation);

}  // namespace vpc::disk
