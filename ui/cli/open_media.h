#pragma once
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "disk/block_device.h"

namespace vpc::cli {

/// A hard disk's or floppy disk's image, with or without `undo` (changes are kept in a temporary file and thrown away).
/// The error is one line for people.
using OpenedMedium = tl::expected<std::unique_ptr<disk::BlockDevice>, std::string>;
OpenedMedium open_hard_disk(const std::string& file, bool undo);

/// As open_hard_disk, for an image of any floppy disk's size. A file that may only be read becomes a write-protected
/// disk, which is said in a line on stderr.
OpenedMedium open_floppy(const std::string& file, bool undo);

/// A CD image: whole sectors of 2048 bytes, opened for reading only.
OpenedMedium open_disc(const std::string& file);

}  // namespace vpc::cli
