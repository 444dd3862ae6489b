#include "tasks/runtime_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "tasks/saved_state.h"

namespace vpc::tasks {

tl::expected<std::filesystem::path, std::string> runtime_folder() {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    const std::filesystem::path folder = runtime != nullptr && runtime[0] == '/'
                                             ? std::filesystem::path(runtime) / "vpc"
                                             : std::filesystem::path(fmt::format("/tmp/vpc-{}", ::getuid()));
    struct stat status {};
    if ((::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) || ::lstat(folder.c_str(), &status) != 0) {
        return tl::unexpected(fmt::format("cannot make the folder '{}': {}", folder.string(), std::strerror(errno)));
    }
    if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 077) != 0) {
        return tl::unexpected(
            fmt::format("'{}' is not a folder of this user alone (mode 0700); remove it, or name "
                        "another place by XDG_RUNTIME_DIR",
                        folder.string()));
    }
    return folder;
}

std::filesystem::path control_socket(const std::filesystem::path& folder, const std::filesystem::path& vmc) {
    std::error_code ignored;
    const std::string real = std::filesystem::weakly_canonical(vmc, ignored).string();
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(real.data());
    return folder / fmt::format("{:016x}.sock", firmware_checksum({bytes, real.size()}));
}

FolderLock::FolderLock(const std::filesystem::path& folder)
    : descriptor_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (descriptor_ >= 0) {
        ::flock(descriptor_, LOCK_EX);
    }
}

FolderLock::~FolderLock() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);
    }
}

}  // namespace vpc::tasks
