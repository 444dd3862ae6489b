#include "ui/cli/disk_command.h"

#include <CLI/CLI.hpp>

namespace vpc::cli {

void add_disk_command(CLI::App& app, Action& action) {
    CLI::App* disk =
        app.add_subcommand("disk", "work on disk images: VHD of every type, raw, and VHDX, which is only read");
    disk->require_subcommand(1);
    disk->footer(
        "Ends with status 0 when it is done, 1 on failure, 2 on wrong usage, 130 when interrupted by Ctrl-C, which\n"
        "leaves every image whole. Images in use by another process are refused.\n"
        "vpc disk COMMAND --help explains a command.");
    add_disk_show_commands(*disk, action);
    add_disk_copy_commands(*disk, action);
    add_disk_change_commands(*disk, action);
    add_disk_care_commands(*disk, action);
}

}  // namespace vpc::cli
