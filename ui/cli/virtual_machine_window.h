#pragma once
#include <chrono>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "tasks/virtual_machine.h"
#include "ui/cli/machine_window.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// The window of a machine that has power states: its title tells them, closing it ends the machine (or cancels its
/// start), and what goes wrong is told in it. All members belong to the process's first thread.
class VirtualMachineWindow {
  public:
    enum class Closing { Saves, TurnsOff };
    /// `title` names the machine for people, `name` for commands (see name_for_commands()). The error is one line for
    /// people: why there can be no window.
    static tl::expected<std::unique_ptr<VirtualMachineWindow>, std::string> open(const std::string& title,
                                                                                 const std::string& name,
                                                                                 const WindowOptions& options,
                                                                                 Closing closing);
    /// Once the machine is being started by `startup`. The machine must have ended when this object goes.
    void attach(std::shared_ptr<tasks::VirtualMachine> machine, std::shared_ptr<tasks::IVMTask> startup);
    /// Shows the machine and does what the user asks, for up to `longest_wait`.
    void process(std::chrono::milliseconds longest_wait);

  private:
    using Method = tasks::HResult (tasks::VirtualMachine::*)(std::shared_ptr<tasks::IVMTask>&);

    VirtualMachineWindow(std::string name, Closing closing) : name_(std::move(name)), closing_(closing) {}
    void pause_or_resume();
    void close();
    void begin(Method method, std::string advice = "");

    const std::string name_;
    const Closing closing_;
    std::unique_ptr<MachineWindow> window_;
    std::shared_ptr<tasks::VirtualMachine> machine_;
    std::shared_ptr<tasks::IVMTask> startup_;  // until it is complete
    std::shared_ptr<tasks::IVMTask> task_;     // that the user has begun
    std::string advice_;                       // what to do if that fails
};

}  // namespace vpc::cli
