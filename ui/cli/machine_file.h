#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "tasks/machine_configuration.h"
#include "tasks/machine_registry.h"
#include "tasks/removable_media.h"
#include "ui/cli/run_options.h"

namespace vpc::cli {

/// Whether the command line has this option ("--memory"), with whatever value.
using IsGiven = std::function<bool(const std::string& option)>;

/// The machine that the options describe: its parts, not how it is run. Paths become absolute. The CD-ROM drive gets
/// its usual place (see usual_cdrom_place()) unless the options name one.
tasks::MachineConfiguration configuration_of(const RunOptions& options);

/// Options that were given go over what `machine` says; an empty value takes the part away. The error is one line.
tl::expected<RunOptions, std::string> options_over(const tasks::MachineConfiguration& machine,
                                                   const RunOptions& options, const IsGiven& given);

/// A machine's configuration with the options over it, ready to be run. What the configuration has and this program
/// does not is said on stderr, a line each. The error is one line for each missing file, or about the configuration.
tl::expected<RunOptions, std::string> read_machine(const std::filesystem::path& vmc, const RunOptions& options,
                                                   const IsGiven& given);

/// The secondary master, or the first place of an IDE cable without a hard disk; none: four hard disks.
std::optional<unsigned> usual_cdrom_place(const std::array<std::string, 4>& hard_disks);

/// A registered machine's name, or the path of a `.vmc`, which has a slash in it or ends with ".vmc".
tl::expected<tasks::RegisteredMachine, std::string> find_machine(const std::string& name);

/// What find_machine() finds this machine by: its name, or where that leads elsewhere, its file.
std::string name_for_commands(const tasks::RegisteredMachine& machine);

/// "hda".
std::string drive_name(unsigned place);

/// What "a", "b" and "cd" are; nothing: there is no such drive.
std::optional<tasks::RemovableDrive> removable_drive(const std::string& name);

}  // namespace vpc::cli
