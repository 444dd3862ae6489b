#pragma once
#include <cstdint>

#include "disk/block_device.h"

namespace vpc::disk::vhd {

/// The geometry that stands in the footer of a disk with so many sectors: the appendix "CHS calculation" of the VHD
/// specification. It rounds down, so the product can be smaller than `sectors`; below 68 sectors it has no cylinders.
Geometry geometry_for(std::uint64_t sectors);

/// Sectors that cylinders, heads and sectors per track reach.
constexpr std::uint64_t sectors_in(const Geometry& geometry) {
    return std::uint64_t{geometry.cylinders} * geometry.heads * geometry.sectors_per_track;
}

/// What geometry_for() answers for every disk it cannot express: 65535 cylinders, 16 heads, 255 sectors, 127.5 GiB.
/// Some programs write it into every footer, to say that the size counts and not the geometry.
constexpr Geometry kSaturatedGeometry = {.cylinders = 65535, .heads = 16, .sectors_per_track = 255};

}  // namespace vpc::disk::vhd
