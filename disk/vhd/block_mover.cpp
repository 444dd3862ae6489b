#include "disk/vhd/block_mover.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <utility>

namespace vpc::disk::vhd {
namespace {

constexpr std::size_t kPiece = std::size_t{2} << 20;
/// Bytes moved between two barriers. What a cancellation loses at most, and what the drive has to store in one go.
constexpr std::uint64_t kBatch = std::uint64_t{64} << 20;

struct FreeMemory {
    void operator()(std::uint8_t* memory) const { std::free(memory); }
};

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
        disk_.bitmaps_.forget(block);
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

Status BlockMover::carry_out(const std::vector<Move>& moves, WorkMeter& meter) {
    const std::unique_ptr<std::uint8_t, FreeMemory> buffer(
        static_cast<std::uint8_t*>(std::aligned_alloc(kDirectAlignment, kPiece)));
    if (buffer == nullptr) {
        return fail(ErrorCode::IoError, "the host lacks memory for moving blocks of " + disk_.file_->name());
    }
    const auto batch = static_cast<std::size_t>(std::max<std::uint64_t>(kBatch / disk_.slot_bytes(), 1));
    for (std::size_t done = 0; done < moves.size();) {
        const std::size_t end = std::min(done + batch, moves.size());
        for (std::size_t i = done; i < end; ++i) {
            if (auto status = copy_block(moves[i], buffer.get(), meter); !status) {
                return status;
            }
        }
        if (auto status = meter.wait_for([this] { return disk_.file_->sync(); }); !status) {
            return status;
        }
        for (; done < end; ++done) {
            disk_.table_.set(moves[done].block, static_cast<std::uint32_t>(moves[done].to / kSectorSize));
            disk_.bitmaps_.forget(moves[done].block);
        }
        if (auto status = disk_.table_.write_dirty(*disk_.file_); !status) {
            return status;
        }
    }
    return disk_.file_->sync();
}

Status BlockMover::copy_block(const Move& move, std::uint8_t* buffer, WorkMeter& meter) {
    File& file = *disk_.file_;
    const std::uint64_t from = disk_.bitmap_offset(move.block);
    const std::uint64_t bitmap = bitmap_bytes(disk_.header_.block_size);
    // The bitmap by itself, so that the pieces of data begin where direct I/O wants them to.
    for (std::uint64_t done = 0; done < disk_.slot_bytes();) {
        const std::uint64_t end = done < bitmap ? bitmap : disk_.slot_bytes();
        const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, end - done));
        if (auto status = file.read(from + done, Buffer(buffer, length)); !status) {
            return status;
        }
        const ConstBuffer bytes(buffer, length);
        if (auto status =
                done < bitmap ? file.write(move.to + done, bytes) : file.write_uncached(move.to + done, bytes);
            !status) {
            return status;
        }
        done += length;
        if (auto status = meter.add(2 * length); !status) {
            return status;
        }
    }
    return {};
}

Status BlockMover::shorten() {
    std::uint64_t end = 0;
    for (const Range& range : structures()) {
        end = std::max(end, range.end);
    }
    for (const std::uint32_t block : blocks()) {
        end = std::max(end, disk_.bitmap_offset(block) + disk_.slot_bytes());
    }
    disk_.blocks_end_ = end;
    const std::uint64_t footer_before = disk_.footer_offset_;
    if (auto status = disk_.cut_unused_room(); !status) {
        return status;
    }
    disk_.footer_offset_ = std::min(disk_.footer_place(end), footer_before);
    disk_.stale_end_ = disk_.footer_offset_;
    disk_.has_room_ = false;
    return disk_.file_->sync();
}

}  // namespace vpc::disk::vhd
