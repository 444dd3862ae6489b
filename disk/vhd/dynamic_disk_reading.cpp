// The half of DynamicDisk that reads.
#include <algorithm>
#include <string>

#include "disk/transfer.h"
#include "disk/vhd/dynamic_disk.h"

namespace vpc::disk::vhd {
namespace {

/// Missing blocks of a differencing disk that one extent() looks at.
constexpr std::uint64_t kMissingBlocks = 64;

}  // namespace

/// What the disk holds where this image has nothing: zeros, or what the parent holds.
Status DynamicDisk::read_missing(std::uint64_t sector, std::span<const Buffer> pieces) {
    if (parent_ == nullptr) {
        fill_with_zeros(pieces);
        return {};
    }
    std::uint64_t bytes = 0;
    for (const Buffer piece : pieces) {
        bytes += piece.size();
    }
    const std::uint64_t there = sector < parent_->sectors() ? (parent_->sectors() - sector) * kSectorSize : 0;
    if (bytes <= there) {
        return parent_->read(sector, pieces);
    }
    BufferCursor cursor(pieces);
    if (there > 0) {
        if (auto status = parent_->read(sector, cursor.take(there)); !status) {
            return status;
        }
    }
    fill_with_zeros(cursor.take(bytes - there));
    return {};
}

Result<Extent> DynamicDisk::extent_of_missing(std::uint64_t sector, std::uint64_t limit) {
    if (parent_ == nullptr || sector >= parent_->sectors()) {
        return Extent{.sectors = limit, .data = false};
    }
    auto run = parent_->extent(sector, std::min(limit, parent_->sectors() - sector));
    if (run) {
        ++run->depth;
    }
    return run;
}

/// Whether nothing is stored for these sectors of a missing block, here or in any parent.
Result<bool> DynamicDisk::reads_as_zeros(std::uint64_t sector, std::uint64_t count) {
    while (count > 0) {
        const auto run = extent_of_missing(sector, count);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        if (run->data) {
            return false;
        }
        sector += run->sectors;
        count -= run->sectors;
    }
    return true;
}

Status DynamicDisk::read(std::uint64_t sector, std::span<const Buffer> buffers) {
    const auto sectors_asked = transfer_sectors(file_->name(), sectors(), sector, buffers);
    if (!sectors_asked) {
        return tl::unexpected<Error>(sectors_asked.error());
    }
    BufferCursor cursor(buffers);
    for (std::uint64_t left = *sectors_asked; left > 0;) {
        const auto block = static_cast<std::uint32_t>(sector / sectors_per_block());
        const auto first = static_cast<std::uint32_t>(sector % sectors_per_block());
        const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, sectors_per_block() - first));
        const auto pieces = cursor.take(std::uint64_t{count} * kSectorSize);
        if (auto status = chain_.size() > 1 ? read_through_chain(block, first, count, pieces)
                                            : read_block(block, first, count, pieces);
            !status) {
            return status;
        }
        sector += count;
        left -= count;
    }
    return {};
}

void DynamicDisk::find_chain() {
    chain_ = {this};
    const auto* above = parent_ == nullptr ? nullptr : dynamic_cast<DynamicDisk*>(parent_.get());
    if (above != nullptr && above->parent_ != nullptr && above->header_.block_size == header_.block_size &&
        above->sectors() == sectors()) {
        chain_.insert(chain_.end(), above->chain_.begin(), above->chain_.end());
    }
}

/// read_block() where there are several images that may hold it.
Status DynamicDisk::read_through_chain(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                                       std::span<const Buffer> pieces) {
    const auto holders = holders_of(block);
    if (holders.empty()) {
        return read_block(block, first, count, pieces);
    }
    BufferCursor cursor(pieces);
    while (count > 0) {
        const PageHolders::Run run = PageHolders::run_at(holders, first, count);
        const auto part = cursor.take(std::uint64_t{run.count} * kSectorSize);
        Status status = run.holder == PageHolders::kMixed ? read_block(block, first, run.count, part)
                        : run.holder == PageHolders::kNone
                            ? chain_.back()->read_missing(std::uint64_t{block} * sectors_per_block() + first, part)
                            : chain_[run.holder]->read_stored(block, first, part);
        if (!status) {
            return status;
        }
        first += run.count;
        count -= run.count;
    }
    return {};
}

/// Nothing as long as they are not known, or not worth it.
std::span<const std::uint8_t> DynamicDisk::holders_of(std::uint32_t block) {
    const auto known = holders_.find(block);
    if (!known.empty() || !holders_.asked_before(block)) {
        return known;
    }
    const auto pages = holders_.start(block);
    for (std::size_t i = 0; i < chain_.size(); ++i) {
        if (!chain_[i]->add_to_holders(block, static_cast<std::uint8_t>(i), pages)) {
            holders_.forget(block);  // reading will say what is wrong
            return {};
        }
    }
    return pages;
}

bool DynamicDisk::add_to_holders(std::uint32_t block, std::uint8_t image, std::span<std::uint8_t> pages) {
    if (table_[block] == BlockTable::kUnallocated) {
        return true;
    }
    if (!lies_in_file(block)) {
        return false;
    }
    const auto bitmap = bitmaps_.bitmap(*file_, block, bitmap_offset(block));
    if (bitmap && bitmap->empty()) {
        PageHolders::add_whole_image(pages, image);
    } else if (bitmap) {
        PageHolders::add_image(pages, image, *bitmap);
    }
    return bitmap.has_value();
}

/// Sectors of a block, from where they are.
Status DynamicDisk::read_block(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                               std::span<const Buffer> pieces) {
    if (table_[block] == BlockTable::kUnallocated) {
        return read_below(block, first, count, pieces);
    }
    if (!lies_in_file(block)) {
        return fail(ErrorCode::Corrupt, "block " + std::to_string(block) + " of " + file_->name() +
                                            " lies beyond the end of the file: its contents are lost");
    }
    BufferCursor cursor(pieces);
    while (count > 0) {
        const auto run = bitmaps_.run_at(*file_, block, bitmap_offset(block), first, count);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        const auto part = cursor.take(std::uint64_t{run->count} * kSectorSize);
        if (auto status = run->present ? read_stored(block, first, part) : read_below(block, first, run->count, part);
            !status) {
            return status;
        }
        first += run->count;
        count -= run->count;
    }
    return {};
}

Status DynamicDisk::read_below(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                               std::span<const Buffer> pieces) {
    return chain_.size() > 1 ? chain_[1]->read_block(block, first, count, pieces)
                             : read_missing(std::uint64_t{block} * sectors_per_block() + first, pieces);
}

/// Sectors that are known to be in this file.
Status DynamicDisk::read_stored(std::uint32_t block, std::uint32_t first, std::span<const Buffer> pieces) {
    const std::uint64_t data = bitmap_offset(block) + bitmap_bytes(header_.block_size);
    return file_->read(data + std::uint64_t{first} * kSectorSize, pieces);
}

Result<Extent> DynamicDisk::extent(std::uint64_t sector, std::uint64_t limit) {
    auto block = static_cast<std::uint32_t>(sector / sectors_per_block());
    const auto first = static_cast<std::uint32_t>(sector % sectors_per_block());
    std::uint64_t count = std::min<std::uint64_t>(limit, sectors_per_block() - first);
    if (table_[block] != BlockTable::kUnallocated) {
        if (!lies_in_file(block)) {
            return Extent{.sectors = count, .data = true};  // reading it will say what is wrong
        }
        const auto run = bitmaps_.run_at(*file_, block, bitmap_offset(block), first, static_cast<std::uint32_t>(count));
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        return run->present ? Extent{.sectors = run->count, .data = true} : extent_of_missing(sector, run->count);
    }
    // Over a parent no further than it may answer for: it would be looked at again after each of the parent's runs.
    const std::uint64_t enough = parent_ == nullptr ? limit : std::min(limit, kMissingBlocks * sectors_per_block());
    while (count < enough && table_[++block] == BlockTable::kUnallocated) {
        count += sectors_per_block();
    }
    return extent_of_missing(sector, std::min(count, limit));
}

}  // namespace vpc::disk::vhd
