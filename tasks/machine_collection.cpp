// VirtualPC's machines.
#include <system_error>
#include <utility>

#include "tasks/machine_settings.h"
#include "tasks/virtual_pc.h"

namespace vpc::tasks {
namespace {

/// The same for every way to one configuration.
std::filesystem::path real_path(const RegisteredMachine& machine) {
    std::error_code error;
    auto real = std::filesystem::weakly_canonical(machine.file, error);
    return error ? machine.file : real;
}

}  // namespace

HResult VirtualPC::CreateVirtualMachine(const std::string& name, const MachineConfiguration& configuration,
                                        std::shared_ptr<VirtualMachine>& machine) {
    Vmc vmc = Vmc::make();
    write_configuration(configuration, vmc, registry_.folder());
    const Outcome created = registry_.create(name, vmc);
    return created.error == HResult::S_OK ? FindVirtualMachine(name, machine) : created.error;
}

HResult VirtualPC::FindVirtualMachine(const std::string& name, std::shared_ptr<VirtualMachine>& machine) {
    RegisteredMachine registered;
    if (const Outcome found = registry_.find(name, registered); found.error != HResult::S_OK) {
        return found.error == HResult::VM_E_VM_UNKNOWN ? HResult::S_FALSE : found.error;
    }
    return open_machine(registered, machine).error;
}

HResult VirtualPC::DeleteVirtualMachine(const std::string& name) {
    const Outcome removed = registry_.remove(name);
    return removed.error == HResult::VM_E_VM_UNKNOWN ? HResult::S_FALSE : removed.error;
}

HResult VirtualPC::RegisterVirtualMachine(const std::string& name, const std::filesystem::path& path,
                                          std::shared_ptr<VirtualMachine>& machine) {
    RegisteredMachine registered;
    if (const Outcome added = registry_.add(name, path, registered); added.error != HResult::S_OK) {
        return added.error;
    }
    const Outcome opened = open_machine(registered, machine);
    if (opened.error != HResult::S_OK) {
        MachineRegistry::remove_link(registered);
    }
    return opened.error;
}

HResult VirtualPC::UnregisterVirtualMachine(const std::string& name) {
    RegisteredMachine registered;
    const Outcome found = registry_.find(name, registered);
    return found.error == HResult::S_OK ? unregister(registered) : found.error;
}

HResult VirtualPC::UnregisterVirtualMachine(const std::shared_ptr<VirtualMachine>& machine) {
    if (!machine) {
        return HResult::E_POINTER;
    }
    for (const RegisteredMachine& each : registry_.machines()) {
        bool same = false;
        {
            const std::scoped_lock guard(mutex_);
            const auto known = machines_.find(real_path(each));
            same = known != machines_.end() && known->second.lock() == machine;
        }
        if (same) {
            return unregister(each);
        }
    }
    return HResult::VM_E_VM_UNKNOWN;
}

HResult VirtualPC::unregister(const RegisteredMachine& registered) {
    std::shared_ptr<VirtualMachine> own;
    {
        const std::scoped_lock guard(mutex_);
        const auto known = machines_.find(real_path(registered));
        own = known == machines_.end() ? nullptr : known->second.lock();
    }
    if (!own) {
        return registry_.withdraw(registered.name).error;
    }
    return is_at_rest(own->State()) ? MachineRegistry::remove_link(registered).error : HResult::VM_E_VM_RUNNING;
}

Outcome VirtualPC::open_machine(const RegisteredMachine& registered, std::shared_ptr<VirtualMachine>& machine) {
    const std::scoped_lock guard(mutex_);
    std::weak_ptr<VirtualMachine>& known = machines_[real_path(registered)];
    if ((machine = known.lock())) {
        return {};
    }
    // The lock lives as long as the machine, whose settings hold it.
    auto lock = std::make_shared<std::unique_ptr<disk::File>>();
    if (Outcome locked = MachineRegistry::lock(registered, *lock); locked.error != HResult::S_OK) {
        return locked;
    }
    const auto vmc = Vmc::read(registered.file);
    if (!vmc) {
        return outcome_of(tl::unexpected(vmc.error()));
    }
    const std::filesystem::path folder = registered.file.parent_path();
    MachineSettings settings = settings_of(read_configuration(*vmc, folder).machine, registered);
    settings.bios = firmware_.bios;
    settings.vga_bios = firmware_.vga_bios;
    settings.language = language_;
    settings.undo_disks_changed = [registered, folder, lock](const UndoDisks& undo_disks) {
        return MachineRegistry::change(
            registered, [&](Vmc& changed) { write_undo_disks(undo_disks, changed, folder); }, *lock);
    };
    settings.host_time_sync_changed = [registered, lock](bool enabled) {
        return MachineRegistry::change(
            registered, [&](Vmc& changed) { write_host_time_sync(enabled, changed); }, *lock);
    };
    machine = VirtualMachine::make(std::move(settings), worker_, tasks_);
    known = machine;
    return {};
}

}  // namespace vpc::tasks
