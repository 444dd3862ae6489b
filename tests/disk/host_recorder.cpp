#include "tests/disk/host_recorder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <fstream>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <span>

#include "tests/disk/temporary_folder.h"

namespace vpc::disk::testing {
namespace {

using Kind = HostOperation::Kind;

std::optional<HostFile> file_of(const struct stat& status) {
    return HostFile{status.st_dev, status.st_ino};
}

std::optional<HostFile> file_at(const std::filesystem::path& path) {
    struct stat status = {};
    return ::stat(path.c_str(), &status) == 0 ? file_of(status) : std::nullopt;
}

std::optional<HostFile> file_behind(int descriptor) {
    struct stat status = {};
    return ::fstat(descriptor, &status) == 0 ? file_of(status) : std::nullopt;
}

/// What the calls below write into, while somebody records.
class Recording {
  public:
    void start(const std::filesystem::path& folder) {
        const std::lock_guard lock(mutex_);
        folder_ = folder;
        folder_file_ = file_at(folder);
        history_ = {};
        files_.clear();
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            const HostFile file = file_at(entry.path()).value();
            history_.names[entry.path().filename().string()] = file;
            history_.files[file] = *MemoryContents::of(TemporaryFolder::read(entry.path()));
            files_.insert(file);
        }
    }

    HostHistory stop() {
        const std::lock_guard lock(mutex_);
        folder_.clear();
        folder_file_ = std::nullopt;
        files_.clear();
        return std::move(history_);
    }

    std::size_t operations() {
        const std::lock_guard lock(mutex_);
        return history_.operations.size();
    }

    void created(const std::filesystem::path& path, int descriptor, bool named) {
        const std::lock_guard lock(mutex_);
        if (const auto file = file_behind(descriptor); file && (named ? is_here(path) : path == folder_)) {
            files_.insert(*file);
            history_.operations.push_back({.kind = Kind::Create, .file = *file});
            if (named) {
                history_.operations.push_back({.kind = Kind::Link, .file = *file, .name = path.filename().string()});
            }
        }
    }

    void changed(int descriptor, FileOperation data) {
        const std::lock_guard lock(mutex_);
        if (const auto file = file_behind(descriptor); file && files_.contains(*file)) {
            history_.operations.push_back({.kind = Kind::Data, .file = *file, .data = std::move(data)});
        }
    }

    void written_through(int descriptor, FileOperation data) {
        const std::lock_guard lock(mutex_);
        if (const auto file = file_behind(descriptor); file && files_.contains(*file)) {
            history_.operations.push_back({.kind = Kind::Data, .file = *file, .data = data});
            history_.operations.push_back({.kind = Kind::SyncWrite, .file = *file, .data = std::move(data)});
        }
    }

    void synced(int descriptor) {
        const std::lock_guard lock(mutex_);
        const auto file = file_behind(descriptor);
        if (file && files_.contains(*file)) {
            history_.operations.push_back({.kind = Kind::SyncFile, .file = *file});
        } else if (file && file == folder_file_) {
            history_.operations.push_back({.kind = Kind::SyncFolder});
        }
    }

    void linked(const std::optional<HostFile>& file, const std::filesystem::path& path) {
        const std::lock_guard lock(mutex_);
        if (file && is_here(path)) {
            history_.operations.push_back({.kind = Kind::Link, .file = *file, .name = path.filename().string()});
        }
    }

    void unlinked(const std::filesystem::path& path) {
        const std::lock_guard lock(mutex_);
        if (is_here(path)) {
            history_.operations.push_back({.kind = Kind::Unlink, .name = path.filename().string()});
        }
    }

  private:
    bool is_here(const std::filesystem::path& path) const { return !folder_.empty() && path.parent_path() == folder_; }

    std::mutex mutex_;
    std::filesystem::path folder_;
    std::optional<HostFile> folder_file_;
    std::set<HostFile> files_;
    HostHistory history_;
};

Recording& recording() {
    static Recording the_only_one;
    return the_only_one;
}

/// What was written of the pieces.
FileOperation gathered(const struct iovec* pieces, int count, off_t offset, ssize_t written) {
    FileOperation data = {.kind = FileOperation::Kind::Write, .offset = static_cast<std::uint64_t>(offset)};
    for (const struct iovec& piece : std::span(pieces, static_cast<std::size_t>(count))) {
        const auto* first = static_cast<const std::uint8_t*>(piece.iov_base);
        data.bytes.insert(data.bytes.end(), first, first + piece.iov_len);
    }
    data.bytes.resize(static_cast<std::size_t>(written));
    return data;
}

/// Names and contents, of which a part may still be in the host's memory.
struct World {
    std::map<std::string, HostFile> names;
    std::map<HostFile, MemoryContents> files;

    void apply(const HostOperation& operation) {
        switch (operation.kind) {
            case Kind::Create:
                files[operation.file] = {};
                break;
            case Kind::Data:
                testing::apply(files[operation.file], operation.data);
                break;
            case Kind::Link:
                names[operation.name] = operation.file;
                break;
            case Kind::Unlink:
                names.erase(operation.name);
                break;
            default:
                break;
        }
    }

    void write_to(const std::filesystem::path& folder) const {
        for (const auto& entry : std::filesystem::directory_iterator(folder)) {
            std::filesystem::remove_all(entry.path());
        }
        for (const auto& [name, file] : names) {
            const MemoryContents& contents = files.at(file);
            std::ofstream out(folder / name, std::ios::binary);
            for (const auto& [page, bytes] : contents.pages) {
                const std::uint64_t offset = page * MemoryContents::kPage;
                out.seekp(static_cast<std::streamoff>(offset));
                out.write(reinterpret_cast<const char*>(bytes.data()),
                          static_cast<std::streamsize>(std::min<std::uint64_t>(
                              bytes.size(), contents.size > offset ? contents.size - offset : 0)));
            }
            out.close();
            std::filesystem::resize_file(folder / name, contents.size);
        }
    }
};

bool is_about_names(Kind kind) {
    return kind == Kind::Link || kind == Kind::Unlink;
}

/// What a power failure could leave: of the unsynced operations any part.
World left_of(const World& durable, const std::vector<HostOperation>& unsynced, std::mt19937& random,
              std::uint32_t keep_percent) {
    World left = durable;
    bool names_kept = true;  // the file system stores changes of names one after the other
    for (const HostOperation& operation : unsynced) {
        if (operation.kind == Kind::Data) {
            apply_partly(left.files[operation.file], operation.data, random, keep_percent);
        } else {
            names_kept = names_kept && (!is_about_names(operation.kind) || random() % 100 < keep_percent);
            if (operation.kind == Kind::Create || names_kept) {
                left.apply(operation);
            }
        }
    }
    return left;
}

/// Writes down which of the operations are durable although others before them may not be.
void store_write(std::vector<HostOperation>& unsynced, const HostOperation& sync) {
    std::vector<std::reference_wrapper<FileOperation>> up_to_it;
    std::size_t length = 0;
    for (HostOperation& operation : unsynced) {
        if (operation.file == sync.file && operation.kind == Kind::Data) {
            up_to_it.emplace_back(operation.data);
            if (operation.data.kind == FileOperation::Kind::Write && operation.data.offset == sync.data.offset &&
                operation.data.bytes == sync.data.bytes) {
                length = up_to_it.size();
            }
        }
    }
    up_to_it.erase(up_to_it.begin() + static_cast<std::ptrdiff_t>(length), up_to_it.end());
    store_last(up_to_it);
}

/// Makes durable what `sync` stores.
void store(World& durable, std::vector<HostOperation>& unsynced, const HostOperation& sync) {
    const auto stored = [&](const HostOperation& operation) {
        return sync.kind == Kind::SyncFolder
                   ? is_about_names(operation.kind)
                   : operation.file == sync.file && (operation.kind == Kind::Create || operation.kind == Kind::Data);
    };
    for (const HostOperation& operation : unsynced) {
        if (stored(operation)) {
            durable.apply(operation);
        } else if (sync.kind == Kind::SyncFolder && operation.kind == Kind::Create) {
            durable.files.try_emplace(operation.file);  // a name is of no use without it
        }
    }
    std::erase_if(unsynced, stored);
}

}  // namespace

HostRecorder::HostRecorder(const std::filesystem::path& folder) {
    recording().start(folder);
}

HostRecorder::~HostRecorder() {
    (void)recording().stop();
}

std::size_t HostRecorder::operations() const {
    return recording().operations();
}

HostHistory HostRecorder::stop() {
    return recording().stop();
}

CrashReport simulate_host_crashes(const HostHistory& history, std::uint32_t seed, const InspectFolder& inspect,
                                  std::size_t first) {
    CrashReport report;
    std::mt19937 random(seed);
    World durable = {history.names, history.files};
    std::vector<HostOperation> unsynced;
    // In memory, where the host has such a place: nothing here is to survive a real power failure.
    const bool shm = ::access("/dev/shm", W_OK) == 0;
    const TemporaryFolder folder(shm ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path());
    for (std::size_t done = 0;; ++done) {
        for (const std::uint32_t keep_percent : {0u, 100u, 50u, 50u, 20u, 80u}) {
            if (done < first) {
                break;
            }
            left_of(durable, unsynced, random, keep_percent).write_to(folder.path());
            ++report.states;
            if (const std::string wrong = inspect(folder.path(), done == history.operations.size()); !wrong.empty()) {
                report.wrong = wrong + " - after operation " + std::to_string(done) + " of " +
                               std::to_string(history.operations.size()) + ", keeping " + std::to_string(keep_percent) +
                               " percent of " + std::to_string(unsynced.size());
                return report;
            }
        }
        if (done == history.operations.size()) {
            return report;
        }
        const HostOperation& next = history.operations[done];
        if (next.kind == Kind::SyncWrite) {
            store_write(unsynced, next);
        } else if (next.kind == Kind::SyncFile || next.kind == Kind::SyncFolder) {
            store(durable, unsynced, next);
        } else {
            unsynced.push_back(next);
        }
    }
}

}  // namespace vpc::disk::testing

// The linker's --wrap names: a call of write() becomes one of __wrap_write(), and __real_write() is the host's.
// NOLINTBEGIN(bugprone-reserved-identifier,readability-identifier-naming)
extern "C" {

using vpc::disk::testing::file_at;
using vpc::disk::testing::FileOperation;
using vpc::disk::testing::gathered;
using vpc::disk::testing::recording;

int __real_open(const char* path, int flags, ...);
ssize_t __real_pwrite(int descriptor, const void* bytes, size_t length, off_t offset);
ssize_t __real_pwritev(int descriptor, const struct iovec* pieces, int count, off_t offset);
ssize_t __real_pwritev2(int descriptor, const struct iovec* pieces, int count, off_t offset, int flags);
int __real_ftruncate(int descriptor, off_t size);
int __real_fallocate(int descriptor, int mode, off_t offset, off_t length);
int __real_fdatasync(int descriptor);
int __real_fsync(int descriptor);
int __real_linkat(int from_folder, const char* from, int to_folder, const char* to, int flags);
int __real_renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags);
int __real_unlink(const char* path);

int __wrap_open(const char* path, int flags, ...) {
    std::va_list arguments;
    va_start(arguments, flags);
    const bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    const unsigned mode = creates ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    const int descriptor = __real_open(path, flags, mode);
    if (descriptor >= 0 && creates) {
        recording().created(path, descriptor, (flags & O_CREAT) != 0);
    }
    return descriptor;
}

ssize_t __wrap_pwrite(int descriptor, const void* bytes, size_t length, off_t offset) {
    const ssize_t written = __real_pwrite(descriptor, bytes, length, offset);
    if (written > 0) {
        const auto* first = static_cast<const std::uint8_t*>(bytes);
        recording().changed(descriptor, {.kind = FileOperation::Kind::Write,
                                         .offset = static_cast<std::uint64_t>(offset),
                                         .bytes = {first, first + written}});
    }
    return written;
}

ssize_t __wrap_pwritev(int descriptor, const struct iovec* pieces, int count, off_t offset) {
    const ssize_t written = __real_pwritev(descriptor, pieces, count, offset);
    if (written > 0) {
        recording().changed(descriptor, gathered(pieces, count, offset, written));
    }
    return written;
}

ssize_t __wrap_pwritev2(int descriptor, const struct iovec* pieces, int count, off_t offset, int flags) {
    const ssize_t written = __real_pwritev2(descriptor, pieces, count, offset, flags);
    if (written > 0 && (flags & RWF_DSYNC) != 0) {
        recording().written_through(descriptor, gathered(pieces, count, offset, written));
    } else if (written > 0) {
        recording().changed(descriptor, gathered(pieces, count, offset, written));
    }
    return written;
}

int __wrap_ftruncate(int descriptor, off_t size) {
    const int result = __real_ftruncate(descriptor, size);
    if (result == 0) {
        recording().changed(descriptor,
                            {.kind = FileOperation::Kind::Truncate, .offset = static_cast<std::uint64_t>(size)});
    }
    return result;
}

int __wrap_fallocate(int descriptor, int mode, off_t offset, off_t length) {
    const int result = __real_fallocate(descriptor, mode, offset, length);
    struct stat status = {};
    if (result != 0 || ::fstat(descriptor, &status) != 0) {
        return result;
    }
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0) {
        recording().changed(descriptor, {.kind = FileOperation::Kind::Write,
                                         .offset = static_cast<std::uint64_t>(offset),
                                         .bytes = std::vector<std::uint8_t>(static_cast<std::size_t>(length))});
    } else {
        recording().changed(
            descriptor, {.kind = FileOperation::Kind::Truncate, .offset = static_cast<std::uint64_t>(status.st_size)});
    }
    return result;
}

int __wrap_fdatasync(int descriptor) {
    const int result = __real_fdatasync(descriptor);
    if (result == 0) {
        recording().synced(descriptor);
    }
    return result;
}

int __wrap_fsync(int descriptor) {
    const int result = __real_fsync(descriptor);
    if (result == 0) {
        recording().synced(descriptor);
    }
    return result;
}

int __wrap_linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) {
    const auto file = file_at(from);
    const int result = __real_linkat(from_folder, from, to_folder, to, flags);
    if (result == 0) {
        recording().linked(file, to);
    }
    return result;
}

int __wrap_renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
    const auto file = file_at(from);
    const int result = __real_renameat2(from_folder, from, to_folder, to, flags);
    if (result == 0) {
        recording().linked(file, to);
        recording().unlinked(from);
    }
    return result;
}

int __wrap_unlink(const char* path) {
    const int result = __real_unlink(path);
    if (result == 0) {
        recording().unlinked(path);
    }
    return result;
}
}
// NOLINTEND(bugprone-reserved-identifier,readability-identifier-naming)
