#pragma once
#include <string>

#include "tasks/virtual_machine.h"
#include "ui/cli/disk_task.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// `vpc start`: runs the machine in a process of its own, which goes on when this one ends; returns when the guest
/// runs. Ctrl-C until then cancels the start. `option` as in VirtualMachine::Startup2.
ExitStatus start_machine(const std::string& name, const WindowOptions& window, const TaskOptions& options,
                         tasks::VMStartupOption option);

}  // namespace vpc::cli
