#pragma once
#include <cstdint>
#include <filesystem>

#include "tasks/result.h"

namespace vpc::tasks {

/// What the methods that take paths check first. Virtual PC's codes, with this host's rules:
/// ERROR_BAD_PATHNAME: empty, or relative where an absolute path is needed. ERROR_BUFFER_OVERFLOW: PATH_MAX bytes or
/// more (Virtual PC's MAX_PATH of 260 would refuse paths that are good here).
HResult check_path(const std::filesystem::path& path);
/// The same for a file that is to be made. ERROR_INVALID_NAME: its last part has one of * ? : < > | " \ or a control
/// character, which Windows would not take (the folders are the host's business). ERROR_ALREADY_EXISTS.
HResult check_new_file(const std::filesystem::path& file);

/// The file system that a path is on, or would be: the nearest folder above it that is there decides.
struct HostVolume {
    std::uint64_t free = 0;          ///< bytes that this user may fill
    std::uint64_t largest_file = 0;  ///< bytes
    bool optical = false;            ///< a CD or DVD
};
/// ERROR_PATH_NOT_FOUND when the host does not say.
HResult find_volume(const std::filesystem::path& path, HostVolume& volume);
/// The part of it that the kind of file system decides, by its magic number (statfs(2)).
HostVolume volume_of_kind(std::uint64_t magic);

/// Nobody may write it. As Windows' attribute it holds for everybody, the administrator too.
bool marked_read_only(const std::filesystem::path& file);

}  // namespace vpc::tasks
