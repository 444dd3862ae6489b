#include "ui/cli/virtual_machine_window.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "ui/cli/state_text.h"

namespace vpc::cli {

using tasks::HResult;
using tasks::VirtualMachine;
using tasks::VMVMState;

tl::expected<std::unique_ptr<VirtualMachineWindow>, std::string> VirtualMachineWindow::open(
    const std::string& title, const std::string& name, const WindowOptions& options, Closing closing) {
    const auto host_key = parse_host_key(options.host_key);
    if (!host_key) {
        return tl::unexpected(host_key.error());
    }
    std::unique_ptr<VirtualMachineWindow> result(new VirtualMachineWindow(name, closing));
    auto window = MachineWindow::open(title, *host_key,
                                      {.pause_or_resume = [own = result.get()] { own->pause_or_resume(); },
                                       .reset = [own = result.get()] { own->begin(&VirtualMachine::Reset); },
                                       .close = [own = result.get()] { own->close(); }});
    if (!window) {
        return tl::unexpected(window.error());
    }
    result->window_ = std::move(*window);
    return result;
}

void VirtualMachineWindow::attach(std::shared_ptr<VirtualMachine> machine, std::shared_ptr<tasks::IVMTask> startup) {
    machine_ = std::move(machine);
    startup_ = std::move(startup);
}

void VirtualMachineWindow::pause_or_resume() {
    machine_->State() == VMVMState::Paused ? machine_->Resume() : machine_->Pause();
}

void VirtualMachineWindow::close() {
    if (startup_) {
        startup_->Cancel();
    } else if (closing_ == Closing::TurnsOff) {
        begin(&VirtualMachine::TurnOff);
    } else {
        begin(&VirtualMachine::Save,
              fmt::format("\n\nThe machine is still on. To turn it off: vpc turnoff '{}'", name_));
    }
}

void VirtualMachineWindow::begin(Method method, std::string advice) {
    if (task_) {
        return;
    }
    advice_ = std::move(advice);
    window_->tell("");
    const HResult error = (machine_.get()->*method)(task_);
    if (method == &VirtualMachine::Save && error == HResult::E_FAIL) {  // it has this one reason
        window_->tell("The machine is not saved, because its undo action is Discard." + advice_);
    } else if (error != HResult::S_OK) {
        window_->tell(std::string(tasks::hresult_text(error, tasks::Language::English)) + advice_);
    }
}

void VirtualMachineWindow::process(std::chrono::milliseconds longest_wait) {
    if (startup_ && startup_->IsComplete()) {
        startup_.reset();
        window_->attach(
            [machine = machine_](std::function<void(devices::Board&)> work) { return machine->post(std::move(work)); });
    }
    const VMVMState state = machine_->State();
    std::string text = state_text(state);
    std::replace(text.begin(), text.end(), '_', ' ');
    if (task_) {
        text += fmt::format(" {} %", task_->PercentCompleted());
    }
    window_->process(longest_wait, state != VMVMState::Running, text);
    if (task_ && task_->IsComplete()) {
        const auto task = std::move(task_);
        if (task->Error() != HResult::S_OK) {
            window_->tell(task->Description() + ": " + task->ErrorDescription() + advice_);
        }
    }
}

}  // namespace vpc::cli
