#pragma once
#include <memory>

#include "disk/block_device.h"
#include "disk/file.h"
#include "disk/open_image.h"

namespace vpc::disk::vhdx {

/// Opens a VHDX image, fixed, dynamic or differencing with its parents, for reading. `file` is locked already and
/// begins with kSignature. Errors: those of load_layout(); ReadOnly for OpenMode::ReadWrite; Unsupported for a chain of
/// more than 64 images, or of files that are none of the host's; NotFound and ParentMismatch as for VHDs.
///
/// The parent of a differencing image is looked for at the paths that the image names, from its folder, then under the
/// same names in its folder and in OpenOptions::parent_folders.
///
/// libvhdi also reads this format, but not truthfully: of a fixed image it returns wrong blocks from 4 GiB on, and of a
/// differencing one it takes blocks that are all zeros for the parent's (20240509; tests/disk/vhdx_test.cpp shows it).
Result<std::unique_ptr<BlockDevice>> open_disk(std::unique_ptr<File> file, const OpenOptions& options);

/// Whether open_disk() has made it.
bool is_vhdx(const BlockDevice& device);

}  // namespace vpc::disk::vhdx
