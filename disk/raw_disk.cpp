#include "disk/raw_disk.h"

#include <algorithm>

namespace vpc::disk {

Geometry raw_geometry(std::uint64_t sectors) {
    const auto cylinders = std::clamp<std::uint64_t>(sectors / (16 * 63), 1, 16383);
    return {.cylinders = static_cast<std::uint16_t>(cylinders), .heads = 16, .sectors_per_track = 63};
}

}  // namespace vpc::disk
