#include "disk/operations/image_layout.h"

#include <algorithm>
#include <bit>
#include <optional>
#include <string>
#include <utility>

#include "disk/transfer.h"
#include "disk/vhd/big_endian.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/image.h"
#include "disk/vhd/new_footer.h"

namespace vpc::disk {
namespace {

/// How small a hole is worth making: what most file systems keep together anyway. Also what direct I/O needs.
constexpr std::size_t kGrain = 64 * 1024;
static_assert(kGrain % kDirectAlignment == 0 && WriteQueue::kPieceSize % kGrain == 0);
constexpr std::uint32_t kMinNewBlockSize = kGrain;
constexpr std::uint64_t kPage = 4096;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

bool is_zero(ConstBuffer bytes) {
    return all_zeros(std::span<const ConstBuffer>(&bytes, 1));
}

/// Calls `use(first, end)` for every run of grains in bytes `begin` to `end` of a piece that are not all zeros.
template <typename Use>
void for_data_runs(const WriteQueue::Piece& piece, std::size_t begin, std::size_t end, Use use) {
    const ConstBuffer all = piece.part(0, end);
    std::size_t run = end;  // where the run begins; `end`: there is none
    for (std::size_t at = begin; at < end; at += kGrain) {
        if (is_zero(all.subspan(at, std::min(kGrain, end - at)))) {
            if (run < at) {
                use(run, at);
            }
            run = end;
        } else if (run == end) {
            run = at;
        }
    }
    if (run < end) {
        use(run, end);
    }
}

/// Sector after sector, then perhaps a footer.
class FlatLayout final : public ImageLayout {
  public:
    FlatLayout(std::uint64_t size, std::optional<vhd::Footer> footer, bool reserve)
        : size_(size), footer_(footer), reserve_(reserve) {}

    Status begin(File& file) override {
        const std::uint64_t all = size_ + (footer_ ? vhd::kFooterSize : 0);
        if (auto status = file.truncate(all); !status) {
            return status;
        }
        return reserve_ ? file.allocate(0, all) : Status();
    }

    Result<std::vector<WriteQueue::Part>> place(WriteQueue::Piece& piece, std::uint64_t sector,
                                                std::size_t length) override {
        std::vector<WriteQueue::Part> parts;
        for_data_runs(piece, 0, length, [&](std::size_t first, std::size_t end) {
            parts.push_back({sector * kSectorSize + first, piece.part(0, end).subspan(first)});
        });
        return parts;
    }

    Status end(File& file) override {
        return footer_ ? file.write(size_, ConstBuffer(vhd::serialise(*footer_))) : Status();
    }

  private:
    std::uint64_t size_;
    std::optional<vhd::Footer> footer_;
    bool reserve_;
};

/// Blocks in the order of the disk, each with its data at a multiple of 4096 bytes, as Windows lays them out.
class DynamicLayout final : public ImageLayout {
  public:
    DynamicLayout(const vhd::Footer& footer, std::uint32_t block_size) : footer_(footer) {
        header_.table_offset = footer_.data_offset + vhd::kDynamicHeaderSize;
        header_.block_size = block_size;
        header_.max_table_entries =
            static_cast<std::uint32_t>(vhd::needed_table_entries(footer_.current_size, block_size));
        table_.resize(vhd::table_bytes(header_.max_table_entries) / 4, vhd::BlockTable::kUnallocated);
        blocks_end_ = round_up(header_.table_offset + vhd::table_bytes(header_.max_table_entries), kPage);
    }

    Status begin(File&) override { return {}; }

    Result<std::vector<WriteQueue::Part>> place(WriteQueue::Piece& piece, std::uint64_t sector,
                                                std::size_t length) override {
        std::vector<WriteQueue::Part> parts;
        const std::size_t step = std::min<std::size_t>(header_.block_size, WriteQueue::kPieceSize);
        for (std::size_t begin = 0; begin < length; begin += step) {
            const std::size_t end = std::min(begin + step, length);
            const std::uint64_t offset = sector * kSectorSize + begin;
            const auto block = static_cast<std::uint32_t>(offset / header_.block_size);
            const std::uint64_t within = offset % header_.block_size;
            Status status;
            for_data_runs(piece, begin, end, [&](std::size_t first, std::size_t last) {
                const bool is_new = table_[block] == vhd::BlockTable::kUnallocated;
                if (is_new && status) {
                    status = allocate(block);
                }
                if (!status) {
                    return;
                }
                const std::uint64_t place = data_offset(block) + within + (first - begin);
                if (is_new && first == 0 && within == 0 && bitmap_page() == kPage) {
                    // The usual block of 2 MiB: bitmap and data in one write.
                    fill_bitmap(piece.front());
                    parts.push_back({place - kPage, piece.part(kPage, kPage + last)});
                    return;
                }
                if (is_new) {
                    bitmaps_.push_back(block);
                }
                parts.push_back({place, piece.part(0, last).subspan(first)});
            });
            if (!status) {
                return tl::unexpected<Error>(status.error());
            }
        }
        return parts;
    }

    Status end(File& file) override {
        std::vector<std::uint8_t> page(bitmap_page());
        fill_bitmap(page);
        for (const std::uint32_t block : bitmaps_) {
            if (auto status = file.write(data_offset(block) - page.size(), ConstBuffer(page)); !status) {
                return status;
            }
        }
        const auto footer = vhd::serialise(footer_);
        const auto header = vhd::serialise(header_);
        std::vector<std::uint8_t> start(header_.table_offset + table_.size() * 4);
        std::copy(footer.begin(), footer.end(), start.begin());
        std::copy(header.begin(), header.end(), start.begin() + static_cast<std::ptrdiff_t>(footer_.data_offset));
        for (std::size_t i = 0; i < table_.size(); ++i) {
            vhd::store_big_endian(start, header_.table_offset + i * 4, table_[i]);
        }
        if (auto status = file.write(0, ConstBuffer(start)); !status) {
            return status;
        }
        // The file's size becomes a multiple of 4096: the mark of an image laid out like this.
        return file.write(round_up(blocks_end_ + vhd::kFooterSize, kPage) - vhd::kFooterSize, ConstBuffer(footer));
    }

  private:
    /// Room for the bitmap, in front of which the last block's page ends.
    std::size_t bitmap_page() const { return round_up(vhd::bitmap_bytes(header_.block_size), kPage); }

    void fill_bitmap(std::span<std::uint8_t> page) const {
        const std::size_t bits = vhd::bitmap_bytes(header_.block_size);
        std::fill(page.begin(), page.end() - static_cast<std::ptrdiff_t>(bits), std::uint8_t{0});
        std::fill(page.end() - static_cast<std::ptrdiff_t>(bits), page.end(), std::uint8_t{0xFF});
    }

    Status allocate(std::uint32_t block) {
        const std::uint64_t data = blocks_end_ + bitmap_page();
        const std::uint64_t start = (data - vhd::bitmap_bytes(header_.block_size)) / kSectorSize;
        if (start >= vhd::BlockTable::kUnallocated) {
            return fail(ErrorCode::NoSpace,
                        "the disk holds more than a dynamic VHD with blocks of this size can; choose larger ones");
        }
        table_[block] = static_cast<std::uint32_t>(start);
        blocks_end_ = data + header_.block_size;
        return {};
    }

    std::uint64_t data_offset(std::uint32_t block) const {
        return std::uint64_t{table_[block]} * kSectorSize + vhd::bitmap_bytes(header_.block_size);
    }

    vhd::Footer footer_;
    vhd::DynamicHeader header_;
    std::vector<std::uint32_t> table_;
    std::vector<std::uint32_t> bitmaps_;  ///< blocks whose bitmap was not written with their data
    std::uint64_t blocks_end_;            ///< a multiple of 4096
};

vhd::Footer footer_like(BlockDevice& source, vhd::DiskType type) {
    vhd::Footer footer = vhd::new_footer(type, source.sectors() * kSectorSize);
    if (const auto* image = dynamic_cast<const vhd::Image*>(&source)) {
        footer.creator_application = image->footer().creator_application;
        footer.creator_version = image->footer().creator_version;
        footer.creator_host_os = image->footer().creator_host_os;
        footer.disk_geometry = image->footer().disk_geometry;
    }
    return footer;
}

}  // namespace

Result<std::unique_ptr<ImageLayout>> make_layout(BlockDevice& source, const ConvertTarget& target) {
    const std::uint64_t size = source.sectors() * kSectorSize;
    if (target.type != ImageType::Raw && size > vhd::kMaxDiskSize) {
        return fail(ErrorCode::Unsupported, "the disk has " + std::to_string(size) +
                                                " bytes, a VHD at most 2040 GiB; convert it to a raw image");
    }
    switch (target.type) {
        case ImageType::Raw:
            return std::make_unique<FlatLayout>(size, std::nullopt, target.reserve);
        case ImageType::Fixed:
            return std::make_unique<FlatLayout>(size, footer_like(source, vhd::DiskType::Fixed), target.reserve);
        case ImageType::Dynamic:
            break;
        case ImageType::Differencing:
            return fail(ErrorCode::Unsupported,
                        "a differencing image cannot be the target of a conversion; choose raw, fixed or dynamic");
    }
    if (target.reserve) {
        return fail(ErrorCode::Unsupported, "room can be reserved for raw and fixed images only, not for dynamic ones");
    }
    if (!std::has_single_bit(target.block_size) || target.block_size < kMinNewBlockSize ||
        target.block_size > vhd::kMaxBlockSize) {
        return fail(ErrorCode::Unsupported, "a block size of " + std::to_string(target.block_size) +
                                                " bytes is not possible; choose a power of two from 64 KiB to 256 MiB");
    }
    if (vhd::needed_table_entries(size, target.block_size) > vhd::kMaxTableEntries) {
        return fail(ErrorCode::Unsupported,
                    "so large a disk needs larger blocks than " + std::to_string(target.block_size) + " bytes");
    }
    return std::make_unique<DynamicLayout>(footer_like(source, vhd::DiskType::Dynamic), target.block_size);
}

}  // namespace vpc::disk
