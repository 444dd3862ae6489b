#include "ui/cli/machine_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "disk/operations/undo_disk.h"
#include "disk/posix_file.h"
#include "tasks/control_client.h"
#include "tasks/machine_registry.h"
#include "tasks/worker.h"
#include "ui/cli/disk_task.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/machine_runner.h"

namespace vpc::cli {
namespace {

using tasks::MachineRegistry;
using tasks::RegisteredMachine;
using Json = nlohmann::ordered_json;

/// What these commands are given.
struct MachineOptions {
    std::string name;
    std::string new_name;
    std::string file;
    bool json = false;
    bool undo = false;
    bool time_sync = true;
    RunOptions machine;
};

MachineRegistry registry() {
    return MachineRegistry(MachineRegistry::default_folder());
}

ExitStatus fail(const std::string& problem) {
    print_text(stderr, fmt::format("vpc: {}\n", problem));
    return kFailed;
}

ExitStatus report(const std::string& name, const tasks::Outcome& outcome) {
    if (tasks::succeeded(outcome.error)) {
        return kDone;
    }
    return fail(fmt::format("{}: {}", name, tasks::outcome_text(outcome, tasks::Language::English)));
}

/// "saved" or "turned_off", or what the process says that runs it: "running", "paused", ...; "missing".
std::string state_of(const RegisteredMachine& machine) {
    if (machine.missing) {
        return "missing";
    }
    if (MachineRegistry::is_locked(machine)) {
        if (const auto client = tasks::ControlClient::reach(machine.file)) {
            return (*client)->hello().value("state", "running");
        }
        return "running";  // by a program that cannot be asked, or not yet
    }
    std::error_code ignored;
    return std::filesystem::exists(machine.saved_state(), ignored) ? "saved" : "turned_off";
}

void print_json(const Json& object) {
    // File names need not be UTF-8.
    print_text(stdout, fmt::format("{}\n", object.dump(2, ' ', false, Json::error_handler_t::replace)));
}

// ---- commands ------------------------------------------------------------------------------------------------------

/// Malformed key scripts, back ends and so on are found now and not when the machine is started.
std::string check(const RunOptions& options) {
    MachineRunner runner;
    return runner.prepare(options);
}

ExitStatus create(const MachineOptions& options) {
    if (std::string problem = check(options.machine); !problem.empty()) {
        print_text(stderr, fmt::format("vpc: {}\n", problem));
        return kUsage;
    }
    const MachineRegistry machines = registry();
    if (machines.folder().empty()) {
        return fail("neither XDG_DATA_HOME nor HOME says where machines are kept");
    }
    tasks::MachineConfiguration machine = configuration_of(options.machine);
    machine.undo = options.undo;
    machine.host_time_sync = options.time_sync;
    tasks::Vmc vmc = tasks::Vmc::make();
    tasks::write_configuration(machine, vmc, machines.folder());
    return report(options.name, machines.create(options.name, vmc));
}

ExitStatus list(const MachineOptions& options) {
    Json array = Json::array();
    for (const RegisteredMachine& machine : registry().machines()) {
        array.push_back({{"name", machine.name}, {"state", state_of(machine)}, {"file", machine.file.string()}});
    }
    if (options.json) {
        print_json(array);
        return kDone;
    }
    for (const Json& machine : array) {
        const std::string state = machine["state"];
        const std::string remark = state == "missing"
                                       ? fmt::format(" ({} is not there; put it back, or 'vpc unregister' it)",
                                                     disk::quoted(machine["file"].get<std::string>()))
                                       : "";
        print_text(stdout, fmt::format("{:<11} {}{}\n", state, machine["name"].get<std::string>(), remark));
    }
    return kDone;
}

ExitStatus register_machine(const MachineOptions& options) {
    const MachineRegistry machines = registry();
    if (machines.folder().empty()) {
        return fail("neither XDG_DATA_HOME nor HOME says where machines are kept");
    }
    std::error_code ignored;
    RegisteredMachine machine;
    return report(options.file,
                  machines.add(options.new_name, std::filesystem::absolute(options.file, ignored), machine));
}

/// One line of `vpc show`: an array's elements each in quotes, numbers and words plain.
std::string value_text(const Json& value) {
    if (value.is_string()) {
        return value.get<std::string>();
    }
    if (value.is_array()) {
        std::string text;
        for (const Json& each : value) {
            text += (text.empty() ? "" : ", ") + value_text(each);
        }
        return text;
    }
    return value.dump();
}

ExitStatus show(const MachineOptions& options) {
    const auto machine = find_machine(options.name);
    if (!machine) {
        return fail(machine.error());
    }
    const auto vmc = tasks::Vmc::read(machine->file);
    if (!vmc) {
        return fail(vmc.error().message);
    }
    const auto read = tasks::read_configuration(*vmc, machine->file.parent_path());
    const tasks::MachineConfiguration& parts = read.machine;
    Json object = {{"name", machine->name},
                   {"state", state_of(*machine)},
                   {"file", machine->file.string()},
                   {"link", machine->link.string()},
                   {"memory", parts.memory}};
    for (unsigned place = 0; place < parts.hard_disks.size(); ++place) {
        if (!parts.hard_disks[place].empty()) {
            object[drive_name(place)] = parts.hard_disks[place].string();
        }
    }
    if (parts.cdrom_place) {
        object["cdrom_drive"] = drive_name(*parts.cdrom_place);
        object["cdrom"] = parts.disc.string();
    }
    object["floppy"] = Json::array();
    for (const auto& floppy : parts.floppies) {
        object["floppy"].push_back(floppy.string());
    }
    object["serial"] = parts.serial;
    object["parallel"] = parts.parallel;
    object["cpu"] = parts.cpu;
    object["boot"] = parts.boot_order;
    object["bios"] = parts.bios.string();
    object["vgabios"] = parts.vga_bios.string();
    object["undo"] = parts.undo;
    object["undo_disks"] = Json::array();
    for (const auto& file : parts.undo_disks) {
        object["undo_disks"].push_back(file.string());
    }
    object["time_sync"] = parts.host_time_sync;
    object["missing"] = Json::array();
    for (const auto& missing : read.missing) {
        object["missing"].push_back(missing.file.string());
    }
    object["left_out"] = read.left_out;
    if (options.json) {
        print_json(object);
        return kDone;
    }
    for (const auto& [key, value] : object.items()) {
        if (const std::string text = value_text(value); text.find_first_not_of(", ") != std::string::npos) {
            print_text(stdout, fmt::format("{:<12} {}\n", key, text));
        }
    }
    return kDone;
}

ExitStatus set(const MachineOptions& options, const IsGiven& given) {
    const auto machine = find_machine(options.name);
    if (!machine) {
        return fail(machine.error());
    }
    auto vmc = tasks::Vmc::read(machine->file);
    if (!vmc) {
        return fail(vmc.error().message);
    }
    const std::filesystem::path folder = machine->file.parent_path();
    const tasks::MachineConfiguration before = tasks::read_configuration(*vmc, folder).machine;
    const auto merged = options_over(before, options.machine, given);
    if (!merged) {
        return fail(merged.error());
    }
    if (std::string problem = check(*merged); !problem.empty()) {
        print_text(stderr, fmt::format("vpc: {}\n", problem));
        return kUsage;
    }
    tasks::MachineConfiguration after = configuration_of(*merged);
    after.undo = given("--undo") ? options.undo : before.undo;
    after.host_time_sync = given("--time-sync") ? options.time_sync : before.host_time_sync;
    // An undo disk that is switched off, or whose disk is another one now, is deleted.
    std::vector<std::filesystem::path> forgotten;
    for (std::size_t place = 0; place < after.undo_disks.size(); ++place) {
        if (!after.undo || after.hard_disks[place] != before.hard_disks[place]) {
            if (!after.undo_disks[place].empty()) {
                forgotten.push_back(std::exchange(after.undo_disks[place], {}));
            }
        }
    }
    tasks::write_configuration(after, *vmc, folder);
    const ExitStatus stored = report(options.name, MachineRegistry::store(*machine, *vmc));
    for (const std::filesystem::path& file : stored == kDone ? forgotten : std::vector<std::filesystem::path>()) {
        if (const disk::Status discarded = disk::discard_undo_disk(file);
            !discarded && discarded.error().code != disk::ErrorCode::NotFound) {
            return fail(discarded.error().message);
        }
    }
    return stored;
}

// ---- declarations --------------------------------------------------------------------------------------------------

using Options = std::shared_ptr<MachineOptions>;

CLI::App* declare(CLI::App& app, const char* command, const char* help, const Options& options) {
    CLI::App* declared = app.add_subcommand(command, help);
    declared->add_option("NAME", options->name, "name of the machine")->required();
    return declared;
}

/// What a registered machine has and one that is run from options alone has not.
void add_registered_machine_options(CLI::App& command, MachineOptions& options) {
    add_machine_options(command, options.machine);
    command.add_option("--undo", options.undo, "undo disks: true, or false, which deletes them")->type_name("BOOL");
    command
        .add_option("--time-sync", options.time_sync,
                    "whether the agent in the guest (see vpc guest-info) sets its clock by the host's")
        ->type_name("on|off");
}

}  // namespace

void add_machine_commands(CLI::App& app, Action& action) {
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = declare(app, "create", "register a new machine", options);
        add_registered_machine_options(*command, *options);
        command->footer(
            "Writes NAME.vmc to $XDG_DATA_HOME/vpc (~/.local/share/vpc). 'vpc run NAME' runs it.\n"
            "Example: vpc create xp --memory 256 --hda xp.vhd --cdrom tools.iso");
        command->callback([options, &action] { action = [options] { return create(*options); }; });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = app.add_subcommand("register", "register a machine that is elsewhere, by its .vmc");
        command->add_option("FILE", options->file, "its .vmc")->type_name("FILE.vmc")->required();
        command->add_option("--name", options->new_name, "name of the machine, instead of the file's");
        command->footer(
            "All files stay where they are; $XDG_DATA_HOME/vpc (~/.local/share/vpc) gets a symbolic link to the .vmc.\n"
            "Saved states and undo disks are made beside the .vmc. 'vpc unregister NAME' takes the link away.\n"
            "Example: vpc register '/media/old/Windows XP.vmc' --name xp");
        command->callback([options, &action] { action = [options] { return register_machine(*options); }; });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command =
            declare(app, "unregister", "forget a machine that 'vpc register' registered; its files stay", options);
        command->footer(
            "Not while the machine is running. 'vpc remove' deletes the configuration of a machine that 'vpc create'\n"
            "made.");
        command->callback([options, &action] {
            action = [options] { return report(options->name, registry().withdraw(options->name)); };
        });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = app.add_subcommand("list", "list the registered machines");
        command->add_flag("--json", options->json, "as a JSON array");
        command->callback([options, &action] { action = [options] { return list(*options); }; });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = declare(app, "show", "show what a machine is made of", options);
        command->add_flag("--json", options->json, "as a JSON object");
        command->callback([options, &action] { action = [options] { return show(*options); }; });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = declare(app, "set", "change what a machine is made of", options);
        add_registered_machine_options(*command, *options);
        command->footer(
            "Options that are not given stay as they are; an empty value takes a part away. Not while the machine is\n"
            "running or saved. NAME may also be the path of a .vmc file.\n"
            "Example: vpc set xp --memory 512 --cdrom ''");
        command->callback([options, command, &action] {
            action = [options, command] {
                return set(*options, [command](const std::string& option) { return command->count(option) != 0; });
            };
        });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = declare(app, "rename", "give a machine another name", options);
        command->add_option("NEW", options->new_name, "the new name")->required();
        command->callback([options, &action] {
            action = [options] { return report(options->name, registry().rename(options->name, options->new_name)); };
        });
    }
    {
        const auto options = std::make_shared<MachineOptions>();
        CLI::App* command = declare(app, "remove", "delete a machine: its configuration and saved state", options);
        command->footer(
            "Disks stay. Not while the machine is running. Deletes the files of a machine that 'vpc register' "
            "registered,\n"
            "too; 'vpc unregister' leaves them.");
        command->callback([options, &action] {
            action = [options] { return report(options->name, registry().remove(options->name)); };
        });
    }
}

}  // namespace vpc::cli
