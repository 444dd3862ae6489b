#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "disk/chain.h"
#include "tasks/task_collection.h"
#include "tasks/worker.h"

namespace vpc::tasks {

/// Virtual PC's numbers.
enum class VMHardDiskType : std::int32_t {
    Dynamic = 0,
    FixedSize = 1,
    Differencing = 2,
};

/// A disk image: Virtual PC's IVMHardDisk. It names a file and keeps nothing open; every member looks at the file anew.
/// Any thread; no member throws.
///
/// Every task's progress counts the bytes that it has to read and to write, and it can be cancelled until its work is
/// on the host's disk; one that waits for its turn never begins then.
///
// clang-format off
/// | Method  | A cancel or a failure leaves                             | Errors at once, beside those of opening     |
/// |---------|----------------------------------------------------------|---------------------------------------------|
/// | Compact | the image whole, with the same contents; it may be       | VM_E_WRONG_HD_IMAGE_TYPE (not dynamic),     |
/// |         | smaller already                                          | VM_E_FILE_READ_ONLY                         |
/// | Convert | no new file                                              | E_INVALIDARG (no path, or not .vhd), those  |
/// |         |                                                          | of check_new_file, ERROR_PATH_NOT_FOUND,    |
/// |         |                                                          | VM_E_WRONG_HD_IMAGE_TYPE (of the new one),  |
/// |         |                                                          | ERROR_DISK_FULL (a fixed one does not fit), |
/// |         |                                                          | VM_E_FILE_TOO_LARGE_FOR_VOLUME              |
/// | Merge   | the child with its contents on top of a parent that holds| VM_E_WRONG_HD_IMAGE_TYPE (not differencing),|
/// |         | a mixture: it can be repeated                            | VM_E_FILE_READ_ONLY (the parent)            |
/// | MergeTo | no new file                                              | as Convert, and VM_E_WRONG_HD_IMAGE_TYPE    |
/// |         |                                                          | (the image is not differencing)             |
// clang-format on
///
/// Those of opening: ERROR_FILE_NOT_FOUND, ERROR_ACCESS_DENIED, ERROR_SHARING_VIOLATION (in use, or where it would be
/// written to, a saved machine's), VM_E_INVALID_HD_FILE, VM_E_UNSUPPORTED_HD_DISK_TYPE, VM_E_PARENT_PATH_NOT_FOUND,
/// VM_E_PARENT_CHILD_ID_MISMATCH. All methods: VM_E_APP_SHUTTING_DOWN. The same codes come through the task when things
/// change before its turn, and ERROR_DISK_FULL and VM_E_HD_IMAGE_ACCESS with DiskRelatedError.
///
/// After a Merge the child's file is gone, since it would be of no use. Fixed disks take all their room at once, as in
/// Virtual PC, so that the guest never runs out of it. Merge is refused through the task (ERROR_SHARING_VIOLATION) when
/// the folders have other children of the parent, whose contents it would ruin.
class HardDisk {
  public:
    /// `worker` and `tasks` outlive this object. Use VirtualPC::GetHardDisk.
    HardDisk(std::filesystem::path file, Worker& worker, TaskCollection& tasks, Language language);

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names
    const std::filesystem::path& File() const { return file_; }
    /// VM_E_DRIVE_INVALID: it is no VHD. As all members that read: the errors of opening.
    HResult Type(VMHardDiskType& type) const;
    /// Bytes of the virtual disk.
    HResult SizeInGuest(std::uint64_t& bytes) const;
    /// Bytes of the file.
    HResult SizeOnHost(std::uint64_t& bytes) const;
    /// Bytes free on the host's volume.
    HResult HostFreeDiskSpace(std::uint64_t& bytes) const;
    /// S_FALSE: it is not differencing.
    HResult Parent(std::shared_ptr<HardDisk>& parent) const;

    HResult Compact(std::shared_ptr<IVMTask>& task);
    HResult Convert(const std::filesystem::path& path, VMHardDiskType type, std::shared_ptr<IVMTask>& task);
    HResult Merge(std::shared_ptr<IVMTask>& task);
    HResult MergeTo(const std::filesystem::path& path, VMHardDiskType type, std::shared_ptr<IVMTask>& task);
    // NOLINTEND(readability-identifier-naming)

  private:
    /// The image and its parents; an error also when the chain breaks off.
    HResult chain(std::vector<disk::ChainLink>& links) const;
    HResult check_target(const std::filesystem::path& path, VMHardDiskType type, std::uint64_t size) const;
    HResult start(TaskKind kind, std::shared_ptr<IVMTask>& task, TaskWork work);

    const std::filesystem::path file_;
    Worker& worker_;
    TaskCollection& tasks_;
    const Language language_;
};

}  // namespace vpc::tasks
