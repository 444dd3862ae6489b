#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "disk/error.h"
#include "disk/file.h"
#include "disk/image_type.h"
#include "disk/operations/operation.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk {

/// The empty image that create_image() makes.
struct NewImage {
    std::filesystem::path file = {};
    ImageType type = ImageType::Dynamic;
    std::uint64_t size = 0;                             ///< of the disk, in bytes, a multiple of 512; 0 with
                                                        ///< a parent: the parent's
    bool reserve = false;                               ///< Fixed and Raw: take all of the room on the host's disk now
    std::filesystem::path parent = {};                  ///< Differencing: an image of any type
    std::vector<std::filesystem::path> parent_folders;  ///< Differencing: see OpenOptions
    std::uint32_t block_size = 0;                       ///< 0: the parent's, or 2 MiB
    bool overwrite = false;                             ///< replace a file of that name
};

/// Makes an image that holds zeros, or what its parent holds. Fixed and raw images are holes unless `reserve`. Dynamic
/// and differencing ones are laid out on 4 KiB boundaries, as Windows does. A differencing image records its parent's
/// name, id, time of last change, relative and absolute path; the parent must not be written to any more.
///
/// The file appears under its name when it is complete, and not at all after a failure or a cancellation. Errors:
/// Unsupported for a size or block size that cannot be (a VHD has 512 bytes to 2040 GiB), AlreadyExists, NoSpace, and
/// those of opening the parent.
Status create_image(const NewImage& image, const Operation& operation);

/// When a file was changed last, in VHD time, as a child records it of its parent; 0 if the host does not tell.
std::uint32_t time_of_change(const std::filesystem::path& path);

/// The paths of a differencing image's parent as bytes of the file, and the locators that point at them when the bytes
/// are at `offset`, a multiple of
/// 512. Sets `header`'s locators and parent name.
std::vector<std::uint8_t> describe_parent(vhd::DynamicHeader& header, const std::filesystem::path& child,
                                          const std::filesystem::path& parent, std::uint64_t offset);

}  // namespace vpc::disk
