#include "disk/operations/compare.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = (std::uint64_t{2} << 20) / kSectorSize;

/// What begins at `sector` of a disk, beyond whose end there are zeros.
Result<Extent> extent_or_end(BlockDevice& disk, std::uint64_t sector, std::uint64_t limit) {
    if (sector >= disk.sectors()) {
        return Extent{.sectors = limit, .data = false};
    }
    return disk.extent(sector, std::min(limit, disk.sectors() - sector));
}

/// Calls `use(sector, count)` for all pieces in which not both are known to be zeros, until it returns false.
template <typename Use>
Status for_pieces(BlockDevice& first, BlockDevice& second, Use use) {
    const std::uint64_t end = std::max(first.sectors(), second.sectors());
    for (std::uint64_t sector = 0; sector < end;) {
        const auto a = extent_or_end(first, sector, end - sector);
        if (!a) {
            return tl::unexpected<Error>(a.error());
        }
        const auto b = extent_or_end(second, sector, end - sector);
        if (!b) {
            return tl::unexpected<Error>(b.error());
        }
        std::uint64_t count = std::min(a->sectors, b->sectors);
        if (a->data || b->data) {
            count = std::min(end - sector, kPieceSectors);
            const auto going_on = use(sector, count);
            if (!going_on) {
                return tl::unexpected<Error>(going_on.error());
            }
            if (!*going_on) {
                return {};
            }
        }
        sector += count;
    }
    return {};
}

Status read_or_end(BlockDevice& disk, std::uint64_t sector, Buffer buffer) {
    const std::uint64_t there =
        sector < disk.sectors() ? std::min<std::uint64_t>((disk.sectors() - sector) * kSectorSize, buffer.size()) : 0;
    std::memset(buffer.data() + there, 0, buffer.size() - there);
    return there > 0 ? disk.read(sector, buffer.first(there)) : Status();
}

}  // namespace

Result<Comparison> compare(BlockDevice& first, BlockDevice& second, const Operation& operation) {
    Comparison result = {.first_size = first.sectors() * kSectorSize, .second_size = second.sectors() * kSectorSize};
    WorkMeter meter(operation, 1);
    std::uint64_t work = 0;
    auto status = for_pieces(first, second, [&](std::uint64_t, std::uint64_t count) -> Result<bool> {
        work += 2 * count * kSectorSize;
        return meter.tick().map([] { return true; });
    });
    if (!status) {
        return tl::unexpected<Error>(status.error());
    }
    meter.set_total(work);
    std::vector<std::uint8_t> a(kPieceSectors * kSectorSize);
    std::vector<std::uint8_t> b(a.size());
    status = for_pieces(first, second, [&](std::uint64_t sector, std::uint64_t count) -> Result<bool> {
        const std::size_t length = count * kSectorSize;
        if (auto read = read_or_end(first, sector, Buffer(a).first(length)); !read) {
            return tl::unexpected<Error>(read.error());
        }
        if (auto read = read_or_end(second, sector, Buffer(b).first(length)); !read) {
            return tl::unexpected<Error>(read.error());
        }
        if (std::memcmp(a.data(), b.data(), length) != 0) {
            const auto end = a.begin() + static_cast<std::ptrdiff_t>(length);
            const auto at = std::mismatch(a.begin(), end, b.begin()).first;
            result.first_difference = sector * kSectorSize + static_cast<std::uint64_t>(at - a.begin());
            return false;
        }
        return meter.add(2 * length).map([] { return true; });
    });
    if (!status) {
        return tl::unexpected<Error>(status.error());
    }
    meter.finish();
    return result;
}

Result<Comparison> compare(const std::filesystem::path& first, const std::filesystem::path& second,
                           const Operation& operation) {
    const auto a = open_image(first, OpenMode::ReadOnly);
    if (!a) {
        return tl::unexpected<Error>(a.error());
    }
    const auto b = open_image(second, OpenMode::ReadOnly);
    if (!b) {
        return tl::unexpected<Error>(b.error());
    }
    return compare(**a, **b, operation);
}

}  // namespace vpc::disk
