// FAT12, FAT16, FAT32, after Microsoft's "FAT: General Overview of On-Disk Format", version 1.03.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <functional>
#include <vector>

#include "disk/little_endian.h"
#include "disk/volume/file_system.h"

namespace vpc::disk::volume {
namespace {

enum class Width { Fat12 = 12, Fat16 = 16, Fat32 = 32 };

struct Layout {
    Width width = Width::Fat12;
    std::uint64_t first_fat = 0;    // bytes
    std::uint64_t fat_size = 0;     // bytes, of one copy
    std::uint32_t copies = 0;       // that must agree
    std::uint64_t data = 0;         // sectors of 512 bytes
    std::uint64_t per_cluster = 0;  // sectors of 512 bytes
    std::uint64_t clusters = 0;     // numbered from 2 on
};

/// So many bytes of the table are looked at at once: whole sectors, and whole entries of any width.
constexpr std::size_t kPiece = 3 * 16384;

class Fat final : public FileSystem {
  public:
    Fat(VolumeReader& volume, const Layout& layout, bool marked_dirty)
        : volume_(volume), layout_(layout), marked_dirty_(marked_dirty) {}

    std::string name() const override { return "FAT" + std::to_string(static_cast<int>(layout_.width)); }

    Status find_free(const FreeRun& free_run) override {
        if ((layout_.clusters + 2) * static_cast<unsigned>(layout_.width) > layout_.fat_size * 8) {
            return fail(ErrorCode::Corrupt, "its allocation table is shorter than the volume");
        }
        if (const auto clean = cleanly_unmounted(); !clean) {
            return tl::unexpected<Error>(clean.error());
        } else if (!*clean) {
            return fail(ErrorCode::Unsupported, "it was not cleanly unmounted");
        }
        std::vector<std::uint8_t> piece(kPiece);
        std::vector<std::uint8_t> copy(kPiece);
        const std::uint64_t end = layout_.clusters + 2;
        const std::uint64_t entries_in_piece = std::uint64_t{kPiece} * 8 / static_cast<unsigned>(layout_.width);
        std::uint64_t run_start = 0;  // cluster; 0: in no run
        for (std::uint64_t first = 0; first < end; first += entries_in_piece) {
            const std::uint64_t offset = first / entries_in_piece * kPiece;
            const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, layout_.fat_size - offset));
            if (auto done = read_copies(offset, std::span(piece).first(length), std::span(copy).first(length)); !done) {
                return done;
            }
            for (std::uint64_t cluster = std::max<std::uint64_t>(first, 2);
                 cluster < std::min(first + entries_in_piece, end); ++cluster) {
                const bool unused = entry(piece, static_cast<std::size_t>(cluster - first)) == 0;
                if (unused && run_start == 0) {
                    run_start = cluster;
                } else if (!unused && run_start != 0) {
                    hand_out(run_start, cluster, free_run);
                    run_start = 0;
                }
            }
        }
        if (run_start != 0) {
            hand_out(run_start, end, free_run);
        }
        return {};
    }

  private:
    /// Reads a part of the table so that an entry is 0 only if it is in every copy.
    Status read_copies(std::uint64_t offset, std::span<std::uint8_t> piece, std::span<std::uint8_t> copy) {
        if (auto done = volume_.read(layout_.first_fat + offset, piece); !done) {
            return done;
        }
        for (std::uint32_t i = 1; i < layout_.copies; ++i) {
            if (auto done = volume_.read(layout_.first_fat + i * layout_.fat_size + offset, copy); !done) {
                return done;
            }
            std::transform(piece.begin(), piece.end(), copy.begin(), piece.begin(), std::bit_or<std::uint8_t>());
        }
        return {};
    }

    std::uint32_t entry(std::span<const std::uint8_t> piece, std::size_t index) const {
        switch (layout_.width) {
            case Width::Fat12: {
                const std::uint16_t pair = little16(piece, index + index / 2);
                return index % 2 == 0 ? pair & 0xFFFu : pair >> 4;
            }
            case Width::Fat16:
                return little16(piece, index * 2);
            case Width::Fat32:
                return little32(piece, index * 4) & 0x0FFFFFFF;
        }
        return 1;
    }

    /// Windows clears the highest bit of entry 1 while a volume is in use, and the next after a disk error.
    Result<bool> cleanly_unmounted() {
        bool clean = !marked_dirty_;
        for (std::uint32_t i = 0; i < layout_.copies && layout_.width != Width::Fat12; ++i) {
            std::array<std::uint8_t, 8> start = {};
            if (auto done = volume_.read(layout_.first_fat + i * layout_.fat_size, start); !done) {
                return tl::unexpected<Error>(done.error());
            }
            const std::uint32_t marks = layout_.width == Width::Fat16 ? 0xC000 : 0x0C000000;
            clean = clean && (entry(start, 1) & marks) == marks;
        }
        return clean;
    }

    void hand_out(std::uint64_t first, std::uint64_t end, const FreeRun& free_run) const {
        free_run(layout_.data + (first - 2) * layout_.per_cluster, (end - first) * layout_.per_cluster);
    }

    VolumeReader& volume_;
    Layout layout_;
    bool marked_dirty_;
};

bool power_of_two(std::uint32_t number, std::uint32_t most) {
    return std::has_single_bit(number) && number <= most;
}

}  // namespace

Result<std::unique_ptr<FileSystem>> recognise_fat(VolumeReader& volume) {
    std::array<std::uint8_t, kSectorSize> boot = {};
    if (volume.sectors() == 0) {
        return nullptr;
    }
    if (auto done = volume.read(0, boot); !done) {
        return tl::unexpected<Error>(done.error());
    }
    const std::uint32_t bytes_per_sector = little16(boot, 11);
    const std::uint32_t sectors_per_cluster = boot[13];
    const std::uint64_t reserved = little16(boot, 14);
    const std::uint32_t copies = boot[16];
    const std::uint64_t root_entries = little16(boot, 17);
    const bool jumps = boot[0] == 0xE9 || (boot[0] == 0xEB && boot[2] == 0x90);
    if (!jumps || boot[510] != 0x55 || boot[511] != 0xAA || bytes_per_sector < kSectorSize ||
        !power_of_two(bytes_per_sector, 4096) || !power_of_two(sectors_per_cluster, 128) || reserved == 0 ||
        copies == 0 || copies > 4 || (boot[21] != 0xF0 && boot[21] < 0xF8)) {
        return nullptr;
    }
    const std::uint64_t total = little16(boot, 19) != 0 ? little16(boot, 19) : little32(boot, 32);
    const bool wide = little16(boot, 22) == 0;  // FAT32 has its table's size elsewhere
    const std::uint64_t fat_sectors = wide ? little32(boot, 36) : little16(boot, 22);
    const std::uint64_t root_sectors = (root_entries * 32 + bytes_per_sector - 1) / bytes_per_sector;
    const std::uint64_t data = reserved + copies * fat_sectors + root_sectors;
    const std::uint64_t unit = bytes_per_sector / kSectorSize;
    if (fat_sectors == 0 || data >= total || total * unit > volume.sectors()) {
        return nullptr;
    }
    Layout layout;
    layout.clusters = (total - data) / sectors_per_cluster;
    layout.width = wide ? Width::Fat32 : layout.clusters < 4085 ? Width::Fat12 : Width::Fat16;
    if (layout.clusters > 0x0FFFFFF5 || (layout.width == Width::Fat16 && layout.clusters >= 65525)) {
        return nullptr;
    }
    layout.fat_size = fat_sectors * bytes_per_sector;
    layout.first_fat = reserved * bytes_per_sector;
    layout.copies = copies;
    if (const std::uint16_t flags = little16(boot, 40); wide && (flags & 0x80) != 0) {  // one copy only is kept up
        layout.copies = 1;
        layout.first_fat += std::min<std::uint32_t>(flags & 0x0F, copies - 1) * layout.fat_size;
    }
    layout.data = data * unit;
    layout.per_cluster = sectors_per_cluster * unit;
    // Windows NT's own marks, also kept by Linux: 1 in use, 2 to be tested. Before DOS 4 there was code in their place.
    const std::size_t extension = wide ? 64 : 36;
    const bool marked_dirty = (boot[extension + 2] & 0xFE) == 0x28 && (boot[extension + 1] & 0x03) != 0;
    return std::make_unique<Fat>(volume, layout, marked_dirty);
}

}  // namespace vpc::disk::volume
