#include "tasks/saved_state.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/state_stream.h"
#include "devices/board.h"
#include "tasks/stored_pages.h"

namespace vpc::tasks {
namespace {

// The parts of the file, in order. Disks come last since they are closed last, and are looked at first.
enum Part : std::size_t { kIdentity, kChips, kMemory, kDisks };

constexpr std::size_t kMostChipBytes = 64 << 20;
constexpr std::size_t kMostSmallBytes = 1 << 16;
// Having the host store a byte, with complete(), takes this part of the time that compressing and writing it does.
constexpr std::uint64_t kStoringShare = 20;
// Looking for pages to store takes this part of the time that storing all of the memory would.
constexpr std::uint64_t kLookingShare = 20;
// Between the two steps the machine is torn down, in the time in which this much memory is stored.
constexpr std::uint64_t kTearingDown = 4 << 20;
// What complete() writes: far more than it can be.
constexpr std::uint64_t kReserve = 1 << 16;

std::span<const std::uint8_t> bytes_of(const PageRun& run) {
    return {reinterpret_cast<const std::uint8_t*>(&run), sizeof run};
}

tl::unexpected<disk::Error> stopped() {
    return disk::fail(disk::ErrorCode::Cancelled, "cancelled");
}

void report(const disk::Operation& operation, std::uint64_t done, std::uint64_t total) {
    if (operation.progress) {
        operation.progress({.done = done, .total = total});
    }
}

// ---- the work of saving, in bytes of memory to compress and write ----

std::uint64_t looking_work(std::uint64_t ram) {
    return ram / kLookingShare;
}

std::uint64_t total_work(std::uint64_t ram, std::uint64_t written) {
    return looking_work(ram) + written + kTearingDown + written / kStoringShare;
}

/// Of the chips' state: most of it is video memory, and most of that is never used.
std::uint64_t non_zero_bytes(std::span<const std::uint8_t> bytes) {
    std::vector<PageRun> runs;
    return add_stored_pages(runs, bytes, 0, static_cast<std::uint32_t>(bytes.size() / kPage)) * kPage;
}

struct StoredMemory {
    std::vector<PageRun> runs;
    PageWork work;
};

/// Finds what of the memory is to be stored; `chips` is the work for the chips' state. Cancelled.
disk::Result<StoredMemory> look_through(std::span<const std::uint8_t> ram, std::uint64_t chips,
                                        const disk::Operation& operation) {
    StoredMemory memory;
    std::uint64_t found = 0;
    const auto pages = static_cast<std::uint32_t>(ram.size() / kPage);
    for (std::uint32_t page = 0; page < pages;) {
        if (operation.stop.stop_requested()) {
            return stopped();
        }
        const auto end = std::min<std::uint32_t>(pages, page + kRunPages);
        found += add_stored_pages(memory.runs, ram, page, end);
        page = end;
        // The rest is probably as full as what was seen, or else fuller.
        const std::uint64_t rest = pages - page;
        const std::uint64_t expected = found + (rest + 3 * rest * found / page) / 4;
        report(operation, looking_work(page * kPage), total_work(ram.size(), chips + expected * kPage));
    }
    for (const PageRun& run : memory.runs) {
        memory.work += work_of(bytes_in(ram, run));
    }
    return memory;
}

template <typename T>
disk::Status put_fields(StateFileWriter& file, T&& list) {
    StateStream stream = StateStream::saver();
    list(stream);
    disk::Status status = file.put(stream.bytes());
    return status ? file.end_part() : status;
}

template <typename T>
disk::Status get_fields(StateFileReader& file, const std::string& name, Part part, std::size_t limit, T&& list) {
    if (disk::Status status = file.select(part); !status) {
        return status;
    }
    const auto bytes = file.rest(limit);
    if (!bytes) {
        return tl::unexpected(bytes.error());
    }
    StateStream stream = StateStream::loader(*bytes);
    try {
        list(stream);
    } catch (const StateError& problem) {
        return disk::fail(disk::ErrorCode::Unsupported, name + ": " + problem.what());
    }
    return {};
}

void serialize_disks(StateStream& stream, DiskGenerations& disks) {
    stream.section("disks", 1, [&] {
        for (DiskGeneration& disk : disks) {
            disk.serialize(stream);
        }
    });
}

}  // namespace

void MachineIdentity::serialize(StateStream& stream) {
    stream.section("machine", 1, [&] {
        stream.field(memory);
        stream.field(cpu);
        stream.field(bios);
        stream.field(vga_bios);
    });
}

std::uint64_t firmware_checksum(std::span<const std::uint8_t> bytes) {
    // FNV-1a, 64 bits (Fowler, Noll, Vo): offset basis and prime.
    std::uint64_t hash = 0xCBF29CE484222325;
    for (const std::uint8_t byte : bytes) {
        hash = (hash ^ byte) * 0x100000001B3;
    }
    return hash;
}

void DiskGeneration::serialize(StateStream& stream) {
    stream.field(file);
    stream.field(unique_id);
    stream.field(file_size);
    stream.field(modified);
}

disk::Result<DiskGeneration> disk_generation(const std::filesystem::path& file,
                                             const std::array<std::uint8_t, 16>& unique_id) {
    struct stat facts {};
    if (::stat(file.c_str(), &facts) != 0) {
        const int why = errno;
        const auto code = why == ENOENT ? disk::ErrorCode::NotFound : disk::ErrorCode::IoError;
        return disk::fail(code, fmt::format("'{}': {}", file.string(), std::strerror(why)));
    }
    constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
    return DiskGeneration{.file = file.string(),
                          .unique_id = unique_id,
                          .file_size = static_cast<std::uint64_t>(facts.st_size),
                          .modified = facts.st_mtim.tv_sec * kNanosecondsPerSecond + facts.st_mtim.tv_nsec};
}

disk::Result<std::unique_ptr<SavedStateWriter>> SavedStateWriter::write_machine(const std::filesystem::path& file,
                                                                                MachineIdentity identity,
                                                                                RemovableMedia media,
                                                                                devices::Board& board,
                                                                                const disk::Operation& operation) {
    auto writer = StateFileWriter::create(file);
    if (!writer) {
        return tl::unexpected(writer.error());
    }
    StateStream chips = StateStream::saver();
    board.serialize(chips);
    const std::span<const std::uint8_t> ram(board.memory().ram(), board.memory().ram_size());
    const std::uint64_t chips_work = non_zero_bytes(chips.bytes());
    auto memory = look_through(ram, chips_work, operation);
    if (!memory) {
        return tl::unexpected(memory.error());
    }
    std::uint64_t done = looking_work(ram.size()) + chips_work;
    const std::uint64_t total = total_work(ram.size(), chips_work + memory->work.storing);

    disk::Status status = put_fields(**writer, [&](StateStream& stream) {
        identity.serialize(stream);
        media.serialize(stream);
        stream.field(memory->work.loading);
    });
    if (status) {
        status = (*writer)->put(chips.bytes());
    }
    if (status) {
        status = (*writer)->end_part();
    }
    for (auto run = memory->runs.begin(); status && run != memory->runs.end(); ++run) {
        if (operation.stop.stop_requested()) {
            return stopped();
        }
        const std::span<const std::uint8_t> bytes = bytes_in(ram, *run);
        status = (*writer)->put(bytes_of(*run));
        if (status) {
            status = (*writer)->put(bytes);
        }
        done += work_of(bytes).storing;
        report(operation, done, total);
    }
    if (status) {
        status = (*writer)->put(bytes_of(PageRun{}));
    }
    if (status) {
        status = (*writer)->end_part();
    }
    if (status) {
        status = (*writer)->reserve(kReserve);
    }
    if (!status) {
        return tl::unexpected(status.error());
    }
    auto result = std::make_unique<SavedStateWriter>();
    result->file_ = std::move(*writer);
    return result;
}

disk::Status SavedStateWriter::complete(DiskGenerations disks) {
    disk::Status status = put_fields(*file_, [&](StateStream& stream) { serialize_disks(stream, disks); });
    return status ? file_->complete() : status;
}

disk::Result<std::unique_ptr<SavedStateReader>> SavedStateReader::open(const std::filesystem::path& path) {
    auto file = StateFileReader::open(path);
    if (!file) {
        return tl::unexpected(file.error());
    }
    auto reader = std::make_unique<SavedStateReader>();
    reader->file_ = std::move(*file);
    reader->name_ = "'" + path.string() + "'";
    disk::Status status = get_fields(*reader->file_, reader->name_, kDisks, kMostSmallBytes,
                                     [&](StateStream& stream) { serialize_disks(stream, reader->disks_); });
    if (status) {
        status = get_fields(*reader->file_, reader->name_, kIdentity, kMostSmallBytes, [&](StateStream& stream) {
            reader->identity_.serialize(stream);
            reader->media_.serialize(stream);
            stream.field(reader->loading_work_);
        });
    }
    if (!status) {
        return tl::unexpected(status.error());
    }
    return reader;
}

std::string SavedStateReader::misfit(const MachineIdentity& identity, const DiskGenerations& disks) const {
    if (identity.memory != identity_.memory) {
        return fmt::format("the machine had {} MiB of memory when it was saved and has {} now", identity_.memory,
                           identity.memory);
    }
    if (identity.cpu != identity_.cpu) {
        return fmt::format("the machine's CPU was {} when it was saved and is {} now", identity_.cpu, identity.cpu);
    }
    if (identity.bios != identity_.bios || identity.vga_bios != identity_.vga_bios) {
        return "the firmware is another one than when the machine was saved";
    }
    constexpr std::array<const char*, 4> kPlaces{"hda", "hdb", "hdc", "hdd"};
    for (std::size_t i = 0; i < disks.size(); ++i) {
        const DiskGeneration& then = disks_[i];
        const DiskGeneration& now = disks[i];
        if (then.file.empty() != now.file.empty()) {
            return fmt::format("{}: there was {} disk when the machine was saved", kPlaces[i],
                               then.file.empty() ? "no" : "a");
        }
        if (then.unique_id != now.unique_id) {
            return fmt::format("{}: '{}' is another disk than when the machine was saved", kPlaces[i], now.file);
        }
        if (then.file_size != now.file_size || then.modified != now.modified) {
            return fmt::format("{}: '{}' was changed after the machine was saved", kPlaces[i], now.file);
        }
    }
    return {};
}

disk::Status SavedStateReader::load(devices::Board& board, const disk::Operation& operation) {
    const auto pages = board.memory().ram_size() / kPage;
    std::uint64_t done = 0;
    if (disk::Status status = file_->select(kMemory); !status) {
        return status;
    }
    for (std::uint64_t next = 0;;) {
        if (operation.stop.stop_requested()) {
            return stopped();
        }
        PageRun run;
        if (disk::Status status = file_->get({reinterpret_cast<std::uint8_t*>(&run), sizeof run}); !status) {
            return status;
        }
        if (run.count == 0) {
            break;
        }
        if (run.first < next || run.count > kRunPages || run.first + std::uint64_t{run.count} > pages) {
            return disk::fail(disk::ErrorCode::Corrupt, name_ + ": no intact saved state: pages out of range");
        }
        const std::span<std::uint8_t> to(board.memory().ram() + std::size_t{run.first} * kPage,
                                         std::size_t{run.count} * kPage);
        if (disk::Status status = file_->get(to); !status) {
            return status;
        }
        next = run.first + std::uint64_t{run.count};
        done += work_of(to).loading;
        report(operation, done, std::max(done, loading_work_));
    }
    // The checksum stands behind the last page.
    if (const auto end = file_->rest(0); !end) {
        return tl::unexpected(end.error());
    }
    return get_fields(*file_, name_, kChips, kMostChipBytes, [&](StateStream& stream) { board.serialize(stream); });
}

}  // namespace vpc::tasks
