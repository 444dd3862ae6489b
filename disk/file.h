#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "disk/block_device.h"
#include "disk/error.h"

namespace vpc::disk {

enum class LockKind {
    Shared,     ///< one of many readers
    Exclusive,  ///< the only one who has the file open
};

/// Bytes of a file that are alike.
struct FileExtent {
    std::uint64_t bytes = 0;
    bool data = false;  ///< false: a hole, which reads as zeros and takes no place on the host's disk
};

/// A file as the image formats see it: bytes at offsets, its size, and a barrier. Everything in this module reads and
/// writes through this interface, so that a test can stand in for the host and make any call fail.
///
/// Offsets and sizes are bytes. Threads: one call at a time. Every error's message names the file.
class File {
  public:
    File() = default;
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    /// Closes the file and drops its lock.
    virtual ~File() = default;

    /// How messages call this file: its path in quotes, control characters replaced.
    virtual const std::string& name() const = 0;
    virtual Result<std::uint64_t> size() const = 0;

    /// Fills all buffers, in order, with consecutive bytes. Reaching the end of the file first is IoError.
    virtual Status read(std::uint64_t offset, std::span<const Buffer> buffers) = 0;
    /// Writes all buffers, in order; the file grows as needed and reads as zeros where nothing was written. On error
    /// any part of the range may have been written.
    virtual Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) = 0;
    virtual Status truncate(std::uint64_t size) = 0;
    /// What begins at `offset`: a run of at least 1 and at most `limit` bytes that are all stored or all a hole. Where
    /// the host does not tell, everything is stored. A hole ends at the end of the file, where `offset` must not be.
    virtual Result<FileExtent> extent(std::uint64_t offset, std::uint64_t limit) = 0;
    /// Reserves place on the host's disk, so that writing there cannot fail with NoSpace; what was never written reads
    /// as zeros. The file grows if it ends before. NoSpace, or Unsupported where the host's file system cannot.
    virtual Status allocate(std::uint64_t offset, std::uint64_t length) = 0;
    /// The range, which lies in the file, reads as zeros afterwards, and takes no place where the host can do that.
    virtual Status punch_hole(std::uint64_t offset, std::uint64_t length) = 0;
    /// write() for large amounts of data that nobody reads soon: past the host's cache where that works, which it does
    /// for a buffer, an offset and a length that are multiples of kDirectAlignment, otherwise so that little waits in
    /// the cache. A sync() after much of this is short. Threads: may be called by several at once, while another thread
    /// reads or syncs, for ranges that do not overlap each other and are not being read.
    virtual Status write_uncached(std::uint64_t offset, ConstBuffer buffer) = 0;
    /// write(), and when it returns these bytes are on the host's disk, and the file is as long as that takes. What was
    /// written before may not be: it costs as much as it is long, and not as much as what waits in the host's cache.
    virtual Status write_through(std::uint64_t offset, ConstBuffer buffer) = 0;
    /// The barrier: when it returns, everything written before is on the host's disk (fdatasync). Once it has failed
    /// it keeps failing, because the host may have forgotten what it could not write.
    virtual Status sync() = 0;
    /// Takes an advisory lock that lasts until this object or the process ends; InUse when another holder is in the
    /// way, be it in this process or in another. Exclusive needs a file opened ReadWrite.
    virtual Status lock(LockKind kind) = 0;

    Status read(std::uint64_t offset, Buffer buffer) { return read(offset, std::span<const Buffer>(&buffer, 1)); }
    Status write(std::uint64_t offset, ConstBuffer buffer) {
        return write(offset, std::span<const ConstBuffer>(&buffer, 1));
    }
};

/// What the user of an image needs.
constexpr LockKind lock_kind(OpenMode mode) {
    return mode == OpenMode::ReadWrite ? LockKind::Exclusive : LockKind::Shared;
}

/// What write_uncached() needs to get past the host's cache; the largest sector of today's drives, and a page.
inline constexpr std::size_t kDirectAlignment = 4096;

/// Opens an existing ordinary file of the host, unlocked. Directories, pipes and devices are NotAnImage.
Result<std::unique_ptr<File>> open_file(const std::filesystem::path& path, OpenMode mode);

/// Opens it and locks it. A file that is replaced in between is opened afresh: the lock is on the one that has the
/// name.
Result<std::unique_ptr<File>> open_locked(const std::filesystem::path& path, OpenMode mode, LockKind kind);

/// Whether somebody holds a lock of any kind on the file, without taking one: whoever only looks must not be in
/// another's way. False where it cannot be told.
bool is_locked(const std::filesystem::path& path);

/// Makes an empty file without a name, which disappears with the object or the process. It lies in $TMPDIR, or in
/// /var/tmp when that is not set: /tmp is often kept in memory, and what is stored here can become as large as a disk.
Result<std::unique_ptr<File>> create_temporary_file();

}  // namespace vpc::disk
