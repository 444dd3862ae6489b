#include "disk/volume/volume_reader.h"

#include <algorithm>

namespace vpc::disk::volume {

Status VolumeReader::read(std::uint64_t offset, std::span<std::uint8_t> bytes) {
    const std::uint64_t size = sectors_ * kSectorSize;
    if (offset > size || bytes.size() > size - offset) {
        return fail(ErrorCode::Corrupt, "its records point beyond its end");
    }
    if (offset % kSectorSize == 0 && bytes.size() % kSectorSize == 0) {
        return disk_.read(first_sector_ + offset / kSectorSize, bytes);
    }
    const std::uint64_t first = offset / kSectorSize;
    const std::uint64_t end = (offset + bytes.size() + kSectorSize - 1) / kSectorSize;
    whole_sectors_.resize((end - first) * kSectorSize);
    if (auto done = disk_.read(first_sector_ + first, Buffer(whole_sectors_)); !done) {
        return done;
    }
    std::copy_n(whole_sectors_.begin() + static_cast<std::ptrdiff_t>(offset % kSectorSize), bytes.size(),
                bytes.begin());
    return {};
}

}  // namespace vpc::disk::volume
