#pragma once
#include "ui/cli/exit_status.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// `vpc run`: builds the machine, runs it to its end and says on stderr, in one line, what went wrong if anything did.
ExitStatus run_machine(const RunOptions& options);

}  // namespace vpc::cli
