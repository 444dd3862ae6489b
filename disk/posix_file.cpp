#include "disk/posix_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <utility>

#include "disk/log.h"
#include "disk/reads_at_once.h"

namespace vpc::disk {
namespace {

/// How many buffers one system call gets at most; far below the host's IOV_MAX, and small enough for the stack.
constexpr std::size_t kMaxPieces = 64;

ErrorCode code_of(int error) {
    switch (error) {
        case ENOENT:
        case ENOTDIR:
            return ErrorCode::NotFound;
        case EACCES:
        case EPERM:
            return ErrorCode::AccessDenied;
        case EROFS:
            return ErrorCode::ReadOnly;
        case ETXTBSY:
        case EBUSY:
            return ErrorCode::InUse;
        case EISDIR:
        case ENXIO:
            return ErrorCode::NotAnImage;
        case ENOSPC:
        case EDQUOT:
        case EFBIG:
            return ErrorCode::NoSpace;
        default:
            return ErrorCode::IoError;
    }
}

/// A system call, again and again until no signal interrupts it.
template <typename Call>
auto retried(Call call) {
    auto result = call();
    while (result < 0 && errno == EINTR) {
        result = call();
    }
    return result;
}

/// What the host calls a thing that is no ordinary file, or nullptr when it is one.
const char* wrong_kind(const struct stat& status) {
    switch (status.st_mode & S_IFMT) {
        case S_IFREG:
            return nullptr;
        case S_IFDIR:
            return "a directory";
        case S_IFIFO:
            return "a pipe";
        case S_IFSOCK:
            return "a socket";
        default:
            return "a device";
    }
}

/// preadv, failing with EAGAIN where it would have to wait.
ssize_t read_at_once(int descriptor, const iovec* pieces, int count, off_t offset) {
    const ssize_t moved = ::preadv2(descriptor, pieces, count, offset, RWF_NOWAIT);
    if (moved < 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) {
        errno = EAGAIN;
    }
    return moved;
}

/// What a lock is on: with l_start and l_len 0 the whole file, however long it becomes.
struct flock whole_file(LockKind kind) {
    struct flock range = {};
    range.l_type = kind == LockKind::Exclusive ? F_WRLCK : F_RDLCK;
    range.l_whence = SEEK_SET;
    return range;
}

}  // namespace

std::string quoted(const std::filesystem::path& path) {
    std::string text = "'" + path.string() + "'";
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
    return text;
}

tl::unexpected<Error> host_error(const std::string& action, const std::string& name, int error) {
    std::string message = "cannot " + action + " " + name + ": " + std::strerror(error);
    switch (code_of(error)) {
        case ErrorCode::NotFound:
            message += "; check the path";
            break;
        case ErrorCode::AccessDenied:
            message += action.ends_with("writing") ? "; change the file's permissions, or open it without writing"
                       : action == "create"        ? "; change the folder's permissions, or choose another one"
                                                   : "; change the file's permissions";
            break;
        case ErrorCode::ReadOnly:
            message += action == "create" ? "; choose another folder"
                                          : "; copy the image to a writable place, or open it without writing";
            break;
        case ErrorCode::NoSpace:
            message += error == EFBIG ? "; put it on a file system, or raise the limit, that allows files so large"
                                      : "; make room on the host's disk";
            break;
        default:
            break;
    }
    return fail(code_of(error), std::move(message));
}

PosixFile::~PosixFile() {
    if (direct_ >= 0) {
        ::close(direct_);
    }
    ::close(descriptor_);
}

Result<std::uint64_t> PosixFile::size() const {
    struct stat status = {};
    if (::fstat(descriptor_, &status) != 0) {
        return host_error("examine", name_, errno);
    }
    return static_cast<std::uint64_t>(status.st_size);
}

Status PosixFile::read(std::uint64_t offset, std::span<const Buffer> buffers) {
    if (ReadsAtOnce::wanted()) {
        return transfer("read", offset, buffers, read_at_once);
    }
    return transfer("read", offset, buffers, ::preadv);
}

Status PosixFile::write(std::uint64_t offset, std::span<const ConstBuffer> buffers) {
    return transfer("write", offset, buffers, ::pwritev);
}

Status PosixFile::truncate(std::uint64_t size) {
    const int result = retried([&] { return ::ftruncate(descriptor_, static_cast<off_t>(size)); });
    return result == 0 ? Status() : host_error("change the size of", name_, errno);
}

Result<FileExtent> PosixFile::extent(std::uint64_t offset, std::uint64_t limit) {
    const off_t start = static_cast<off_t>(offset);
    const off_t data = ::lseek(descriptor_, start, SEEK_DATA);
    if (data < 0) {
        if (errno == ENXIO) {
            return FileExtent{.bytes = limit, .data = false};  // nothing but a hole up to the end
        }
        if (errno == EINVAL || errno == EOPNOTSUPP) {
            return FileExtent{.bytes = limit, .data = true};  // a file system that does not know
        }
        return host_error("examine", name_, errno);
    }
    if (data > start) {
        return FileExtent{.bytes = std::min(limit, static_cast<std::uint64_t>(data - start)), .data = false};
    }
    const off_t hole = ::lseek(descriptor_, start, SEEK_HOLE);
    if (hole < 0) {
        return host_error("examine", name_, errno);
    }
    // Equal only if somebody punched it in this moment.
    const std::uint64_t bytes = hole > start ? static_cast<std::uint64_t>(hole - start) : limit;
    return FileExtent{.bytes = std::min(limit, bytes), .data = true};
}

Status PosixFile::allocate(std::uint64_t offset, std::uint64_t length) {
    const int result =
        retried([&] { return ::fallocate(descriptor_, 0, static_cast<off_t>(offset), static_cast<off_t>(length)); });
    if (result == 0) {
        return {};
    }
    if (errno == EOPNOTSUPP) {
        return fail(ErrorCode::Unsupported,
                    "cannot reserve room for " + name_ + ": its file system does not know how; do without reserving");
    }
    return host_error("reserve room for", name_, errno);
}

Status PosixFile::punch_hole(std::uint64_t offset, std::uint64_t length) {
    const int result = retried([&] {
        return ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                           static_cast<off_t>(length));
    });
    if (result == 0) {
        return {};
    }
    if (errno != EOPNOTSUPP) {
        return host_error("make a hole in", name_, errno);
    }
    static constexpr std::array<std::uint8_t, 64 * 1024> kZeros = {};
    while (length > 0) {
        const std::uint64_t part = std::min<std::uint64_t>(kZeros.size(), length);
        if (auto status = write(offset, ConstBuffer(kZeros).first(part)); !status) {
            return status;
        }
        offset += part;
        length -= part;
    }
    return {};
}

Status PosixFile::write_uncached(std::uint64_t offset, ConstBuffer buffer) {
    const bool aligned = offset % kDirectAlignment == 0 && buffer.size() % kDirectAlignment == 0 &&
                         reinterpret_cast<std::uintptr_t>(buffer.data()) % kDirectAlignment == 0;
    if (const int direct = aligned ? direct_descriptor() : -1; direct >= 0) {
        std::size_t done = 0;
        while (done < buffer.size()) {
            const ssize_t moved = retried([&] {
                return ::pwrite(direct, buffer.data() + done, buffer.size() - done, static_cast<off_t>(offset + done));
            });
            if (moved < 0 && errno != EINVAL) {
                return host_error("write", name_, errno);
            }
            // EINVAL: a drive with still larger sectors. The rest goes through the cache, as an odd remainder does.
            if (moved <= 0) {
                break;
            }
            done += static_cast<std::size_t>(moved);
            if (done % kDirectAlignment != 0) {
                break;
            }
        }
        offset += done;
        buffer = buffer.subspan(done);
        if (buffer.empty()) {
            return {};
        }
    }
    if (auto status = File::write(offset, buffer); !status) {
        return status;
    }
    return push_out(offset, buffer.size());
}

/// -1 where the file system has no direct I/O.
int PosixFile::direct_descriptor() {
    const std::lock_guard lock(mutex_);
    if (!direct_tried_) {
        direct_tried_ = true;
        const std::string same = "/proc/self/fd/" + std::to_string(descriptor_);
        direct_ = ::open(same.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
    }
    return direct_;
}

/// Has the host begin to write a range out, and waits for the one before: little is ever left for a sync().
Status PosixFile::push_out(std::uint64_t offset, std::uint64_t length) {
    const std::lock_guard lock(mutex_);
    constexpr unsigned kWait = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    int result =
        ::sync_file_range(descriptor_, static_cast<off_t>(offset), static_cast<off_t>(length), SYNC_FILE_RANGE_WRITE);
    if (result == 0 && waiting_length_ > 0) {
        result = ::sync_file_range(descriptor_, static_cast<off_t>(waiting_start_), static_cast<off_t>(waiting_length_),
                                   kWait);
    }
    waiting_start_ = offset;
    waiting_length_ = length;
    // A failure to write is told once: sync() must not forget it. Others only mean that there is no such call here.
    return result != 0 && (errno == EIO || errno == ENOSPC) ? sync_failed(errno) : Status();
}

Status PosixFile::sync_failed(int error) {
    sync_failure_ = host_error("store what was written to", name_, error).value();
    return tl::unexpected<Error>(*sync_failure_);
}

Status PosixFile::write_through(std::uint64_t offset, ConstBuffer buffer) {
    if (sync_failure_) {
        return tl::unexpected<Error>(*sync_failure_);
    }
    // Twice, so that a failure of the second is known to be one of storing.
    if (auto status = File::write(offset, buffer); !status) {
        return status;
    }
    const iovec piece = {const_cast<std::uint8_t*>(buffer.data()),
                         buffer.size()};  // pwritev2 does not write through it
    const ssize_t stored =
        retried([&] { return ::pwritev2(descriptor_, &piece, 1, static_cast<off_t>(offset), RWF_DSYNC); });
    if (stored < 0 && errno != EOPNOTSUPP && errno != ENOSYS) {
        return sync_failed(errno);
    }
    return stored == static_cast<ssize_t>(buffer.size()) ? Status() : sync();  // or a host that does not know how
}

Status PosixFile::sync() {
    if (sync_failure_) {
        return tl::unexpected<Error>(*sync_failure_);
    }
    const int result = retried([&] { return ::fdatasync(descriptor_); });
    return result == 0 ? Status() : sync_failed(errno);
}

Status PosixFile::lock(LockKind kind) {
    struct flock range = whole_file(kind);
    if (retried([&] { return ::fcntl(descriptor_, F_OFD_SETLK, &range); }) == 0) {
        return {};
    }
    if (errno == EAGAIN || errno == EACCES) {
        return fail(ErrorCode::InUse, name_ + " is in use by another machine or program; close it there first");
    }
    if (errno == ENOLCK || errno == EOPNOTSUPP || errno == EINVAL) {
        log().warn("{} lies on a file system without locks: make sure that nothing else uses it", name_);
        return {};
    }
    return host_error("lock", name_, errno);
}

/// preadv or pwritev until all bytes have been moved: both may move fewer than asked, or be interrupted.
template <typename Piece, typename Call>
Status PosixFile::transfer(const char* action, std::uint64_t offset, std::span<const Piece> buffers, Call call) {
    std::size_t index = 0;  // the first buffer that is not done, and how much of it is
    std::size_t done = 0;
    while (true) {
        std::array<iovec, kMaxPieces> pieces;
        std::size_t count = 0;
        for (std::size_t i = index; i < buffers.size() && count < kMaxPieces; ++i) {
            const std::size_t skip = i == index ? done : 0;
            if (buffers[i].size() > skip) {
                // iovec knows no const; pwritev does not write through it.
                pieces[count++] = {const_cast<std::uint8_t*>(buffers[i].data()) + skip, buffers[i].size() - skip};
            }
        }
        if (count == 0) {
            return {};
        }
        if (offset > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max())) {
            return host_error(action, name_, EFBIG);
        }
        const ssize_t moved = call(descriptor_, pieces.data(), static_cast<int>(count), static_cast<off_t>(offset));
        if (moved < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN && ReadsAtOnce::wanted()) {
                return fail(ErrorCode::WouldWait, "reading " + name_ + " would have to wait");
            }
            return host_error(action, name_, errno);
        }
        if (moved == 0) {
            return fail(ErrorCode::IoError,
                        std::string("cannot ") + action + " " + name_ + ": it ends at byte " + std::to_string(offset));
        }
        offset += static_cast<std::uint64_t>(moved);
        for (auto left = static_cast<std::size_t>(moved); left > 0;) {
            const std::size_t step = std::min(left, buffers[index].size() - done);
            left -= step;
            done += step;
            if (done == buffers[index].size()) {
                ++index;
                done = 0;
            }
        }
    }
}

bool is_locked(const std::filesystem::path& path) {
    const auto file = open_file(path, OpenMode::ReadOnly);
    if (!file) {
        return false;
    }
    struct flock range = whole_file(LockKind::Exclusive);
    return ::fcntl(static_cast<const PosixFile&>(**file).descriptor(), F_OFD_GETLK, &range) == 0 &&
           range.l_type != F_UNLCK;
}

Result<std::unique_ptr<File>> open_file(const std::filesystem::path& path, OpenMode mode) {
    const std::string name = quoted(path);
    const std::string action = mode == OpenMode::ReadWrite ? "open for writing" : "open";
    struct stat status = {};
    // Before opening, since opening a device can have effects of its own.
    if (::stat(path.c_str(), &status) != 0) {
        return host_error(action, name, errno);
    }
    if (const char* kind = wrong_kind(status)) {
        return fail(ErrorCode::NotAnImage, name + " is " + kind + ", not a disk image; name the file of an image");
    }
    int descriptor = -1;
    do {
        const int access = mode == OpenMode::ReadWrite ? O_RDWR : O_RDONLY;
        descriptor = ::open(path.c_str(), access | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) {
        return host_error(action, name, errno);
    }
    auto file = std::make_unique<PosixFile>(descriptor, name);
    // Once more, in case the path was given to something else in between.
    if (::fstat(descriptor, &status) != 0) {
        return host_error(action, name, errno);
    }
    if (const char* kind = wrong_kind(status)) {
        return fail(ErrorCode::NotAnImage, name + " is " + kind + ", not a disk image; name the file of an image");
    }
    return file;
}

Result<std::unique_ptr<File>> open_locked(const std::filesystem::path& path, OpenMode mode, LockKind kind) {
    constexpr int kAttempts = 100;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
        auto file = open_file(path, mode);
        if (!file) {
            return file;
        }
        if (auto status = (*file)->lock(kind); !status) {
            return tl::unexpected<Error>(status.error());
        }
        struct stat locked = {};
        struct stat named = {};
        const bool same = ::fstat(static_cast<const PosixFile&>(**file).descriptor(), &locked) == 0 &&
                          ::stat(path.c_str(), &named) == 0 && locked.st_dev == named.st_dev &&
                          locked.st_ino == named.st_ino;
        if (same) {
            return file;
        }
    }
    return fail(ErrorCode::InUse, quoted(path) + " is replaced again and again by another program; end it first");
}

Result<std::unique_ptr<File>> create_temporary_file() {
    const char* chosen = std::getenv("TMPDIR");
    const std::filesystem::path folder = chosen != nullptr && *chosen != '\0' ? chosen : "/var/tmp";
    const std::string name = "a temporary file in " + quoted(folder);
    int descriptor = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        // A file system without nameless files: make one with a name and take the name away.
        std::string pattern = (folder / "vpc-XXXXXX").string();
        descriptor = ::mkostemp(pattern.data(), O_CLOEXEC);
        if (descriptor >= 0) {
            ::unlink(pattern.c_str());
        }
    }
    if (descriptor < 0) {
        const int error = errno;
        return fail(code_of(error), "cannot create " + name + ": " + std::strerror(error) +
                                        "; set TMPDIR to a writable folder with enough room");
    }
    return std::make_unique<PosixFile>(descriptor, name);
}

}  // namespace vpc::disk
