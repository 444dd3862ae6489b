#include "disk/compact.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "disk/open_image.h"
#include "disk/posix_file.h"
#include "disk/transfer.h"
#include "disk/vhd/block_mover.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = (std::uint64_t{2} << 20) / kSectorSize;

/// Whether a block can go: without it, the disk holds the same.
class BlockJudge {
  public:
    explicit BlockJudge(vhd::DynamicDisk& disk)
        : disk_(disk),
          buffer_(kPieceSectors * kSectorSize),
          below_(disk.parent() != nullptr ? buffer_.size() : std::size_t{0}) {}

    Result<bool> can_go(std::uint32_t block, WorkMeter& meter) {
        const std::uint64_t per_block = disk_.header().block_size / kSectorSize;
        const std::uint64_t end = std::min(std::uint64_t{block} * per_block + per_block, disk_.sectors());
        for (std::uint64_t sector = std::uint64_t{block} * per_block; sector < end;) {
            const std::uint64_t count = std::min(kPieceSectors, end - sector);
            const Buffer bytes = Buffer(buffer_).first(count * kSectorSize);
            if (auto status = disk_.read(sector, bytes); !status) {
                return tl::unexpected<Error>(status.error());
            }
            if (auto status = meter.add(bytes.size()); !status) {
                return tl::unexpected<Error>(status.error());
            }
            auto same = is_below(sector, bytes);
            if (!same || !*same) {
                return same;
            }
            sector += count;
        }
        return true;
    }

  private:
    /// Whether this is what the disk would hold there without the block.
    Result<bool> is_below(std::uint64_t sector, ConstBuffer bytes) {
        BlockDevice* parent = disk_.parent();
        const std::uint64_t there =
            parent == nullptr || sector >= parent->sectors()
                ? 0
                : std::min<std::uint64_t>((parent->sectors() - sector) * kSectorSize, bytes.size());
        if (there > 0) {
            const Buffer below = Buffer(below_).first(there);
            if (auto status = parent->read(sector, below); !status) {
                return tl::unexpected<Error>(status.error());
            }
            if (!std::equal(below.begin(), below.end(), bytes.begin())) {
                return false;
            }
        }
        const ConstBuffer rest = bytes.subspan(there);
        return all_zeros(std::span(&rest, 1));
    }

    vhd::DynamicDisk& disk_;
    std::vector<std::uint8_t> buffer_;
    std::vector<std::uint8_t> below_;  ///< what the parent holds
};

/// Which blocks lie in free space from their first to their last sector.
class FreeBlocks {
  public:
    Result<FreeSpaceReport> find(vhd::DynamicDisk& disk) {
        per_block_ = disk.header().block_size / kSectorSize;
        disk_sectors_ = disk.sectors();
        free_.assign((disk_sectors_ + per_block_ - 1) / per_block_, 0);
        return find_free_space(disk, [this](std::uint64_t sector, std::uint64_t count) {
            while (count > 0) {
                const std::uint64_t part = std::min(count, per_block_ - sector % per_block_);
                free_[sector / per_block_] += static_cast<std::uint32_t>(part);
                sector += part;
                count -= part;
            }
        });
    }
    bool contains(std::uint32_t block) const {
        return block < free_.size() &&
               free_[block] == std::min(per_block_, disk_sectors_ - std::uint64_t{block} * per_block_);
    }

  private:
    std::uint64_t per_block_ = 1;
    std::uint64_t disk_sectors_ = 0;
    std::vector<std::uint32_t> free_;  ///< free sectors of every block
};

Status compact_blocks(vhd::DynamicDisk& disk, const FreeBlocks& free_blocks, WorkMeter& meter) {
    vhd::BlockMover mover(disk);
    BlockJudge judge(disk);
    const std::vector<std::uint32_t> stored = mover.blocks();
    const std::uint64_t scan = stored.size() * std::uint64_t{disk.header().block_size};
    meter.set_total(scan);
    std::vector<std::uint32_t> unneeded;
    std::uint64_t scanned = 0;
    for (const std::uint32_t block : stored) {
        Result<bool> gone = free_blocks.contains(block);
        if (!*gone && disk.parent() == nullptr) {
            gone = mover.is_hole(block);
        }
        if (gone && !*gone) {
            gone = judge.can_go(block, meter);
        }
        if (!gone) {
            return tl::unexpected<Error>(gone.error());
        }
        if (*gone) {
            unneeded.push_back(block);
        }
        scanned += disk.header().block_size;
        if (auto status = meter.advance_to(scanned); !status) {
            return status;
        }
    }
    if (auto status = mover.drop(unneeded); !status) {
        return status;
    }
    const auto moves = mover.plan();
    meter.set_total(scan + moves.size() * mover.work_of_a_move());
    if (auto status = mover.carry_out(moves, meter); !status) {
        return status;
    }
    return meter.wait_for([&mover] { return mover.shorten(); });
}

}  // namespace

Result<Compaction> compact(vhd::DynamicDisk& disk, const CompactOptions& options, const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        const vhd::BlockMover mover(disk);
        Compaction result;
        const auto before = mover.file_size();
        if (!before) {
            return tl::unexpected<Error>(before.error());
        }
        result.size_before = *before;
        FreeBlocks free_blocks;
        if (options.free_space) {
            auto found = free_blocks.find(disk);
            if (!found) {
                return tl::unexpected<Error>(found.error());
            }
            result.free_space = std::move(*found);
        }
        if (auto status = compact_blocks(disk, free_blocks, meter); !status) {
            return tl::unexpected<Error>(status.error());
        }
        const auto after = mover.file_size();
        if (!after) {
            return tl::unexpected<Error>(after.error());
        }
        result.size_after = *after;
        meter.finish();
        return result;
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Result<Compaction> compact(const std::filesystem::path& image, const CompactOptions& options,
                           const Operation& operation) {
    const auto device = open_image(image, {.mode = OpenMode::ReadWrite, .parent_folders = options.parent_folders});
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    auto* disk = dynamic_cast<vhd::DynamicDisk*>(device->get());
    if (disk == nullptr) {
        return fail(ErrorCode::Unsupported,
                    quoted(image) +
                        " has no blocks: only dynamic and differencing images can be compacted; convert it "
                        "to a dynamic one");
    }
    return compact(*disk, options, operation);
}

}  // namespace vpc::disk
