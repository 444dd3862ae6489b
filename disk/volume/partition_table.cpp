#include "disk/volume/partition_table.h"

#include <algorithm>
#include <array>
#include <utility>

#include "disk/little_endian.h"

namespace vpc::disk::volume {
namespace {

using Sector = std::array<std::uint8_t, kSectorSize>;

constexpr std::size_t kTable = 446;
constexpr std::size_t kEntries = 4;
constexpr std::size_t kEntrySize = 16;
/// A chain of logical partitions longer than this is a loop or damaged: drive letters end long before.
constexpr std::size_t kMaximumLogical = 128;

struct Entry {
    std::uint8_t status = 0;
    std::uint8_t type = 0;
    std::uint64_t first = 0;
    std::uint64_t sectors = 0;
    bool used() const { return type != 0 && sectors != 0; }
    bool extended() const { return type == 0x05 || type == 0x0F || type == 0x85; }
};

Entry entry(const Sector& sector, std::size_t index) {
    const std::size_t offset = kTable + index * kEntrySize;
    return {.status = sector[offset],
            .type = sector[offset + 4],
            .first = little32(sector, offset + 8),
            .sectors = little32(sector, offset + 12)};
}

bool signed_as_bootable(const Sector& sector) {
    return sector[510] == 0x55 && sector[511] == 0xAA;
}

/// A boot sector of a volume ends with the same signature as a table, but has code or text where the entries would be.
bool holds_table(const Sector& sector) {
    if (!signed_as_bootable(sector)) {
        return false;
    }
    bool any = false;
    for (std::size_t i = 0; i < kEntries; ++i) {
        const Entry candidate = entry(sector, i);
        if ((candidate.status & 0x7F) != 0) {
            return false;
        }
        any = any || candidate.used();
    }
    return any;
}

std::string doubt_of_type(std::uint8_t type) {
    switch (type) {
        case 0xEE:
            return "a GUID partition table manages it, which is not supported";
        case 0x42:
            return "it belongs to a Windows dynamic disk";
        case 0x8E:
            return "it belongs to a Linux volume group (LVM)";
        case 0xFD:
            return "it belongs to a Linux RAID";
        default:
            return {};
    }
}

class TableReader {
  public:
    explicit TableReader(BlockDevice& disk) : disk_(disk) {}

    Result<std::vector<Partition>> read() {
        Sector boot = {};
        if (auto done = disk_.read(0, Buffer(boot)); !done) {
            return tl::unexpected<Error>(done.error());
        }
        if (!holds_table(boot)) {
            return std::vector<Partition>();
        }
        for (std::size_t i = 0; i < kEntries; ++i) {
            const Entry primary = entry(boot, i);
            if (!primary.used()) {
                continue;
            }
            if (primary.first == 0 && primary.type != 0xEE) {
                return std::vector<Partition>();  // the volume has put a table into its own boot sector
            }
            if (!primary.extended()) {
                add(primary.first, primary.sectors, doubt_of_type(primary.type));
            } else if (auto done = read_logical(primary); !done) {
                return tl::unexpected<Error>(done.error());
            }
        }
        mark_overlaps();
        return std::move(partitions_);
    }

  private:
    void add(std::uint64_t first, std::uint64_t sectors, std::string doubt) {
        if (doubt.empty() && (first >= disk_.sectors() || sectors > disk_.sectors() - first)) {
            doubt = "it reaches beyond the end of the disk";
        }
        partitions_.push_back({.first = first, .sectors = sectors, .doubt = std::move(doubt)});
    }

    /// Each extended boot record describes one partition, counted from itself, and the place of the next record,
    /// counted from the start of the extended partition.
    Status read_logical(const Entry& extended) {
        std::uint64_t place = extended.first;
        for (std::size_t i = 0; i < kMaximumLogical; ++i) {
            Sector record = {};
            if (place >= disk_.sectors()) {
                return {};
            }
            if (auto done = disk_.read(place, Buffer(record)); !done) {
                return done;
            }
            if (!signed_as_bootable(record)) {
                return {};
            }
            records_.push_back(place);
            std::uint64_t next = 0;
            for (std::size_t k = 0; k < kEntries; ++k) {
                const Entry logical = entry(record, k);
                if (!logical.used()) {
                    continue;
                }
                if (logical.extended()) {
                    next = next == 0 ? extended.first + logical.first : next;
                } else {
                    add(place + logical.first, logical.sectors, doubt_of_type(logical.type));
                }
            }
            if (next == 0 || std::find(records_.begin(), records_.end(), next) != records_.end()) {
                return {};
            }
            place = next;
        }
        return {};
    }

    void mark_overlaps() {
        std::stable_sort(partitions_.begin(), partitions_.end(),
                         [](const Partition& a, const Partition& b) { return a.first < b.first; });
        Partition* reaches_furthest = nullptr;
        for (Partition& partition : partitions_) {
            if (reaches_furthest != nullptr && partition.first < reaches_furthest->first + reaches_furthest->sectors) {
                reaches_furthest->doubt = partition.doubt = "it overlaps another partition";
            }
            for (const std::uint64_t record : records_) {
                if (record >= partition.first && record - partition.first < partition.sectors) {
                    partition.doubt = "a partition table lies inside it";
                }
            }
            if (reaches_furthest == nullptr ||
                partition.first + partition.sectors > reaches_furthest->first + reaches_furthest->sectors) {
                reaches_furthest = &partition;
            }
        }
    }

    BlockDevice& disk_;
    std::vector<Partition> partitions_;
    std::vector<std::uint64_t> records_;  // sectors that hold extended boot records
};

}  // namespace

Result<std::vector<Partition>> read_partitions(BlockDevice& disk) {
    return TableReader(disk).read();
}

}  // namespace vpc::disk::volume
