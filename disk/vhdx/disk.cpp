#include "disk/vhdx/disk.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "disk/little_endian.h"
#include "disk/posix_file.h"
#include "disk/raw_disk.h"
#include "disk/transfer.h"
#include "disk/vhdx/layout.h"
#include "disk/vhdx/parent_locator.h"

namespace vpc::disk::vhdx {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kMaxChain = 64;

/// Sectors in a row that are found in the same place.
struct Run {
    enum class Place { File, Parent, Nowhere };
    std::uint64_t sectors = 0;
    Place place = Place::Nowhere;
    std::uint64_t offset = 0;  ///< in the file
};

class Disk final : public BlockDevice {
  public:
    /// `parent`: of a differencing image.
    Disk(std::unique_ptr<File> file, const Layout& layout, std::unique_ptr<Disk> parent)
        : file_(std::move(file)), layout_(layout), parent_(std::move(parent)) {}

    std::uint64_t sectors() const override { return layout_.disk_size / kSectorSize; }
    Geometry geometry() const override { return raw_geometry(sectors()); }
    bool read_only() const override { return true; }
    /// None: a VHD whose parent this is treats it as it does a raw image.
    std::array<std::uint8_t, 16> unique_id() const override { return {}; }
    const Id& data_id() const { return layout_.data_id; }

    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override;
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override;
    Status write(std::uint64_t, std::span<const ConstBuffer>) override {
        return fail(ErrorCode::ReadOnly, file_->name() + " was opened read-only");
    }
    Status flush() override { return {}; }
    Status discard(std::uint64_t, std::uint64_t) override { return {}; }

  private:
    Result<std::uint64_t> table_entry(std::uint64_t offset);
    Result<Run> locate(std::uint64_t sector, std::uint64_t limit);
    Result<Run> locate_by_bitmap(std::uint64_t sector, std::uint64_t limit, std::uint64_t entry);

    std::unique_ptr<File> file_;
    Layout layout_;
    std::unique_ptr<Disk> parent_;
    /// A piece of the table that was read last, and where in the file it is. Nobody writes to it: the file is locked.
    std::array<std::uint8_t, 4096> entries_ = {};
    std::uint64_t entries_offset_ = 0;
};

Status Disk::read(std::uint64_t sector, std::span<const Buffer> buffers) {
    const auto count = transfer_sectors(file_->name(), sectors(), sector, buffers);
    if (!count) {
        return tl::unexpected<Error>(count.error());
    }
    BufferCursor<Buffer> cursor(buffers);
    for (const std::uint64_t end = sector + *count; sector < end;) {
        const auto run = locate(sector, end - sector);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        const auto pieces = cursor.take(run->sectors * kSectorSize);
        Status status;
        if (run->place == Run::Place::File) {
            status = file_->read(run->offset, pieces);
        } else if (run->place == Run::Place::Parent) {
            status = parent_->read(sector, pieces);
        } else {
            fill_with_zeros(pieces);
        }
        if (!status) {
            return status;
        }
        sector += run->sectors;
    }
    return {};
}

Result<Extent> Disk::extent(std::uint64_t sector, std::uint64_t limit) {
    const auto run = locate(sector, limit);
    if (!run) {
        return tl::unexpected<Error>(run.error());
    }
    if (run->place == Run::Place::Parent) {
        auto below = parent_->extent(sector, run->sectors);
        if (below) {
            ++below->depth;
        }
        return below;
    }
    return Extent{.sectors = run->sectors, .data = run->place == Run::Place::File};
}

/// Regions begin and end at a MiB, so no piece reaches beyond the table's.
Result<std::uint64_t> Disk::table_entry(std::uint64_t offset) {
    const std::uint64_t start = offset / entries_.size() * entries_.size();
    if (start != entries_offset_) {
        entries_offset_ = 0;
        if (auto status = file_->read(start, Buffer(entries_)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        entries_offset_ = start;
    }
    return little64(entries_, static_cast<std::size_t>(offset - start));
}

/// At most to the end of a block.
Result<Run> Disk::locate(std::uint64_t sector, std::uint64_t limit) {
    const std::uint64_t block_sectors = layout_.block_size / kSectorSize;
    const std::uint64_t block = sector / block_sectors;
    const std::uint64_t within = sector % block_sectors;
    const auto entry = table_entry(layout_.entry_offset(block));
    if (!entry) {
        return tl::unexpected<Error>(entry.error());
    }
    Result<Run> run = Run{.sectors = std::min(limit, block_sectors - within)};
    switch (state_of(*entry)) {
        case BlockState::FullyPresent:
            run->place = Run::Place::File;
            run->offset = offset_of(*entry) + within * kSectorSize;
            break;
        case BlockState::PartiallyPresent:
            run = locate_by_bitmap(sector, run->sectors, *entry);
            break;
        case BlockState::NotPresent:
            run->place = Run::Place::Parent;
            break;
        default:  // zeros, or contents that nobody may count on
            break;
    }
    if (run && run->place == Run::Place::Parent) {
        const std::uint64_t below = parent_ == nullptr ? 0 : parent_->sectors();
        if (sector >= below) {
            run->place = Run::Place::Nowhere;
        } else {
            run->sectors = std::min(run->sectors, below - sector);
        }
    }
    return run;
}

/// 2.4: a bit for each sector of the chunk, the least significant of a byte first; set if the sector is in this file.
Result<Run> Disk::locate_by_bitmap(std::uint64_t sector, std::uint64_t limit, std::uint64_t entry) {
    const std::uint64_t block_sectors = layout_.block_size / kSectorSize;
    const auto bitmap_entry = table_entry(layout_.bitmap_entry_offset(sector / block_sectors));
    if (!bitmap_entry) {
        return tl::unexpected<Error>(bitmap_entry.error());
    }
    const std::uint64_t first = sector % kChunkSectors;
    std::array<std::uint8_t, 512> bits = {};
    const std::uint64_t bytes = std::min<std::uint64_t>(bits.size(), (first % 8 + limit + 7) / 8);
    if (auto status = file_->read(offset_of(*bitmap_entry) + first / 8, Buffer(bits).first(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    const auto is_set = [&](std::uint64_t i) { return (bits[(first % 8 + i) / 8] >> (first % 8 + i) % 8 & 1) != 0; };
    const std::uint64_t most = std::min(limit, bytes * 8 - first % 8);
    std::uint64_t count = 1;
    while (count < most && is_set(count) == is_set(0)) {
        ++count;
    }
    return Run{.sectors = count,
               .place = is_set(0) ? Run::Place::File : Run::Place::Parent,
               .offset = offset_of(entry) + sector % block_sectors * kSectorSize};
}

/// The folder of a file that is open, symbolic links resolved.
fs::path folder_of(const PosixFile& file) {
    std::error_code error;
    const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(file.descriptor()), error);
    return error ? fs::path(".") : path.parent_path();
}

std::string last_part(const std::string& path) {
    return path.substr(path.find_last_of('/') + 1);
}

std::vector<fs::path> parent_candidates(const fs::path& folder, const std::vector<std::string>& recorded,
                                        const std::vector<fs::path>& parent_folders) {
    std::vector<fs::path> paths;
    paths.reserve(recorded.size() * (2 + parent_folders.size()));
    for (const std::string& path : recorded) {
        paths.push_back((folder / path).lexically_normal());
    }
    for (const std::string& path : recorded) {
        paths.push_back(folder / last_part(path));
    }
    for (const fs::path& other : parent_folders) {
        for (const std::string& path : recorded) {
            paths.push_back(other / last_part(path));
        }
    }
    std::vector<fs::path> files;
    for (const fs::path& path : paths) {
        std::error_code error;
        if (fs::is_regular_file(path, error) && std::find(files.begin(), files.end(), path) == files.end()) {
            files.push_back(path);
        }
    }
    return files;
}

Result<std::unique_ptr<Disk>> open_one(std::unique_ptr<File> file, const OpenOptions& options, unsigned depth);

Result<std::unique_ptr<Disk>> open_parent(File& child, const Layout& layout, const OpenOptions& options,
                                          unsigned depth) {
    const auto* host_file = dynamic_cast<const PosixFile*>(&child);
    if (host_file == nullptr) {
        return fail(ErrorCode::Unsupported, child.name() + " has a parent and is none of the host's files");
    }
    const auto locator = load_parent_locator(child, layout);
    if (!locator) {
        return tl::unexpected<Error>(locator.error());
    }
    Error problem = {ErrorCode::NotFound, "the parent " + quoted(fs::path(last_part(locator->paths.front()))) + " of " +
                                              child.name() + " is missing; put it into the same folder"};
    for (const fs::path& path : parent_candidates(folder_of(*host_file), locator->paths, options.parent_folders)) {
        auto file = open_locked(path, OpenMode::ReadOnly, LockKind::Shared);
        if (!file) {
            return tl::unexpected<Error>(file.error());
        }
        std::array<std::uint8_t, kSignature.size()> start = {};
        const auto read = (*file)->read(0, Buffer(start));
        if (!read || !std::equal(start.begin(), start.end(), kSignature.begin())) {
            problem = {ErrorCode::Unsupported,
                       quoted(path) + " is no VHDX, as the parent of " + child.name() + " should be"};
            continue;
        }
        auto parent = open_one(std::move(*file), options, depth + 1);
        if (!parent) {
            return parent;
        }
        const std::string id = text_of_id((*parent)->data_id());
        if (std::find(locator->ids.begin(), locator->ids.end(), id) != locator->ids.end()) {
            return parent;
        }
        problem = {ErrorCode::ParentMismatch, child.name() + " belongs to a parent with the id " +
                                                  locator->ids.front() + ", but " + quoted(path) + " has the id " + id +
                                                  "; put the right one there"};
    }
    return tl::unexpected<Error>(problem);
}

Result<std::unique_ptr<Disk>> open_one(std::unique_ptr<File> file, const OpenOptions& options, unsigned depth) {
    if (depth >= kMaxChain) {
        return fail(ErrorCode::Unsupported, file->name() + " is one image too many: a chain has at most " +
                                                std::to_string(kMaxChain) + "; merge some of them");
    }
    const auto layout = load_layout(*file);
    if (!layout) {
        return tl::unexpected<Error>(layout.error());
    }
    std::unique_ptr<Disk> parent;
    if (layout->has_parent) {
        auto opened = open_parent(*file, *layout, options, depth);
        if (!opened) {
            return opened;
        }
        parent = std::move(*opened);
    }
    return std::make_unique<Disk>(std::move(file), *layout, std::move(parent));
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> open_disk(std::unique_ptr<File> file, const OpenOptions& options) {
    if (options.mode == OpenMode::ReadWrite) {
        return fail(ErrorCode::ReadOnly, file->name() +
                                             " is a VHDX, which is only read; convert it to a VHD, or lay a "
                                             "differencing VHD over it");
    }
    return open_one(std::move(file), options, 0);
}

bool is_vhdx(const BlockDevice& device) {
    return dynamic_cast<const Disk*>(&device) != nullptr;
}

}  // namespace vpc::disk::vhdx
