#include "disk/vhd/lost_footer.h"

#include <algorithm>
#include <vector>

namespace vpc::disk::vhd {
namespace {

constexpr std::uint64_t kSearched = std::uint64_t{1} << 20;
/// What a host stores at once, at most: a hole begins at a multiple of it.
constexpr std::uint64_t kHostBlock = std::uint64_t{64} << 10;

/// Where the last hole begins, `size` if the file does not end with one. Asks the host some thirty times.
Result<std::uint64_t> start_of_last_hole(File& file, std::uint64_t size) {
    std::uint64_t stored_before = size;  // from here on there is a hole; before `low` something is stored
    for (std::uint64_t low = 0; low < stored_before;) {
        const std::uint64_t middle = low + (stored_before - low) / 2;
        const auto run = file.extent(middle, size - middle);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        if (!run->data && run->bytes == size - middle) {
            stored_before = middle;
        } else {
            low = middle + 1;
        }
    }
    return stored_before;
}

}  // namespace

Result<std::optional<LostFooter>> find_footer_before_end(
    File& file, std::uint64_t size, const std::function<bool(const Footer&, std::uint64_t)>& fits) {
    const std::uint64_t begin = (size > kSearched ? size - kSearched : 0) / kSectorSize * kSectorSize;
    std::vector<std::uint8_t> bytes(size - begin);
    if (auto status = file.read(begin, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    for (std::uint64_t offset = bytes.size() / kSectorSize * kSectorSize; offset >= kSectorSize;) {
        offset -= kSectorSize;
        const auto sector = std::span(bytes).subspan(offset, kFooterSize);
        if (is_intact_footer(sector)) {
            const Footer footer = parse_footer(sector);
            if (fits(footer, begin + offset)) {
                return LostFooter{footer, begin + offset};
            }
        }
    }
    return std::nullopt;
}

bool is_fixed_disk_ending_at(const Footer& footer, std::uint64_t offset) {
    return footer.disk_type == DiskType::Fixed && footer.current_size >= kSectorSize &&
           footer.current_size / kSectorSize * kSectorSize == offset;
}

Result<std::optional<LostFooter>> find_footer_before_growth(File& file, std::uint64_t size) {
    const auto hole = start_of_last_hole(file, size);
    if (!hole) {
        return tl::unexpected<Error>(hole.error());
    }
    if (*hole == size) {
        return std::nullopt;
    }
    const std::uint64_t begin = (*hole > kHostBlock ? *hole - kHostBlock : 0) / kSectorSize * kSectorSize;
    std::vector<std::uint8_t> bytes(*hole / kSectorSize * kSectorSize - begin);
    if (auto status = file.read(begin, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    for (std::uint64_t offset = bytes.size(); offset >= kSectorSize;) {
        offset -= kSectorSize;
        const auto sector = std::span(bytes).subspan(offset, kFooterSize);
        if (std::all_of(sector.begin(), sector.end(), [](std::uint8_t byte) { return byte == 0; })) {
            continue;
        }
        // The last sector that holds anything is the footer, or there is none.
        if (const Footer footer = parse_footer(sector);
            is_intact_footer(sector) && is_fixed_disk_ending_at(footer, begin + offset)) {
            return LostFooter{footer, begin + offset};
        }
        break;
    }
    return std::nullopt;
}

}  // namespace vpc::disk::vhd
