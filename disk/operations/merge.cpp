#include "disk/operations/merge.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include "disk/chain.h"
#include "disk/new_file.h"
#include "disk/operations/children.h"
#include "disk/operations/enlarge_parent.h"
#include "disk/posix_file.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/write_queue.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = WriteQueue::kPieceSize / kSectorSize;
/// From here on writing may have to wait for the drive so long that the meter has to be looked after.
constexpr std::uint64_t kLargeRunSectors = (std::uint64_t{128} << 10) / kSectorSize;
/// Written between two barriers: what a barrier has to wait for at most.
constexpr std::uint64_t kBatchSectors = (std::uint64_t{64} << 20) / kSectorSize;

/// Bytes of work in a nanosecond, as long as nobody has seen how fast this host copies.
constexpr double kFirstSpeed = 3.0;

/// How long a host takes to give up the room of a deleted file's bytes: 0.3 ns each where they are in its memory
/// (measured on ext4). That is its processor's work, and much the same on a slow drive.
constexpr std::chrono::nanoseconds removal_time(std::uint64_t bytes) {
    return std::chrono::nanoseconds(bytes / 10 * 3);
}
/// A step of it lasts some milliseconds.
constexpr std::uint64_t kRemovalPiece = std::uint64_t{16} << 20;

/// A device that belongs to somebody else.
class BorrowedDevice final : public BlockDevice {
  public:
    explicit BorrowedDevice(BlockDevice& device) : device_(device) {}

    std::uint64_t sectors() const override { return device_.sectors(); }
    Geometry geometry() const override { return device_.geometry(); }
    bool read_only() const override { return true; }
    std::array<std::uint8_t, 16> unique_id() const override { return device_.unique_id(); }
    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override {
        return device_.read(sector, buffers);
    }
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override { return device_.extent(sector, limit); }
    Status write(std::uint64_t, std::span<const ConstBuffer>) override {
        return fail(ErrorCode::ReadOnly, "a parent is not written through its child");
    }
    Status flush() override { return {}; }
    Status discard(std::uint64_t, std::uint64_t) override { return {}; }

  private:
    BlockDevice& device_;
};

/// BlockDevice::extent(), and nothing beyond the device's end.
Result<Extent> extent_of(BlockDevice& device, std::uint64_t sector, std::uint64_t limit) {
    return sector < device.sectors() ? device.extent(sector, std::min(limit, device.sectors() - sector))
                                     : Result<Extent>(Extent{.sectors = limit});
}

/// Calls `use(sector, count)` for the runs of the disk that lie in the first `depth` images and are to be written to
/// `target`: at most 2 MiB each.
template <typename Use>
Status for_runs(BlockDevice& child, unsigned depth, BlockDevice& target, Use use) {
    for (std::uint64_t sector = 0; sector < child.sectors();) {
        auto run = child.extent(sector, child.sectors() - sector);
        bool needed = run && run->depth < depth;
        if (needed && !run->data) {
            // Beyond the end of one of the parents: zeros, which only hide what the target may hold there.
            run = extent_of(target, sector, run->sectors);
            needed = run && run->data;
        }
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        std::uint64_t count = run->sectors;
        if (needed) {
            count = std::min(count, kPieceSectors);
            if (auto status = use(sector, count); !status) {
                return status;
            }
        }
        sector += count;
    }
    return {};
}

/// Bytes of the disk that would be stored in `parent` for the first time, in whole blocks where it has blocks.
Result<std::uint64_t> growth(BlockDevice& child, unsigned depth, BlockDevice& parent) {
    std::uint64_t unit = 1;
    if (const auto* blocks = dynamic_cast<const vhd::DynamicDisk*>(&parent)) {
        unit = blocks->header().block_size / kSectorSize;
    }
    std::uint64_t bytes = 0;
    std::uint64_t counted_to = 0;
    auto status = for_runs(child, depth, parent, [&](std::uint64_t sector, std::uint64_t count) -> Status {
        for (const std::uint64_t end = sector + count; sector < end;) {
            const auto run = extent_of(parent, sector, end - sector);
            if (!run) {
                return tl::unexpected<Error>(run.error());
            }
            if (!run->data || run->depth > 0) {
                const std::uint64_t from = std::max(sector / unit * unit, counted_to);
                const std::uint64_t to = (sector + run->sectors + unit - 1) / unit * unit;
                bytes += to > from ? (to - from) * kSectorSize : 0;
                counted_to = std::max(counted_to, to);
            }
            sector += run->sectors;
        }
        return {};
    });
    return status ? Result<std::uint64_t>(bytes) : tl::unexpected<Error>(status.error());
}

/// The images that are merged, from the child on, and behind them the one into which.
Result<std::vector<ChainLink>> links_to_merge(const std::filesystem::path& child, const MergeOptions& options) {
    auto links = read_chain(child, {.parent_folders = options.parent_folders});
    if (!links) {
        return links;
    }
    for (const ChainLink& link : *links) {
        if (link.parent_problem) {
            return tl::unexpected<Error>(*link.parent_problem);
        }
    }
    if (links->size() < 2) {
        return fail(ErrorCode::Unsupported, quoted(child) +
                                                " is not a differencing image: it has no parent to be "
                                                "merged into");
    }
    if (!options.all) {
        links->resize(2);
    }
    return links;
}

/// Refuses when an image that is not merged has one of those as its parent, as far as it lies in one of their folders.
Status refuse_other_children(const std::vector<ChainLink>& links) {
    if (const auto found = find_other_child(links)) {
        return fail(ErrorCode::InUse, quoted(found->parent) + " is also the parent of " + quoted(found->child) +
                                          ", which would become useless; merge or delete that first");
    }
    return {};
}

/// The child's disk over `parent`, with every image of it locked against everybody.
Result<std::unique_ptr<BlockDevice>> open_over(const std::vector<ChainLink>& links, BlockDevice& parent) {
    std::unique_ptr<BlockDevice> device = std::make_unique<BorrowedDevice>(parent);
    for (std::size_t i = links.size() - 1; i-- > 0;) {
        auto file = open_file(links[i].path, OpenMode::ReadWrite);
        if (!file) {
            return tl::unexpected<Error>(file.error());
        }
        auto opened = open_image(std::move(*file), OpenMode::ReadWrite, std::move(device));
        if (!opened) {
            return opened;
        }
        device = std::move(*opened);
    }
    return device;
}

Status refuse_too_little_room(BlockDevice& child, unsigned depth, BlockDevice& parent,
                              const std::filesystem::path& path) {
    const auto needed = growth(child, depth, parent);
    if (!needed) {
        return tl::unexpected<Error>(needed.error());
    }
    std::error_code error;
    const auto space = std::filesystem::space(path, error);
    if (!error && space.available < *needed) {
        return fail(ErrorCode::NoSpace, "merging may need " + std::to_string(*needed) + " bytes more for " +
                                            quoted(path) + ", but the host's disk has only " +
                                            std::to_string(space.available) + "; make room there");
    }
    return {};
}

/// How many images of the chain are merged.
unsigned depth_of(const std::vector<ChainLink>& links) {
    return static_cast<unsigned>(links.size() - 1);
}

/// A chain that is merged, locked against everybody.
struct OpenedChain {
    std::unique_ptr<BlockDevice> parent;
    std::unique_ptr<BlockDevice> child;  ///< over `parent`
};

/// Reads every table and bitmap of them: that takes its time.
Result<OpenedChain> open_all(const std::vector<ChainLink>& links, const MergeOptions& options, WorkMeter& meter) {
    OpenedChain opened;
    auto status = meter.wait_for([&]() -> Status {
        const std::filesystem::path& path = links.back().path;
        auto parent = open_image(path, {.mode = OpenMode::ReadWrite, .parent_folders = options.parent_folders});
        if (!parent) {
            return tl::unexpected<Error>(parent.error());
        }
        opened.parent = std::move(*parent);
        auto child = open_over(links, *opened.parent);
        if (!child) {
            return tl::unexpected<Error>(child.error());
        }
        opened.child = std::move(*child);
        return refuse_too_little_room(*opened.child, depth_of(links), *opened.parent, path);
    });
    if (status) {
        status = meter.tick();
    }
    return status ? Result<OpenedChain>(std::move(opened)) : tl::unexpected<Error>(status.error());
}

/// Bytes in the children's files, whose room is given up at the end.
std::uint64_t bytes_to_remove(const std::vector<ChainLink>& links) {
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i + 1 < links.size(); ++i) {
        std::error_code error;
        const std::uintmax_t size = std::filesystem::file_size(links[i].path, error);
        bytes += error ? 0 : size;
    }
    return bytes;
}

/// The host takes its time to give up the room of a large file, so that is done in pieces that can be counted. Only of
/// a file that has no other name (a hard link); whatever goes wrong the host does when it is closed. `work_per_byte`:
/// as what each counts.
void give_up_room(File& file, double work_per_byte, WorkMeter& meter) {
    struct stat facts = {};
    if (::fstat(static_cast<const PosixFile&>(file).descriptor(), &facts) != 0 || facts.st_nlink != 0) {
        return;
    }
    for (std::uint64_t size = file.size().value_or(0); size > 0;) {
        const std::uint64_t piece = std::min(size, kRemovalPiece);
        size -= piece;
        (void)file.truncate(size);
        (void)meter.add(static_cast<std::uint64_t>(work_per_byte * static_cast<double>(piece)));  // too late to stop
    }
}

/// From the leaf on, one after the other for good, so that what is left after a power failure in between still has its
/// parents; and none comes back later to be merged once more, into a disk that has changed since.
/// `bytes`: what is in them, for which the meter's remaining work is counted.
Status remove_children(const std::vector<ChainLink>& links, std::uint64_t bytes, WorkMeter& meter) {
    const double work_per_byte =
        static_cast<double>(meter.left()) / static_cast<double>(std::max<std::uint64_t>(bytes, 1));
    for (std::size_t i = 0; i + 1 < links.size(); ++i) {
        const auto file = open_file(links[i].path, OpenMode::ReadWrite);
        if (::unlink(links[i].path.c_str()) != 0) {
            return host_error("delete", quoted(links[i].path) + ", which has been merged", errno);
        }
        if (auto status = meter.wait_for([&] { return sync_folder_of(links[i].path); }); !status) {
            return status;
        }
        if (file) {
            give_up_room(**file, work_per_byte, meter);
        }
    }
    return {};
}

}  // namespace

Status merge_sectors(BlockDevice& child, unsigned depth, BlockDevice& parent, WorkMeter& meter,
                     std::chrono::nanoseconds time_behind) {
    std::uint64_t sectors = 0;
    auto status = for_runs(child, depth, parent, [&](std::uint64_t, std::uint64_t count) {
        sectors += count;
        return meter.tick();
    });
    if (!status) {
        return status;
    }
    const std::uint64_t copying = 2 * sectors * kSectorSize;
    meter.set_total(copying + static_cast<std::uint64_t>(kFirstSpeed * static_cast<double>(time_behind.count())));
    const auto begun = std::chrono::steady_clock::now();
    WriteQueue::Piece memory;  // at an address that suits writing past the host's cache
    std::uint64_t waiting = 0;
    std::uint64_t done = 0;
    status = for_runs(child, depth, parent, [&](std::uint64_t sector, std::uint64_t count) -> Status {
        const Buffer bytes = memory.data().first(count * kSectorSize);
        const auto copy = [&]() -> Status {
            auto read = child.read(sector, bytes);
            return read ? parent.write(sector, ConstBuffer(bytes)) : read;
        };
        if (auto copied = count < kLargeRunSectors ? copy() : meter.wait_for(copy); !copied) {
            return copied;
        }
        done += 2 * bytes.size();
        waiting += count;
        if (waiting >= kBatchSectors) {
            waiting = 0;
            if (auto flushed = meter.wait_for([&parent] { return parent.flush(); }); !flushed) {
                return flushed;
            }
            const std::chrono::duration<double, std::nano> taken = std::chrono::steady_clock::now() - begun;
            const double speed = static_cast<double>(done) / std::max(taken.count(), 1.0);
            meter.set_total(copying + static_cast<std::uint64_t>(speed * static_cast<double>(time_behind.count())));
        }
        return meter.add(2 * bytes.size());
    });
    return status ? meter.wait_for([&parent] { return parent.flush(); }) : status;
}

Status merge(const std::filesystem::path& child, const MergeOptions& options, const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        const auto links = links_to_merge(child, options);
        if (!links) {
            return tl::unexpected<Error>(links.error());
        }
        if (!options.allow_other_children) {
            if (auto status = meter.wait_for([&links] { return refuse_other_children(*links); }); !status) {
                return status;
            }
        }
        if (links->front().size > links->back().size) {
            // Everything that can be said against the merge is said before the parent changes.
            if (const auto opened = open_all(*links, options, meter); !opened) {
                return tl::unexpected<Error>(opened.error());
            }
            if (auto status = enlarge_parent(*links, options.parent_folders, meter); !status) {
                return status;
            }
        }
        auto opened = open_all(*links, options, meter);
        if (!opened) {
            return tl::unexpected<Error>(opened.error());
        }
        const std::uint64_t removed = options.keep_children ? 0 : bytes_to_remove(*links);
        if (auto status =
                merge_sectors(*opened->child, depth_of(*links), *opened->parent, meter, removal_time(removed));
            !status) {
            return status;
        }
        if (!options.keep_children) {
            // While everything is still locked.
            if (auto status = remove_children(*links, removed, meter); !status) {
                return status;
            }
        }
        // The parent is cut to its size.
        const auto close = [&opened]() -> Status {
            opened->child.reset();
            opened->parent.reset();
            return {};
        };
        if (auto status = meter.wait_for(close); !status) {
            return status;
        }
        meter.finish();
        return {};
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Status merge_to(const std::filesystem::path& child, const std::vector<std::filesystem::path>& parent_folders,
                const ConvertTarget& target, const Operation& operation) {
    const auto device = open_image(child, {.mode = OpenMode::ReadOnly, .parent_folders = parent_folders});
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    return convert(**device, target, operation);
}

}  // namespace vpc::disk
