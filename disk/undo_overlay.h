#pragma once
#include <memory>

#include "disk/block_device.h"
#include "disk/file.h"

namespace vpc::disk {

/// A disk that can be written although `base` is never changed: what is written goes to a temporary file (see
/// create_temporary_file()) that grows with it and disappears with the returned device. flush() does nothing, for
/// nothing is to be kept. `base` may be read-only.
///
/// A bit per sector says where the sector is; the bits are kept for 16 MiB of disk at a time, where something was
/// written.
Result<std::unique_ptr<BlockDevice>> discard_changes(std::unique_ptr<BlockDevice> base);

/// The same, with the changes in `store`, an empty file opened ReadWrite.
std::unique_ptr<BlockDevice> discard_changes(std::unique_ptr<BlockDevice> base, std::unique_ptr<File> store);

}  // namespace vpc::disk
