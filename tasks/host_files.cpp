#include "tasks/host_files.h"

#include <linux/limits.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <limits>
#include <string>
#include <system_error>

namespace vpc::tasks {

HResult check_path(const std::filesystem::path& path) {
    if (!path.is_absolute()) {
        return HResult::ERROR_BAD_PATHNAME;
    }
    return path.native().size() >= PATH_MAX ? HResult::ERROR_BUFFER_OVERFLOW : HResult::S_OK;
}

HResult check_new_file(const std::filesystem::path& file) {
    if (const HResult checked = check_path(file); checked != HResult::S_OK) {
        return checked;
    }
    const std::string name = file.filename().string();
    const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; });
    if (name.empty() || name == "." || name == ".." || control ||
        name.find_first_of("*?:<>|\"\\") != std::string::npos) {
        return HResult::ERROR_INVALID_NAME;
    }
    std::error_code ignored;
    return std::filesystem::exists(std::filesystem::symlink_status(file, ignored)) ? HResult::ERROR_ALREADY_EXISTS
                                                                                   : HResult::S_OK;
}

HostVolume volume_of_kind(std::uint64_t magic) {
    // statfs(2) and linux/magic.h.
    constexpr std::uint64_t kMsdos = 0x4D44;  // FAT of any kind: sizes are 32-bit
    constexpr std::uint64_t kIso9660 = 0x9660;
    constexpr std::uint64_t kUdf = 0x15013346;
    HostVolume volume;
    volume.largest_file = magic == kMsdos ? std::numeric_limits<std::uint32_t>::max()
                                          : static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    volume.optical = magic == kIso9660 || magic == kUdf;
    return volume;
}

HResult find_volume(const std::filesystem::path& path, HostVolume& volume) {
    std::error_code ignored;
    std::filesystem::path there = path;
    while (!std::filesystem::exists(there, ignored) && there.has_relative_path()) {
        there = there.parent_path();
    }
    struct statfs kind {};
    struct statvfs room {};
    if (::statfs(there.c_str(), &kind) != 0 || ::statvfs(there.c_str(), &room) != 0) {
        return HResult::ERROR_PATH_NOT_FOUND;
    }
    volume = volume_of_kind(static_cast<std::uint64_t>(kind.f_type));
    volume.free = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
    return HResult::S_OK;
}

bool marked_read_only(const std::filesystem::path& file) {
    using std::filesystem::perms;
    std::error_code error;
    const auto status = std::filesystem::status(file, error);
    return !error &&
           (status.permissions() & (perms::owner_write | perms::group_write | perms::others_write)) == perms::none;
}

}  // namespace vpc::tasks
