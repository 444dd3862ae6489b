#include "disk/vhd/geometry.h"

#include <algorithm>

namespace vpc::disk::vhd {

Geometry geometry_for(std::uint64_t sectors) {
    sectors = std::min(sectors, sectors_in(kSaturatedGeometry));
    std::uint64_t sectors_per_track = 0;
    std::uint64_t heads = 0;
    std::uint64_t cylinders_times_heads = 0;
    const auto divide = [&](std::uint64_t new_sectors_per_track, std::uint64_t new_heads) {
        sectors_per_track = new_sectors_per_track;
        heads = new_heads;
        cylinders_times_heads = sectors / sectors_per_track;
    };
    if (sectors >= std::uint64_t{65535} * 16 * 63) {
        divide(255, 16);
    } else {
        divide(17, 0);
        heads = std::max<std::uint64_t>((cylinders_times_heads + 1023) / 1024, 4);
        if (cylinders_times_heads >= heads * 1024 || heads > 16) {
            divide(31, 16);
        }
        // Not the alternative of the test above: it looks at what that one left.
        if (cylinders_times_heads >= heads * 1024) {
            divide(63, 16);
        }
    }
    return {.cylinders = static_cast<std::uint16_t>(cylinders_times_heads / heads),
            .heads = static_cast<std::uint8_t>(heads),
            .sectors_per_track = static_cast<std::uint8_t>(sectors_per_track)};
}

}  // namespace vpc::disk::vhd
