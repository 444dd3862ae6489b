#include "disk/vhd/image.h"

#include "disk/vhd/geometry.h"

namespace vpc::disk::vhd {

Geometry geometry_of(const Footer& footer) {
    const Geometry& stored = footer.disk_geometry;
    const std::uint64_t sectors = footer.current_size / kSectorSize;
    const std::uint64_t reached = sectors_in(stored);
    return reached > 0 && reached <= sectors ? stored : geometry_for(sectors);
}

}  // namespace vpc::disk::vhd
