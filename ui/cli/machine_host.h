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

/// Runs a machine in this process until it is turned off or saved, and lets other processes control it. `options`
/// describe the machine; serial ports can be anything but "stdio". With a window, on the process's first thread, which
/// saves the machine when it is closed; without one where there can be none.
///
/// The methods that it answers (see tasks/control_server.h): hello; state; pause; resume; save, reset, turn_off {undo}
/// (keep, commit or discard), and shutdown, restart, logoff {time_limit}, in seconds: they return {"task": ID}; tasks;
/// task {id}; cancel {id}; type {keys}; screenshot {file}, an absolute path; insert {drive, file} and eject {drive},
/// drive being a, b or cd; guest_info (see tasks::GuestInformation). A task is an object with the keys id, description,
/// percent, complete, cancelable and, when it is complete, result (VMTaskResult), error (HRESULT) and
/// error_description.
void host_machine(const tasks::RegisteredMachine& machine, const RunOptions& options, tasks::VMStartupOption option,
                  const StartWatcher& watcher);

}  // namespace vpc::cli
