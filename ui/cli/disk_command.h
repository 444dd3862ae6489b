#pragma once
#include <functional>

#include "ui/cli/exit_status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): named by the library
class App;
}

namespace vpc::cli {

/// What a command line asked for, to be done when it is parsed.
using Action = std::function<ExitStatus()>;

/// Declares `vpc disk` with its subcommands on `app`. Parsing one of them sets `action`, which must live as long.
void add_disk_command(CLI::App& app, Action& action);

/// The subcommands, by what they do to images: show them, make new ones, change them in place, examine and look after
/// them.
void add_disk_show_commands(CLI::App& disk, Action& action);
void add_disk_copy_commands(CLI::App& disk, Action& action);
void add_disk_change_commands(CLI::App& disk, Action& action);
void add_disk_care_commands(CLI::App& disk, Action& action);

}  // namespace vpc::cli
