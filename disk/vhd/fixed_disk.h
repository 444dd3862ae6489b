#pragma once
#include <memory>
#include <span>
#include <utility>

#include "disk/flat_storage.h"
#include "disk/vhd/image.h"

namespace vpc::disk::vhd {

/// A fixed VHD (type 2): the disk's sectors, then a footer, which is never written here.
class FixedDisk final : public Image {
  public:
    /// The footer has been checked, and the file is long enough for it.
    FixedDisk(std::unique_ptr<File> file, const Footer& footer, OpenMode mode)
        : storage_(std::move(file), footer.current_size / kSectorSize, mode), footer_(footer) {}

    const Footer& footer() const override { return footer_; }
    std::uint64_t sectors() const override { return storage_.sectors(); }
    bool read_only() const override { return storage_.read_only(); }

    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override {
        return storage_.read(sector, buffers);
    }
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override { return storage_.extent(sector, limit); }
    Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers) override {
        return storage_.write(sector, buffers);
    }
    Status flush() override { return storage_.flush(); }
    Status discard(std::uint64_t sector, std::uint64_t count) override { return storage_.discard(sector, count); }

  private:
    FlatStorage storage_;
    Footer footer_;
};

}  // namespace vpc::disk::vhd
