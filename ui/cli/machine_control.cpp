#include "ui/cli/machine_control.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <thread>

#include "devices/board.h"
#include "tasks/runtime_folder.h"
#include "ui/cli/key_script.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/png_writer.h"
#include "ui/cli/state_text.h"

namespace vpc::cli {
namespace {

using nlohmann::json;
using tasks::Answer;
using tasks::HResult;

constexpr std::chrono::milliseconds kTick{5};
// A command that has seen its task end hangs up; nobody keeps a machine's process for longer.
constexpr std::chrono::seconds kLongestFarewell{5};
constexpr std::chrono::seconds kLongestLook{10};  // a machine's thread that does not come around

json task_json(const tasks::IVMTask& task) {
    json object = {{"id", task.ID()},
                   {"description", task.Description()},
                   {"complete", task.IsComplete()},
                   {"cancelable", task.IsCancelable()}};
    object["percent"] = task.PercentCompleted();  // after "complete", so that a complete one has its last
    if (object["complete"]) {
        object["result"] = static_cast<int>(task.Result());
        object["error"] = tasks::hresult_number(task.Error());
        object["error_description"] = task.ErrorDescription();
    }
    return object;
}

tl::unexpected<tasks::Refusal> refused(HResult error) {
    return tl::unexpected(
        tasks::Refusal{.message = std::string(tasks::hresult_text(error, tasks::Language::English)), .hresult = error});
}

tl::unexpected<tasks::Refusal> refused(const tasks::Outcome& outcome) {
    return tl::unexpected(
        tasks::Refusal{.message = tasks::outcome_text(outcome, tasks::Language::English), .hresult = outcome.error});
}

/// Where E_FAIL has one reason alone.
Answer explained(Answer answer, const char* why_it_fails) {
    if (!answer && answer.error().hresult == HResult::E_FAIL) {
        answer.error().message = why_it_fails;
    }
    return answer;
}

}  // namespace

tl::expected<std::unique_ptr<MachineControl>, std::string> MachineControl::listen(
    const tasks::RegisteredMachine& machine, tasks::VirtualPC& pc, std::shared_ptr<tasks::VirtualMachine> vm) {
    const auto folder = tasks::runtime_folder();
    if (!folder) {
        return tl::unexpected(folder.error());
    }
    std::unique_ptr<MachineControl> control(new MachineControl(machine, pc, std::move(vm)));
    auto server = tasks::ControlServer::listen(
        tasks::control_socket(*folder, machine.file),
        [own = control.get()](const std::string& method, const json& parameters) {
            return own->answer(method, parameters);
        },
        [own = control.get()] { return own->observe(); });
    if (!server) {
        return tl::unexpected(server.error());
    }
    control->server_ = std::move(*server);
    return control;
}

std::vector<tasks::Event> MachineControl::observe() const {
    std::vector<tasks::Event> events{
        {.method = "state", .key = "state", .parameters = {{"state", state_text(vm_->State())}}}};
    for (const auto& task : pc_.Tasks().snapshot()) {
        events.push_back({.method = "task", .key = std::to_string(task->ID()), .parameters = task_json(*task)});
    }
    return events;
}

void MachineControl::say_farewell() {
    for (auto waited = std::chrono::milliseconds(0); waited < kLongestFarewell && server_->clients() > 0;
         waited += kTick) {
        std::this_thread::sleep_for(kTick);
    }
}

Answer MachineControl::answer(const std::string& method, const json& parameters) {
    if (method == "hello") {
        return json{{"protocol", tasks::kProtocol},
                    {"name", machine_.name},
                    {"file", machine_.file.string()},
                    {"pid", ::getpid()},
                    {"state", state_text(vm_->State())}};
    }
    if (method == "state") {
        return json{{"state", state_text(vm_->State())}};
    }
    if (method == "pause") {
        return simple(vm_->Pause(), "it is paused already");
    }
    if (method == "resume") {
        return simple(vm_->Resume(), "it is not paused");
    }
    if (method == "save") {
        return explained(begin(&tasks::VirtualMachine::Save),
                         "it is not saved, since its changes are to be thrown away; 'vpc turnoff' ends it");
    }
    if (method == "turn_off") {
        return turn_off(parameters);
    }
    if (method == "reset") {
        return begin(&tasks::VirtualMachine::Reset);
    }
    if (method == "shutdown" || method == "restart" || method == "logoff") {
        return begin_in_guest(method, parameters);
    }
    if (method == "guest_info") {
        return guest_info();
    }
    if (method == "tasks") {
        json list = json::array();
        for (const auto& task : pc_.Tasks().snapshot()) {
            list.push_back(task_json(*task));
        }
        return list;
    }
    if (method == "task" || method == "cancel") {
        return with_task(parameters, method == "cancel");
    }
    if (method == "type") {
        return type(parameters);
    }
    if (method == "screenshot") {
        return screenshot(parameters);
    }
    if (method == "insert" || method == "eject") {
        return change_disk(parameters, method == "insert");
    }
    return tasks::no_such_method(method);
}

Answer MachineControl::simple(HResult result, const char* why_it_fails) const {
    return result == HResult::S_OK ? Answer(json{{"state", state_text(vm_->State())}})
                                   : explained(refused(result), why_it_fails);
}

Answer MachineControl::begin(TaskMethod method) {
    std::shared_ptr<tasks::IVMTask> task;
    const HResult error = (vm_.get()->*method)(task);
    return error == HResult::S_OK ? Answer(json{{"task", task->ID()}}) : refused(error);
}

Answer MachineControl::turn_off(const json& parameters) {
    if (parameters.contains("undo")) {
        const json& undo = parameters["undo"];
        if (undo != "keep" && undo != "commit" && undo != "discard") {
            return tasks::bad_parameters("'undo' has to be keep, commit or discard");
        }
        vm_->UndoAction(undo == "keep"     ? tasks::VMUndoAction::Keep
                        : undo == "commit" ? tasks::VMUndoAction::Commit
                                           : tasks::VMUndoAction::Discard);
    }
    return begin(&tasks::VirtualMachine::TurnOff);
}

Answer MachineControl::begin_in_guest(const std::string& method, const json& parameters) {
    constexpr double kLongest = 86'400;  // seconds: a day
    tasks::GuestOS guest = vm_->GuestOS();
    std::chrono::milliseconds limit =
        method == "logoff" ? tasks::GuestOS::kLogoffLimit : tasks::GuestOS::kShutdownLimit;
    if (parameters.contains("time_limit")) {
        const json& seconds = parameters["time_limit"];
        if (!seconds.is_number() || seconds < 0.0 || seconds > kLongest) {
            return tasks::bad_parameters("'time_limit' has to be seconds, at most a day");
        }
        limit = std::chrono::milliseconds(static_cast<std::int64_t>(seconds.get<double>() * 1000));
    }
    std::shared_ptr<tasks::IVMTask> task;
    const HResult error = method == "shutdown"  ? guest.Shutdown(false, task, limit)
                          : method == "restart" ? guest.Restart(false, task, limit)
                                                : guest.Logoff(task, limit);
    return error == HResult::S_OK ? Answer(json{{"task", task->ID()}}) : refused(error);
}

Answer MachineControl::guest_info() {
    const tasks::GuestOS guest = vm_->GuestOS();
    tasks::GuestInformation information;
    if (const tasks::Outcome asked = guest.information(information); asked.error != HResult::S_OK) {
        return refused(asked);
    }
    std::int32_t heart_beat = 0;
    guest.HeartbeatPercentage(heart_beat);
    return json{{"agent_version", information.agent_version},
                {"commands", information.commands},
                {"computer_name", information.computer_name},
                {"os_name", information.os_name},
                {"os_id", information.os_id},
                {"os_version", information.os_version},
                {"kernel_release", information.kernel_release},
                {"users", information.users},
                {"unix_time", information.unix_time},
                {"heart_beat", heart_beat}};
}

Answer MachineControl::with_task(const json& parameters, bool cancel) {
    if (!parameters.contains("id") || !parameters["id"].is_number_integer()) {
        return tasks::bad_parameters("'id' has to be a task's number");
    }
    const auto id = parameters["id"].get<std::int64_t>();
    for (const auto& task : pc_.Tasks().snapshot()) {
        if (task->ID() != id) {
            continue;
        }
        if (cancel) {
            if (const HResult error = task->Cancel(); error != HResult::S_OK) {
                return error == HResult::S_FALSE
                           ? tl::unexpected(tasks::Refusal{.message = "the task has ended already", .hresult = error})
                           : tl::unexpected(
                                 tasks::Refusal{.message = "the task cannot be cancelled now", .hresult = error});
            }
        }
        return task_json(*task);
    }
    return refused(HResult::DISP_E_BADINDEX);
}

Answer MachineControl::type(const json& parameters) {
    if (!parameters.contains("keys") || !parameters["keys"].is_string()) {
        return tasks::bad_parameters("'keys' has to be a text");
    }
    auto steps = parse_key_script(parameters["keys"].get<std::string>());
    if (!steps) {
        return tasks::bad_parameters(steps.error());
    }
    std::vector<tasks::KeyMove> moves;
    for (const KeyStep& step : *steps) {
        if (!step.media.drive.empty()) {
            return tasks::bad_parameters("disks are changed by insert and eject");
        }
        moves.push_back({.key = step.key, .pressed = step.pressed, .wait = step.wait});
    }
    const HResult typed = vm_->type(moves);
    return typed == HResult::S_OK ? Answer(json::object()) : refused(typed);
}

Answer MachineControl::screenshot(const json& parameters) {
    if (!parameters.contains("file") || !parameters["file"].is_string() ||
        !parameters["file"].get<std::string>().starts_with('/')) {
        return tasks::bad_parameters("'file' has to be an absolute path");
    }
    // The machine may end before its turn comes: the promise is broken then.
    auto picture = std::make_shared<std::promise<devices::Frame>>();
    auto taken = picture->get_future();
    const bool running = vm_->look_at(
        [picture = std::move(picture)](devices::Board& board) { picture->set_value(board.vga().render()); });
    if (!running) {
        return refused(HResult::VM_E_VM_NOT_RUNNING);
    }
    if (taken.wait_for(kLongestLook) != std::future_status::ready) {
        return refused(HResult::VM_E_TIMED_OUT);
    }
    try {
        if (const auto written = write_png(parameters["file"].get<std::string>(), taken.get()); !written) {
            return tl::unexpected(tasks::Refusal{.message = written.error(), .hresult = HResult::ERROR_ACCESS_DENIED});
        }
    } catch (const std::future_error&) {
        return refused(HResult::VM_E_VM_NOT_RUNNING);
    }
    return json::object();
}

Answer MachineControl::change_disk(const json& parameters, bool insert) {
    const auto drive = removable_drive(parameters.value("drive", ""));
    const std::string file = parameters.value("file", "");
    if (!drive) {
        return tasks::bad_parameters("'drive' has to be a, b or cd");
    }
    if (insert && !file.starts_with('/')) {
        return tasks::bad_parameters("'file' has to be an absolute path");
    }
    const tasks::Outcome outcome = insert ? vm_->insert_medium(*drive, file) : vm_->eject_medium(*drive);
    if (outcome.error == HResult::S_OK) {
        return json::object();
    }
    return refused(outcome);
}

}  // namespace vpc::cli
