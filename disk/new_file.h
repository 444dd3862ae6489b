#pragma once
#include <filesystem>
#include <memory>

#include "disk/posix_file.h"

namespace vpc::disk {

/// A file in the making: it gets its name when it is complete and on the host's disk, not before, so nobody ever finds
/// half of it. Until then it has no name at all where the file system can do that, and disappears with the object or
/// the process; elsewhere it has another name beside the target, ".target.PROCESS-NUMBER", which the destructor
/// removes. The room of a large file that was given up may be free only some moments later: a host takes a tenth of a
/// second for each GiB and more, and whoever stopped an operation does not wait for that.
///
/// Threads: those of File.
class NewFile {
  public:
    /// Begins a file that is to become `target`. AlreadyExists if there is one and `overwrite` is false; with
    /// `overwrite` it is replaced in the last moment, InUse if somebody has it open, and until then stays as it is.
    static Result<std::unique_ptr<NewFile>> create(const std::filesystem::path& target, bool overwrite);
    /// Begins a file that is to replace `target`, whose lock the caller holds as `held`. complete() puts the new file,
    /// locked, in the place of `held`: at no moment can anybody else have the lock.
    static Result<std::unique_ptr<NewFile>> replace(const std::filesystem::path& target, std::unique_ptr<File>& held);
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile();

    /// Open for reading and writing, locked Exclusive; its messages call it by the target's name. Belongs to this
    /// object.
    File& file() { return *file_; }

    /// Stores the file and gives it its name, and stores that. AlreadyExists if somebody was faster. Called once, at
    /// the end; after a failure the target is what it was before. file() may be gone afterwards.
    Status complete();

  private:
    NewFile(std::filesystem::path target, bool overwrite);

    Status open();
    Status give_name();
    Status link_to(const std::filesystem::path& path) const;

    std::filesystem::path target_;
    bool overwrite_;
    std::filesystem::path temporary_;  ///< its name now, empty if it has none
    std::unique_ptr<PosixFile> file_;
    bool complete_ = false;
    std::unique_ptr<File> replaced_;         ///< the file that is to be replaced, held against others
    std::unique_ptr<File>* held_ = nullptr;  ///< or here, by the caller
};

/// Stores the names in the folder of `file` on the host's disk: that it is there, or is gone, after a power failure
/// too.
Status sync_folder_of(const std::filesystem::path& file);

}  // namespace vpc::disk
