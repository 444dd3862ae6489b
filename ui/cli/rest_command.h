#pragma once
#include "ui/cli/disk_command.h"

namespace vpc::cli {

/// Declares the commands for machines that nobody runs: `vpc discard-state`, `discard-undo` and `merge-undo`. Parsing
/// one of them sets `action`, which must live as long as `app`.
void add_rest_commands(CLI::App& app, Action& action);

}  // namespace vpc::cli
