#pragma once
#include <string>

#include "ui/cli/disk_task.h"

namespace vpc::cli {

/// `vpc start`: runs the machine in a process of its own, which goes on when this one ends; returns when the guest
/// runs. Ctrl-C until then cancels the start.
ExitStatus start_machine(const std::string& name, const TaskOptions& options);

}  // namespace vpc::cli
