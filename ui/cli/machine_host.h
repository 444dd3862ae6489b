#pragma once
#include <functional>
#include <string>

#include "tasks/machine_registry.h"
#include "tasks/virtual_machine.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// What a machine can be reached by while it starts.
struct StartWatcher {
    /// Percent of the Startup task.
    std::function<void(int percent)> progress;
    /// Asked now and then.
    std::function<bool()> cancelled;
    /// One line that the user has to know.
    std::function<void(const std::string& line)> note;
    /// Called once: an empty string when the guest runs, otherwise why not, in one line.
    std::function<void(const std::string& problem)> started;
};

/// Runs a machine in this process until it is turned off or saved, and lets other processes control it (see
/// MachineControl). `options` describe the machine; serial ports can be anything but "stdio". With a window, on the
/// process's first thread, which saves the machine when it is closed; without one where there can be none.
void host_machine(const tasks::RegisteredMachine& machine, const RunOptions& options, tasks::VMStartupOption option,
                  const StartWatcher& watcher);

}  // namespace vpc::cli
