#include "disk/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

namespace vpc::disk {
namespace {

/// Bytes of a file whose room the host frees in no time.
constexpr std::uint64_t kQuicklyFreed = std::uint64_t{64} << 20;

/// Temporary names tried before giving up.
constexpr int kAttempts = 100;

std::filesystem::path folder_of(const std::filesystem::path& file) {
    return file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
}

bool is_taken(const std::filesystem::path& path) {
    struct stat status = {};
    return ::lstat(path.c_str(), &status) == 0;
}

/// Beside the target, for the same file system. What a dead process left under one such name is passed over.
std::filesystem::path temporary_name(const std::filesystem::path& target, int attempt) {
    return folder_of(target) /
           ("." + target.filename().string() + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt));
}

/// Closes a file without a name, with which the host frees its room, on a thread that nobody waits for. Should the
/// process end before, the host does the same.
void close_behind(std::unique_ptr<PosixFile> file) {
    const auto size = file->size();
    if (!size || *size <= kQuicklyFreed) {
        return;
    }
    try {
        std::thread([closing = std::move(file)]() mutable { closing.reset(); }).detach();
    } catch (const std::system_error&) {
        // No thread to be had: closed with the function that was to run there.
    }
}

tl::unexpected<Error> target_exists(const std::filesystem::path& target) {
    return fail(ErrorCode::AlreadyExists, quoted(target) + " exists already; choose another name, or have it replaced");
}

}  // namespace

NewFile::NewFile(std::filesystem::path target, bool overwrite) : target_(std::move(target)), overwrite_(overwrite) {}

NewFile::~NewFile() {
    if (!temporary_.empty()) {
        ::unlink(temporary_.c_str());
    }
    if (file_ && !complete_) {
        close_behind(std::move(file_));
    }
}

Result<std::unique_ptr<NewFile>> NewFile::create(const std::filesystem::path& target, bool overwrite) {
    std::filesystem::path place = target;
    std::unique_ptr<File> replaced;
    if (is_taken(target)) {
        if (!overwrite) {
            return target_exists(target);
        }
        std::error_code error;
        // What a symbolic link points at is replaced, not the link.
        if (const auto real = std::filesystem::canonical(target, error); !error) {
            place = real;
            auto opened = open_locked(place, OpenMode::ReadWrite, LockKind::Exclusive);
            if (!opened) {
                return tl::unexpected<Error>(opened.error());
            }
            replaced = std::move(*opened);
        }
    }
    std::unique_ptr<NewFile> file(new NewFile(std::move(place), overwrite));
    file->replaced_ = std::move(replaced);
    if (auto status = file->open(); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return file;
}

Result<std::unique_ptr<NewFile>> NewFile::replace(const std::filesystem::path& target, std::unique_ptr<File>& held) {
    std::error_code error;
    const auto real = std::filesystem::canonical(target, error);
    std::unique_ptr<NewFile> file(new NewFile(error ? target : real, true));
    file->held_ = &held;
    if (auto status = file->open(); !status) {
        return tl::unexpected<Error>(status.error());
    }
    return file;
}

Status NewFile::open() {
    if (target_.filename().empty()) {
        return fail(ErrorCode::NotFound, quoted(target_) + " names no file; add a file name");
    }
    int descriptor = ::open(folder_of(target_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
    if (descriptor < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        // A file system without nameless files.
        for (int attempt = 0; descriptor < 0 && attempt < kAttempts; ++attempt) {
            temporary_ = temporary_name(target_, attempt);
            descriptor = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
            if (descriptor < 0 && errno != EEXIST) {
                break;
            }
        }
    }
    if (descriptor < 0) {
        temporary_.clear();
        return host_error("create", quoted(target_), errno);
    }
    file_ = std::make_unique<PosixFile>(descriptor, quoted(target_));
    return file_->lock(LockKind::Exclusive);
}

Status NewFile::complete() {
    if (auto status = file_->sync(); !status) {
        return status;
    }
    if (auto status = give_name(); !status) {
        return status;
    }
    complete_ = true;
    if (held_ != nullptr) {
        *held_ = std::move(file_);
    }
    return sync_folder_of(target_);
}

Status NewFile::give_name() {
    // Another name first where something is replaced: only a rename does that in one step.
    const bool replace = overwrite_ && is_taken(target_);
    if (temporary_.empty()) {
        if (!replace) {
            return link_to(target_);
        }
        for (int attempt = 0; temporary_.empty(); ++attempt) {
            const auto name = temporary_name(target_, attempt);
            auto linked = link_to(name);
            if (linked) {
                temporary_ = name;
            } else if (linked.error().code != ErrorCode::AlreadyExists || attempt == kAttempts) {
                return linked;
            }
        }
    }
    const unsigned flags = replace ? 0 : RENAME_NOREPLACE;
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), flags) != 0) {
        return errno == EEXIST ? target_exists(target_) : Status(host_error("name", quoted(target_), errno));
    }
    temporary_.clear();
    return {};
}

/// Gives the nameless file a name.
Status NewFile::link_to(const std::filesystem::path& path) const {
    const std::string same = "/proc/self/fd/" + std::to_string(file_->descriptor());
    if (::linkat(AT_FDCWD, same.c_str(), AT_FDCWD, path.c_str(), AT_SYMLINK_FOLLOW) == 0) {
        return {};
    }
    return errno == EEXIST ? target_exists(path) : Status(host_error("name", quoted(path), errno));
}

Status sync_folder_of(const std::filesystem::path& file) {
    const auto folder = folder_of(file);
    const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        return host_error("store", quoted(folder), errno);
    }
    // Some network file systems have nothing to store for a folder.
    const bool stored = ::fsync(descriptor) == 0 || errno == EINVAL || errno == EOPNOTSUPP;
    const int error = errno;
    ::close(descriptor);
    return stored ? Status() : host_error("store", quoted(folder), error);
}

}  // namespace vpc::disk
