#include "disk/volume/free_space.h"

#include <algorithm>
#include <utility>

#include "disk/volume/file_system.h"
#include "disk/volume/partition_table.h"
#include "disk/volume/volume_reader.h"

namespace vpc::disk {
namespace {

using volume::FileSystem;
using volume::Partition;
using volume::VolumeReader;

Result<std::unique_ptr<FileSystem>> recognise(VolumeReader& reader) {
    for (const auto& attempt : {volume::recognise_ntfs, volume::recognise_fat, volume::recognise_ext}) {
        auto found = attempt(reader);
        if (!found || *found != nullptr) {
            return found;
        }
    }
    return nullptr;
}

/// What the volume's records say, as opposed to the host that failed to read them.
bool about_the_volume(const Error& error) {
    return error.code == ErrorCode::Corrupt || error.code == ErrorCode::Unsupported;
}

Result<VolumeReport> examine(BlockDevice& disk, const Partition& partition,
                             const std::function<void(std::uint64_t, std::uint64_t)>& free_run) {
    VolumeReport report{.first_sector = partition.first,
                        .sectors = partition.sectors,
                        .file_system = {},
                        .free_sectors = 0,
                        .skipped = partition.doubt};
    if (!report.skipped.empty()) {
        return report;
    }
    VolumeReader reader(disk, partition.first, partition.sectors);
    const auto file_system = recognise(reader);
    if (!file_system) {
        return tl::unexpected<Error>(file_system.error());
    }
    if (*file_system == nullptr) {
        report.skipped = "it holds no file system that is known here";
        return report;
    }
    report.file_system = (*file_system)->name();
    // Runs that touch become one, so that a block of the image that straddles them counts as unused.
    std::uint64_t run = 0;
    std::uint64_t run_end = 0;
    const auto hand_out = [&] {
        if (run < run_end) {
            report.free_sectors += run_end - run;
            free_run(partition.first + run, run_end - run);
        }
    };
    const Status done = (*file_system)->find_free([&](std::uint64_t sector, std::uint64_t count) {
        if (sector != run_end) {
            hand_out();
            run = sector;
        }
        run_end = sector + count;
    });
    hand_out();
    if (!done) {
        if (!about_the_volume(done.error())) {
            return tl::unexpected<Error>(done.error());
        }
        report.skipped = done.error().message;
    }
    return report;
}

}  // namespace

Result<FreeSpaceReport> find_free_space(
    BlockDevice& disk, const std::function<void(std::uint64_t sector, std::uint64_t count)>& free_run) {
    FreeSpaceReport report;
    if (disk.sectors() == 0) {
        return report;
    }
    auto partitions = volume::read_partitions(disk);
    if (!partitions) {
        return tl::unexpected<Error>(partitions.error());
    }
    if (partitions->empty()) {
        partitions->push_back({.first = 0, .sectors = disk.sectors(), .doubt = {}});
    }
    for (const Partition& partition : *partitions) {
        auto volume = examine(disk, partition, free_run);
        if (!volume) {
            return tl::unexpected<Error>(volume.error());
        }
        report.volumes.push_back(std::move(*volume));
    }
    return report;
}

}  // namespace vpc::disk
