#include "disk/vhd/sector_bitmaps.h"

#include <algorithm>
#include <limits>

#include "disk/vhd/dynamic_header.h"

namespace vpc::disk::vhd {
namespace {

/// Unchanged bitmaps that are kept, so many bytes of them, enough for 1 GiB in the usual blocks: a chain has many
/// images.
constexpr std::size_t kMaxKeptBytes = 256 * 1024;
/// A place without a bitmap. Tables are far smaller.
constexpr std::uint32_t kNoBlock = std::numeric_limits<std::uint32_t>::max();

bool bit(std::span<const std::uint8_t> bytes, std::uint32_t sector) {
    return (bytes[sector / 8] & 0x80 >> sector % 8) != 0;
}

/// How many bits from `first` on are like that one, at most `limit`.
std::uint32_t run_length(std::span<const std::uint8_t> bytes, std::uint32_t first, std::uint32_t limit) {
    const bool present = bit(bytes, first);
    const std::uint8_t alike = present ? 0xFF : 0;
    std::uint32_t count = 0;
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
    : sectors_per_block_(sectors_per_block),
      length_(bitmap_bytes(sectors_per_block * kSectorSize)),
      full_(blocks),
      kept_block_(std::clamp<std::size_t>(blocks, 1, kMaxKeptBytes / length_), kNoBlock) {}

Result<SectorBitmaps::Run> SectorBitmaps::run_at(File& file, std::uint32_t block, std::uint64_t offset,
                                                 std::uint32_t first, std::uint32_t limit) {
    if (full_[block]) {
        return Run{.present = true, .count = limit};
    }
    const auto bytes = find(file, block, offset);
    if (!bytes) {
        return tl::unexpected<Error>(bytes.error());
    }
    if (bytes->empty()) {
        return Run{.present = true, .count = limit};
    }
    return Run{.present = bit(*bytes, first), .count = run_length(*bytes, first, limit)};
}

Result<std::span<const std::uint8_t>> SectorBitmaps::bitmap(File& file, std::uint32_t block, std::uint64_t offset) {
    return full_[block] ? std::span<const std::uint8_t>() : find(file, block, offset);
}

Status SectorBitmaps::mark_present(File& file, std::uint32_t block, std::uint64_t offset, std::uint32_t first,
                                   std::uint32_t count) {
    if (full_[block]) {
        return {};
    }
    const auto bytes = find(file, block, offset);
    if (!bytes) {
        return tl::unexpected<Error>(bytes.error());
    }
    if (bytes->empty() || (bit(*bytes, first) && run_length(*bytes, first, count) == count)) {
        return {};
    }
    auto found = dirty_.find(block);
    if (found == dirty_.end()) {
        found = dirty_.insert({block, {.offset = offset, .bytes = {bytes->begin(), bytes->end()}}}).first;
        kept_block_[place_of(block)] = kNoBlock;
    }
    std::vector<std::uint8_t>& changed = found->second.bytes;
    for (std::uint32_t sector = first; sector < first + count; ++sector) {
        changed[sector / 8] |= static_cast<std::uint8_t>(0x80 >> sector % 8);
    }
    if (is_full(changed)) {
        mark_full(block);
    }
    return {};
}

void SectorBitmaps::forget(std::uint32_t block) {
    full_[block] = false;
    if (std::uint32_t& kept = kept_block_[place_of(block)]; kept == block) {
        kept = kNoBlock;
    }
}

Status SectorBitmaps::write_dirty(File& file) {
    while (!dirty_.empty()) {
        const auto& [block, bitmap] = *dirty_.begin();
        if (auto status = file.write(bitmap.offset, ConstBuffer(bitmap.bytes)); !status) {
            return status;
        }
        // It is likely to be needed again. kept_ has room: the bitmap was read into it before it was changed.
        kept_block_[place_of(block)] = block;
        std::copy(bitmap.bytes.begin(), bitmap.bytes.end(), kept_at(place_of(block)).begin());
        dirty_.erase(dirty_.begin());
    }
    return {};
}

/// The bitmap of a block; nothing when it turns out to hold ones only.
Result<std::span<const std::uint8_t>> SectorBitmaps::find(File& file, std::uint32_t block, std::uint64_t offset) {
    if (!dirty_.empty()) {
        if (const auto found = dirty_.find(block); found != dirty_.end()) {
            return found->second.bytes;
        }
    }
    const std::size_t place = place_of(block);
    if (kept_block_[place] == block) {
        return kept_at(place);
    }
    kept_.resize(kept_block_.size() * length_);
    kept_block_[place] = kNoBlock;
    if (auto status = file.read(offset, Buffer(kept_at(place))); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (is_full(kept_at(place))) {
        mark_full(block);
        return std::span<const std::uint8_t>();
    }
    kept_block_[place] = block;
    return kept_at(place);
}

bool SectorBitmaps::is_full(std::span<const std::uint8_t> bitmap) const {
    return bit(bitmap, 0) && run_length(bitmap, 0, sectors_per_block_) == sectors_per_block_;
}

}  // namespace vpc::disk::vhd
