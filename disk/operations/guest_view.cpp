#include "disk/operations/guest_view.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

#include "disk/little_endian.h"
#include "disk/transfer.h"
#include "disk/vhd/geometry.h"
#include "disk/vhd/image.h"

namespace vpc::disk {
namespace {

/// The first so many sectors of another disk.
class ShortenedDisk final : public BlockDevice {
  public:
    ShortenedDisk(std::unique_ptr<BlockDevice> whole, std::uint64_t sectors)
        : whole_(std::move(whole)), sectors_(sectors) {}

    std::uint64_t sectors() const override { return sectors_; }
    Geometry geometry() const override { return whole_->geometry(); }
    bool read_only() const override { return whole_->read_only(); }
    std::array<std::uint8_t, 16> unique_id() const override { return whole_->unique_id(); }

    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override {
        if (auto checked = transfer_sectors("the disk", sectors_, sector, buffers); !checked) {
            return tl::unexpected<Error>(checked.error());
        }
        return whole_->read(sector, buffers);
    }
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override { return whole_->extent(sector, limit); }
    Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers) override {
        if (auto checked = transfer_sectors("the disk", sectors_, sector, buffers); !checked) {
            return tl::unexpected<Error>(checked.error());
        }
        return whole_->write(sector, buffers);
    }
    Status flush() override { return whole_->flush(); }
    Status discard(std::uint64_t sector, std::uint64_t count) override {
        if (sector > sectors_ || count > sectors_ - sector) {
            return fail(ErrorCode::OutOfRange, "sectors to be discarded lie beyond the end of the disk");
        }
        return whole_->discard(sector, count);
    }

  private:
    std::unique_ptr<BlockDevice> whole_;
    std::uint64_t sectors_;
};

/// Where the last primary partition of the master boot record ends; 0 without any.
std::uint64_t partitions_end(const std::array<std::uint8_t, kSectorSize>& boot_record) {
    constexpr std::size_t kTable = 0x1BE;
    constexpr std::size_t kEntries = 4;
    constexpr std::size_t kEntrySize = 16;
    constexpr std::size_t kType = 4;
    constexpr std::size_t kFirstSector = 8;
    constexpr std::size_t kSectors = 12;
    if (boot_record[510] != 0x55 || boot_record[511] != 0xAA) {
        return 0;
    }
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < kEntries; ++i) {
        const auto entry = std::span(boot_record).subspan(kTable + i * kEntrySize, kEntrySize);
        if (entry[kType] != 0) {
            end = std::max(end, std::uint64_t{little32(entry, kFirstSector)} + little32(entry, kSectors));
        }
    }
    return end;
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> guest_view(std::unique_ptr<BlockDevice> image) {
    const auto* vhd_image = dynamic_cast<const vhd::Image*>(image.get());
    if (vhd_image == nullptr) {
        return image;
    }
    const vhd::Footer& footer = vhd_image->footer();
    const bool by_geometry = footer.creator_application == vhd::FourCc{'v', 'p', 'c', ' '} ||
                             footer.creator_application == vhd::FourCc{'v', 's', ' ', ' '};
    const std::uint64_t shown = vhd::sectors_in(footer.disk_geometry);
    if (!by_geometry || footer.disk_geometry == vhd::kSaturatedGeometry || shown == 0 || shown >= image->sectors()) {
        return image;
    }
    std::array<std::uint8_t, kSectorSize> boot_record = {};
    if (auto status = image->read(0, Buffer(boot_record)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if (partitions_end(boot_record) > shown) {
        return image;
    }
    return std::make_unique<ShortenedDisk>(std::move(image), shown);
}

}  // namespace vpc::disk
