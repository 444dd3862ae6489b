#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tasks/hard_disk.h"
#include "tasks/machine_configuration.h"
#include "tasks/machine_registry.h"
#include "tasks/task_collection.h"
#include "tasks/virtual_machine.h"
#include "tasks/worker.h"

namespace vpc::tasks {

/// The top of the object model: Virtual PC's IVMVirtualPC. Owns the threads that all its objects' tasks run on, and the
/// collection of those tasks; it must outlive the objects that it hands out, not their tasks. Any thread; no member
/// throws.
///
/// The methods that create disks count the bytes of the file's structures as progress, or of a fixed disk's room, and
/// can be cancelled until the file has its name; cancelled or failed they leave neither the file nor a folder that they
/// made.
///
/// Errors at once: those of check_new_file; E_INVALIDARG (a size of 0 or less); VM_E_IMAGE_SIZE_TOO_SMALL (below 3 MB);
/// VM_E_IMAGE_SIZE_TOO_LARGE (above 2,088,960 MB); ERROR_INVALID_DRIVE (a CD or DVD); VM_E_FILE_TOO_LARGE_FOR_VOLUME
/// (checked against the full size of a dynamic disk, too); ERROR_DISK_FULL (less than 8 MB free, or a fixed disk does
/// not fit); of a differencing disk also those of opening its parent (see HardDisk), ERROR_BAD_PATHNAME (both paths are
/// relative) and VM_E_PARENT_PATH_NOT_FOUND; VM_E_APP_SHUTTING_DOWN. A folder that is missing is made.
///
/// Machines are those of a MachineRegistry. As long as a machine's object lives, the machine is this process's: others
/// get VM_E_VM_RUNNING. Names are compared without regard to case. The registry's folder is the register: it holds the
/// machines that CreateVirtualMachine made, and links to those that RegisterVirtualMachine was given.
class VirtualPC {
  public:
    static constexpr std::int32_t kSmallestDisk = 3;         ///< MB
    static constexpr std::int32_t kLargestDisk = 2'088'960;  ///< MB: 2040 GB

    /// Tasks describe themselves in `language`.
    explicit VirtualPC(Language language = Language::English,
                       std::filesystem::path machines = MachineRegistry::default_folder());
    /// What machines start with that are made after this.
    struct Firmware {
        std::vector<std::uint8_t> bios;
        std::vector<std::uint8_t> vga_bios;
    };
    void use_firmware(Firmware firmware) { firmware_ = std::move(firmware); }

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
    /// Those of check_machine_name; VM_E_CONFIG_DUPLICATE_NAME; those of the host. Virtual PC's folder is the
    /// registry's.
    HResult CreateVirtualMachine(const std::string& name, const MachineConfiguration& configuration,
                                 std::shared_ptr<VirtualMachine>& machine);
    /// The same object for as long as somebody holds it. S_FALSE: there is none of this name. VM_E_VM_RUNNING: another
    /// process has it. VM_E_INVALID_HD_FILE: the configuration cannot be read.
    HResult FindVirtualMachine(const std::string& name, std::shared_ptr<VirtualMachine>& machine);
    /// With its saved state and undo disks, wherever they are; its disks stay. S_FALSE: there is none. VM_E_VM_RUNNING:
    /// somebody, in this process or another, holds it. ERROR_FILE_NOT_FOUND: it is registered, and its configuration is
    /// not there.
    HResult DeleteVirtualMachine(const std::string& name);
    /// An existing `.vmc`, as Virtual PC finds it: `name`, which may carry the extension, in the folder `path`; or, if
    /// `name` is empty, the file `path`. Beyond that, `path` may be a file and `name` what the machine is called from
    /// then on. Errors: those of MachineRegistry::add(), VM_E_INVALID_HD_FILE (it is no configuration) among them;
    /// VM_E_VM_RUNNING: another process has it. It is not registered then.
    HResult RegisterVirtualMachine(const std::string& name, const std::filesystem::path& path,
                                   std::shared_ptr<VirtualMachine>& machine);
    /// All of its files stay, and its object can still be used. VM_E_VM_RUNNING: it is neither off nor saved, or
    /// another process has it. VM_E_VM_UNKNOWN: it is not registered. E_FAIL: its configuration lies in the registry's
    /// folder itself, and is registered as long as it does; Virtual PC, whose register is a list, has no such case.
    HResult UnregisterVirtualMachine(const std::shared_ptr<VirtualMachine>& machine);
    HResult UnregisterVirtualMachine(const std::string& name);
    /// All that are registered, in the order of their names, with those that are missing; nothing is opened.
    std::vector<RegisteredMachine> VirtualMachines() const { return registry_.machines(); }
    TaskCollection& Tasks() { return tasks_; }

    // NOLINTEND(readability-identifier-naming)

    /// FindVirtualMachine for any configuration file, with the reason as detail.
    Outcome open_machine(const RegisteredMachine& registered, std::shared_ptr<VirtualMachine>& machine);
    Worker& worker() { return worker_; }
    Language language() const { return language_; }
    /// Cancels what can be cancelled, waits for the rest, and refuses new tasks from then on.
    void shut_down() { worker_.shut_down(); }

  private:
    HResult unregister(const RegisteredMachine& registered);
    HResult create_disk(TaskKind kind, const std::filesystem::path& path, std::int32_t megabytes,
                        std::shared_ptr<IVMTask>& task);

    const Language language_;
    const MachineRegistry registry_;
    Firmware firmware_;
    std::mutex mutex_;
    std::map<std::filesystem::path, std::weak_ptr<VirtualMachine>> machines_;  // by their configurations' real paths
    TaskCollection tasks_;
    Worker worker_;  // last: it ends first
};

}  // namespace vpc::tasks
