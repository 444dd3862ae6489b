#include "ui/cli/machine_host.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <ctime>
#include <future>
#include <thread>

#include "devices/board.h"
#include "tasks/control_server.h"
#include "tasks/runtime_folder.h"
#include "tasks/virtual_machine.h"
#include "tasks/virtual_pc.h"
#include "ui/cli/firmware.h"
#include "ui/cli/key_script.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/png_writer.h"
#include "ui/cli/serial_cable.h"
#include "ui/cli/state_text.h"
#include "ui/cli/virtual_machine_window.h"

namespace vpc::cli {
namespace {

using nlohmann::json;
using tasks::Answer;
using tasks::HResult;
using tasks::VMVMState;

constexpr std::chrono::milliseconds kTick{20};
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
        tasks::Refusal{.message = fmt::format("{}{}{}", tasks::hresult_text(outcome.error, tasks::Language::English),
                                              outcome.detail.empty() ? "" : ": ", outcome.detail),
                       .hresult = outcome.error});
}

class Host {
  public:
    explicit Host(const tasks::RegisteredMachine& machine) : machine_(machine) {}
    /// The error is one line.
    std::string prepare(const RunOptions& options);
    std::string start(tasks::VMStartupOption option, const StartWatcher& watcher);
    /// What the user has to know of a prepared machine, in lines.
    const std::vector<std::string>& notes() const { return notes_; }
    void wait_for_the_end();

  private:
    Answer answer(const std::string& method, const json& parameters);
    using TaskMethod = HResult (tasks::VirtualMachine::*)(std::shared_ptr<tasks::IVMTask>&);
    Answer begin(TaskMethod method);
    Answer turn_off(const json& parameters);
    disk::Status store_undo_disks(const tasks::UndoDisks& undo_disks);
    Answer begin_in_guest(const std::string& method, const json& parameters);
    Answer guest_info();
    Answer simple(HResult result) const;
    Answer type(const json& parameters);
    Answer screenshot(const json& parameters);
    Answer change_disk(const json& parameters, bool insert);
    Answer with_task(const json& parameters, bool cancel);
    std::string connect_serial(const RunOptions& options, tasks::MachineSettings& settings);
    bool at_rest() const;

    const tasks::RegisteredMachine machine_;
    std::unique_ptr<disk::File> lock_;
    std::array<std::unique_ptr<SerialCable>, 2> serial_;
    std::vector<std::string> notes_;
    tasks::VirtualPC pc_;
    std::shared_ptr<tasks::VirtualMachine> vm_;
    std::unique_ptr<VirtualMachineWindow> window_;
    std::unique_ptr<tasks::ControlServer> server_;  // last: it asks all of the others
};

std::string Host::connect_serial(const RunOptions& options, tasks::MachineSettings& settings) {
    if (options.serial.size() > serial_.size()) {
        return "--serial: a PC has two serial ports, COM1 and COM2";
    }
    for (std::size_t port = 0; port < options.serial.size(); ++port) {
        const auto choice = parse_serial_backend(options.serial[port]);
        if (!choice) {
            return "--serial: " + choice.error();
        }
        if (choice->kind == SerialBackendChoice::Kind::Stdio) {
            return fmt::format(
                "COM{} is 'stdio', and a machine that is started in a process of its own has no terminal: use pty, "
                "unix:PATH, file:PATH or null, or 'vpc run'",
                port + 1);
        }
        auto opened = open_serial_backend(*choice);
        if (!opened) {
            return "--serial " + options.serial[port] + ": " + opened.error();
        }
        if (const std::string terminal = (*opened)->terminal(); !terminal.empty()) {
            notes_.push_back(fmt::format("COM{} is {}", port + 1, terminal));
        }
        serial_[port] = std::make_unique<SerialCable>(std::move(*opened), static_cast<unsigned>(port));
        settings.serial[port] = [cable = serial_[port].get()](std::uint8_t byte) { cable->send(byte); };
    }
    return options.parallel.empty() ? "" : "a started machine's parallel port cannot be connected yet; 'vpc run' can";
}

std::string Host::prepare(const RunOptions& options) {
    if (const auto locked = tasks::MachineRegistry::lock(machine_, lock_); !tasks::succeeded(locked.error)) {
        return fmt::format("{}{}{}", tasks::hresult_text(locked.error, tasks::Language::English),
                           locked.detail.empty() ? "" : ": ", locked.detail);
    }
    tasks::MachineSettings settings;
    settings.name = machine_.name;
    settings.memory = options.memory;
    if (!options.cpu.empty()) {
        settings.cpu = find_cpu_model(options.cpu);
    }
    settings.boot_order = options.boot_order;
    settings.saved_state = machine_.saved_state();
    settings.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
    settings.undoable = options.undo_disks_on;
    settings.undo_disks = options.undo_disks;
    settings.undo_action = options.undo_action;
    settings.host_time_sync = options.host_time_sync;
    settings.undo_folder = machine_.file.parent_path();
    settings.undo_disks_changed = [this](const tasks::UndoDisks& undo_disks) { return store_undo_disks(undo_disks); };
    for (std::size_t i = 0; i < options.disks.size(); ++i) {
        settings.disks[i] = options.disks[i];
    }
    if (options.cdrom_drive) {
        settings.cdrom_place = options.cdrom_place ? options.cdrom_place : usual_cdrom_place(options.disks);
        settings.disc = options.cdrom;
    }
    for (std::size_t i = 0; i < options.floppies.size() && i < settings.floppies.size(); ++i) {
        settings.floppies[i] = options.floppies[i];
    }
    auto bios = load_firmware("bios.bin", options.bios);
    auto vga_bios = load_firmware("vgabios-stdvga.bin", options.vga_bios);
    if (!bios || !vga_bios) {
        return bios ? vga_bios.error() : bios.error();
    }
    settings.bios = std::move(*bios);
    settings.vga_bios = std::move(*vga_bios);
    if (std::string problem = connect_serial(options, settings); !problem.empty()) {
        return problem;
    }
    const auto folder = tasks::runtime_folder();
    if (!folder) {
        return folder.error();
    }
    vm_ = tasks::VirtualMachine::make(std::move(settings), pc_.worker(), pc_.Tasks());
    auto server = tasks::ControlServer::listen(
        tasks::control_socket(*folder, machine_.file),
        [this](const std::string& method, const json& parameters) { return answer(method, parameters); });
    if (!server) {
        return server.error();
    }
    server_ = std::move(*server);
    if (!options.window.headless) {
        auto window = VirtualMachineWindow::open(machine_.name, options.window);
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
        const auto post = [this](std::function<void(devices::Board&)> work) { return vm_->post(std::move(work)); };
        for (const auto& cable : serial_) {
            if (cable) {
                cable->plug_in(post);
            }
        }
    }
    return task->ErrorDescription();
}

bool Host::at_rest() const {
    const VMVMState state = vm_->State();
    return state == VMVMState::TurnedOff || state == VMVMState::Saved;
}

void Host::wait_for_the_end() {
    while (!at_rest()) {
        if (window_) {
            window_->process(kTick);
        } else {
            std::this_thread::sleep_for(kTick);
        }
    }
    window_.reset();
    for (auto waited = std::chrono::milliseconds(0); waited < kLongestFarewell && server_->clients() > 0;
         waited += kTick) {
        std::this_thread::sleep_for(kTick);
    }
    for (const auto& cable : serial_) {
        if (cable) {
            cable->finish();  // it posts to the machine until then
        }
    }
    server_.reset();
    pc_.shut_down();
    vm_.reset();
}

// ---- methods -------------------------------------------------------------------------------------------------------

Answer Host::answer(const std::string& method, const json& parameters) {
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
        return simple(vm_->Pause());
    }
    if (method == "resume") {
        return simple(vm_->Resume());
    }
    if (method == "save") {
        return begin(&tasks::VirtualMachine::Save);
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

Answer Host::simple(HResult result) const {
    return result == HResult::S_OK ? Answer(json{{"state", state_text(vm_->State())}}) : refused(result);
}

Answer Host::begin(TaskMethod method) {
    std::shared_ptr<tasks::IVMTask> task;
    const HResult error = (vm_.get()->*method)(task);
    return error == HResult::S_OK ? Answer(json{{"task", task->ID()}}) : refused(error);
}

Answer Host::turn_off(const json& parameters) {
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

disk::Status Host::store_undo_disks(const tasks::UndoDisks& undo_disks) {
    return tasks::MachineRegistry::change(
        machine_, [&](tasks::Vmc& vmc) { write_undo_disks(undo_disks, vmc, machine_.file.parent_path()); }, lock_);
}

Answer Host::begin_in_guest(const std::string& method, const json& parameters) {
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

Answer Host::guest_info() {
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

Answer Host::with_task(const json& parameters, bool cancel) {
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

Answer Host::type(const json& parameters) {
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

Answer Host::screenshot(const json& parameters) {
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

Answer Host::change_disk(const json& parameters, bool insert) {
    const std::string drive = parameters.value("drive", "");
    const std::string file = parameters.value("file", "");
    if (drive != "a" && drive != "b" && drive != "cd") {
        return tasks::bad_parameters("'drive' has to be a, b or cd");
    }
    if (insert && !file.starts_with('/')) {
        return tasks::bad_parameters("'file' has to be an absolute path");
    }
    const auto which = drive == "a"   ? tasks::RemovableDrive::A
                       : drive == "b" ? tasks::RemovableDrive::B
                                      : tasks::RemovableDrive::CdRom;
    const tasks::Outcome outcome = insert ? vm_->insert_medium(which, file) : vm_->eject_medium(which);
    if (outcome.error == HResult::S_OK) {
        return json::object();
    }
    return refused(outcome);
}
}  // namespace

void host_machine(const tasks::RegisteredMachine& machine, const RunOptions& options, tasks::VMStartupOption option,
                  const StartWatcher& watcher) {
    Host host(machine);
    std::string problem = host.prepare(options);
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
