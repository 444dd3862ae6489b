#pragma once
#include <cstdint>
#include <memory>
#include <span>

#include "disk/file.h"

namespace vpc::disk {

/// A disk's sectors lying one after the other from the start of a file: what raw images and fixed VHDs have in common.
/// The members have BlockDevice's contracts.
class FlatStorage {
  public:
    FlatStorage(std::unique_ptr<File> file, std::uint64_t sectors, OpenMode mode);
    /// Flushes; can only log a failure.
    ~FlatStorage();
    FlatStorage(const FlatStorage&) = delete;
    FlatStorage& operator=(const FlatStorage&) = delete;

    std::uint64_t sectors() const { return sectors_; }
    bool read_only() const { return mode_ == OpenMode::ReadOnly; }
    Status read(std::uint64_t sector, std::span<const Buffer> buffers);
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit);
    Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers);
    Status flush();
    /// Does nothing: the sectors keep their contents.
    Status discard(std::uint64_t sector, std::uint64_t count);

  private:
    std::unique_ptr<File> file_;
    std::uint64_t sectors_;
    OpenMode mode_;
    bool changed_ = false;  // something was written since the last flush
};

}  // namespace vpc::disk
