#pragma once
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "tasks/virtual_machine.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// The machine that the options describe, with its firmware, which is read here. What its ports are connected to
/// (PortCables) and which files a registered machine keeps (ClaimedMachine) come from elsewhere. The error is one line.
tl::expected<tasks::MachineSettings, std::string> start_settings(const RunOptions& options);

/// One line when a floppy disk's image may only be read, and the disk is write-protected therefore; otherwise empty.
std::string write_protection(const std::string& floppy);
/// The lines about those that are in the drives at the start; none when nothing is written to them anyway.
std::vector<std::string> write_protections(const RunOptions& options);

}  // namespace vpc::cli
