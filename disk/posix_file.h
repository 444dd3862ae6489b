#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "disk/file.h"

namespace vpc::disk {

/// How messages call a path: in quotes, on one line.
std::string quoted(const std::filesystem::path& path);

/// The error for a system call's errno: "cannot write 'a.vhd': No space left on device; make room on the host's disk".
/// `action` is the verb, `name` the file in quotes.
tl::unexpected<Error> host_error(const std::string& action, const std::string& name, int error);

/// A file of the host, by POSIX system calls and those of Linux.
class PosixFile final : public File {
  public:
    /// Takes over the descriptor.
    PosixFile(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
    ~PosixFile() override;

    int descriptor() const { return descriptor_; }
    const std::string& name() const override { return name_; }
    Result<std::uint64_t> size() const override;

    using File::read;
    using File::write;
    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override;
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override;
    Status truncate(std::uint64_t size) override;
    Result<FileExtent> extent(std::uint64_t offset, std::uint64_t limit) override;
    Status allocate(std::uint64_t offset, std::uint64_t length) override;
    Status punch_hole(std::uint64_t offset, std::uint64_t length) override;
    Status write_uncached(std::uint64_t offset, ConstBuffer buffer) override;
    Status write_through(std::uint64_t offset, ConstBuffer buffer) override;
    Status sync() override;
    Status lock(LockKind kind) override;

  private:
    template <typename Piece, typename Call>
    Status transfer(const char* action, std::uint64_t offset, std::span<const Piece> buffers, Call call);
    int direct_descriptor();
    Status sync_failed(int error);
    Status push_out(std::uint64_t offset, std::uint64_t length);

    int descriptor_;
    std::string name_;
    std::mutex mutex_;  ///< for what write_uncached() shares between threads: the members below
    int direct_ = -1;   ///< the same file past the host's cache, once it was needed
    bool direct_tried_ = false;
    std::optional<Error> sync_failure_;
    std::uint64_t waiting_start_ = 0;  ///< what the cache was asked to write out last
    std::uint64_t waiting_length_ = 0;
};

}  // namespace vpc::disk
