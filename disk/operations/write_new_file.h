#pragma once
#include <filesystem>
#include <functional>

#include "disk/file.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// An operation that makes one file: `write` fills it and counts its work. The file gets its name when it is complete
/// and synced (see NewFile), and leaves no trace when the operation fails or is stopped, at the last moment too.
/// AlreadyExists, InUse: see NewFile::create. IoError also where the host lacks memory or threads.
Status write_new_file(const std::filesystem::path& target, bool overwrite, const Operation& operation,
                      const std::function<Status(File&, WorkMeter&)>& write);

}  // namespace vpc::disk
