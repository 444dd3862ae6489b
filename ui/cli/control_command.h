#pragma once
#include "ui/cli/disk_command.h"

namespace vpc::cli {

/// Declares the commands for machines that another process runs: `vpc start`, `pause`, `resume`, `save`, `reset`,
/// `turnoff`,
/// `shutdown`, `restart`, `logoff`, `guest-info`, `type`, `screenshot`, `insert`, `eject`, `tasks` and `cancel`.
/// Parsing one of them sets `action`, which must live as long as `app`.
void add_control_commands(CLI::App& app, Action& action);

}  // namespace vpc::cli
