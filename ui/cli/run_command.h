#pragma once
#include "ui/cli/exit_status.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// `vpc run`: reads the machine's configuration if the options name one, which those that are `given` go over; builds
/// it, runs it to its end and says on stderr, in one line, what went wrong if anything did.
ExitStatus run_machine(const RunOptions& options, const IsGiven& given);

}  // namespace vpc::cli
