#include "disk/vhd/sector_bitmaps.h"

#include <algorithm>
#include <utility>

#include "disk/vhd/dynamic_header.h"

namespace vpc::disk::vhd {
namespace {

/// Unchanged bitmaps that are kept, about so many bytes, enough for those of 1 GiB in the usual blocks: a chain has
/// many images.
constexpr std::size_t kMaxLoadedBytes = 256 * 1024;

bool bit(const std::vector<std::uint8_t>& bytes, std::uint32_t sector) {
    return (bytes[sector / 8] & 0x80 >> sector % 8) != 0;
}

/// How many bits from `first` on are like that one, at most `limit`.
std::uint32_t run_length(const std::vector<std::uint8_t>& bytes, std::uint32_t first, std::uint32_t limit) {
    const bool present = bit(bytes, first);
    const std::uint8_t alike = present ? 0xFF : 0;
    std::uint32_t count = 1;
    while (count < limit) {
        const std::uint32_t sector = first + count;
        if (sector % 8 == 0 && limit - count >= 8 && bytes[sector / 8] == alike) {
            count += 8;
        } else if (bit(bytes, sector) == present) {
            ++count;
        } else {
            break;
        }
    }
    return count;
}

}  // namespace

SectorBitmaps::SectorBitmaps(std::uint32_t blocks, std::uint32_t sectors_per_block)
    : sectors_per_block_(sectors_per_block), full_(blocks) {}

Result<SectorBitmaps::Run> SectorBitmaps::run_at(File& file, std::uint32_t block, std::uint64_t offset,
                                                 std::uint32_t first, std::uint32_t limit) {
    if (full_[block]) {
        return Run{.present = true, .count = limit};
    }
    const auto bitmap = load(file, block, offset);
    if (!bitmap) {
        return tl::unexpected<Error>(bitmap.error());
    }
    if (*bitmap == nullptr) {
        return Run{.present = true, .count = limit};
    }
    const std::vector<std::uint8_t>& bytes = (*bitmap)->bytes;
    return Run{.present = bit(bytes, first), .count = run_length(bytes, first, limit)};
}

Status SectorBitmaps::mark_present(File& file, std::uint32_t block, std::uint64_t offset, std::uint32_t first,
                                   std::uint32_t count) {
    if (full_[block]) {
        return {};
    }
    const auto bitmap = load(file, block, offset);
    if (!bitmap) {
        return tl::unexpected<Error>(bitmap.error());
    }
    if (*bitmap == nullptr) {
        return {};
    }
    bool changed = false;
    for (std::uint32_t sector = first; sector < first + count; ++sector) {
        changed |= !bit((*bitmap)->bytes, sector);
        (*bitmap)->bytes[sector / 8] |= static_cast<std::uint8_t>(0x80 >> sector % 8);
    }
    if (!changed) {
        return {};
    }
    if (!(*bitmap)->dirty) {
        (*bitmap)->dirty = true;
        ++dirty_;
    }
    if (is_full(**bitmap)) {
        mark_full(block);
    }
    return {};
}

Status SectorBitmaps::write_dirty(File& file) {
    for (auto& [block, bitmap] : loaded_) {
        if (bitmap.dirty) {
            if (auto status = file.write(bitmap.offset, ConstBuffer(bitmap.bytes)); !status) {
                return status;
            }
            bitmap.dirty = false;
            --dirty_;
        }
    }
    return {};
}

/// Null when the bitmap turns out to hold ones only.
Result<SectorBitmaps::Bitmap*> SectorBitmaps::load(File& file, std::uint32_t block, std::uint64_t offset) {
    if (const auto found = loaded_.find(block); found != loaded_.end()) {
        return &found->second;
    }
    const std::size_t length = bitmap_bytes(sectors_per_block_ * kSectorSize);
    Bitmap bitmap = {.offset = offset, .bytes = std::vector<std::uint8_t>(length)};
    if (auto status = file.read(offset, Buffer(bitmap.bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (is_full(bitmap)) {
        mark_full(block);
        return nullptr;
    }
    if (loaded_.size() - dirty_ >= kMaxLoadedBytes / length) {
        std::erase_if(loaded_, [](const auto& entry) { return !entry.second.dirty; });
    }
    return &loaded_.insert_or_assign(block, std::move(bitmap)).first->second;
}

bool SectorBitmaps::is_full(const Bitmap& bitmap) const {
    const auto whole = bitmap.bytes.begin() + sectors_per_block_ / 8;
    if (!std::all_of(bitmap.bytes.begin(), whole, [](std::uint8_t byte) { return byte == 0xFF; })) {
        return false;
    }
    for (std::uint32_t sector = sectors_per_block_ / 8 * 8; sector < sectors_per_block_; ++sector) {
        if (!bit(bitmap.bytes, sector)) {
            return false;
        }
    }
    return true;
}

}  // namespace vpc::disk::vhd
