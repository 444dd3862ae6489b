#pragma once
#include <filesystem>
#include <memory>

#include "disk/file.h"
#include "disk/operation.h"

namespace vpc::disk {

/// What compact() has achieved, in bytes of the file.
struct Compaction {
    std::uint64_t size_before = 0;
    std::uint64_t size_after = 0;
};

/// Makes the file of a dynamic image smaller, in place: drops blocks that hold nothing but zeros, moves blocks from the
/// end into the gaps, and cuts the end off. What the disk holds does not change, nor does its id: children stay valid.
///
/// At every moment the image is whole and holds the same; after a failure, a cancellation or a power failure too, and
/// the operation can be repeated. Errors: those of open_image() for writing (InUse among them, also for a disk that
/// belongs to a machine in saved state); Unsupported for raw and fixed images, which have no blocks.
Result<Compaction> compact(const std::filesystem::path& image, const Operation& operation);

/// The same for a file that is open already, ReadWrite.
Result<Compaction> compact(std::unique_ptr<File> file, const Operation& operation);

}  // namespace vpc::disk
