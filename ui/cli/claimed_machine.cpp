#include "ui/cli/claimed_machine.h"

#include <chrono>
#include <thread>

#include "tasks/control_client.h"
#include "tasks/machine_configuration.h"
#include "ui/cli/state_text.h"

namespace vpc::cli {
namespace {

constexpr std::chrono::milliseconds kLook{20};
constexpr std::chrono::milliseconds kLongestWait{2000};

/// Whether it says so itself.
bool runs(const tasks::RegisteredMachine& machine) {
    const auto client = tasks::ControlClient::reach(machine.file);
    if (!client) {
        return client.error().problem != tasks::ControlClient::Problem::NotRunning;
    }
    const nlohmann::json state = (*client)->hello().value("state", nlohmann::json());
    return state != state_text(tasks::VMVMState::TurnedOff) && state != state_text(tasks::VMVMState::Saved);
}

}  // namespace

tl::expected<std::unique_ptr<ClaimedMachine>, std::string> ClaimedMachine::claim(
    const tasks::RegisteredMachine& machine) {
    std::unique_ptr<ClaimedMachine> claimed(new ClaimedMachine(machine));
    tasks::Outcome locked = tasks::MachineRegistry::lock(machine, claimed->lock_);
    for (auto waited = std::chrono::milliseconds(0);
         locked.error == tasks::HResult::VM_E_VM_RUNNING && waited < kLongestWait && !runs(machine); waited += kLook) {
        std::this_thread::sleep_for(kLook);
        locked = tasks::MachineRegistry::lock(machine, claimed->lock_);
    }
    if (!tasks::succeeded(locked.error)) {
        return tl::unexpected(tasks::outcome_text(locked, tasks::Language::English));
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
