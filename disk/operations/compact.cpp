#include "disk/operations/compact.h"

#include <algorithm>
#include <chrono>
#include <cmath>
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

/// Read of every block to begin with: that tells most of those which stay from those which may go.
constexpr std::uint64_t kProbe = 64 * 1024;
/// Read between two corrections of what there is to be done.
constexpr std::uint64_t kReadBetweenUpdates = 16 << 20;
/// Read and compared at once: fits into the processor's caches.
constexpr std::uint64_t kPiece = 256 * 1024;

/// Whether a block can go: without it, the disk holds the same.
class BlockJudge {
  public:
    explicit BlockJudge(vhd::DynamicDisk& disk)
        : disk_(disk), buffer_(kPiece), below_(disk.parent() != nullptr ? buffer_.size() : std::size_t{0}) {}

    /// Whether nothing in bytes `begin` to `end` of a block keeps it from going. The meter hears of what was read.
    Result<bool> nothing_keeps(std::uint32_t block, std::uint64_t begin, std::uint64_t end, WorkMeter& meter) {
        const std::uint64_t first = std::uint64_t{block} * disk_.header().block_size;
        end = std::min(end, disk_.sectors() * kSectorSize - first);
        while (begin < end) {
            const Buffer bytes = Buffer(buffer_).first(std::min<std::uint64_t>(buffer_.size(), end - begin));
            const std::uint64_t sector = (first + begin) / kSectorSize;
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
            begin += bytes.size();
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

/// How the parts of the work compare in time, in bytes read. How fast the host reads is found out on the way: from its
/// memory several times as fast as from the drive.
class Weights {
  public:
    /// So much was read, and nothing else done, since this object was made.
    void reading(std::uint64_t bytes) {
        const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start_;
        if (bytes >= kEnough && time.count() > 0) {
            rate_ = static_cast<double>(bytes) / time.count();
        }
    }
    /// Of a byte written: a drive writes no faster than it reads.
    std::uint64_t writing() const { return std::clamp<std::uint64_t>(std::llround(rate_ / kWriteRate), 1, 16); }
    /// Of a byte that the host frees.
    double cutting() const { return std::min(rate_ / kCutRate, 4.0); }

  private:
    static constexpr std::uint64_t kEnough = std::uint64_t{4} << 20;
    /// Bytes a second, as measured on an SSD with ext4.
    static constexpr double kWriteRate = 1e9;
    static constexpr double kCutRate = 4e9;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    double rate_ = kWriteRate;
};

/// How many blocks move when those that go are gone: the ones behind where the last of the others will lie then.
std::uint64_t moves_without(const std::vector<bool>& goes) {
    const auto stays = std::count(goes.begin(), goes.end(), false);
    return static_cast<std::uint64_t>(std::count(goes.begin() + stays, goes.end(), false));
}

/// Says which of the stored blocks can go, in their order. Looks at the start of all of them first: then it is known
/// what there is to be read and moved, and the progress is true.
Result<std::vector<bool>> find_unneeded(vhd::DynamicDisk& disk, const vhd::BlockMover& mover,
                                        const std::vector<std::uint32_t>& stored, const FreeBlocks& free_blocks,
                                        Weights& weights, WorkMeter& meter) {
    BlockJudge judge(disk);
    const std::uint64_t block_size = disk.header().block_size;
    const std::uint64_t probe = std::min(kProbe, block_size);
    const std::uint64_t probes = probe * stored.size();
    std::vector<bool> goes(stored.size());
    std::vector<std::size_t> to_be_read;
    std::uint64_t unneeded = 0;
    for (std::size_t i = 0; i < stored.size(); ++i) {
        Result<bool> gone = free_blocks.contains(stored[i]);
        if (!*gone && disk.parent() == nullptr) {
            gone = mover.is_hole(stored[i]);
        }
        if (gone && !*gone) {
            gone = judge.nothing_keeps(stored[i], 0, probe, meter);
            if (gone && *gone && probe < block_size) {
                to_be_read.push_back(i);
            }
        }
        if (!gone) {
            return tl::unexpected<Error>(gone.error());
        }
        goes[i] = *gone;
        unneeded += *gone ? 1 : 0;
        // The blocks to come are taken for a mixture like the ones so far.
        const double seen = static_cast<double>(i + 1);
        const double moves = static_cast<double>(unneeded * (i + 1 - unneeded)) / seen;
        const double more = static_cast<double>(to_be_read.size() * (block_size - probe)) +
                            moves * static_cast<double>(mover.work_of_a_move(weights.writing())) +
                            static_cast<double>(unneeded * block_size) * weights.cutting();
        meter.set_total(probes + static_cast<std::uint64_t>(more / seen * static_cast<double>(stored.size())));
        if (auto status = meter.advance_to(probe * (i + 1)); !status) {
            return tl::unexpected<Error>(status.error());
        }
    }
    std::uint64_t read = 0;
    const auto update = [&] {
        const auto cut = static_cast<double>(std::count(goes.begin(), goes.end(), true)) *
                         static_cast<double>(block_size) * weights.cutting();
        meter.set_total(probes + to_be_read.size() * (block_size - probe) + static_cast<std::uint64_t>(cut) +
                        moves_without(goes) * mover.work_of_a_move(weights.writing()));
    };
    update();
    for (const std::size_t i : to_be_read) {
        const auto gone = judge.nothing_keeps(stored[i], probe, block_size, meter);
        if (!gone) {
            return tl::unexpected<Error>(gone.error());
        }
        goes[i] = *gone;
        read += block_size - probe;
        if (auto status = meter.advance_to(probes + read); !status) {
            return tl::unexpected<Error>(status.error());
        }
        if (read / kReadBetweenUpdates != (read - (block_size - probe)) / kReadBetweenUpdates) {
            weights.reading(probes + read);
            update();
        }
    }
    update();
    return goes;
}

Status compact_blocks(vhd::DynamicDisk& disk, const FreeBlocks& free_blocks, WorkMeter& meter) {
    vhd::BlockMover mover(disk);
    const std::vector<std::uint32_t> stored = mover.blocks();
    Weights weights;
    const auto goes = find_unneeded(disk, mover, stored, free_blocks, weights, meter);
    if (!goes) {
        return tl::unexpected<Error>(goes.error());
    }
    std::vector<std::uint32_t> unneeded;
    for (std::size_t i = 0; i < stored.size(); ++i) {
        if ((*goes)[i]) {
            unneeded.push_back(stored[i]);
        }
    }
    if (auto status = meter.wait_for([&] { return mover.drop(unneeded); }); !status) {
        return status;
    }
    if (auto status = mover.carry_out(mover.plan(), meter, weights.writing()); !status) {
        return status;
    }
    return mover.shorten(meter, weights.cutting());
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
