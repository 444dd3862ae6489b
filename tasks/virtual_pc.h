#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>

#include "tasks/hard_disk.h"
#include "tasks/task_collection.h"
#include "tasks/worker.h"

namespace vpc::tasks {

/// The top of the object model: Virtual PC's IVMVirtualPC. Owns the threads that all its objects' tasks run on, and the
/// collection of those tasks; it must outlive the objects that it hands out, not their tasks. Any thread; no member
/// throws.
///
/// The methods that create disks count the bytes of the file's structures as progress, and can be cancelled until the
/// file has its name; cancelled or failed they leave neither the file nor a folder that they made.
///
/// Errors at once: those of check_new_file; E_INVALIDARG (a size of 0 or less); VM_E_IMAGE_SIZE_TOO_SMALL (below 3 MB);
/// VM_E_IMAGE_SIZE_TOO_LARGE (above 2,088,960 MB); ERROR_INVALID_DRIVE (a CD or DVD); VM_E_FILE_TOO_LARGE_FOR_VOLUME
/// (checked against the full size of a dynamic disk, too); ERROR_DISK_FULL (less than 8 MB free, or a fixed disk does
/// not fit); of a differencing disk also those of opening its parent (see HardDisk), ERROR_BAD_PATHNAME (both paths are
/// relative) and VM_E_PARENT_PATH_NOT_FOUND; VM_E_APP_SHUTTING_DOWN. A folder that is missing is made.
class VirtualPC {
  public:
    static constexpr std::int32_t kSmallestDisk = 3;         ///< MB
    static constexpr std::int32_t kLargestDisk = 2'088'960;  ///< MB: 2040 GB

    /// Tasks describe themselves in `language`.
    explicit VirtualPC(Language language = Language::English);

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names

    /// `megabytes` are MiB.
    HResult CreateDynamicVirtualHardDisk(const std::filesystem::path& path, std::int32_t megabytes,
                                         std::shared_ptr<IVMTask>& task);
    HResult CreateFixedVirtualHardDisk(const std::filesystem::path& path, std::int32_t megabytes,
                                       std::shared_ptr<IVMTask>& task);
    /// One of the two paths may be relative: to the folder of the other one.
    HResult CreateDifferencingVirtualHardDisk(const std::filesystem::path& path, const std::filesystem::path& parent,
                                              std::shared_ptr<IVMTask>& task);
    /// Those of check_path; ERROR_PATH_NOT_FOUND, ERROR_FILE_NOT_FOUND.
    HResult GetHardDisk(const std::filesystem::path& path, std::shared_ptr<HardDisk>& disk);
    TaskCollection& Tasks() { return tasks_; }

    // NOLINTEND(readability-identifier-naming)

    Worker& worker() { return worker_; }
    Language language() const { return language_; }
    /// Cancels what can be cancelled, waits for the rest, and refuses new tasks from then on.
    void shut_down() { worker_.shut_down(); }

  private:
    HResult create_disk(TaskKind kind, const std::filesystem::path& path, std::int32_t megabytes,
                        std::shared_ptr<IVMTask>& task);

    const Language language_;
    TaskCollection tasks_;
    Worker worker_;  // last: it ends first
};

}  // namespace vpc::tasks
