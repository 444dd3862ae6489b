#pragma once
#include "ui/cli/disk_command.h"

namespace vpc::cli {

/// Declares `vpc create`, `register`, `unregister`, `list`, `show`, `set`, `rename` and `remove`: the registered
/// machines. Parsing one of them sets `action`, which must live as long as `app`.
void add_machine_commands(CLI::App& app, Action& action);

}  // namespace vpc::cli
