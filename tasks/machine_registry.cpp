#include "tasks/machine_registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <system_error>

#include "disk/new_file.h"
#include "disk/operations/undo_disk.h"
#include "tasks/host_files.h"
#include "tasks/machine_configuration.h"
#include "tasks/worker.h"

namespace vpc::tasks {
namespace {

constexpr std::size_t kLongestName = 80;  // characters

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

Outcome refused(HResult error, std::string detail = {}) {
    return {error, VMTaskResult::UnexpectedError, std::move(detail)};
}

Outcome host_problem(const std::filesystem::path& file, const std::error_code& error) {
    const HResult code =
        error == std::errc::no_space_on_device ? HResult::ERROR_DISK_FULL : HResult::ERROR_ACCESS_DENIED;
    return refused(code, fmt::format("'{}': {}", file.string(), error.message()));
}

bool is_there(const std::filesystem::path& file) {
    std::error_code ignored;
    return std::filesystem::exists(std::filesystem::symlink_status(file, ignored));
}

constexpr const char* kExtension = ".vmc";

/// Also of files that were named on Windows.
bool has_extension(const std::filesystem::path& file) {
    return lower(file.extension().string()) == kExtension;
}

/// The machine of a link in the registry's folder.
RegisteredMachine follow(const std::filesystem::path& link) {
    RegisteredMachine machine{.name = link.stem().string(), .file = {}, .link = link};
    std::error_code error;
    machine.file = std::filesystem::canonical(link, error);
    std::error_code ignored;
    if (error || !std::filesystem::is_regular_file(machine.file, ignored)) {
        machine.missing = true;
        machine.file = (link.parent_path() / std::filesystem::read_symlink(link, ignored)).lexically_normal();
    }
    return machine;
}

/// The `.vmc` that is to be registered, and its name, from what MachineRegistry::add() is given.
Outcome find_unregistered(const std::string& name, const std::filesystem::path& path, RegisteredMachine& machine) {
    if (const HResult checked = check_path(path); checked != HResult::S_OK) {
        return refused(checked);
    }
    machine.name = has_extension(name) ? name.substr(0, name.rfind('.')) : name;
    std::error_code error;
    machine.file = path;
    if (std::filesystem::is_directory(path, error) && !name.empty()) {
        machine.file = path / (has_extension(name) ? name : name + kExtension);
    }
    if (machine.name.empty()) {
        machine.name = machine.file.stem().string();
    }
    if (const HResult checked = check_machine_name(machine.name); checked != HResult::S_OK) {
        return refused(checked, disk::quoted(machine.name));
    }
    if (!std::filesystem::is_directory(machine.file.parent_path(), error)) {
        return refused(HResult::ERROR_PATH_NOT_FOUND, disk::quoted(machine.file.parent_path()));
    }
    machine.file = std::filesystem::canonical(machine.file, error);
    if (error) {
        return error == std::errc::no_such_file_or_directory ? refused(HResult::ERROR_FILE_NOT_FOUND)
                                                             : host_problem(path, error);
    }
    if (!has_extension(machine.file)) {  // the saved state has the same name but for that
        return refused(HResult::E_INVALIDARG,
                       fmt::format("{} is no configuration, whose name ends with .vmc", disk::quoted(machine.file)));
    }
    const auto vmc = Vmc::read(machine.file);
    return vmc ? Outcome{} : outcome_of(tl::unexpected(vmc.error()));
}

}  // namespace

HResult check_machine_name(const std::string& name) {
    if (name.empty()) {
        return HResult::VM_E_CONFIG_NO_NAME;
    }
    const auto characters =
        std::count_if(name.begin(), name.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
    if (static_cast<std::size_t>(characters) > kLongestName || name.size() > 240) {  // bytes: a file name has 255
        return HResult::VM_E_CONFIG_NAME_TOO_LONG;
    }
    const bool control =
        std::any_of(name.begin(), name.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; });
    return control || name[0] == '.' || name.find_first_of("*?:<>/|\\\"") != std::string::npos
               ? HResult::VM_E_CONFIG_NAME_INVALID_CHAR
               : HResult::S_OK;
}

std::filesystem::path MachineRegistry::default_folder() {
    const auto absolute = [](const char* variable) {
        const char* value = std::getenv(variable);
        return value != nullptr && value[0] == '/' ? std::filesystem::path(value) : std::filesystem::path();
    };
    if (const auto data = absolute("XDG_DATA_HOME"); !data.empty()) {
        return data / "vpc";
    }
    const auto home = absolute("HOME");
    return home.empty() ? home : home / ".local" / "share" / "vpc";
}

std::vector<RegisteredMachine> MachineRegistry::machines() const {
    std::vector<RegisteredMachine> machines;
    std::error_code error;
    for (std::filesystem::directory_iterator each(folder_, error), end; !error && each != end; each.increment(error)) {
        const std::filesystem::path& file = each->path();
        std::error_code ignored;
        if (file.extension() != kExtension || check_machine_name(file.stem().string()) != HResult::S_OK) {
            continue;
        }
        if (each->is_symlink(ignored)) {
            machines.push_back(follow(file));
        } else if (each->is_regular_file(ignored)) {
            machines.push_back({.name = file.stem().string(), .file = file});
        }
    }
    std::sort(machines.begin(), machines.end(), [](const auto& a, const auto& b) {
        return std::pair(lower(a.name), a.name) < std::pair(lower(b.name), b.name);
    });
    return machines;
}

Outcome MachineRegistry::find(const std::string& name, RegisteredMachine& machine) const {
    for (RegisteredMachine& each : machines()) {
        if (lower(each.name) == lower(name)) {
            machine = std::move(each);
            return {};
        }
    }
    return refused(HResult::VM_E_VM_UNKNOWN, fmt::format("'{}' is not in '{}'", name, folder_.string()));
}

Outcome MachineRegistry::create(const std::string& name, const Vmc& configuration) const {
    if (const HResult checked = check_machine_name(name); checked != HResult::S_OK) {
        return refused(checked);
    }
    RegisteredMachine other;
    if (find(name, other).error == HResult::S_OK) {
        return refused(HResult::VM_E_CONFIG_DUPLICATE_NAME, fmt::format("there is '{}'", other.file.string()));
    }
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) {
        return host_problem(folder_, error);
    }
    return outcome_of(configuration.write(file_of(name)));
}

Outcome MachineRegistry::add(const std::string& name, const std::filesystem::path& path,
                             RegisteredMachine& machine) const {
    RegisteredMachine wanted;
    if (Outcome found = find_unregistered(name, path, wanted); found.error != HResult::S_OK) {
        return found;
    }
    for (const RegisteredMachine& each : machines()) {
        std::error_code ignored;
        if (std::filesystem::equivalent(each.file, wanted.file, ignored)) {
            return refused(HResult::ERROR_ALREADY_EXISTS, fmt::format("it is registered as '{}'", each.name));
        }
        if (lower(each.name) == lower(wanted.name)) {
            return refused(HResult::VM_E_CONFIG_DUPLICATE_NAME,
                           fmt::format("'{}' is {}", each.name, disk::quoted(each.file)));
        }
    }
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error) {
        return host_problem(folder_, error);
    }
    wanted.link = file_of(wanted.name);
    std::filesystem::create_symlink(wanted.file, wanted.link, error);
    if (error) {
        return error == std::errc::file_exists ? refused(HResult::VM_E_CONFIG_DUPLICATE_NAME)
                                               : host_problem(wanted.link, error);
    }
    machine = std::move(wanted);
    return outcome_of(disk::sync_folder_of(machine.link));
}

Outcome MachineRegistry::withdraw(const std::string& name) const {
    RegisteredMachine machine;
    if (Outcome found = find(name, machine); found.error != HResult::S_OK) {
        return found;
    }
    return !machine.missing && is_locked(machine) ? refused(HResult::VM_E_VM_RUNNING) : remove_link(machine);
}

Outcome MachineRegistry::remove_link(const RegisteredMachine& machine) {
    if (machine.link.empty()) {
        return refused(HResult::E_FAIL, fmt::format("{} lies in the folder of the registered machines; remove the "
                                                    "machine to delete it, or move its files elsewhere to keep them",
                                                    disk::quoted(machine.file)));
    }
    std::error_code error;
    if (!std::filesystem::is_symlink(machine.link, error)) {
        return refused(HResult::VM_E_VM_UNKNOWN, disk::quoted(machine.link));
    }
    std::filesystem::remove(machine.link, error);
    return error ? host_problem(machine.link, error) : outcome_of(disk::sync_folder_of(machine.link));
}

Outcome MachineRegistry::check_present(const RegisteredMachine& machine) {
    return machine.missing ? refused(HResult::ERROR_FILE_NOT_FOUND,
                                     fmt::format("{} leads to {}, which is not there; put it back, or unregister the "
                                                 "machine",
                                                 disk::quoted(machine.link), disk::quoted(machine.file)))
                           : Outcome{};
}

Outcome MachineRegistry::lock(const RegisteredMachine& machine, std::unique_ptr<disk::File>& lock) {
    if (Outcome present = check_present(machine); present.error != HResult::S_OK) {
        return present;
    }
    auto file = disk::open_locked(machine.file, disk::OpenMode::ReadWrite, disk::LockKind::Exclusive);
    if (!file) {
        switch (file.error().code) {
            case disk::ErrorCode::NotFound:
                return refused(HResult::VM_E_VM_UNKNOWN, file.error().message);
            case disk::ErrorCode::InUse:
                return refused(HResult::VM_E_VM_RUNNING);
            default:
                return outcome_of(tl::unexpected(file.error()));
        }
    }
    lock = std::move(*file);
    return {};
}

Outcome MachineRegistry::store(const RegisteredMachine& machine, const Vmc& configuration) {
    if (is_there(machine.saved_state())) {
        return refused(HResult::VM_E_PREF_VM_ACTIVE, "it is saved");
    }
    const disk::Status written = configuration.write(machine.file);  // which asks for the lock
    if (!written && written.error().code == disk::ErrorCode::InUse) {
        return refused(HResult::VM_E_PREF_VM_ACTIVE, "it is running");
    }
    return outcome_of(written);
}

disk::Status MachineRegistry::change(const RegisteredMachine& machine, const std::function<void(Vmc&)>& change,
                                     std::unique_ptr<disk::File>& lock) {
    auto configuration = Vmc::read(machine.file);
    if (!configuration) {
        return tl::unexpected(configuration.error());
    }
    change(*configuration);
    return configuration->write(machine.file, lock);
}

Outcome MachineRegistry::rename(const std::string& name, const std::string& new_name) const {
    RegisteredMachine machine;
    if (Outcome found = find(name, machine); found.error != HResult::S_OK) {
        return found;
    }
    if (const HResult checked = check_machine_name(new_name); checked != HResult::S_OK) {
        return refused(checked);
    }
    RegisteredMachine other;
    if (find(new_name, other).error == HResult::S_OK && other.file != machine.file) {
        return refused(HResult::VM_E_CONFIG_DUPLICATE_NAME, fmt::format("there is '{}'", other.file.string()));
    }
    std::unique_ptr<disk::File> held;
    if (Outcome locked = lock(machine, held); locked.error != HResult::S_OK) {
        return locked.error == HResult::VM_E_VM_RUNNING ? refused(HResult::VM_E_PREF_VM_ACTIVE, "it is running")
                                                        : locked;
    }
    if (is_there(machine.saved_state())) {
        return refused(HResult::VM_E_PREF_VM_ACTIVE, "it is saved");
    }
    std::error_code error;
    std::filesystem::rename(machine.link.empty() ? machine.file : machine.link, file_of(new_name), error);
    return error ? host_problem(file_of(new_name), error) : Outcome{};
}

Outcome MachineRegistry::remove(const std::string& name) const {
    RegisteredMachine machine;
    if (Outcome found = find(name, machine); found.error != HResult::S_OK) {
        return found;
    }
    std::unique_ptr<disk::File> held;
    if (Outcome locked = lock(machine, held); locked.error != HResult::S_OK) {
        return locked;
    }
    std::error_code error;
    if (const auto configuration = Vmc::read(machine.file)) {
        for (const auto& undo : read_configuration(*configuration, machine.file.parent_path()).machine.undo_disks) {
            if (const disk::Status discarded = undo.empty() ? disk::Status() : disk::discard_undo_disk(undo);
                !discarded && discarded.error().code != disk::ErrorCode::NotFound) {
                return outcome_of(discarded);
            }
        }
    }
    // The link last: until then what is left can be found.
    for (const std::filesystem::path& file : {machine.saved_state(), machine.file, machine.link}) {
        if (!file.empty()) {
            std::filesystem::remove(file, error);
        }
        if (error) {
            return host_problem(file, error);
        }
    }
    return {};
}

}  // namespace vpc::tasks
