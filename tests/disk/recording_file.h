#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "tests/disk/memory_file.h"

namespace vpc::disk::testing {

/// One thing that was done to a file.
struct FileOperation {
    enum class Kind {
        Write,
        Truncate,
        Sync,
        SyncLast,  ///< the write before is on the disk, whatever has become of the ones before it
        Note,      ///< something the test itself wants to remember at this point
    };
    Kind kind = Kind::Sync;
    std::uint64_t offset = 0;  ///< Truncate: the new size; Note: its meaning is the test's
    std::vector<std::uint8_t> bytes;
    bool stored = false;  ///< a simulation has seen that it is on the disk
};

using FileOperations = std::vector<FileOperation>;

/// A file in memory that writes down everything that changes it, in a list that outlives it.
class RecordingFile final : public MemoryFile {
  public:
    RecordingFile(std::shared_ptr<MemoryContents> contents, std::shared_ptr<FileOperations> operations)
        : MemoryFile(std::move(contents)), operations_(std::move(operations)) {}

    using MemoryFile::write;
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        FileOperation operation = {.kind = FileOperation::Kind::Write, .offset = offset};
        for (const ConstBuffer buffer : buffers) {
            operation.bytes.insert(operation.bytes.end(), buffer.begin(), buffer.end());
        }
        operations_->push_back(std::move(operation));
        return MemoryFile::write(offset, buffers);
    }
    Status truncate(std::uint64_t size) override {
        operations_->push_back({.kind = FileOperation::Kind::Truncate, .offset = size});
        return MemoryFile::truncate(size);
    }
    Status write_through(std::uint64_t offset, ConstBuffer buffer) override {
        Status status = write(offset, std::span(&buffer, 1));
        operations_->push_back({.kind = FileOperation::Kind::SyncLast});
        return status;
    }
    Status sync() override {
        const std::lock_guard lock(mutex_);
        operations_->push_back({.kind = FileOperation::Kind::Sync});
        return MemoryFile::sync();
    }

  private:
    std::shared_ptr<FileOperations> operations_;
};

}  // namespace vpc::disk::testing
