#include "ui/cli/claimed_machine.h"

#include <fmt/format.h>

#include "tasks/machine_configuration.h"

namespace vpc::cli {

tl::expected<std::unique_ptr<ClaimedMachine>, std::string> ClaimedMachine::claim(
    const tasks::RegisteredMachine& machine) {
    std::unique_ptr<ClaimedMachine> claimed(new ClaimedMachine(machine));
    const tasks::Outcome locked = tasks::MachineRegistry::lock(machine, claimed->lock_);
    if (!tasks::succeeded(locked.error)) {
        return tl::unexpected(fmt::format("{}{}{}", tasks::hresult_text(locked.error, tasks::Language::English),
                                          locked.detail.empty() ? "" : ": ", locked.detail));
    }
    return claimed;
}

void ClaimedMachine::describe(tasks::MachineSettings& settings) {
    settings.name = machine_.name;
    settings.saved_state = machine_.saved_state();
    settings.undo_folder = machine_.file.parent_path();
    settings.undo_disks_changed = [this](const tasks::UndoDisks& undo_disks) {
        return tasks::MachineRegistry::change(
            machine_, [&](tasks::Vmc& vmc) { tasks::write_undo_disks(undo_disks, vmc, machine_.file.parent_path()); },
            lock_);
    };
}

}  // namespace vpc::cli
