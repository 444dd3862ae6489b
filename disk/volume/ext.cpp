// ext2, ext3 and ext4. Field names and offsets are those of the Linux kernel's documentation,
// Documentation/filesystems/ext4.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <utility>
#include <vector>

#include "disk/little_endian.h"
#include "disk/volume/file_system.h"

namespace vpc::disk::volume {
namespace {

constexpr std::uint64_t kSuperblock = 1024;  // bytes from the start of the volume, and its length

// s_feature_compat, s_feature_incompat, s_feature_ro_compat
constexpr std::uint32_t kHasJournal = 0x4;
constexpr std::uint32_t kSparseSuper2 = 0x200;
constexpr std::uint32_t kRecover = 0x4;
constexpr std::uint32_t kMetaBg = 0x10;
constexpr std::uint32_t kExtents = 0x40;
constexpr std::uint32_t k64Bit = 0x80;
constexpr std::uint32_t kFlexBg = 0x200;
/// filetype, recover, meta_bg, extents, 64bit, mmp, flex_bg, ea_inode, csum_seed, largedir, inline_data, encrypt,
/// casefold: what the bitmaps mean is known with these.
constexpr std::uint32_t kKnownIncompatible = 0x3E7D6;
constexpr std::uint32_t kGdtChecksum = 0x10;
constexpr std::uint32_t kBigAlloc = 0x200;
constexpr std::uint32_t kMetadataChecksum = 0x400;
/// sparse_super, large_file, btree_dir, huge_file, gdt_csum, dir_nlink, extra_isize, quota, bigalloc, metadata_csum,
/// readonly, project, verity, orphan_present.
constexpr std::uint32_t kKnownReadOnly = 0x1B77F;
/// bg_flags: the bitmap of a group that nothing was ever allocated in does not exist.
constexpr std::uint16_t kBlockUninit = 0x2;

struct Layout {
    std::uint64_t blocks = 0;
    std::uint64_t first_data_block = 0;
    std::uint64_t block_size = 0;
    std::uint64_t blocks_per_group = 0;
    std::uint64_t blocks_per_cluster = 1;
    std::uint64_t inode_table_blocks = 0;  // of one group
    std::uint64_t reserved_gdt_blocks = 0;
    std::uint64_t first_meta_bg = 0;
    std::array<std::uint32_t, 2> backup_groups{};
    std::uint32_t descriptor_size = 32;
    std::uint32_t compatible = 0;
    std::uint32_t incompatible = 0;
    std::uint32_t read_only = 0;
    std::uint16_t state = 0;
};

struct Group {
    std::uint64_t block_bitmap = 0;
    std::uint64_t inode_bitmap = 0;
    std::uint64_t inode_table = 0;
    std::uint64_t free = 0;  // clusters
    bool uninitialised = false;
};

/// Blocks, the end excluded.
struct Range {
    std::uint64_t first = 0;
    std::uint64_t end = 0;
};

/// 1 TiB with the smallest blocks, 16 TiB with the usual ones. What is kept of so many takes less than 40 MiB.
constexpr std::uint64_t kMaximumGroups = 1 << 17;

class Ext final : public FileSystem {
  public:
    Ext(VolumeReader& volume, const Layout& layout) : volume_(volume), layout_(layout) {}

    std::string name() const override {
        if ((layout_.incompatible & (kExtents | k64Bit | kFlexBg)) != 0 || (layout_.read_only & ~0x7u) != 0) {
            return "ext4";
        }
        return (layout_.compatible & kHasJournal) != 0 ? "ext3" : "ext2";
    }

    Status find_free(const FreeRun& free_run) override {
        constexpr std::uint16_t kValid = 1;
        constexpr std::uint16_t kErrors = 2;
        if ((layout_.incompatible & kRecover) != 0) {
            return fail(ErrorCode::Unsupported, "its journal waits to be replayed: mount and unmount it first");
        }
        if ((layout_.state & (kValid | kErrors)) != kValid) {
            return fail(ErrorCode::Unsupported, "it was not cleanly unmounted: let e2fsck check it first");
        }
        if ((layout_.incompatible & ~kKnownIncompatible) != 0 || (layout_.read_only & ~kKnownReadOnly) != 0) {
            return fail(ErrorCode::Unsupported, "it uses features of ext4 that are not supported");
        }
        if (auto done = read_descriptors(); !done) {
            return done;
        }
        for (std::uint64_t index = 0; index < groups_.size(); ++index) {
            if (auto done = find_free_in(index, free_run); !done) {
                return done;
            }
        }
        return {};
    }

  private:
    std::uint64_t group_start(std::uint64_t group) const {
        return layout_.first_data_block + group * layout_.blocks_per_group;
    }

    /// The block that holds it: with the smallest blocks and clusters of several, group 0 begins a block before it.
    std::uint64_t superblock() const { return kSuperblock / layout_.block_size; }

    std::uint64_t descriptors_per_block() const { return layout_.block_size / layout_.descriptor_size; }

    /// Where the block with this part of the group descriptors is.
    std::uint64_t descriptor_block(std::uint64_t index) const {
        if ((layout_.incompatible & kMetaBg) == 0 || index < layout_.first_meta_bg) {
            return superblock() + 1 + index;
        }
        const std::uint64_t group = index * descriptors_per_block();
        return (group == 0 ? superblock() : group_start(group)) + (has_superblock(group) ? 1 : 0);
    }

    bool has_superblock(std::uint64_t group) const {
        constexpr std::uint32_t kSparseSuper = 0x1;
        if (group == 0) {
            return true;
        }
        if ((layout_.compatible & kSparseSuper2) != 0) {
            return group == layout_.backup_groups[0] || group == layout_.backup_groups[1];
        }
        if (group == 1 || (layout_.read_only & kSparseSuper) == 0) {
            return true;
        }
        for (const std::uint64_t base : {3, 5, 7}) {
            std::uint64_t power = base;
            while (power < group) {
                power *= base;
            }
            if (power == group) {
                return true;
            }
        }
        return false;
    }

    /// Reads what is needed of all groups, and collects where the file system's own structures are: no block of theirs
    /// is handed out, whatever a bitmap says.
    Status read_descriptors() {
        const std::uint64_t count =
            (layout_.blocks - layout_.first_data_block + layout_.blocks_per_group - 1) / layout_.blocks_per_group;
        if (count > kMaximumGroups) {
            return fail(ErrorCode::Unsupported, "it has more block groups than are supported");
        }
        groups_.reserve(static_cast<std::size_t>(count));
        std::vector<std::uint8_t> block(static_cast<std::size_t>(layout_.block_size));
        for (std::uint64_t group = 0; group < count; ++group) {
            const std::uint64_t within = group % descriptors_per_block();
            if (within == 0) {
                const std::uint64_t place = descriptor_block(group / descriptors_per_block());
                if (auto done = volume_.read(place * layout_.block_size, block); !done) {
                    return done;
                }
                own_.push_back({place, place + 1});
            }
            auto done =
                add_group(group, std::span(block).subspan(static_cast<std::size_t>(within * layout_.descriptor_size),
                                                          layout_.descriptor_size));
            if (!done) {
                return done;
            }
        }
        std::sort(own_.begin(), own_.end(), [](const Range& a, const Range& b) { return a.first < b.first; });
        std::size_t last = 0;
        for (std::size_t i = 1; i < own_.size(); ++i) {
            if (own_[i].first <= own_[last].end) {
                own_[last].end = std::max(own_[last].end, own_[i].end);
            } else {
                own_[++last] = own_[i];
            }
        }
        own_.resize(std::min(own_.size(), last + 1));
        return {};
    }

    Status add_group(std::uint64_t index, std::span<const std::uint8_t> descriptor) {
        const bool wide = layout_.descriptor_size >= 64;
        const auto location = [&](std::size_t low, std::size_t high) {
            return little32(descriptor, low) | (wide ? std::uint64_t{little32(descriptor, high)} << 32 : 0);
        };
        Group group;
        group.block_bitmap = location(0x00, 0x20);
        group.inode_bitmap = location(0x04, 0x24);
        group.inode_table = location(0x08, 0x28);
        group.free = little16(descriptor, 0x0C) | (wide ? std::uint32_t{little16(descriptor, 0x2C)} << 16 : 0);
        group.uninitialised = (layout_.read_only & (kGdtChecksum | kMetadataChecksum)) != 0 &&
                              (little16(descriptor, 0x12) & kBlockUninit) != 0;
        if (std::max({group.block_bitmap, group.inode_bitmap, group.inode_table}) >= layout_.blocks) {
            return fail(ErrorCode::Corrupt, "its records point beyond its end");
        }
        own_.push_back({group.block_bitmap, group.block_bitmap + 1});
        own_.push_back({group.inode_bitmap, group.inode_bitmap + 1});
        own_.push_back({group.inode_table, group.inode_table + layout_.inode_table_blocks});
        const std::uint64_t start = group_start(index);
        if (has_superblock(index)) {
            const std::uint64_t descriptors =
                (layout_.blocks / layout_.blocks_per_group + descriptors_per_block()) / descriptors_per_block();
            const std::uint64_t copy = index == 0 ? superblock() : start;
            own_.push_back({start, copy + 1 + descriptors + layout_.reserved_gdt_blocks});
        } else if ((layout_.incompatible & kMetaBg) != 0) {
            own_.push_back({start, start + 2});
        }
        groups_.push_back(group);
        return {};
    }

    Status find_free_in(std::uint64_t index, const FreeRun& free_run) {
        const Group& group = groups_[static_cast<std::size_t>(index)];
        const std::uint64_t start = group_start(index);
        const std::uint64_t blocks = std::min(layout_.blocks_per_group, layout_.blocks - start);
        if (group.uninitialised) {
            hand_out(start, start + blocks, free_run);
            return {};
        }
        const std::uint64_t clusters = (blocks + layout_.blocks_per_cluster - 1) / layout_.blocks_per_cluster;
        std::vector<std::uint8_t> bitmap(static_cast<std::size_t>((clusters + 7) / 8));
        if (auto done = volume_.read(group.block_bitmap * layout_.block_size, bitmap); !done) {
            return done;
        }
        std::uint64_t zeros = 0;
        for_each_run_of_zeros(bitmap, clusters, [&](std::uint64_t, std::uint64_t count) { zeros += count; });
        if (zeros != group.free) {
            return fail(ErrorCode::Corrupt, "the bitmap of its block group " + std::to_string(index) +
                                                " contradicts the group's count: let e2fsck check it first");
        }
        for_each_run_of_zeros(bitmap, clusters, [&](std::uint64_t first, std::uint64_t count) {
            hand_out(start + first * layout_.blocks_per_cluster,
                     std::min(start + (first + count) * layout_.blocks_per_cluster, start + blocks), free_run);
        });
        return {};
    }

    /// Blocks from `first` on, without those of the file system's own structures.
    void hand_out(std::uint64_t first, std::uint64_t end, const FreeRun& free_run) const {
        const std::uint64_t sectors_per_block = layout_.block_size / kSectorSize;
        const auto give = [&](std::uint64_t from, std::uint64_t to) {
            if (from < to) {
                free_run(from * sectors_per_block, (to - from) * sectors_per_block);
            }
        };
        auto own = std::partition_point(own_.begin(), own_.end(), [&](const Range& r) { return r.end <= first; });
        for (; own != own_.end() && own->first < end; ++own) {
            give(first, std::min(own->first, end));
            first = std::max(first, own->end);
        }
        give(first, end);
    }

    VolumeReader& volume_;
    Layout layout_;
    std::vector<Group> groups_;
    std::vector<Range> own_;  // by first block, apart from each other
};

}  // namespace

Result<std::unique_ptr<FileSystem>> recognise_ext(VolumeReader& volume) {
    std::array<std::uint8_t, kSuperblock> super = {};
    if (volume.sectors() * kSectorSize < 2 * kSuperblock) {
        return nullptr;
    }
    if (auto done = volume.read(kSuperblock, super); !done) {
        return tl::unexpected<Error>(done.error());
    }
    constexpr std::uint16_t kMagic = 0xEF53;
    const std::uint32_t log_block_size = little32(super, 0x18);
    const std::uint32_t log_cluster_size = little32(super, 0x1C);
    if (little16(super, 0x38) != kMagic || log_block_size > 6) {
        return nullptr;
    }
    Layout layout;
    layout.compatible = little32(super, 0x5C);
    layout.incompatible = little32(super, 0x60);
    layout.read_only = little32(super, 0x64);
    layout.state = little16(super, 0x3A);
    layout.first_data_block = little32(super, 0x14);
    layout.block_size = kSuperblock << log_block_size;
    layout.blocks_per_group = little32(super, 0x20);
    layout.reserved_gdt_blocks = little16(super, 0xCE);
    layout.backup_groups = {little32(super, 0x24C), little32(super, 0x250)};
    layout.first_meta_bg = little32(super, 0x104);
    layout.blocks = little32(super, 0x04);
    if ((layout.incompatible & k64Bit) != 0) {
        layout.blocks |= std::uint64_t{little32(super, 0x150)} << 32;
        layout.descriptor_size = little16(super, 0xFE);
    }
    if ((layout.read_only & kBigAlloc) != 0) {
        if (log_cluster_size < log_block_size || log_cluster_size - log_block_size > 20) {
            return nullptr;
        }
        layout.blocks_per_cluster = std::uint64_t{1} << (log_cluster_size - log_block_size);
    }
    const std::uint32_t inode_size = little32(super, 0x4C) == 0 ? 128 : little16(super, 0x58);
    layout.inode_table_blocks =
        (std::uint64_t{little32(super, 0x28)} * inode_size + layout.block_size - 1) / layout.block_size;
    // A bitmap is one block.
    if (layout.blocks_per_group == 0 || layout.blocks_per_group % layout.blocks_per_cluster != 0 ||
        layout.blocks_per_group / layout.blocks_per_cluster > layout.block_size * 8 || layout.first_data_block > 1 ||
        layout.first_data_block >= layout.blocks || !std::has_single_bit(layout.descriptor_size) ||
        layout.descriptor_size < 32 || layout.descriptor_size > 1024 ||
        layout.blocks > volume.sectors() / (layout.block_size / kSectorSize)) {
        return nullptr;
    }
    return std::make_unique<Ext>(volume, layout);
}

}  // namespace vpc::disk::volume
