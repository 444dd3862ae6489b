#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <string>
#include <vector>

#include "core/cpu.h"
#include "core/log.h"
#include "ui/cli/control_command.h"
#include "ui/cli/disk_command.h"
#include "ui/cli/exit_status.h"
#include "ui/cli/machine_command.h"
#include "ui/cli/rest_command.h"
#include "ui/cli/run_command.h"
#include "ui/cli/run_options.h"

namespace {

std::string version_text() {
    std::string text = "vpc " VPC_VERSION "\n";
    if (const auto engine = vpc::cpu_engine_info()) {
        text += "CPU: " + engine->name + "; overrides active: " + engine->overrides;
    } else {
        text += "CPU: " + engine.error();
    }
    return text;
}

/// CLI11 calls an unknown command a missing one.
std::string unknown_command(const CLI::App& app) {
    const CLI::App* deepest = &app;
    while (!deepest->get_subcommands().empty()) {
        deepest = deepest->get_subcommands().front();
    }
    const std::vector<std::string> unknown = deepest->remaining();
    if (deepest->get_require_subcommand_min() == 0 || unknown.empty()) {
        return "";
    }
    const std::string& first = unknown.front();
    return "'" + first + (first.starts_with('-') ? "' is not an option of " : "' is not a command of ") +
           (deepest == &app ? "vpc" : "vpc " + deepest->get_name());
}

}  // namespace

int main(int argc, char** argv) {
    using namespace vpc::cli;
    std::signal(SIGXFSZ, SIG_IGN);  // a file that must not grow any more is an error like a full disk
    CLI::App app{"An x86 PC for old machines, scripts and programs."};
    app.name("vpc");
    app.require_subcommand(1);
    app.fallthrough(false);
    app.set_version_flag("--version", version_text, "print the versions of this program and its CPU engine");
    app.add_option_function<std::string>(
           "--log",
           [](const std::string& level) {
               if (!vpc::set_log_level(level)) {
                   throw CLI::ValidationError("--log",
                                              "'" + level + "' is none of trace, debug, info, warning, error, off");
               }
           },
           "how much to log on stderr: trace, debug, info, warning, error or off")
        ->type_name("LEVEL")
        ->default_str("warning");

    RunOptions run_options;
    CLI::App* run = app.add_subcommand("run", "run a machine in the foreground");
    run->footer(
        "Ends with status 0 when the guest switches itself off or an --until option matches, 1 on failure,\n"
        "2 on wrong usage, 124 at the time limit, 130 when interrupted by Ctrl-C.");
    add_run_options(*run, run_options);
    Action action;
    run->callback([&] {
        action = [&] {
            return run_machine(run_options, [&](const std::string& option) { return run->count(option) != 0; });
        };
    });
    add_machine_commands(app, action);
    add_control_commands(app, action);
    add_rest_commands(app, action);
    add_disk_command(app, action);

    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& wanted) {  // --help, --version
        return app.exit(wanted);
    } catch (const CLI::ParseError& error) {
        const std::string unknown = unknown_command(app);
        std::fprintf(stderr, "vpc: %s (see vpc --help)\n", unknown.empty() ? error.what() : unknown.c_str());
        return kUsage;
    }
    return action();
}
