#include "ui/cli/control_command.h"

#include <fmt/format.h>
#include <poll.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "tasks/control_client.h"
#include "tasks/runtime_folder.h"
#include "tasks/task_text.h"
#include "ui/cli/disk_task.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/start_command.h"

namespace vpc::cli {
namespace {

using nlohmann::json;
using tasks::Answer;
using tasks::ControlClient;
using Client = std::unique_ptr<ControlClient>;

constexpr std::chrono::milliseconds kLook{20};    // how often a task is asked how far it is
constexpr std::chrono::milliseconds kEndLook{5};  // how often a process that ends is looked at
constexpr std::chrono::seconds kLongestEnd{10};
constexpr std::chrono::milliseconds kNewMachines{250};  // how often `vpc tasks --watch` looks for them

/// What these commands are given.
struct ControlOptions {
    std::string name;
    std::string what;  // keys, a file, a task
    std::string drive;
    WindowOptions window;
    bool fix_parents = false;
    bool json = false;
    bool watch = false;
    std::string undo;
    double time_limit = 0;  // seconds; 0: the method's own
    TaskOptions task;
};

ExitStatus fail(const std::string& problem) {
    print_text(stderr, fmt::format("vpc: {}\n", problem));
    return kFailed;
}

tl::expected<Client, std::string> reach(const std::string& name) {
    const auto machine = find_machine(name);
    if (!machine) {
        return tl::unexpected(machine.error());
    }
    auto client = ControlClient::reach(machine->file);
    if (!client) {
        return tl::unexpected(fmt::format("{}: {}", name, client.error().message));
    }
    return std::move(*client);
}

/// A method that is done when it answers.
ExitStatus call(const std::string& name, const std::string& method, const json& parameters = json::object()) {
    const auto client = reach(name);
    if (!client) {
        return fail(client.error());
    }
    const Answer answer = (*client)->call(method, parameters);
    return answer ? kDone : fail(fmt::format("{}: {}", name, answer.error().message));
}

/// A task of the machine's process, from its method to its end.
tasks::Outcome follow(ControlClient& client, const std::string& method, const json& parameters,
                      const disk::Operation& operation) {
    const auto refused = [](const tasks::Refusal& refusal) {
        return tasks::Outcome{refusal.hresult, tasks::VMTaskResult::UnexpectedError, refusal.message};
    };
    Answer answer = client.call(method, parameters);
    if (!answer) {
        return refused(answer.error());
    }
    const json id = {{"id", answer->value("task", 0)}};
    bool cancelled = false;
    for (;;) {
        answer = client.call("task", id);
        if (!answer) {
            return refused(answer.error());
        }
        operation.progress({.done = answer->value("percent", std::uint64_t{0}), .total = 100});
        if (answer->value("complete", false)) {
            const std::string error = answer->value("error", std::string("0x8000FFFF"));
            return {static_cast<tasks::HResult>(std::stoul(error, nullptr, 16)),
                    static_cast<tasks::VMTaskResult>(answer->value("result", 2)),
                    answer->value("error_description", std::string())};
        }
        if (operation.stop.stop_requested() && !std::exchange(cancelled, true)) {
            client.call("cancel", id);  // what comes of it is seen in the task
        }
        std::this_thread::sleep_for(kLook);
    }
}

ExitStatus run_remote(const ControlOptions& options, const std::string& method, tasks::TaskKind kind) {
    json parameters = json::object();
    if (options.time_limit > 0) {
        parameters["time_limit"] = options.time_limit;
    }
    if (!options.undo.empty()) {
        parameters["undo"] = options.undo;
    }
    const auto client = reach(options.name);
    if (!client) {
        return fail(client.error());
    }
    return watch_task(tasks::task_description(kind, options.name, tasks::Language::English), options.task,
                      [&](const disk::Operation& operation) {
                          tasks::Outcome outcome;
                          try {
                              outcome = follow(**client, method, parameters, operation);
                          } catch (const std::exception&) {  // an answer of the wrong shape
                              outcome = {tasks::HResult::E_UNEXPECTED, tasks::VMTaskResult::UnexpectedError,
                                         "the machine's process answers nonsense"};
                          }
                          outcome.detail = fmt::format("{}: {}", options.name, outcome.detail);
                          return outcome;
                      });
}

/// The same for a method behind which the machine's process ends: it has gone when this returns, and the machine can be
/// started again.
ExitStatus end_remote(const ControlOptions& options, const std::string& method, tasks::TaskKind kind) {
    const ExitStatus status = run_remote(options, method, kind);
    const auto machine = find_machine(options.name);
    for (auto waited = std::chrono::milliseconds(0); status == kDone && machine && waited < kLongestEnd;
         waited += kEndLook) {
        if (!tasks::MachineRegistry::is_locked(*machine)) {
            break;
        }
        std::this_thread::sleep_for(kEndLook);
    }
    return status;
}

// ---- the guest -----------------------------------------------------------------------------------------------------

ExitStatus guest_info(const ControlOptions& options) {
    const auto client = reach(options.name);
    if (!client) {
        return fail(client.error());
    }
    const Answer answer = (*client)->call("guest_info");
    if (!answer) {
        return fail(fmt::format("{}: {}", options.name, answer.error().message));
    }
    if (options.json) {
        print_text(stdout, answer->dump(2, ' ', false, json::error_handler_t::replace) + "\n");
        return kDone;
    }
    for (const auto& [key, value] : answer->items()) {
        std::string text = value.is_string() ? value.get<std::string>() : value.dump();
        // What the guest says goes to a terminal.
        std::replace_if(
            text.begin(), text.end(), [](unsigned char each) { return each < ' ' || each == 0x7F; }, ' ');
        if (!text.empty()) {
            print_text(stdout, fmt::format("{:<16} {}\n", key, text));
        }
    }
    return kDone;
}

// ---- tasks of all machines -----------------------------------------------------------------------------------------

/// Those that run and are not among `known`, by their sockets.
std::map<std::filesystem::path, Client> running_machines(const std::map<std::filesystem::path, Client>& known) {
    std::map<std::filesystem::path, Client> clients;
    const auto folder = tasks::runtime_folder();
    std::error_code error;
    if (folder) {
        for (std::filesystem::directory_iterator each(*folder, error), end; !error && each != end;
             each.increment(error)) {
            if (each->path().extension() == ".sock" && !known.contains(each->path())) {
                if (auto client = ControlClient::connect(each->path())) {
                    clients[each->path()] = std::move(*client);
                }
            }
        }
    }
    return clients;
}

/// A task as it is shown: with "machine" and, as "id", its process's number and its own: "4711.2".
json shown(json task, const ControlClient& client) {
    task["machine"] = client.hello().value("name", json());
    task["id"] = fmt::format("{}.{}", client.hello().value("pid", 0), task.value("id", 0));
    return task;
}

std::string task_line(const json& task) {
    std::string state = fmt::format("{:3} %", task.value("percent", 0));
    if (task.value("complete", false)) {
        state = task.value("result", 0) == 0 ? "done " : task.value("result", 0) == 1 ? "cancelled" : "failed";
    }
    return fmt::format("{:<12} {:<9} {}{}{}\n", task.value("id", ""), state, task.value("description", ""),
                       task.value("error_description", "").empty() ? "" : ": ", task.value("error_description", ""));
}

std::string dumped(const json& object) {
    return object.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

/// What machines tell of their tasks, until the process is ended. Machines come and go meanwhile.
ExitStatus watch_tasks(const ControlOptions& options) {
    std::map<std::filesystem::path, Client> watched;
    for (;;) {
        for (auto& [socket, client] : running_machines(watched)) {
            if (client->call("watch")) {
                watched[socket] = std::move(client);
            }
        }
        std::vector<pollfd> ends;
        for (auto each = watched.begin(); each != watched.end();) {
            ControlClient& client = *each->second;
            while (const std::optional<json> event = client.next_event()) {
                if (event->value("method", "") == "task" && event->contains("params")) {
                    const json task = shown((*event)["params"], client);
                    print_text(stdout, options.json ? dumped(task) : task_line(task));
                }
            }
            ends.push_back({.fd = client.descriptor(), .events = POLLIN, .revents = 0});
            each = client.broken() ? watched.erase(each) : std::next(each);
        }
        std::fflush(stdout);
        ::poll(ends.data(), ends.size(), static_cast<int>(kNewMachines.count()));
    }
}

ExitStatus list_tasks(const ControlOptions& options) {
    if (options.watch) {
        return watch_tasks(options);
    }
    json all = json::array();
    for (const auto& [socket, client] : running_machines({})) {
        const Answer tasks = client->call("tasks");
        for (const json& task : tasks && tasks->is_array() ? *tasks : json::array()) {
            all.push_back(shown(task, *client));
        }
    }
    if (options.json) {
        print_text(stdout, dumped(all));
        return kDone;
    }
    for (const json& task : all) {
        print_text(stdout, task_line(task));
    }
    return kDone;
}

ExitStatus cancel(const ControlOptions& options) {
    const std::string& text = options.what;
    const std::size_t dot = text.find('.');
    int process = 0;
    int id = 0;
    const char* end = text.data() + text.size();
    const bool good = dot != std::string::npos &&
                      std::from_chars(text.data(), text.data() + dot, process).ptr == text.data() + dot &&
                      std::from_chars(text.data() + dot + 1, end, id).ptr == end && dot + 1 < text.size() && dot > 0;
    if (!good) {
        print_text(stderr, fmt::format("vpc: '{}' is no task; 'vpc tasks' lists them\n", text));
        return kUsage;
    }
    for (const auto& [socket, client] : running_machines({})) {
        if (client->hello().value("pid", 0) == process) {
            const Answer answer = client->call("cancel", {{"id", id}});
            return answer ? kDone : fail(fmt::format("{}: {}", text, answer.error().message));
        }
    }
    return fail(fmt::format("{}: there is no such task", text));
}

ExitStatus start(const ControlOptions& options) {
    return start_machine(
        options.name, options.window, options.task,
        options.fix_parents ? tasks::VMStartupOption::FixParentTimestampMismatch : tasks::VMStartupOption::Normal);
}

ExitStatus screenshot(const ControlOptions& options) {
    std::error_code ignored;
    return call(options.name, "screenshot", {{"file", std::filesystem::absolute(options.what, ignored).string()}});
}

// ---- declarations --------------------------------------------------------------------------------------------------

using Options = std::shared_ptr<ControlOptions>;
using Command = ExitStatus (*)(const ControlOptions&);

CLI::App* declare(CLI::App& app, Action& action, const char* name, const char* help, Command command,
                  const Options& options) {
    CLI::App* declared = app.add_subcommand(name, help);
    declared->callback([options, command, &action] { action = [options, command] { return command(*options); }; });
    return declared;
}

CLI::App* declare_for_machine(CLI::App& app, Action& action, const char* name, const char* help, Command command,
                              const Options& options = std::make_shared<ControlOptions>()) {
    CLI::App* declared = declare(app, action, name, help, command, options);
    declared->add_option("NAME", options->name, "the machine: its registered name, or its .vmc")->required();
    return declared;
}

void declare_task(CLI::App& app, Action& action, const char* name, const char* help, Command command) {
    const auto options = std::make_shared<ControlOptions>();
    add_task_options(*declare_for_machine(app, action, name, help, command, options), options->task);
}

void declare_guest_task(CLI::App& app, Action& action, const char* name, const char* help, Command command,
                        const char* footer) {
    const auto options = std::make_shared<ControlOptions>();
    CLI::App* declared = declare_for_machine(app, action, name, help, command, options);
    add_task_options(*declared, options->task);
    declared->add_option("--time-limit", options->time_limit, "how long the guest may take; then the status is 124")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.001, 86'400.0));
    declared->footer(footer);
}

void declare_guest(CLI::App& app, Action& action) {
    constexpr const char* kAgent =
        "The guest needs the QEMU guest agent on COM2: qemu-ga -m isa-serial -p /dev/ttyS1 (or COM2). Without it,\n"
        "shutdown presses the ACPI power button.";
    declare_guest_task(
        app, action, "shutdown", "let a started machine's guest shut down",
        [](const ControlOptions& options) { return end_remote(options, "shutdown", tasks::TaskKind::Shutdown); },
        kAgent);
    declare_guest_task(
        app, action, "restart", "let a started machine's guest restart",
        [](const ControlOptions& options) { return run_remote(options, "restart", tasks::TaskKind::Restart); }, kAgent);
    declare_guest_task(
        app, action, "logoff", "log off the users of a started machine's guest",
        [](const ControlOptions& options) { return run_remote(options, "logoff", tasks::TaskKind::Logoff); }, kAgent);
    const auto options = std::make_shared<ControlOptions>();
    CLI::App* command = declare_for_machine(
        app, action, "guest-info", "show what the agent in a started machine's guest tells", guest_info, options);
    command->add_flag("--json", options->json, "as a JSON object");
    command->footer(kAgent);
}

ExitStatus insert(const ControlOptions& options) {
    std::error_code ignored;
    return call(options.name, "insert",
                {{"drive", options.drive}, {"file", std::filesystem::absolute(options.what, ignored).string()}});
}

void declare_drives(CLI::App& app, Action& action) {
    const auto add_drive = [](CLI::App& command, ControlOptions& options) {
        command.add_option("DRIVE", options.drive, "a, b (floppy drives) or cd")
            ->required()
            ->check(CLI::IsMember({"a", "b", "cd"}));
    };
    const auto options = std::make_shared<ControlOptions>();
    CLI::App* command =
        declare_for_machine(app, action, "insert", "put a disk into a drive of a started machine", insert, options);
    add_drive(*command, *options);
    command->add_option("FILE", options->what, "its image")->required();
    const auto ejected = std::make_shared<ControlOptions>();
    add_drive(*declare_for_machine(
                  app, action, "eject", "take the disk out of a drive of a started machine",
                  [](const ControlOptions& given) {
                      return call(given.name, "eject", {{"drive", given.drive}});
                  },
                  ejected),
              *ejected);
}

}  // namespace

void add_control_commands(CLI::App& app, Action& action) {
    {
        const auto options = std::make_shared<ControlOptions>();
        CLI::App* command = declare_for_machine(app, action, "start",
                                                "start a machine, or go on where it was saved, in a process of its own",
                                                start, options);
        add_window_options(*command, options->window, "save the machine and end it");
        command->add_flag("--fix-parents", options->fix_parents,
                          "take disks as they are that were changed since their undo disks were begun");
        add_task_options(*command, options->task);
        command->footer(
            "Ends when the guest runs; the machine goes on. vpc save NAME or vpc turnoff NAME ends it.\n"
            "Its serial ports can be pty, unix:PATH, file:PATH or null.");
    }
    declare_for_machine(app, action, "pause", "make a started machine stand still",
                        [](const ControlOptions& options) { return call(options.name, "pause"); });
    declare_for_machine(app, action, "resume", "let a paused machine go on",
                        [](const ControlOptions& options) { return call(options.name, "resume"); });
    declare_task(app, action, "save", "save a started machine's state to its .vsv and end it",
                 [](const ControlOptions& options) { return end_remote(options, "save", tasks::TaskKind::Save); });
    declare_task(app, action, "reset", "press a started machine's reset button",
                 [](const ControlOptions& options) { return run_remote(options, "reset", tasks::TaskKind::Reset); });
    {
        const auto options = std::make_shared<ControlOptions>();
        CLI::App* command = declare_for_machine(
            app, action, "turnoff", "pull a started machine's plug",
            [](const ControlOptions& given) { return end_remote(given, "turn_off", tasks::TaskKind::TurnOff); },
            options);
        add_task_options(*command, options->task);
        command
            ->add_option("--undo", options->undo,
                         "what becomes of its undo disks: keep, commit or discard; without it, what its configuration "
                         "says, or keep")
            ->type_name("CHOICE")
            ->check(CLI::IsMember({"keep", "commit", "discard"}));
    }
    {
        const auto options = std::make_shared<ControlOptions>();
        declare_for_machine(
            app, action, "type", "type on a started machine's keyboard",
            [](const ControlOptions& given) {
                return call(given.name, "type", {{"keys", given.what}});
            },
            options)
            ->add_option("KEYS", options->what, "as vpc run --keys")
            ->required();
    }
    {
        const auto options = std::make_shared<ControlOptions>();
        declare_for_machine(app, action, "screenshot", "write a started machine's screen to a PNG file", screenshot,
                            options)
            ->add_option("FILE", options->what, "the PNG file")
            ->required();
    }
    declare_drives(app, action);
    declare_guest(app, action);
    {
        const auto options = std::make_shared<ControlOptions>();
        CLI::App* command =
            declare(app, action, "tasks", "list what the started machines are doing and did last", list_tasks, options);
        command->add_flag("--json", options->json, "as a JSON array; with --watch one object a line");
        command->add_flag("--watch", options->watch, "go on and show every change, until Ctrl-C");
    }
    {
        const auto options = std::make_shared<ControlOptions>();
        declare(app, action, "cancel", "cancel a task of a started machine", cancel, options)
            ->add_option("ID", options->what, "as vpc tasks shows it")
            ->required();
    }
}

}  // namespace vpc::cli
