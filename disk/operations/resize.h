#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "disk/block_device.h"
#include "disk/file.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// Gives an image's disk another size, in bytes, in place. What is new holds zeros and takes no room; partitions and
/// file systems on the disk stay as they are. Geometry and table follow; blocks that are in the table's way move to the
/// end of the file. The id stays.
///
/// The end of a disk can only be cut off while it holds nothing but zeros. Differencing images do not shrink, and grow
/// only if their parent is not larger, since they would show what it holds there.
///
/// A power failure leaves a disk of the old or of the new size with everything on it; of a fixed disk that was being
/// enlarged, the first new sector may hold a copy of the old footer then, and of one that was being made smaller, the
/// first sector that was to go one of the new footer. The operation can be repeated.
///
/// Errors, before anything is changed: those of open_image() for writing; Unsupported for a size that cannot be and a
/// tail that is in use; InUse also when other images in the same folder have this
/// one as their parent.
Status resize(const std::filesystem::path& image, std::uint64_t size,
              const std::vector<std::filesystem::path>& parent_folders, const Operation& operation);

/// The same without looking for children: for a parent that is to take in a larger child.
Status resize_parent(const std::filesystem::path& image, std::uint64_t size,
                     const std::vector<std::filesystem::path>& parent_folders, WorkMeter& meter);

/// The middle part of it. `parent` is that of a differencing image; `file` is open for writing.
Status resize_file(File& file, std::unique_ptr<BlockDevice> parent, std::uint64_t size, WorkMeter& meter);

}  // namespace vpc::disk
