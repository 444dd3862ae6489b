#pragma once
#include <cstdint>
#include <span>
#include <string>

#include "disk/file.h"

namespace vpc::disk {

/// A file that belongs to somebody else, who outlives this object, for what wants to own one.
class BorrowedFile final : public File {
  public:
    explicit BorrowedFile(File& file) : file_(file) {}

    const std::string& name() const override { return file_.name(); }
    Result<std::uint64_t> size() const override { return file_.size(); }
    using File::read;
    using File::write;
    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override { return file_.read(offset, buffers); }
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        return file_.write(offset, buffers);
    }
    Status truncate(std::uint64_t size) override { return file_.truncate(size); }
    Result<FileExtent> extent(std::uint64_t offset, std::uint64_t limit) override {
        return file_.extent(offset, limit);
    }
    Status allocate(std::uint64_t offset, std::uint64_t length) override { return file_.allocate(offset, length); }
    Status punch_hole(std::uint64_t offset, std::uint64_t length) override { return file_.punch_hole(offset, length); }
    Status write_uncached(std::uint64_t offset, ConstBuffer buffer) override {
        return file_.write_uncached(offset, buffer);
    }
    Status write_through(std::uint64_t offset, ConstBuffer buffer) override {
        return file_.write_through(offset, buffer);
    }
    Status sync() override { return file_.sync(); }
    Status lock(LockKind kind) override { return file_.lock(kind); }

  private:
    File& file_;
};

}  // namespace vpc::disk
