#pragma once
#include <cstdint>
#include <filesystem>

#include "disk/block_device.h"
#include "disk/file.h"
#include "disk/image_type.h"
#include "disk/operations/operation.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk {

/// The image that convert() and merge_to() make.
struct ConvertTarget {
    std::filesystem::path file;
    ImageType type = ImageType::Dynamic;                ///< Raw, Fixed or Dynamic
    std::uint32_t block_size = vhd::kDefaultBlockSize;  ///< of a dynamic one: a power of two, 64 KiB to 256 MiB
    bool overwrite = false;                             ///< replace a file of that name
    bool reserve = false;                               ///< Raw and Fixed: take all of the room on the host's disk
};

/// Makes a new image with the contents of another one of any type that open_image() reads. What is zeros becomes a hole
/// (Raw, Fixed: unless `reserve`) or takes no block. The new image has an id of its own; if the source is a VHD, it
/// keeps what that says of its creator and its geometry, so a guest sees the same disk.
///
/// The target appears under its name when it is complete, and not at all after a failure or a cancellation; the source
/// is only read. Errors: those of open_image(); Unsupported for a target type or a size that cannot be;
/// AlreadyExists; NoSpace; InUse.
Status convert(const std::filesystem::path& source, const ConvertTarget& target, const Operation& operation);

/// The same from a device that is open already.
Status convert(BlockDevice& source, const ConvertTarget& target, const Operation& operation);

/// The middle part of it: fills `file`, which is empty, with such an image of `source`, and does not sync it.
Status write_image(BlockDevice& source, File& file, const ConvertTarget& target, WorkMeter& meter);

}  // namespace vpc::disk
