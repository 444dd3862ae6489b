#pragma once
#include <filesystem>
#include <string>
#include <tl/expected.hpp>

namespace vpc::tasks {

/// `$XDG_RUNTIME_DIR/vpc`, or without that variable `/tmp/vpc-UID`: where running machines can be reached. Made if
/// need be, for this user alone (0700). The error is one line: it is somebody else's, or open to others.
tl::expected<std::filesystem::path, std::string> runtime_folder();

/// The socket of the machine with this configuration file, in that folder. Its name is a checksum (FNV-1a) of the
/// file's real path: machines' names may be longer than a socket's path can be.
std::filesystem::path control_socket(const std::filesystem::path& folder, const std::filesystem::path& vmc);

/// Held while a socket in the folder gets its name or a dead one is removed, so that nobody removes a living one.
class FolderLock {
  public:
    explicit FolderLock(const std::filesystem::path& folder);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

  private:
    int descriptor_;
};

}  // namespace vpc::tasks
