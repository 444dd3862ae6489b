#pragma once
#include <cstdint>

#include "disk/error.h"
#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

/// The footer of a new image: random id, time stamp of now, the geometry for its size. Its creator is "win ", as
/// Windows' own tools write it: of images with another mark qemu-img and others believe the rounded geometry instead
/// of the size.
Footer new_footer(DiskType type, std::uint64_t size);

/// 16 random bytes with the marks of a random UUID (RFC 4122, version 4).
std::array<std::uint8_t, 16> new_unique_id();

}  // namespace vpc::disk::vhd
