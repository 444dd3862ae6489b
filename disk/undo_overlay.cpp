#include "disk/undo_overlay.h"

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <utility>
#include <vector>

#include "disk/transfer.h"

namespace vpc::disk {
namespace {

/// 16 MiB of disk, 4 KiB of bits.
constexpr std::size_t kSectorsPerPage = 32768;

class UndoOverlay final : public BlockDevice {
  public:
    UndoOverlay(std::unique_ptr<BlockDevice> base, std::unique_ptr<File> store)
        : base_(std::move(base)),
          store_(std::move(store)),
          changed_((base_->sectors() + kSectorsPerPage - 1) / kSectorsPerPage) {}

    std::uint64_t sectors() const override { return base_->sectors(); }
    Geometry geometry() const override { return base_->geometry(); }
    bool read_only() const override { return false; }
    std::array<std::uint8_t, 16> unique_id() const override { return base_->unique_id(); }

    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override {
        const auto asked = transfer_sectors("the disk", sectors(), sector, buffers);
        if (!asked) {
            return tl::unexpected<Error>(asked.error());
        }
        BufferCursor cursor(buffers);
        for (std::uint64_t left = *asked; left > 0;) {
            const bool changed = is_changed(sector);
            const std::uint64_t count = run_length(sector, left);
            const auto pieces = cursor.take(count * kSectorSize);
            if (auto status = changed ? store_->read(sector * kSectorSize, pieces) : base_->read(sector, pieces);
                !status) {
                return status;
            }
            sector += count;
            left -= count;
        }
        return {};
    }

    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override {
        limit = run_length(sector, limit);
        if (is_changed(sector)) {
            return Extent{.sectors = limit, .data = true};
        }
        return base_->extent(sector, limit).map([](Extent run) {
            ++run.depth;
            return run;
        });
    }

    Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers) override {
        const auto asked = transfer_sectors("the disk", sectors(), sector, buffers);
        if (!asked) {
            return tl::unexpected<Error>(asked.error());
        }
        // Each sector has the place in the file that it has on the disk; the rest of the file is holes.
        if (auto status = store_->write(sector * kSectorSize, buffers); !status) {
            return status;
        }
        for (std::uint64_t end = sector + *asked; sector < end; ++sector) {
            auto& page = changed_[sector / kSectorsPerPage];
            if (page == nullptr) {
                page = std::make_unique<Page>();
            }
            page->set(sector % kSectorsPerPage);
        }
        return {};
    }

    Status flush() override { return {}; }

    Status discard(std::uint64_t sector, std::uint64_t count) override {
        if (sector > sectors() || count > sectors() - sector) {
            return fail(ErrorCode::OutOfRange, "sectors to be discarded lie beyond the end of the disk");
        }
        return {};
    }

  private:
    using Page = std::bitset<kSectorsPerPage>;

    bool is_changed(std::uint64_t sector) const {
        const auto& page = changed_[sector / kSectorsPerPage];
        return page != nullptr && page->test(sector % kSectorsPerPage);
    }

    /// How many sectors from `sector` on lie in the same file, at most `limit`.
    std::uint64_t run_length(std::uint64_t sector, std::uint64_t limit) const {
        const bool changed = is_changed(sector);
        std::uint64_t count = 1;
        while (count < limit && is_changed(sector + count) == changed) {
            ++count;
        }
        return count;
    }

    std::unique_ptr<BlockDevice> base_;
    std::unique_ptr<File> store_;
    std::vector<std::unique_ptr<Page>> changed_;
};

}  // namespace

Result<std::unique_ptr<BlockDevice>> discard_changes(std::unique_ptr<BlockDevice> base) {
    auto store = create_temporary_file();
    if (!store) {
        return tl::unexpected<Error>(store.error());
    }
    return discard_changes(std::move(base), std::move(*store));
}

std::unique_ptr<BlockDevice> discard_changes(std::unique_ptr<BlockDevice> base, std::unique_ptr<File> store) {
    return std::make_unique<UndoOverlay>(std::move(base), std::move(store));
}

}  // namespace vpc::disk
