#pragma once
#include "tasks/machine_configuration.h"
#include "tasks/machine_registry.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {

/// What a configuration makes of a machine. Firmware, and what serial ports are connected to, is the caller's; so is
/// MachineSettings::undo_disks_changed. The clock is the host's.
MachineSettings settings_of(const MachineConfiguration& configuration, const RegisteredMachine& machine);

}  // namespace vpc::tasks
