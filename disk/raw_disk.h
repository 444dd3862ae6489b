#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "disk/flat_storage.h"

namespace vpc::disk {

/// The geometry a drive reports whose image does not say: 16 heads, 63 sectors, and as many cylinders as the sectors
/// fill, at least 1 and at most the 16383 with which ATA marks drives beyond the reach of CHS.
Geometry raw_geometry(std::uint64_t sectors);

/// An image that is nothing but the disk's sectors.
class RawDisk final : public BlockDevice {
  public:
    RawDisk(std::unique_ptr<File> file, std::uint64_t sectors, OpenMode mode)
        : storage_(std::move(file), sectors, mode) {}

    std::uint64_t sectors() const override { return storage_.sectors(); }
    Geometry geometry() const override { return raw_geometry(storage_.sectors()); }
    bool read_only() const override { return storage_.read_only(); }
    std::array<std::uint8_t, 16> unique_id() const override { return {}; }

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
};

}  // namespace vpc::disk
