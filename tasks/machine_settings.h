#pragma once
#include "tasks/machine_configuration.h"
#include "tasks/machine_registry.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {

/// What a configuration makes of a machine. Firmware, and what serial ports are connected to, is the caller's; so is
/// whatever keeps changes in the configuration (MachineSettings::undo_disks_changed and so on). The clock is the
/// host's.
MachineSettings settings_of(const MachineConfiguration& configuration, const RegisteredMachine& machine);

}  // namespace vpc::tasks
