#include "tasks/saved_state.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/state_stream.h"
#include "devices/board.h"

namespace vpc::tasks {
namespace {

// The parts of the file, in order. Disks come last since they are closed last, and are looked at first.
enum Part : std::size_t { kIdentity, kChips, kMemory, kDisks };

constexpr std::size_t kPage = 4096;
constexpr std::size_t kRunPages = 256;  // between two looks at the stop token: 1 MiB
constexpr std::size_t kMostChipBytes = 64 << 20;
constexpr std::size_t kMostSmallBytes = 1 << 16;
// Having the host store a byte, with complete(), takes this part of the time that compressing and writing it does.
constexpr std::uint64_t kStoringShare = 20;
// What complete() writes: far more than it can be.
constexpr std::uint64_t kReserve = 1 << 16;

/// Pages [first, first + count) follow; a count of 0 ends the memory.
struct Run {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
};
static_assert(sizeof(Run) == 8);

std::span<const std::uint8_t> bytes_of(const Run& run) {
    return {reinterpret_cast<const std::uint8_t*>(&run), sizeof run};
}

bool is_zero(const std::uint8_t* page) {
    std::uint64_t any = 0;
    for (std::size_t i = 0; i < kPage; i += sizeof any) {
        std::uint64_t word = 0;
        std::memcpy(&word, page + i, sizeof word);
        any |= word;
    }
    return any == 0;
}

std::vector<Run> runs_of(const std::uint8_t* ram, std::uint64_t size) {
    std::vector<Run> runs;
    const auto pages = static_cast<std::uint32_t>(size / kPage);
    for (std::uint32_t page = 0; page < pages; ++page) {
        if (is_zero(ram + std::size_t{page} * kPage)) {
            continue;
        }
        if (!runs.empty() && runs.back().first + runs.back().count == page && runs.back().count < kRunPages) {
            ++runs.back().count;
        } else {
            runs.push_back({page, 1});
        }
    }
    return runs;
}

tl::unexpected<disk::Error> stopped() {
    return disk::fail(disk::ErrorCode::Cancelled, "cancelled");
}

void report(const disk::Operation& operation, std::uint64_t done, std::uint64_t total) {
    if (operation.progress) {
        operation.progress({.done = done, .total = total});
    }
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
    const std::uint8_t* ram = board.memory().ram();
    const std::vector<Run> runs = runs_of(ram, board.memory().ram_size());
    std::uint64_t stored = 0;
    for (const Run& run : runs) {
        stored += std::uint64_t{run.count} * kPage;
    }
    const std::uint64_t written = chips.bytes().size() + stored;
    const std::uint64_t total = written + written / kStoringShare;

    disk::Status status = put_fields(**writer, [&](StateStream& stream) {
        identity.serialize(stream);
        media.serialize(stream);
        stream.field(stored);
    });
    if (status) {
        status = (*writer)->put(chips.bytes());
    }
    if (status) {
        status = (*writer)->end_part();
    }
    std::uint64_t done = chips.bytes().size();
    for (auto run = runs.begin(); status && run != runs.end(); ++run) {
        if (operation.stop.stop_requested()) {
            return stopped();
        }
        const std::size_t size = std::size_t{run->count} * kPage;
        status = (*writer)->put(bytes_of(*run));
        if (status) {
            status = (*writer)->put({ram + std::size_t{run->first} * kPage, size});
        }
        done += size;
        report(operation, done, total);
    }
    if (status) {
        status = (*writer)->put(bytes_of(Run{}));
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
            stream.field(reader->stored_memory_);
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
        Run run;
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
        done += to.size();
        report(operation, done, std::max(done, stored_memory_));
    }
    // The checksum stands behind the last page.
    if (const auto end = file_->rest(0); !end) {
        return tl::unexpected(end.error());
    }
    return get_fields(*file_, name_, kChips, kMostChipBytes, [&](StateStream& stream) { board.serialize(stream); });
}

}  // namespace vpc::tasks
