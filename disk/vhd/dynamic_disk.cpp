#include "disk/vhd/dynamic_disk.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "disk/large_write.h"
#include "disk/log.h"
#include "disk/transfer.h"
#include "disk/vhd/footer_search.h"

namespace vpc::disk::vhd {
namespace {

constexpr std::uint64_t kPage = 4096;
/// Bitmaps that may wait for a flush, so that they do not fill the memory.
constexpr std::size_t kMaxWaitingBitmaps = 64;

constexpr std::uint64_t round_up_to_page(std::uint64_t offset) {
    return (offset + kPage - 1) / kPage * kPage;
}

}  // namespace

Result<std::unique_ptr<DynamicDisk>> DynamicDisk::open(std::unique_ptr<File> file, const Footer& footer,
                                                       std::uint64_t footer_offset, OpenMode mode,
                                                       std::unique_ptr<BlockDevice> parent) {
    const auto file_size = file->size();
    if (!file_size) {
        return tl::unexpected<Error>(file_size.error());
    }
    const std::string name = file->name();
    if (mode == OpenMode::ReadWrite && footer_offset % kSectorSize != 0) {
        return fail(ErrorCode::Corrupt, name +
                                            " is damaged: its footer does not begin at a whole sector; open it "
                                            "read-only");
    }
    const auto loaded = load_dynamic_header(*file, footer, footer_offset);
    if (!loaded) {
        return tl::unexpected<Error>(loaded.error());
    }
    const DynamicHeader& header = loaded->header;
    if (!loaded->intact) {
        if (mode == OpenMode::ReadWrite) {
            return fail(ErrorCode::Corrupt, name +
                                                " is damaged: the checksum of its dynamic disk header is wrong; "
                                                "open it read-only, or repair it first");
        }
        log().warn("{}: the checksum of the dynamic disk header is wrong", name);
    }
    auto table = BlockTable::load(*file, header.table_offset, header.max_table_entries);
    if (!table) {
        return tl::unexpected<Error>(table.error());
    }
    std::unique_ptr<DynamicDisk> disk(new DynamicDisk(std::move(file), footer, header, std::move(*table), footer_offset,
                                                      *file_size, mode, std::move(parent)));
    if (auto status = disk->check_table(); !status) {
        if (mode == OpenMode::ReadWrite) {
            return tl::unexpected<Error>(status.error());
        }
        log().warn("{}", status.error().message);
    }
    return disk;
}

DynamicDisk::DynamicDisk(std::unique_ptr<File> file, const Footer& footer, const DynamicHeader& header,
                         BlockTable table, std::uint64_t footer_offset, std::uint64_t file_size, OpenMode mode,
                         std::unique_ptr<BlockDevice> parent)
    : file_(std::move(file)),
      footer_(footer),
      header_(header),
      mode_(mode),
      parent_(std::move(parent)),
      table_(std::move(table)),
      bitmaps_(header.max_table_entries, header.block_size / kSectorSize),
      holders_(header.max_table_entries, header.block_size / kSectorSize),
      footer_offset_(footer_offset),
      blocks_end_(footer_offset),
      stale_end_(file_size),
      aligned_((footer_offset + kFooterSize) % kPage == 0) {
    find_chain();
}

DynamicDisk::~DynamicDisk() {
    Status status = flush();
    if (status && has_room_) {
        status = cut_unused_room();
    }
    if (!status) {
        log().error("closing failed: {}", status.error().message);
    }
}

/// Finds the end of the blocks, and the first thing that is wrong with them.
Status DynamicDisk::check_table() {
    const auto needed = static_cast<std::uint32_t>(needed_table_entries(footer_.current_size, header_.block_size));
    const std::vector<FileRange> structures = structures_of(header_, footer_);
    const auto lies_on_structure = [&](std::uint64_t begin) {
        return std::any_of(structures.begin(), structures.end(), [&](const FileRange& range) {
            return begin < range.end && begin + slot_bytes() > range.begin;
        });
    };
    std::vector<std::uint32_t> starts;
    std::uint64_t end = 0;
    Status result;
    for (std::uint32_t block = 0; block < table_.size(); ++block) {
        const std::uint32_t sector = table_[block];
        const bool counts = block < needed;
        if (sector == BlockTable::kUnallocated) {
            unallocated_ += counts ? 1 : 0;
            continue;
        }
        const std::uint64_t begin = std::uint64_t{sector} * kSectorSize;
        if (lies_on_structure(begin) || begin + slot_bytes() > footer_offset_) {
            // Entries beyond the end of the disk mean nothing, some programs leave zeros there.
            if (counts && result) {
                result = fail(ErrorCode::Corrupt, file_->name() + " is damaged: block " + std::to_string(block) +
                                                      " lies outside the room for blocks; open it read-only, or "
                                                      "repair it first");
            }
            continue;
        }
        end = std::max(end, begin + slot_bytes());
        if (counts) {
            starts.push_back(sector);
        }
    }
    // Without any block, what follows the table may be something this program does not know: keep it.
    blocks_end_ = footer_offset_;
    if (end != 0) {
        for (const FileRange& range : structures) {
            end = std::max(end, std::min(range.end, footer_offset_));
        }
        blocks_end_ = end;
    }
    std::sort(starts.begin(), starts.end());
    const auto overlap = std::adjacent_find(starts.begin(), starts.end(), [this](std::uint32_t a, std::uint32_t b) {
        return std::uint64_t{b} - a < slot_bytes() / kSectorSize;
    });
    if (overlap != starts.end() && result) {
        result = fail(ErrorCode::Corrupt, file_->name() + " is damaged: two blocks of the disk share sector " +
                                              std::to_string(*(overlap + 1)) +
                                              " of the file; open it read-only, or repair it first");
    }
    return result;
}

Status DynamicDisk::write(std::uint64_t sector, std::span<const ConstBuffer> buffers) {
    const auto sectors_asked = transfer_sectors(file_->name(), sectors(), sector, buffers);
    if (!sectors_asked) {
        return tl::unexpected<Error>(sectors_asked.error());
    }
    if (read_only()) {
        return fail(ErrorCode::ReadOnly, file_->name() + " was opened read-only");
    }
    BufferCursor cursor(buffers);
    for (std::uint64_t left = *sectors_asked; left > 0;) {
        const auto block = static_cast<std::uint32_t>(sector / sectors_per_block());
        const auto first = static_cast<std::uint32_t>(sector % sectors_per_block());
        const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(left, sectors_per_block() - first));
        const auto pieces = cursor.take(std::uint64_t{count} * kSectorSize);
        const bool allocated = table_[block] != BlockTable::kUnallocated;
        Result<bool> unneeded = !allocated && all_zeros(pieces);
        if (*unneeded) {
            unneeded = reads_as_zeros(sector, count);
            if (!unneeded) {
                return tl::unexpected<Error>(unneeded.error());
            }
        }
        if (!*unneeded) {
            changed_ = true;
            if (auto status =
                    allocated ? write_block(block, first, count, pieces) : write_new_block(block, first, count, pieces);
                !status) {
                return status;
            }
        }
        sector += count;
        left -= count;
    }
    return {};
}

Status DynamicDisk::write_block(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                                std::span<const ConstBuffer> pieces) {
    const std::uint64_t data = bitmap_offset(block) + bitmap_bytes(header_.block_size);
    if (auto status = write_data(*file_, data + std::uint64_t{first} * kSectorSize, pieces); !status) {
        return status;
    }
    if (auto status = bitmaps_.mark_present(*file_, block, bitmap_offset(block), first, count); !status) {
        return status;
    }
    holders_.written(block, first, count);
    return bitmaps_.dirty() < kMaxWaitingBitmaps ? Status() : flush();
}

Status DynamicDisk::write_new_block(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                                    std::span<const ConstBuffer> pieces) {
    const std::uint64_t start = block_place(blocks_end_);
    const std::uint64_t data = start + bitmap_bytes(header_.block_size);
    const std::uint64_t end = data + header_.block_size;
    if (start / kSectorSize >= BlockTable::kUnallocated) {
        return fail(ErrorCode::NoSpace, file_->name() +
                                            " has reached the largest size a dynamic VHD can have, 2 TiB; "
                                            "compact it or convert it to a fixed one");
    }
    if (end > footer_offset_) {
        if (auto status = make_room(); !status) {
            return status;
        }
    }
    Status status = zero_stale_bytes(data, end);
    if (status) {
        std::vector<std::uint8_t> bitmap(bitmap_bytes(header_.block_size), parent_ ? 0 : 0xFF);
        for (std::uint32_t sector = first; parent_ && sector < first + count; ++sector) {
            bitmap[sector / 8] |= static_cast<std::uint8_t>(0x80 >> sector % 8);
        }
        status = file_->write(start, ConstBuffer(bitmap));
    }
    if (status) {
        status = write_data(*file_, data + std::uint64_t{first} * kSectorSize, pieces);
    }
    if (!status) {
        stale_end_ = std::max(stale_end_, end);
        return status;
    }
    table_.set(block, static_cast<std::uint32_t>(start / kSectorSize));
    if (!parent_) {
        bitmaps_.mark_full(block);
    }
    holders_.written(block, first, count);
    blocks_end_ = end;
    --unallocated_;
    return ++waiting_ < kWaitingBlocks ? Status() : flush();
}

/// What a block that never came into the table has left behind must not become the contents of a new one.
Status DynamicDisk::zero_stale_bytes(std::uint64_t start, std::uint64_t end) {
    static constexpr std::array<std::uint8_t, 64 * 1024> kZeros = {};
    for (end = std::min(end, stale_end_); start < end;) {
        const std::uint64_t length = std::min<std::uint64_t>(kZeros.size(), end - start);
        if (auto status = file_->write(start, ConstBuffer(kZeros).first(length)); !status) {
            return status;
        }
        start += length;
    }
    return {};
}

/// Moves the footer outward, behind the next few blocks. On failure the old one is in force.
Status DynamicDisk::make_room() {
    std::uint64_t end = blocks_end_;
    for (std::uint32_t i = 0; i < std::min(kReservedBlocks, unallocated_); ++i) {
        end = block_place(end) + slot_bytes();
    }
    const std::uint64_t new_offset = footer_place(end);
    if (auto status = file_->write_through(new_offset, ConstBuffer(serialise(footer_))); !status) {
        // The old footer must be the end of the file again; if even that fails, the copy at its start remains.
        if (auto undone = file_->truncate(footer_offset_ + kFooterSize); !undone) {
            log().error("{}", undone.error().message);
        }
        return status;
    }
    footer_offset_ = new_offset;
    has_room_ = true;
    return {};
}

Status DynamicDisk::write_metadata() {
    if (auto status = bitmaps_.write_dirty(*file_); !status) {
        return status;
    }
    return table_.write_dirty(*file_);
}

Status DynamicDisk::flush() {
    if (!changed_) {
        return {};
    }
    if (auto status = file_->sync(); !status) {
        return status;
    }
    if (table_.dirty() || bitmaps_.dirty() > 0) {
        if (auto status = write_metadata(); !status) {
            return status;
        }
        if (auto status = file_->sync(); !status) {
            return status;
        }
    }
    changed_ = false;
    waiting_ = 0;
    return {};
}

/// Puts the footer right behind the last block. The one further out stays valid until the file is cut.
Status DynamicDisk::cut_unused_room() {
    const std::uint64_t new_offset = footer_place(blocks_end_);
    if (new_offset >= footer_offset_) {
        return {};
    }
    if (auto status = file_->write(new_offset, ConstBuffer(serialise(footer_))); !status) {
        return status;
    }
    if (auto status = file_->sync(); !status) {
        return status;
    }
    return file_->truncate(new_offset + kFooterSize);
}

Status DynamicDisk::discard(std::uint64_t sector, std::uint64_t count) {
    if (sector > sectors() || count > sectors() - sector) {
        return fail(ErrorCode::OutOfRange, "sectors to be discarded lie beyond the end of " + file_->name());
    }
    return {};
}

/// Where the bitmap of a block can begin, so that the block lies behind `end`.
std::uint64_t DynamicDisk::block_place(std::uint64_t end) const {
    const std::uint64_t bitmap = bitmap_bytes(header_.block_size);
    return aligned_ ? round_up_to_page(end + bitmap) - bitmap : end;
}

/// Where the footer of a file can begin whose last block ends at `end`.
std::uint64_t DynamicDisk::footer_place(std::uint64_t end) const {
    return aligned_ ? round_up_to_page(end + kFooterSize) - kFooterSize : end;
}

std::uint64_t DynamicDisk::bitmap_offset(std::uint32_t block) const {
    return std::uint64_t{table_[block]} * kSectorSize;
}

/// What was remembered of a block that was dropped or moved.
void DynamicDisk::forget(std::uint32_t block) {
    bitmaps_.forget(block);
    holders_.forget(block);
}

}  // namespace vpc::disk::vhd
