#include "tasks/machine_settings.h"

#include <ctime>

namespace vpc::tasks {

MachineSettings settings_of(const MachineConfiguration& configuration, const RegisteredMachine& machine) {
    MachineSettings settings;
    settings.name = machine.name;
    settings.memory = configuration.memory;
    if (const CpuModel* cpu = find_cpu_model(configuration.cpu)) {
        settings.cpu = cpu;
    }
    settings.disks = configuration.hard_disks;
    settings.cdrom_place = configuration.cdrom_place;
    settings.disc = configuration.disc;
    settings.floppies = configuration.floppies;
    if (!configuration.boot_order.empty()) {
        settings.boot_order = configuration.boot_order;
    }
    settings.saved_state = machine.saved_state();
    settings.undoable = configuration.undo;
    settings.undo_disks = configuration.undo_disks;
    settings.undo_action = configuration.undo_action;
    settings.host_time_sync = configuration.host_time_sync;
    settings.undo_folder = machine.file.parent_path();
    settings.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
    return settings;
}

}  // namespace vpc::tasks
