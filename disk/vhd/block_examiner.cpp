#include "disk/vhd/block_examiner.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "disk/transfer.h"
#include "disk/vhd/big_endian.h"
#include "disk/vhd/examination.h"
#include "disk/vhd/footer_search.h"

namespace vpc::disk::vhd {
namespace {

constexpr std::uint64_t kPage = 4096;
/// Data that is read at once.
constexpr std::uint32_t kPieceSectors = 2048;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

bool is_set(const std::vector<std::uint8_t>& bitmap, std::uint32_t sector) {
    return (bitmap[sector / 8] & 0x80 >> sector % 8) != 0;
}

std::uint32_t count_set(const std::vector<std::uint8_t>& bitmap, std::uint32_t first, std::uint32_t end) {
    std::uint32_t count = 0;
    for (std::uint32_t sector = first; sector < end;) {
        if (sector % 8 == 0 && end - sector >= 8) {
            count += static_cast<std::uint32_t>(std::popcount(bitmap[sector / 8]));
            sector += 8;
        } else {
            count += is_set(bitmap, sector++) ? 1 : 0;
        }
    }
    return count;
}

}  // namespace

BlockExaminer::BlockExaminer(File& file, const Footer& footer, std::uint64_t end, std::vector<Finding>& findings,
                             WorkMeter& meter)
    : file_(file), footer_(footer), end_of_room_(end), findings_(findings), meter_(meter) {}

void BlockExaminer::add(FindingKind kind, Remedy remedy, const std::string& text) {
    findings_.push_back({.kind = kind, .problem = true, .remedy = remedy, .text = text});
}

/// For what there can be millions of: `text` is a function, as most of the texts are not needed.
template <typename Text>
void BlockExaminer::add_counted(FindingKind kind, Remedy remedy, Text text) {
    if (++counts_[kind] <= kMaxFindingsOfAKind) {
        add(kind, remedy, text());
    }
}

void BlockExaminer::add_counts() {
    for (const auto& [kind, count] : counts_) {
        if (count > kMaxFindingsOfAKind) {
            const auto same = [kind = kind](const Finding& finding) { return finding.kind == kind; };
            const Remedy remedy = std::find_if(findings_.begin(), findings_.end(), same)->remedy;
            add(kind, remedy, std::to_string(count - kMaxFindingsOfAKind) + " more blocks have the same fault");
        }
    }
}

Status BlockExaminer::examine_header() {
    auto loaded = load_dynamic_header(file_, footer_, end_of_room_);
    if (!loaded) {
        if (loaded.error().code == ErrorCode::IoError) {
            return tl::unexpected<Error>(loaded.error());
        }
        std::string text = loaded.error().message;
        if (text.rfind(file_.name() + " ", 0) == 0) {
            text = "the image " + text.substr(file_.name().size() + 1);
        }
        add(FindingKind::HeaderDamaged, Remedy::None, text);
        return {};
    }
    header_ = loaded->header;
    header_intact_ = loaded->intact;
    auto table = BlockTable::load(file_, header_.table_offset, header_.max_table_entries);
    if (!table) {
        return tl::unexpected<Error>(table.error());
    }
    table_ = std::move(*table);
    structures_ = structures_of(header_, footer_);
    const bool differencing = footer_.disk_type == DiskType::Differencing;
    const bool names_parent = std::any_of(header_.parent_unique_id.begin(), header_.parent_unique_id.end(),
                                          [](std::uint8_t byte) { return byte != 0; });
    if (!differencing && names_parent) {
        findings_.push_back({.kind = FindingKind::Unusual, .text = "a dynamic image names a parent; it has none"});
    }
    if (differencing) {
        examine_paths();
    }
    return {};
}

void BlockExaminer::examine_paths() {
    const auto size = file_.size();
    for (const ParentLocatorEntry& entry : header_.parent_locator_entries) {
        if (entry.platform_code != FourCc{} && size &&
            (entry.platform_data_offset > *size || entry.platform_data_length > *size - entry.platform_data_offset)) {
            add(FindingKind::LocatorOutside, Remedy::None,
                "a path of the parent lies outside the file; keep the parent in the same folder, where its name is "
                "enough");
        }
    }
}

bool BlockExaminer::lies_on_structure(std::uint64_t begin) const {
    return std::any_of(structures_.begin(), structures_.end(),
                       [&](const FileRange& range) { return begin < range.end && begin + slot() > range.begin; });
}

/// Sectors of the disk that lie in a block: fewer in the last one.
std::uint32_t BlockExaminer::sectors_of(std::uint32_t block) const {
    const std::uint64_t per_block = header_.block_size / kSectorSize;
    const std::uint64_t sectors = footer_.current_size / kSectorSize;
    const std::uint64_t first = std::uint64_t{block} * per_block;
    return first >= sectors ? 0 : static_cast<std::uint32_t>(std::min(per_block, sectors - first));
}

Status BlockExaminer::examine_table() {
    const auto needed = static_cast<std::uint32_t>(needed_table_entries(footer_.current_size, header_.block_size));
    std::uint32_t stored = 0;
    std::uint32_t aligned = 0;
    for (std::uint32_t block = 0; block < needed; ++block) {
        if ((*table_)[block] != BlockTable::kUnallocated) {
            ++stored;
            aligned += (place_of(block) + bitmap_bytes(header_.block_size)) % kPage == 0 ? 1 : 0;
        }
    }
    aligned_ = stored == 0 ? (end_of_room_ + kFooterSize) % kPage == 0 : aligned == stored;
    meter_.set_total(1 + stored * std::uint64_t{bitmap_bytes(header_.block_size)});
    sound_.reserve(stored);
    for (std::uint32_t block = 0; block < needed; ++block) {
        if ((*table_)[block] == BlockTable::kUnallocated) {
            continue;
        }
        if (auto status = judge_block(block); !status) {
            return status;
        }
        if (auto status = meter_.tick(); !status) {
            return status;
        }
    }
    find_overlaps();
    if (!header_intact_) {
        add(FindingKind::HeaderChecksum, table_is_right_ ? Remedy::Lossless : Remedy::None,
            table_is_right_ ? "the checksum of the dynamic disk header is wrong; all that it says fits the file"
                            : "the checksum of the dynamic disk header is wrong, and so is what it says of the table");
    }
    if (auto status = examine_bitmaps(); !status) {
        return status;
    }
    add_counts();
    return {};
}

Status BlockExaminer::judge_block(std::uint32_t block) {
    const std::uint64_t begin = place_of(block);
    if (lies_on_structure(begin)) {
        add_counted(FindingKind::BlockOnStructures, Remedy::Lossy, [&] {
            return "block " + std::to_string(block) + " lies on the image's own structures, at byte " +
                   std::to_string(begin) + " of the file";
        });
        table_is_right_ = false;
        return {};
    }
    if (lies_outside(begin)) {
        add_counted(FindingKind::BlockOutside, Remedy::Lossy, [&] {
            return "block " + std::to_string(block) + " lies outside the file, at byte " + std::to_string(begin) +
                   ": its contents are lost";
        });
        table_is_right_ = false;
        return {};
    }
    sound_.push_back(block);
    return begin + slot() > end_of_room_ ? judge_overhang(block) : Status();
}

/// A block whose end is missing: is anything lost that the disk holds?
Status BlockExaminer::judge_overhang(std::uint32_t block) {
    const std::uint64_t bitmap_size = bitmap_bytes(header_.block_size);
    std::vector<std::uint8_t> bitmap(bitmap_size);
    if (auto status = file_.read(place_of(block), Buffer(bitmap)); !status) {
        return status;
    }
    const auto there = static_cast<std::uint32_t>((end_of_room_ - place_of(block) - bitmap_size) / kSectorSize);
    const std::uint32_t lost = count_set(bitmap, there, sectors_of(block));
    const Remedy remedy = lost == 0 ? Remedy::Lossless : Remedy::Lossy;
    add_counted(FindingKind::BlockTruncated, remedy, [&] {
        return "block " + std::to_string(block) + " reaches beyond the end of the file" +
               (lost == 0 ? ", with nothing that the disk holds"
                          : ": " + std::to_string(lost) + " sectors of the disk are lost");
    });
    overhang_ = std::max(overhang_, remedy);
    end_with_overhang_ = std::max(end_with_overhang_, place_of(block) + slot());
    table_is_right_ = table_is_right_ && lost == 0;
    return {};
}

bool BlockExaminer::overlaps_the_one_before(std::size_t sound) const {
    return sound > 0 && sound < sound_.size() && place_of(sound_[sound]) < place_of(sound_[sound - 1]) + slot();
}

void BlockExaminer::find_overlaps() {
    std::sort(sound_.begin(), sound_.end(),
              [this](std::uint32_t a, std::uint32_t b) { return (*table_)[a] < (*table_)[b]; });
    std::uint64_t unused = 0;
    for (std::size_t i = 0; i < sound_.size(); ++i) {
        const std::uint64_t end = place_of(sound_[i]) + slot();
        const std::uint64_t next = i + 1 < sound_.size() ? place_of(sound_[i + 1]) : end_of_room_;
        if (overlaps_the_one_before(i + 1)) {
            add_counted(FindingKind::BlocksOverlap, Remedy::None, [&] {
                return "blocks " + std::to_string(sound_[i]) + " and " + std::to_string(sound_[i + 1]) +
                       " share bytes of the file from " + std::to_string(next) +
                       " on: one of them is lost, and nothing says which";
            });
            table_is_right_ = false;
        } else if (next >= end + slot()) {
            unused += next - end;
        }
    }
    if (unused > 0) {
        findings_.push_back({.kind = FindingKind::UnusedSpace,
                             .text = std::to_string(unused) + " bytes of the file belong to no block; compacting "
                                                              "makes them free"});
    }
}

Status BlockExaminer::examine_bitmaps() {
    if (footer_.disk_type == DiskType::Differencing) {
        return {};  // what is not set is the parent's, whatever is stored
    }
    std::vector<std::uint8_t> bitmap(bitmap_bytes(header_.block_size));
    // The host is asked once for each run of the file, not for each block: there can be millions in one hole.
    FileExtent run;
    std::uint64_t run_begin = 0;
    for (std::size_t i = 0; i < sound_.size(); ++i) {
        const std::uint32_t block = sound_[i];
        if (auto status = meter_.add(bitmap.size()); !status) {
            return status;
        }
        // Whose data it is that blocks share nobody knows; and a million of them could share the same.
        if (place_of(block) + slot() > end_of_room_ || overlaps_the_one_before(i) || overlaps_the_one_before(i + 1)) {
            continue;
        }
        if (place_of(block) >= run_begin + run.bytes) {
            const auto next = file_.extent(place_of(block), end_of_room_ - place_of(block));
            if (!next) {
                return tl::unexpected<Error>(next.error());
            }
            run = *next;
            run_begin = place_of(block);
        }
        if (!run.data && place_of(block) + slot() <= run_begin + run.bytes) {
            continue;  // nothing is stored here
        }
        if (auto status = file_.read(place_of(block), Buffer(bitmap)); !status) {
            return status;
        }
        const auto missing =
            complete_bitmap(file_, place_of(block), header_.block_size, sectors_of(block), bitmap, meter_);
        if (!missing) {
            return tl::unexpected<Error>(missing.error());
        }
        if (*missing > 0) {
            add_counted(FindingKind::BitmapIncomplete, Remedy::Lossless, [&] {
                return "block " + std::to_string(block) + " stores data in " + std::to_string(*missing) +
                       " sectors that its bitmap calls unwritten: programs disagree about what they read";
            });
            incomplete_bitmaps_.push_back({.offset = place_of(block), .sectors = sectors_of(block)});
        }
    }
    return {};
}

std::uint64_t BlockExaminer::end() const {
    std::uint64_t end = 0;
    for (const FileRange& range : structures_) {
        end = std::max(end, range.end);
    }
    const auto needed = static_cast<std::uint32_t>(needed_table_entries(footer_.current_size, header_.block_size));
    for (std::uint32_t block = 0; block < needed; ++block) {
        if ((*table_)[block] != BlockTable::kUnallocated && place_of(block) + slot() <= end_of_room_) {
            end = std::max(end, place_of(block) + slot());
        }
    }
    return end;
}

std::uint64_t BlockExaminer::footer_place(std::uint64_t end) const {
    return aligned_ ? round_up(end + kFooterSize, kPage) - kFooterSize : round_up(end, kSectorSize);
}

std::map<std::uint64_t, std::vector<std::uint8_t>> BlockExaminer::table_without_lost_blocks() const {
    constexpr std::uint32_t kEntries = kSectorSize / 4;
    std::map<std::uint64_t, std::vector<std::uint8_t>> sectors;
    const auto needed = static_cast<std::uint32_t>(needed_table_entries(footer_.current_size, header_.block_size));
    for (std::uint32_t block = 0; block < needed; ++block) {
        const std::uint64_t begin = place_of(block);
        if ((*table_)[block] == BlockTable::kUnallocated || !(lies_on_structure(begin) || lies_outside(begin))) {
            continue;
        }
        const std::uint32_t first = block / kEntries * kEntries;
        auto [sector, is_new] = sectors.try_emplace(header_.table_offset + std::uint64_t{first} * 4);
        if (is_new) {
            sector->second.assign(kSectorSize, 0xFF);
            for (std::uint32_t i = 0; i < kEntries && first + i < table_->size(); ++i) {
                store_big_endian(sector->second, std::size_t{i} * 4, (*table_)[first + i]);
            }
        }
        store_big_endian(sector->second, std::size_t{block - first} * 4, BlockTable::kUnallocated);
    }
    return sectors;
}

Result<std::uint32_t> complete_bitmap(File& file, std::uint64_t offset, std::uint32_t block_size, std::uint32_t sectors,
                                      std::vector<std::uint8_t>& bitmap, WorkMeter& meter) {
    std::vector<std::uint8_t> data;
    std::uint32_t missing = 0;
    for (std::uint32_t sector = 0; sector < sectors;) {
        if (is_set(bitmap, sector)) {
            ++sector;
            continue;
        }
        if (auto status = meter.tick(); !status) {
            return tl::unexpected<Error>(status.error());
        }
        std::uint32_t count = 1;
        while (count < kPieceSectors && sector + count < sectors && !is_set(bitmap, sector + count)) {
            ++count;
        }
        const std::uint64_t place = offset + bitmap_bytes(block_size) + std::uint64_t{sector} * kSectorSize;
        const auto stored = file.extent(place, std::uint64_t{count} * kSectorSize);
        if (!stored) {
            return tl::unexpected<Error>(stored.error());
        }
        if (const std::uint64_t hole = stored->data ? 0 : stored->bytes / kSectorSize; hole > 0) {
            sector += static_cast<std::uint32_t>(hole);
            continue;
        }
        data.resize(std::size_t{count} * kSectorSize);
        if (auto status = file.read(place, Buffer(data)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        for (std::uint32_t i = 0; i < count; ++i, ++sector) {
            const ConstBuffer bytes = ConstBuffer(data).subspan(std::size_t{i} * kSectorSize, kSectorSize);
            if (!all_zeros({&bytes, 1})) {
                bitmap[sector / 8] |= static_cast<std::uint8_t>(0x80 >> sector % 8);
                ++missing;
            }
        }
    }
    return missing;
}

}  // namespace vpc::disk::vhd
