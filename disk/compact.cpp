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

Status compact(vhd::DynamicDisk& disk, WorkMeter& meter) {
    vhd::BlockMover mover(disk);
    BlockJudge judge(disk);
    const std::vector<std::uint32_t> stored = mover.blocks();
    const std::uint64_t scan = stored.size() * std::uint64_t{disk.header().block_size};
    meter.set_total(scan);
    std::vector<std::uint32_t> unneeded;
    std::uint64_t scanned = 0;
    for (const std::uint32_t block : stored) {
        auto gone = mover.is_hole(block);
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

Result<Compaction> compact(std::unique_ptr<File> file, const Operation& operation) {
    try {
        const File& image = *file;
        const std::string name = file->name();
        const auto device = open_image(std::move(file), OpenMode::ReadWrite);
        if (!device) {
            return tl::unexpected<Error>(device.error());
        }
        auto* disk = dynamic_cast<vhd::DynamicDisk*>(device->get());
        if (disk == nullptr) {
            return fail(ErrorCode::Unsupported,
                        name + " is not a dynamic image: only those can be compacted; convert it to one");
        }
        WorkMeter meter(operation, 1);
        const auto before = image.size();
        if (!before) {
            return tl::unexpected<Error>(before.error());
        }
        if (auto status = compact(*disk, meter); !status) {
            return tl::unexpected<Error>(status.error());
        }
        const auto after = image.size();
        if (!after) {
            return tl::unexpected<Error>(after.error());
        }
        meter.finish();
        return Compaction{.size_before = *before, .size_after = *after};
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Result<Compaction> compact(const std::filesystem::path& image, const Operation& operation) {
    auto file = open_file(image, OpenMode::ReadWrite);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    return compact(std::move(*file), operation);
}

}  // namespace vpc::disk
