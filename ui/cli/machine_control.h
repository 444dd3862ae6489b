#pragma once
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "tasks/control_server.h"
#include "tasks/virtual_pc.h"

namespace vpc::cli {

/// Lets other processes control a machine of this one; `vpc`'s commands are such processes.
///
/// The methods that it answers (see tasks/control_server.h): hello; state; pause; resume; save, reset, turn_off {undo}
/// (keep, commit or discard), and shutdown, restart, logoff {time_limit}, in seconds: they return {"task": ID}; tasks;
/// task {id}; cancel {id}; type {keys}; screenshot {file}, an absolute path; insert {drive, file} and eject {drive},
/// drive being a, b or cd; guest_info (see tasks::GuestInformation). A task is an object with the keys id, description,
/// percent, complete, cancelable and, when it is complete, result (VMTaskResult), error (HRESULT) and
/// error_description. Who watches hears of every task ("task", with such an object) and of the machine's power state
/// ("state", {state}).
class MachineControl {
  public:
    /// `pc`, whose tasks are shown, must outlive the object. The error is one line.
    static tl::expected<std::unique_ptr<MachineControl>, std::string> listen(const tasks::RegisteredMachine& machine,
                                                                             tasks::VirtualPC& pc,
                                                                             std::shared_ptr<tasks::VirtualMachine> vm);

    /// Once the machine is at rest: returns when those that watched its last task have heard of its end, or took too
    /// long.
    void say_farewell();

  private:
    using TaskMethod = tasks::HResult (tasks::VirtualMachine::*)(std::shared_ptr<tasks::IVMTask>&);

    MachineControl(const tasks::RegisteredMachine& machine, tasks::VirtualPC& pc,
                   std::shared_ptr<tasks::VirtualMachine> vm)
        : machine_(machine), pc_(pc), vm_(std::move(vm)) {}
    std::vector<tasks::Event> observe() const;
    tasks::Answer answer(const std::string& method, const nlohmann::json& parameters);
    tasks::Answer begin(TaskMethod method);
    tasks::Answer turn_off(const nlohmann::json& parameters);
    tasks::Answer begin_in_guest(const std::string& method, const nlohmann::json& parameters);
    tasks::Answer guest_info();
    tasks::Answer simple(tasks::HResult result, const char* why_it_fails) const;
    tasks::Answer type(const nlohmann::json& parameters);
    tasks::Answer screenshot(const nlohmann::json& parameters);
    tasks::Answer change_disk(const nlohmann::json& parameters, bool insert);
    tasks::Answer with_task(const nlohmann::json& parameters, bool cancel);

    const tasks::RegisteredMachine machine_;
    tasks::VirtualPC& pc_;
    const std::shared_ptr<tasks::VirtualMachine> vm_;
    std::unique_ptr<tasks::ControlServer> server_;  // last: it asks all of the others
};

}  // namespace vpc::cli
