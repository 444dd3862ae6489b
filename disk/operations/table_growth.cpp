#include "disk/operations/table_growth.h"

#include <algorithm>
#include <string>
#include <utility>

#include "disk/vhd/block_mover.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/header_switch.h"

namespace vpc::disk {
namespace {

using vhd::FileRange;

constexpr std::size_t kPiece = 64 * 1024;
/// Windows reserves so much for a path.
constexpr std::uint32_t kMaxPath = 64 * 1024;

bool overlap(const FileRange& a, const FileRange& b) {
    return a.begin < b.end && b.begin < a.end;
}

Status fill(File& file, std::uint64_t begin, std::uint64_t end, std::uint8_t byte) {
    const std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(kPiece, end > begin ? end - begin : 0), byte);
    while (begin < end) {
        const std::uint64_t length = std::min<std::uint64_t>(bytes.size(), end - begin);
        if (auto status = file.write(begin, ConstBuffer(bytes).first(length)); !status) {
            return status;
        }
        begin += length;
    }
    return {};
}

}  // namespace

/// The room behind the table may hold blocks and the parent's paths, which can go elsewhere, and padding. Anything else
/// is somebody's, or left over from an interrupted attempt.
Result<bool> TableGrowth::can_grow_in_place(const vhd::DynamicDisk& disk) const {
    const FileRange room = {table_end(), new_table_end()};
    if (overlap(room, {old_footer_.data_offset, old_footer_.data_offset + vhd::kDynamicHeaderSize})) {
        return false;
    }
    std::vector<FileRange> known;
    const std::uint64_t slot = std::uint64_t{vhd::bitmap_bytes(header_.block_size)} + header_.block_size;
    for (std::uint32_t block = 0; block < disk.table().size(); ++block) {
        if (const std::uint64_t sector = disk.table()[block]; sector != vhd::BlockTable::kUnallocated) {
            known.push_back({sector * kSectorSize, sector * kSectorSize + slot});
        }
    }
    for (const vhd::ParentLocatorEntry& entry : header_.parent_locator_entries) {
        const FileRange path = {entry.platform_data_offset,
                                entry.platform_data_offset + std::uint64_t{entry.platform_data_length}};
        if (overlap(path, room) && entry.platform_data_length > kMaxPath) {
            return false;
        }
        known.push_back(path);
    }
    std::vector<std::uint8_t> sector(kSectorSize);
    for (std::uint64_t place = room.begin; place < std::min(room.end, footer_offset_); place += kSectorSize) {
        if (std::any_of(known.begin(), known.end(), [&](const FileRange& range) {
                return overlap(range, {place, place + kSectorSize});
            })) {
            continue;
        }
        if (auto status = file_.read(place, Buffer(sector)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        if (std::any_of(sector.begin(), sector.end(), [](std::uint8_t byte) { return byte != 0 && byte != 0xFF; })) {
            return false;
        }
    }
    return true;
}

Status TableGrowth::move_blocks(vhd::DynamicDisk& disk, WorkMeter& meter) {
    old_footer_ = disk.footer();
    header_ = disk.header();
    const std::uint64_t needed = vhd::needed_table_entries(new_footer_.current_size, header_.block_size);
    if (needed > vhd::kMaxTableEntries) {
        return fail(ErrorCode::Unsupported, file_.name() + " has blocks of " + std::to_string(header_.block_size) +
                                                " bytes, too small for so large a disk; convert it to larger ones");
    }
    new_entries_ = std::max(header_.max_table_entries, static_cast<std::uint32_t>(needed));
    const auto find_footer = [this]() -> Status {
        const auto size = file_.size();
        const auto found = size ? vhd::find_footer(file_, *size) : tl::unexpected<Error>(size.error());
        if (!found) {
            return tl::unexpected<Error>(found.error());
        }
        footer_offset_ = (*found)->offset;
        return {};
    };
    if (auto status = find_footer(); !status) {
        return status;
    }
    if (new_table_end() > table_end()) {
        const auto in_place = can_grow_in_place(disk);
        if (!in_place) {
            return tl::unexpected<Error>(in_place.error());
        }
        in_place_ = *in_place;
        if (in_place_) {
            vhd::BlockMover mover(disk);
            if (auto status = mover.clear(table_end(), new_table_end(), meter); !status) {
                return status;
            }
            if (auto status = find_footer(); !status) {
                return status;
            }
        }
    }
    const std::uint64_t old_blocks = vhd::needed_table_entries(old_footer_.current_size, header_.block_size);
    last_block_ = disk.table()[static_cast<std::uint32_t>(old_blocks - 1)];
    return {};
}

Status TableGrowth::carry_out() {
    const auto old_blocks =
        static_cast<std::uint32_t>(vhd::needed_table_entries(old_footer_.current_size, header_.block_size));
    const auto new_blocks =
        static_cast<std::uint32_t>(vhd::needed_table_entries(new_footer_.current_size, header_.block_size));
    // Blocks that are cut off hold zeros; entries that nobody looked at so far can hold anything.
    if (auto status = empty_entries(std::min(old_blocks, new_blocks), header_.max_table_entries); !status) {
        return status;
    }
    if (auto status = zero_behind_end(); !status) {
        return status;
    }
    if (auto status = file_.sync(); !status) {
        return status;
    }
    return new_entries_ > header_.max_table_entries ? grow_table()
                                                    : vhd::change_footers(file_, new_footer_, footer_offset_);
}

Status TableGrowth::empty_entries(std::uint32_t begin, std::uint32_t end) {
    return fill(file_, header_.table_offset + std::uint64_t{begin} * 4, header_.table_offset + std::uint64_t{end} * 4,
                0xFF);
}

/// The old disk may have ended within a block.
Status TableGrowth::zero_behind_end() {
    const std::uint64_t within = old_footer_.current_size / kSectorSize * kSectorSize % header_.block_size;
    if (new_footer_.current_size <= old_footer_.current_size || within == 0 ||
        last_block_ == vhd::BlockTable::kUnallocated) {
        return {};
    }
    const std::uint64_t data = std::uint64_t{last_block_} * kSectorSize + vhd::bitmap_bytes(header_.block_size);
    return fill(file_, data + within, data + header_.block_size, 0);
}

/// The paths that lie where the table will be, to be written at `place`. Their locators follow.
Result<std::vector<std::uint8_t>> TableGrowth::move_paths(vhd::DynamicHeader& header, std::uint64_t place) {
    std::vector<std::uint8_t> bytes;
    for (vhd::ParentLocatorEntry& entry : header.parent_locator_entries) {
        const std::uint64_t length = entry.platform_data_length;
        const FileRange range = {entry.platform_data_offset, entry.platform_data_offset + length};
        if (entry.platform_code == vhd::FourCc{} || length == 0 || !overlap(range, {table_end(), new_table_end()})) {
            continue;
        }
        const std::size_t begin = bytes.size();
        bytes.resize(begin + (length + kSectorSize - 1) / kSectorSize * kSectorSize);
        if (auto status = file_.read(range.begin, Buffer(bytes).subspan(begin, length)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        entry.platform_data_space = static_cast<std::uint32_t>(bytes.size() - begin);
        entry.platform_data_offset = place + begin;
    }
    return bytes;
}

/// Entries that the table has, and empty ones behind them, at `place`.
Status TableGrowth::write_table(std::uint64_t place) {
    const std::uint64_t length = std::uint64_t{header_.max_table_entries} * 4;
    if (place != header_.table_offset) {
        std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(length, kPiece));
        for (std::uint64_t done = 0; done < length;) {
            const Buffer piece = Buffer(bytes).first(std::min<std::uint64_t>(bytes.size(), length - done));
            if (auto status = file_.read(header_.table_offset + done, piece); !status) {
                return status;
            }
            if (auto status = file_.write(place + done, ConstBuffer(piece)); !status) {
                return status;
            }
            done += piece.size();
        }
    }
    return fill(file_, place + length, place + vhd::table_bytes(new_entries_), 0xFF);
}

Status TableGrowth::grow_table() {
    const std::uint64_t behind = footer_offset_ + vhd::kFooterSize;
    vhd::DynamicHeader header = header_;
    header.max_table_entries = new_entries_;
    std::uint64_t end = std::max(footer_offset_, new_table_end());
    std::vector<std::uint8_t> paths;
    const std::uint64_t paths_place = std::max(new_table_end(), behind);
    if (in_place_) {
        auto moved = move_paths(header, paths_place);
        if (!moved) {
            return tl::unexpected<Error>(moved.error());
        }
        paths = std::move(*moved);
        end = paths.empty() ? end : paths_place + paths.size();
    } else {
        header.table_offset = behind;
        end = behind + vhd::table_bytes(new_entries_);
    }
    return vhd::switch_header(file_, {.footer = new_footer_,
                                      .header = header,
                                      .old_footer_offset = footer_offset_,
                                      .old_footer = old_footer_,
                                      .room = end,
                                      .end = end,
                                      .prepare = [&]() -> Status {
                                          auto status =
                                              paths.empty() ? Status() : file_.write(paths_place, ConstBuffer(paths));
                                          return status ? write_table(header.table_offset) : status;
                                      }});
}

}  // namespace vpc::disk
