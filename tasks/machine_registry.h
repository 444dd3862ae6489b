#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "disk/file.h"
#include "tasks/result.h"
#include "tasks/vmc.h"

namespace vpc::tasks {

/// A machine that the registry, or a path to its configuration, leads to.
struct RegisteredMachine {
    std::string name;
    /// The `.vmc` itself: where a symbolic link leads to, so that a machine's lock, its saved state, its undo disks and
    /// its socket are the same whichever way it was found.
    std::filesystem::path file;
    std::filesystem::path link = {};  ///< in the registry's folder; empty: it is not registered by a link
    bool missing = false;             ///< the link leads to no file; `file` is where it should be
    /// The `.vsv` beside it; there while the machine is saved.
    std::filesystem::path saved_state() const { return std::filesystem::path(file).replace_extension(".vsv"); }
};

/// Virtual PC's collection of machines: the `.vmc` files of one folder, which name the machines. A machine elsewhere is
/// registered by a symbolic link to its `.vmc` there, which has the machine's name and is never replaced by a file.
/// Nothing is kept in memory, so several processes may use one folder. Any thread; no member throws.
///
/// Names have 1 to 80 characters, none of them one of * ? : < > / | \ " or a control character, and do not begin with a
/// dot; they are unique without regard to the case of ASCII letters. Errors: VM_E_CONFIG_NO_NAME,
/// VM_E_CONFIG_NAME_TOO_LONG, VM_E_CONFIG_NAME_INVALID_CHAR, VM_E_CONFIG_DUPLICATE_NAME; VM_E_VM_UNKNOWN (no such
/// machine); VM_E_PREF_VM_ACTIVE (running, or where it says so saved); ERROR_FILE_NOT_FOUND (its link leads nowhere);
/// those of the host, with its reason as detail.
class MachineRegistry {
  public:
    explicit MachineRegistry(std::filesystem::path folder) : folder_(std::move(folder)) {}
    /// `$XDG_DATA_HOME/vpc`, or `~/.local/share/vpc`; empty when neither variable is an absolute path.
    static std::filesystem::path default_folder();

    const std::filesystem::path& folder() const { return folder_; }
    /// In the order of their names, with those that are missing.
    std::vector<RegisteredMachine> machines() const;
    Outcome find(const std::string& name, RegisteredMachine& machine) const;

    /// Makes the folder if need be.
    Outcome create(const std::string& name, const Vmc& configuration) const;
    /// Registers a `.vmc` that is elsewhere: `path`, or where that is a folder, `name` in it. `name` may carry the
    /// extension; empty, it is the file's. The file need not be writable, and may be running. Errors: those of
    /// check_path(); ERROR_PATH_NOT_FOUND, ERROR_FILE_NOT_FOUND; E_INVALIDARG (its extension is another one);
    /// ERROR_ALREADY_EXISTS (it is registered, maybe under another name); those of reading it.
    Outcome add(const std::string& name, const std::filesystem::path& path, RegisteredMachine& machine) const;
    /// Forgets a machine that add() registered: the link goes, all of its files stay. VM_E_VM_RUNNING; E_FAIL (its
    /// configuration lies in the registry's folder: as long as it does, it is registered).
    Outcome withdraw(const std::string& name) const;
    /// The same for a machine that the caller knows not to run.
    static Outcome remove_link(const RegisteredMachine& machine);
    /// Replaces the configuration of a machine that is neither running nor saved.
    static Outcome store(const RegisteredMachine& machine, const Vmc& configuration);
    /// Changes the configuration of a machine whose lock the caller holds. The file is another one then, and the lock
    /// is that one's.
    static disk::Status change(const RegisteredMachine& machine, const std::function<void(Vmc&)>& change,
                               std::unique_ptr<disk::File>& lock);
    /// Neither running nor saved. Of a machine that is registered by a link, the link gets the name.
    Outcome rename(const std::string& name, const std::string& new_name) const;
    /// Deletes the configuration, the saved state and undo disks, and its link, if it is registered by one; disks stay.
    /// Not while it runs.
    Outcome remove(const std::string& name) const;

    /// Whoever runs a machine, or changes its files, holds this lock on its configuration. VM_E_VM_RUNNING: somebody
    /// has it.
    static Outcome lock(const RegisteredMachine& machine, std::unique_ptr<disk::File>& lock);
    /// ERROR_FILE_NOT_FOUND if it is missing.
    static Outcome check_present(const RegisteredMachine& machine);
    /// Whether somebody holds that lock, without taking it: whoever only looks must not keep a machine from starting.
    static bool is_locked(const RegisteredMachine& machine) { return disk::is_locked(machine.file); }

  private:
    std::filesystem::path file_of(const std::string& name) const { return folder_ / (name + ".vmc"); }

    std::filesystem::path folder_;
};

/// S_OK, or what is wrong with the name.
HResult check_machine_name(const std::string& name);

}  // namespace vpc::tasks
