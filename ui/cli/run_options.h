#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tasks/undo_action.h"

namespace CLI {  // NOLINT(readability-identifier-naming): named by the library
class App;
}

namespace vpc::cli {

/// How a machine is shown, as typed.
struct WindowOptions {
    bool headless = false;
    std::string host_key = "RALT";
};

/// The options of `vpc run`, as typed.
struct RunOptions {
    std::string machine;                ///< a registered machine's name or a .vmc; empty: options alone
    std::uint64_t memory = 128;         ///< MiB
    std::array<std::string, 4> disks;   ///< hda to hdd; empty: none
    std::vector<std::string> floppies;  ///< in A and B; at most two
    std::string cdrom;                  ///< in the CD-ROM drive; empty: none
    bool cdrom_drive = true;            ///< there is one
    /// Where it is, counted as `disks`; none: at its usual place.
    std::optional<unsigned> cdrom_place;
    std::string boot_order = "acd";
    std::vector<std::string> serial;  ///< COM1, COM2
    std::string parallel;             ///< file:PATH
    WindowOptions window;
    double time_limit = 0;  ///< seconds; 0: none
    std::string until_serial;
    std::string until_screen;
    std::string keys;
    std::string screenshot;
    bool print_screen = false;
    bool undo = false;
    /// What only a registered machine has, and its configuration says: undo disks,
    bool undo_disks_on = false;
    std::array<std::filesystem::path, 4> undo_disks;
    tasks::VMUndoAction undo_action = tasks::VMUndoAction::Keep;
    bool host_time_sync = true;  ///< and an agent that sets the guest's clock
    std::string bios;
    std::string vga_bios;
    std::string cpu;
    std::string debug_port;
    std::vector<std::string> trace;
    bool stats = false;
};

/// Declares the options on `app`; parsing it fills `options`, which must live as long as `app`.
void add_run_options(CLI::App& app, RunOptions& options);
/// Those that say what the machine is made of.
void add_machine_options(CLI::App& app, RunOptions& options);
/// `f4`: what closing the window does.
void add_window_options(CLI::App& app, WindowOptions& options, const std::string& f4);

}  // namespace vpc::cli
