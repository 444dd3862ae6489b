#include "ui/cli/machine_host.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "tasks/virtual_pc.h"
#include "ui/cli/claimed_machine.h"
#include "ui/cli/machine_control.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/port_cables.h"
#include "ui/cli/start_settings.h"
#include "ui/cli/virtual_machine_window.h"

namespace vpc::cli {
namespace {

using tasks::HResult;

constexpr std::chrono::milliseconds kTick{20};

class Host {
  public:
    /// The error is one line.
    std::string prepare(const tasks::RegisteredMachine& machine, const RunOptions& options);
    std::string start(tasks::VMStartupOption option, const StartWatcher& watcher);
    /// What the user has to know of a prepared machine, in lines.
    const std::vector<std::string>& notes() const { return notes_; }
    void wait_for_the_end();

  private:
    bool at_rest() const { return is_at_rest(vm_->State()); }

    std::mutex mutex_;
    std::condition_variable changed_;  ///< the machine's state
    std::unique_ptr<ClaimedMachine> claimed_;
    PortCables cables_;
    std::vector<std::string> notes_;
    tasks::VirtualPC pc_;
    std::shared_ptr<tasks::VirtualMachine> vm_;
    std::unique_ptr<VirtualMachineWindow> window_;
    std::unique_ptr<MachineControl> control_;
};

/// A process without a terminal.
std::string stdio_problem(const RunOptions& options) {
    for (std::size_t port = 0; port < options.serial.size(); ++port) {
        if (options.serial[port] == "stdio") {
            return fmt::format(
                "COM{} is 'stdio', and a machine that is started in a process of its own has no terminal: use pty, "
                "unix:PATH, file:PATH or null, or 'vpc run'",
                port + 1);
        }
    }
    return {};
}

std::string Host::prepare(const tasks::RegisteredMachine& machine, const RunOptions& options) {
    auto claimed = ClaimedMachine::claim(machine);
    if (!claimed) {
        return claimed.error();
    }
    claimed_ = std::move(*claimed);
    auto settings = start_settings(options);
    if (!settings) {
        return settings.error();
    }
    claimed_->describe(*settings);
    for (const std::string& problem : {PortCables::problem_of(options), stdio_problem(options)}) {
        if (!problem.empty()) {
            return problem;
        }
    }
    if (std::string problem = cables_.connect(options, *settings); !problem.empty()) {
        return problem;
    }
    notes_ = cables_.notes();
    for (std::string& line : write_protections(options)) {
        notes_.push_back(std::move(line));
    }
    vm_ = tasks::VirtualMachine::make(std::move(*settings), pc_.worker(), pc_.Tasks());
    vm_->OnStateChange([this](tasks::VMVMState) {
        const std::scoped_lock guard(mutex_);
        changed_.notify_all();
    });
    auto control = MachineControl::listen(machine, pc_, vm_);
    if (!control) {
        return control.error();
    }
    control_ = std::move(*control);
    if (!options.window.headless) {
        auto window = VirtualMachineWindow::open(machine.name, name_for_commands(machine), options.window,
                                                 VirtualMachineWindow::Closing::Saves);
        if (window) {
            window_ = std::move(*window);
        } else {
            notes_.push_back("no window, running headless: " + window.error());
        }
    }
    return {};
}

std::string Host::start(tasks::VMStartupOption option, const StartWatcher& watcher) {
    std::shared_ptr<tasks::IVMTask> task;
    if (const HResult error = vm_->Startup2(option, task); error != HResult::S_OK) {
        return std::string(tasks::hresult_text(error, tasks::Language::English));
    }
    if (window_) {
        window_->attach(vm_, task);
    }
    while (!task->IsComplete()) {
        if (window_) {
            window_->process(std::chrono::milliseconds(0));
        }
        task->WaitForCompletion(static_cast<std::int32_t>(kTick.count()));
        watcher.progress(task->PercentCompleted());
        if (watcher.cancelled()) {
            task->Cancel();
        }
    }
    if (task->Error() == HResult::S_OK) {
        cables_.plug_in(*vm_);
    }
    return task->ErrorDescription();
}

void Host::wait_for_the_end() {
    while (window_ && !at_rest()) {
        window_->process(kTick);
    }
    window_.reset();
    std::unique_lock guard(mutex_);
    changed_.wait(guard, [this] { return at_rest(); });
    guard.unlock();
    control_->say_farewell();
    if (const std::string lost = cables_.finish(); !lost.empty()) {
        std::fprintf(stderr, "vpc: %s\n", lost.c_str());
    }
    control_.reset();
    pc_.shut_down();
    vm_.reset();
}

}  // namespace

void host_machine(const tasks::RegisteredMachine& machine, const RunOptions& options, tasks::VMStartupOption option,
                  const StartWatcher& watcher) {
    Host host;
    std::string problem = host.prepare(machine, options);
    if (problem.empty()) {
        for (const std::string& note : host.notes()) {
            watcher.note(note);
        }
        problem = host.start(option, watcher);
    }
    watcher.started(problem);
    if (problem.empty()) {
        host.wait_for_the_end();
    }
}

}  // namespace vpc::cli
