#include "ui/cli/run_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <ctime>

#include "core/log.h"
#include "devices/board.h"
#include "ui/cli/firmware.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/machine_runner.h"
#include "ui/cli/open_media.h"
#include "ui/cli/png_writer.h"
#include "ui/cli/run_statistics.h"

namespace vpc::cli {
namespace {

using Problem = std::string;  // one line for people; empty: none

Problem open_disks(const RunOptions& options, devices::BoardConfiguration& configuration) {
    for (std::size_t i = 0; i < options.disks.size(); ++i) {
        if (!options.disks[i].empty()) {
            auto image = open_hard_disk(options.disks[i], options.undo);
            if (!image) {
                return image.error();
            }
            configuration.disks[i] = std::move(*image);
        }
    }
    if (options.cdrom_drive) {
        const auto place = options.cdrom_place ? options.cdrom_place : usual_cdrom_place(options.disks);
        if (!place && !options.cdrom.empty()) {
            return "--cdrom: four hard disks leave no place for a CD-ROM drive";
        }
        if (place) {
            configuration.cdroms[*place] = true;
        }
        if (!options.cdrom.empty()) {
            auto disc = open_disc(options.cdrom);
            if (!disc) {
                return disc.error();
            }
            configuration.discs[*place] = std::move(*disc);
        }
    }
    for (std::size_t i = 0; i < options.floppies.size(); ++i) {
        auto image = open_floppy(options.floppies[i], options.undo);
        if (!image) {
            return image.error();
        }
        configuration.floppy_drives[i] = devices::drive_for((*image)->sectors());
        configuration.floppies[i] = std::move(*image);
    }
    return {};
}

Problem load_firmwares(const RunOptions& options, devices::BoardConfiguration& configuration) {
    auto bios = load_firmware("bios.bin", options.bios);
    if (!bios) {
        return bios.error();
    }
    auto vga_bios = load_firmware("vgabios-stdvga.bin", options.vga_bios);
    if (!vga_bios) {
        return vga_bios.error();
    }
    configuration.bios = std::move(*bios);
    configuration.vga_bios = std::move(*vga_bios);
    return {};
}

/// A file that guest output is written to as it comes.
class OutputFile {
  public:
    OutputFile() = default;
    OutputFile(const OutputFile&) = delete;
    OutputFile& operator=(const OutputFile&) = delete;
    ~OutputFile() {
        if (file_ != nullptr) {
            std::fclose(file_);
        }
    }
    Problem open(const std::string& path) {
        file_ = std::fopen(path.c_str(), "we");
        return file_ != nullptr ? Problem() : fmt::format("--debug-port {}: {}", path, std::strerror(errno));
    }
    void put(std::uint8_t byte) { std::fputc(byte, file_); }

  private:
    std::FILE* file_ = nullptr;
};

ExitStatus fail(const Problem& problem) {
    std::fprintf(stderr, "vpc: %s\n", problem.c_str());
    return kFailed;
}

/// Takes the machine for this process, if it can be started afresh.
Problem claim(const tasks::RegisteredMachine& machine, std::unique_ptr<disk::File>& lock) {
    if (const tasks::Outcome outcome = tasks::MachineRegistry::lock(machine, lock); !tasks::succeeded(outcome.error)) {
        return fmt::format("'{}': {}{}{}", machine.file.string(),
                           tasks::hresult_text(outcome.error, tasks::Language::English),
                           outcome.detail.empty() ? "" : ": ", outcome.detail);
    }
    std::error_code ignored;
    if (std::filesystem::exists(machine.saved_state(), ignored)) {
        return fmt::format("'{}': the machine is saved: its disks must not be used without '{}'", machine.file.string(),
                           machine.saved_state().string());
    }
    return {};
}

/// What the user asked to see of the screen when the machine has stopped.
Problem show_screen(const RunOptions& options, devices::Vga& vga) {
    if (options.print_screen) {
        if (const auto screen = vga.text()) {
            for (const std::string& line : screen->lines) {
                const std::size_t end = line.find_last_not_of(' ');
                std::printf("%s\n", line.substr(0, end == std::string::npos ? 0 : end + 1).c_str());
            }
        } else {
            std::fprintf(stderr, "vpc: --print-screen: the screen shows graphics, not text; try --screenshot\n");
        }
        std::fflush(stdout);
    }
    if (!options.screenshot.empty()) {
        if (const auto written = write_png(options.screenshot, vga.render()); !written) {
            return written.error();
        }
    }
    return {};
}

}  // namespace

ExitStatus run_machine(const RunOptions& typed, const IsGiven& given) {
    RunOptions options = typed;
    std::unique_ptr<disk::File> lock;  // nobody else runs the machine meanwhile
    if (!typed.machine.empty()) {
        const auto machine = find_machine(typed.machine);
        if (!machine) {
            return fail(machine.error());
        }
        if (const Problem problem = claim(*machine, lock); !problem.empty()) {
            return fail(problem);
        }
        auto read = read_machine(machine->file, typed, given);
        if (!read) {
            return fail(read.error());
        }
        options = std::move(*read);
        options.machine = machine->name;
        if (options.undo_disks_on && !options.undo) {
            return fail(
                fmt::format("{}: undo disks are switched on, which only 'vpc start' uses; --undo throws all "
                            "changes away at the end, and 'vpc set' switches them off",
                            typed.machine));
        }
    }
    for (const std::string& category : options.trace) {
        trace_category(category);
    }
    devices::BoardConfiguration configuration;
    configuration.memory = options.memory;
    configuration.boot_order = options.boot_order;
    configuration.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
    if (!options.cpu.empty()) {
        configuration.cpu = find_cpu_model(options.cpu);
    }
    MachineRunner runner;  // refuses malformed expressions, key scripts and back ends before anything is opened
    if (const Problem problem = runner.prepare(options); !problem.empty()) {
        std::fprintf(stderr, "vpc: %s\n", problem.c_str());
        return kUsage;
    }
    if (const Problem problem = load_firmwares(options, configuration); !problem.empty()) {
        return fail(problem);
    }
    if (const Problem problem = open_disks(options, configuration); !problem.empty()) {
        return fail(problem);
    }
    OutputFile debug_output;
    if (!options.debug_port.empty()) {
        if (const Problem problem = debug_output.open(options.debug_port); !problem.empty()) {
            return fail(problem);
        }
        configuration.firmware_log = configuration.debug_log = [&](std::uint8_t byte) { debug_output.put(byte); };
    }
    if (const Problem problem = runner.connect(configuration); !problem.empty()) {
        return fail(problem);
    }
    if (!options.window.headless) {
        if (const Problem problem = runner.open_window(); !problem.empty()) {
            std::fprintf(stderr, "vpc: no window, running headless: %s\n", problem.c_str());
        }
    }
    auto board = devices::Board::make(std::move(configuration));
    if (!board) {
        return fail(board.error());
    }

    const MachineRunner::Outcome outcome = runner.run(**board);
    ExitStatus status = outcome.status;
    if (!outcome.problem.empty()) {
        std::fprintf(stderr, "vpc: %s\n", outcome.problem.c_str());
    }
    if (const Problem problem = show_screen(options, (*board)->vga()); !problem.empty()) {
        std::fprintf(stderr, "vpc: %s\n", problem.c_str());
        status = status == kDone ? kFailed : status;
    }
    if (options.stats) {
        std::printf("%s\n", run_statistics(**board, outcome.wall_time, outcome.reason).c_str());
    }
    return status;
}

}  // namespace vpc::cli
