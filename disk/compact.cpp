#include "disk/compact.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "disk/open_image.h"
#include "disk/transfer.h"
#include "disk/vhd/block_mover.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = (std::uint64_t{2} << 20) / kSectorSize;

/// Whether a block can go: everything in it reads as zeros.
class BlockJudge {
  public:
    explicit BlockJudge(vhd::DynamicDisk& disk) : disk_(disk), buffer_(kPieceSectors * kSectorSize) {}

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
            const ConstBuffer seen = bytes;
            if (!all_zeros(std::span(&seen, 1))) {
                return false;
            }
            sector += count;
        }
        return true;
    }

  private:
    vhd::DynamicDisk& disk_;
    std::vector<std::uint8_t> buffer_;
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

Status compact(vhd::DynamicDisk& disk, const FreeBlocks& free_blocks, WorkMeter& meter) {
    vhd::BlockMover mover(disk);
    BlockJudge judge(disk);
    const std::vector<std::uint32_t> stored = mover.blocks();
    const std::uint64_t scan = stored.size() * std::uint64_t{disk.header().block_size};
    meter.set_total(scan);
    std::vector<std::uint32_t> unneeded;
    std::uint64_t scanned = 0;
    for (const std::uint32_t block : stored) {
        auto gone = free_blocks.contains(block) ? Result<bool>(true) : mover.is_hole(block);
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

Result<Compaction> compact(std::unique_ptr<File> file, const CompactOptions& options, const Operation& operation) {
    try {
        const File& image = *file;
        const std::string name = file->name();
        const auto device = open_image(std::move(file), OpenMode::ReadWrite);
        if (!device) {
            return tl::unexpected<Error>(device.error());
        }
        auto* disk = dynamic_cast<vhd::DynamicDisk*>(device->get());
        if (disk == nullptr) {
            return fail(ErrorCode::Unsupported, name +
                                                    " is not a dynamic image: only those can be "
                                                    "compacted; convert it to one");
        }
        WorkMeter meter(operation, 1);
        const auto before = image.size();
        if (!before) {
            return tl::unexpected<Error>(before.error());
        }
        FreeBlocks free_blocks;
        FreeSpaceReport free_space;
        if (options.free_space) {
            auto found = free_blocks.find(*disk);
            if (!found) {
                return tl::unexpected<Error>(found.error());
            }
            free_space = std::move(*found);
        }
        if (auto status = compact(*disk, free_blocks, meter); !status) {
            return tl::unexpected<Error>(status.error());
        }
        const auto after = image.size();
        if (!after) {
            return tl::unexpected<Error>(after.error());
        }
        meter.finish();
        return Compaction{.size_before = *before, .size_after = *after, .free_space = std::move(free_space)};
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Result<Compaction> compact(const std::filesystem::path& image, const CompactOptions& options,
                           const Operation& operation) {
    auto file = open_file(image, OpenMode::ReadWrite);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    return compact(std::move(*file), options, operation);
}

}  // namespace vpc::disk
