#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "disk/file.h"

namespace vpc::disk::testing {

/// What a MemoryFile holds: pages where something was written, zeros elsewhere. Outlives the file, so that the same
/// contents can be opened again.
struct MemoryContents {
    static constexpr std::uint64_t kPage = 4096;

    std::map<std::uint64_t, std::array<std::uint8_t, kPage>> pages;
    std::uint64_t size = 0;
    /// A write that needs more pages fails with NoSpace.
    std::size_t max_pages = 1 << 20;

    static std::shared_ptr<MemoryContents> of(std::span<const std::uint8_t> bytes) {
        auto contents = std::make_shared<MemoryContents>();
        contents->write(0, bytes);
        return contents;
    }

    bool write(std::uint64_t offset, std::span<const std::uint8_t> bytes) {
        while (!bytes.empty()) {
            const std::uint64_t within = offset % kPage;
            const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), kPage - within));
            if (!pages.contains(offset / kPage) && pages.size() >= max_pages) {
                return false;
            }
            std::memcpy(pages[offset / kPage].data() + within, bytes.data(), length);
            offset += length;
            bytes = bytes.subspan(length);
            size = std::max(size, offset);
        }
        return true;
    }

    /// The caller has checked the range.
    void read(std::uint64_t offset, std::span<std::uint8_t> bytes) const {
        while (!bytes.empty()) {
            const std::uint64_t within = offset % kPage;
            const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), kPage - within));
            if (const auto page = pages.find(offset / kPage); page != pages.end()) {
                std::memcpy(bytes.data(), page->second.data() + within, length);
            } else {
                std::memset(bytes.data(), 0, length);
            }
            offset += length;
            bytes = bytes.subspan(length);
        }
    }

    void truncate(std::uint64_t new_size) {
        if (new_size < size) {
            pages.erase(pages.lower_bound((new_size + kPage - 1) / kPage), pages.end());
            if (const auto last = pages.find(new_size / kPage); last != pages.end()) {
                std::fill(last->second.begin() + new_size % kPage, last->second.end(), std::uint8_t{0});
            }
        }
        size = new_size;
    }

    std::vector<std::uint8_t> bytes() const {
        std::vector<std::uint8_t> all(size);
        read(0, all);
        return all;
    }
};

/// A file in memory.
class MemoryFile : public File {
  public:
    explicit MemoryFile(std::shared_ptr<MemoryContents> contents) : contents_(std::move(contents)) {}

    using File::read;
    using File::write;
    const std::string& name() const override { return name_; }
    Result<std::uint64_t> size() const override { return contents_->size; }
    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override {
        const std::lock_guard lock(mutex_);
        for (const Buffer buffer : buffers) {
            if (offset > contents_->size || buffer.size() > contents_->size - offset) {
                return fail(ErrorCode::IoError, "read beyond the end of " + name_);
            }
            contents_->read(offset, buffer);
            offset += buffer.size();
        }
        return {};
    }
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        for (const ConstBuffer buffer : buffers) {
            if (!contents_->write(offset, buffer)) {
                return fail(ErrorCode::NoSpace, name_ + " is full");
            }
            offset += buffer.size();
        }
        return {};
    }
    Status truncate(std::uint64_t size) override {
        contents_->truncate(size);
        return {};
    }
    /// Pages that were never written are holes.
    Result<FileExtent> extent(std::uint64_t offset, std::uint64_t limit) override {
        const std::uint64_t page = offset / MemoryContents::kPage;
        const bool data = contents_->pages.contains(page);
        std::uint64_t next = page + 1;
        if (data) {
            while (contents_->pages.contains(next)) {
                ++next;
            }
        } else {
            const auto later = contents_->pages.upper_bound(page);
            if (later == contents_->pages.end()) {
                return FileExtent{.bytes = limit, .data = false};
            }
            next = later->first;
        }
        const std::uint64_t end = next * MemoryContents::kPage;
        return FileExtent{.bytes = std::min(limit, end - offset), .data = data};
    }
    Status allocate(std::uint64_t offset, std::uint64_t length) override {
        return offset + length > contents_->size ? truncate(offset + length) : Status();
    }
    Status punch_hole(std::uint64_t offset, std::uint64_t length) override {
        return File::write(offset, std::vector<std::uint8_t>(length));
    }
    Status write_uncached(std::uint64_t offset, ConstBuffer buffer) override {
        const std::lock_guard lock(mutex_);
        return File::write(offset, buffer);
    }
    Status write_through(std::uint64_t offset, ConstBuffer buffer) override {
        return File::write(offset, buffer).and_then([this] { return sync(); });
    }
    Status sync() override { return {}; }
    Status lock(LockKind) override { return {}; }

  protected:
    std::mutex mutex_;  ///< for what several threads may do at once

  private:
    std::shared_ptr<MemoryContents> contents_;
    std::string name_ = "'memory'";
};

}  // namespace vpc::disk::testing
