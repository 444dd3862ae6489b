#include "disk/vhd/new_footer.h"

#include <chrono>
#include <cstring>
#include <random>

#include "disk/vhd/geometry.h"

namespace vpc::disk::vhd {

Footer new_footer(DiskType type, std::uint64_t size) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    Footer footer;
    footer.data_offset = type == DiskType::Fixed ? kNoNextStructure : kFooterSize;
    footer.time_stamp = time_from_unix(std::chrono::duration_cast<std::chrono::seconds>(now).count());
    footer.creator_application = {'w', 'i', 'n', ' '};
    footer.creator_version = 0x000A0000;
    footer.creator_host_os = {'W', 'i', '2', 'k'};
    footer.original_size = footer.current_size = size;
    footer.disk_geometry = geometry_for(size / kSectorSize);
    footer.disk_type = type;
    footer.unique_id = new_unique_id();
    return footer;
}

std::array<std::uint8_t, 16> new_unique_id() {
    std::random_device source;
    std::array<std::uint8_t, 16> id = {};
    for (std::size_t i = 0; i < id.size(); i += 4) {
        const std::uint32_t word = source();
        std::memcpy(id.data() + i, &word, 4);
    }
    id[6] = static_cast<std::uint8_t>(0x40 | (id[6] & 0x0F));
    id[8] = static_cast<std::uint8_t>(0x80 | (id[8] & 0x3F));
    return id;
}

}  // namespace vpc::disk::vhd
