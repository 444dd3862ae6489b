// VirtualPC's machines.
#include <utility>

#include "tasks/machine_settings.h"
#include "tasks/virtual_pc.h"

namespace vpc::tasks {

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

Outcome VirtualPC::open_machine(const RegisteredMachine& registered, std::shared_ptr<VirtualMachine>& machine) {
    const std::scoped_lock guard(mutex_);
    std::weak_ptr<VirtualMachine>& known = machines_[registered.file];
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
    machine = VirtualMachine::make(std::move(settings), worker_, tasks_);
    known = machine;
    return {};
}

}  // namespace vpc::tasks
