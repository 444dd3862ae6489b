#include "disk/vhd/block_mover.h"

#include <algorithm>
#include <array>
#include <utility>

namespace vpc::disk::vhd {
namespace {

/// Bytes moved between two barriers. What a cancellation loses at most, and what the drive has to store in one go.
constexpr std::uint64_t kBatch = std::uint64_t{128} << 20;
/// Bytes cut off the file at once, and how many pieces there are at most: each takes a footer.
constexpr std::uint64_t kCut = std::uint64_t{32} << 20;
constexpr std::uint64_t kMaxCuts = 64;

}  // namespace

std::vector<std::uint32_t> BlockMover::blocks() const {
    const BlockTable& table = disk_.table_;
    const auto needed =
        static_cast<std::uint32_t>(needed_table_entries(disk_.footer_.current_size, disk_.header_.block_size));
    std::vector<std::uint32_t> stored;
    for (std::uint32_t block = 0; block < needed; ++block) {
        if (table[block] != BlockTable::kUnallocated) {
            stored.push_back(block);
        }
    }
    std::sort(stored.begin(), stored.end(), [&table](auto a, auto b) { return table[a] < table[b]; });
    return stored;
}

Result<bool> BlockMover::is_hole(std::uint32_t block) const {
    const std::uint64_t data = disk_.bitmap_offset(block) + bitmap_bytes(disk_.header_.block_size);
    const std::uint64_t length = disk_.header_.block_size;
    return disk_.file_->extent(data, length).map([length](const FileExtent& run) {
        return !run.data && run.bytes == length;
    });
}

Status BlockMover::drop(const std::vector<std::uint32_t>& blocks) {
    if (blocks.empty()) {
        return {};
    }
    if (const auto stored = this->blocks(); first_block_ == 0 && !stored.empty()) {
        first_block_ = disk_.bitmap_offset(stored.front());
    }
    for (const std::uint32_t block : blocks) {
        disk_.table_.set(block, BlockTable::kUnallocated);
        disk_.forget(block);
        ++disk_.unallocated_;
    }
    if (auto status = disk_.table_.write_dirty(*disk_.file_); !status) {
        return status;
    }
    return disk_.file_->sync();
}

/// Header, table and the places of the parent's paths, wherever they are, and blocks beyond the end of the disk, of
/// which nothing is known.
std::vector<BlockMover::Range> BlockMover::structures() const {
    const DynamicHeader& header = disk_.header_;
    const std::uint64_t known_end =
        std::max({std::uint64_t{kFooterSize}, disk_.footer_.data_offset + kDynamicHeaderSize,
                  header.table_offset + table_bytes(disk_.table_.size())});
    std::vector<Range> taken = {{0, kFooterSize},
                                {disk_.footer_.data_offset, disk_.footer_.data_offset + kDynamicHeaderSize},
                                {header.table_offset, header.table_offset + table_bytes(disk_.table_.size())}};
    // Some programs keep things of their own between the table and the first block. They stay: of the room there only
    // as much is used as whole blocks fill, counted from the first block that is or was there.
    const std::vector<std::uint32_t> stored = blocks();
    const std::uint64_t first = !stored.empty() ? disk_.bitmap_offset(stored.front()) : first_block_;
    if (const std::uint64_t anchor = first_block_ != 0 ? std::min(first, first_block_) : first; anchor > known_end) {
        const std::uint64_t distance = disk_.block_place(anchor + disk_.slot_bytes()) - anchor;
        taken.push_back({known_end, anchor - (anchor - known_end) / distance * distance});
    }
    const auto add = [&](std::uint64_t offset, std::uint64_t length) {
        if (length > 0 && offset < disk_.footer_offset_ && length <= disk_.footer_offset_ - offset) {
            taken.push_back({offset, offset + length});
        }
    };
    for (const ParentLocatorEntry& entry : header.parent_locator_entries) {
        if (entry.platform_code != FourCc{}) {
            add(entry.platform_data_offset, std::max(entry.platform_data_space, entry.platform_data_length));
        }
    }
    for (auto block = static_cast<std::uint32_t>(needed_table_entries(disk_.footer_.current_size, header.block_size));
         block < disk_.table_.size(); ++block) {
        add(disk_.bitmap_offset(block), disk_.slot_bytes());
    }
    std::sort(taken.begin(), taken.end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    return taken;
}

/// The first place for a block behind `end` that touches no structure.
std::uint64_t BlockMover::place_behind(std::uint64_t end, const std::vector<Range>& taken) const {
    std::uint64_t place = disk_.block_place(end);
    for (const Range& range : taken) {
        if (place < range.end && range.begin < place + disk_.slot_bytes()) {
            place = disk_.block_place(range.end);
        }
    }
    return place;
}

std::vector<BlockMover::Move> BlockMover::plan() const {
    const std::vector<std::uint32_t> stored = blocks();
    const std::vector<Range> taken = structures();
    std::vector<Move> moves;
    std::uint64_t free_from = 0;
    std::size_t next = 0;              // the first block that lies behind free_from
    std::size_t last = stored.size();  // blocks from here on have been planned to move
    while (next < last) {
        const std::uint64_t place = place_behind(free_from, taken);
        if (place + disk_.slot_bytes() <= disk_.bitmap_offset(stored[next])) {
            moves.push_back({stored[--last], place});
            free_from = place + disk_.slot_bytes();
        } else {
            free_from = disk_.bitmap_offset(stored[next]) + disk_.slot_bytes();
            ++next;
        }
    }
    return moves;
}

Status BlockMover::carry_out(const std::vector<Move>& moves, WorkMeter& meter, std::uint64_t weight) {
    if (moves.empty()) {
        return {};
    }
    File& file = *disk_.file_;
    WriteQueue queue(file, meter, weight);
    const auto batch = static_cast<std::size_t>(std::max<std::uint64_t>(kBatch / disk_.slot_bytes(), 1));
    for (std::size_t done = 0; done < moves.size();) {
        const std::size_t end = std::min(done + batch, moves.size());
        std::vector<WaitingBitmap> bitmaps;
        for (std::size_t i = done; i < end; ++i) {
            if (auto status = copy_block(moves[i], queue, bitmaps, meter); !status) {
                return status;
            }
        }
        if (auto status = queue.drain(); !status) {
            return status;
        }
        for (const WaitingBitmap& bitmap : bitmaps) {
            if (auto status = file.write(bitmap.offset, ConstBuffer(bitmap.bytes)); !status) {
                return status;
            }
        }
        if (auto status = meter.wait_for([&file] { return file.sync(); }); !status) {
            return status;
        }
        for (; done < end; ++done) {
            disk_.table_.set(moves[done].block, static_cast<std::uint32_t>(moves[done].to / kSectorSize));
            disk_.forget(moves[done].block);
        }
        if (auto status = disk_.table_.write_dirty(file); !status) {
            return status;
        }
    }
    return meter.wait_for([&file] { return file.sync(); });
}

/// Reads a block and has its data written; its bitmap, which would keep the data from where direct I/O wants it, is put
/// with those that are written by themselves.
Status BlockMover::copy_block(const Move& move, WriteQueue& queue, std::vector<WaitingBitmap>& bitmaps,
                              WorkMeter& meter) {
    const std::uint64_t bitmap = bitmap_bytes(disk_.header_.block_size);
    const std::uint64_t from = disk_.bitmap_offset(move.block);
    bitmaps.push_back({.offset = move.to, .bytes = std::vector<std::uint8_t>(bitmap)});
    WaitingBitmap& waiting = bitmaps.back();
    for (std::uint64_t done = 0; done < disk_.header_.block_size;) {
        const auto length = std::min<std::uint64_t>(WriteQueue::kPieceSize, disk_.header_.block_size - done);
        const auto piece = queue.acquire();
        if (!piece) {
            return tl::unexpected<Error>(piece.error());
        }
        const Buffer data = (*piece)->data().first(length);
        const std::array<Buffer, 2> bitmap_and_data = {Buffer(waiting.bytes), data};
        if (auto status =
                done == 0 ? disk_.file_->read(from, bitmap_and_data) : disk_.file_->read(from + bitmap + done, data);
            !status) {
            return status;
        }
        queue.submit(*piece, {{move.to + bitmap + done, (*piece)->part(0, length)}});
        done += length;
        if (auto status = meter.add(length); !status) {
            return status;
        }
    }
    return {};
}

Status BlockMover::clear(std::uint64_t begin, std::uint64_t end, WorkMeter& meter) {
    std::vector<Move> moves;
    std::uint64_t place = std::max(disk_.blocks_end_, end);
    for (const std::uint32_t block : blocks()) {
        const std::uint64_t from = disk_.bitmap_offset(block);
        if (from < end && begin < from + disk_.slot_bytes()) {
            moves.push_back({block, disk_.block_place(place)});
            place = moves.back().to + disk_.slot_bytes();
        }
    }
    if (moves.empty()) {
        return {};
    }
    if (place / kSectorSize >= BlockTable::kUnallocated) {
        return fail(ErrorCode::NoSpace,
                    disk_.file_->name() + " would become larger than 2 TiB; compact it first, or convert it");
    }
    // The footer first: the old one will be overwritten.
    const std::uint64_t footer = disk_.footer_place(place);
    if (auto status = disk_.file_->write(footer, ConstBuffer(serialise(disk_.footer_))); !status) {
        return status;
    }
    if (auto status = disk_.file_->sync(); !status) {
        return status;
    }
    disk_.footer_offset_ = footer;
    disk_.blocks_end_ = place;
    meter.set_total(moves.size() * work_of_a_move());
    return carry_out(moves, meter);
}

std::uint64_t BlockMover::end_of_blocks() const {
    std::uint64_t end = 0;
    for (const Range& range : structures()) {
        end = std::max(end, range.end);
    }
    for (const std::uint32_t block : blocks()) {
        end = std::max(end, disk_.bitmap_offset(block) + disk_.slot_bytes());
    }
    return end;
}

std::uint64_t BlockMover::bytes_to_cut() const {
    const std::uint64_t footer = disk_.footer_place(end_of_blocks());
    return disk_.footer_offset_ - std::min(footer, disk_.footer_offset_);
}

Status BlockMover::shorten(WorkMeter& meter, double weight) {
    const std::uint64_t to_cut = bytes_to_cut();
    disk_.blocks_end_ = end_of_blocks();
    // Wherever the file may end for a while, there is a footer before the first piece goes.
    std::vector<std::uint64_t> footers;
    const std::uint64_t piece = std::max(kCut, to_cut / kMaxCuts);
    for (std::uint64_t left = to_cut; left > 0; left -= std::min(piece, left)) {
        footers.push_back(disk_.footer_place(disk_.footer_offset_ - left));
    }
    for (const std::uint64_t footer : footers) {
        if (auto status = disk_.file_->write(footer, ConstBuffer(serialise(disk_.footer_))); !status) {
            return status;
        }
    }
    if (auto status = meter.wait_for([this] { return disk_.file_->sync(); }); !status) {
        return status;
    }
    for (; !footers.empty(); footers.pop_back()) {
        const std::uint64_t bytes = disk_.footer_offset_ - footers.back();
        if (auto status = disk_.file_->truncate(footers.back() + kFooterSize); !status) {
            return status;
        }
        disk_.footer_offset_ = footers.back();
        if (auto status = meter.add(static_cast<std::uint64_t>(static_cast<double>(bytes) * weight)); !status) {
            return status;
        }
    }
    disk_.stale_end_ = disk_.footer_offset_;
    disk_.has_room_ = false;
    return meter.wait_for([this] { return disk_.file_->sync(); });
}

}  // namespace vpc::disk::vhd
