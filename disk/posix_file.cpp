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
#include <optional>
#include <utility>

#include "disk/file.h"
#include "disk/log.h"

namespace vpc::disk {
namespace {

/// How many buffers one system call gets at most; far below the host's IOV_MAX, and small enough for the stack.
constexpr std::size_t kMaxPieces = 64;

/// A file name may hold any byte, a message only one line.
std::string quoted(const std::filesystem::path& path) {
    std::string text = "'" + path.string() + "'";
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }, '?');
    return text;
}

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

/// "cannot write 'a.vhd': No space left on device; free some space"
tl::unexpected<Error> host_error(const std::string& action, const std::string& name, int error) {
    std::string message = "cannot " + action + " " + name + ": " + std::strerror(error);
    switch (code_of(error)) {
        case ErrorCode::NotFound:
            message += "; check the path";
            break;
        case ErrorCode::AccessDenied:
            message += "; change the file's permissions, or open it without writing";
            break;
        case ErrorCode::ReadOnly:
            message += "; copy the image to a writable place, or open it without writing";
            break;
        case ErrorCode::NoSpace:
            message += "; make room on the host's disk";
            break;
        default:
            break;
    }
    return fail(code_of(error), std::move(message));
}

class PosixFile final : public File {
  public:
    PosixFile(int descriptor, std::string name) : descriptor_(descriptor), name_(std::move(name)) {}
    ~PosixFile() override { ::close(descriptor_); }

    const std::string& name() const override { return name_; }

    Result<std::uint64_t> size() const override {
        struct stat status = {};
        if (::fstat(descriptor_, &status) != 0) {
            return host_error("examine", name_, errno);
        }
        return static_cast<std::uint64_t>(status.st_size);
    }

    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override {
        return transfer("read", offset, buffers, ::preadv);
    }

    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        return transfer("write", offset, buffers, ::pwritev);
    }

    Status truncate(std::uint64_t size) override {
        int result = 0;
        do {
            result = ::ftruncate(descriptor_, static_cast<off_t>(size));
        } while (result != 0 && errno == EINTR);
        return result == 0 ? Status() : host_error("change the size of", name_, errno);
    }

    Status sync() override {
        if (sync_failure_) {
            return tl::unexpected<Error>(*sync_failure_);
        }
        int result = 0;
        do {
            result = ::fdatasync(descriptor_);
        } while (result != 0 && errno == EINTR);
        if (result != 0) {
            sync_failure_ = host_error("store what was written to", name_, errno).value();
            return tl::unexpected<Error>(*sync_failure_);
        }
        return {};
    }

    Status lock(LockKind kind) override {
        struct flock range = {};
        range.l_type = kind == LockKind::Exclusive ? F_WRLCK : F_RDLCK;
        range.l_whence = SEEK_SET;  // with l_start and l_len 0: the whole file, however long it becomes
        int result = 0;
        do {
            result = ::fcntl(descriptor_, F_OFD_SETLK, &range);
        } while (result != 0 && errno == EINTR);
        if (result == 0) {
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

  private:
    /// preadv or pwritev until all bytes have been moved: both may move fewer than asked, or be interrupted.
    template <typename Piece, typename Call>
    Status transfer(const char* action, std::uint64_t offset, std::span<const Piece> buffers, Call call) {
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
                return host_error(action, name_, errno);
            }
            if (moved == 0) {
                return fail(ErrorCode::IoError, std::string("cannot ") + action + " " + name_ + ": it ends at byte " +
                                                    std::to_string(offset));
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

    int descriptor_;
    std::string name_;
    std::optional<Error> sync_failure_;
};

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

}  // namespace

Result<std::unique_ptr<File>> open_file(const std::filesystem::path& path, OpenMode mode) {
    const std::string name = quoted(path);
    const std::string action = mode == OpenMode::ReadWrite ? "open for writing" : "open";
    struct stat status = {};
    // Before opening, since opening a device can have effects of its own.
    if (::stat(path.c_str(), &status) != 0) {
        return host_error(action, name, errno);
    }
    if (const char* kind = wrong_kind(status)) {
        return fail(ErrorCode::NotAnImage, name + " is " + kind + ", not a disk image");
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
        return fail(ErrorCode::NotAnImage, name + " is " + kind + ", not a disk image");
    }
    return file;
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
