#include "ui/cli/run_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/log.h"
#include "devices/board.h"
#include "tasks/virtual_pc.h"
#include "ui/cli/claimed_machine.h"
#include "ui/cli/machine_control.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/machine_runner.h"
#include "ui/cli/png_writer.h"
#include "ui/cli/run_statistics.h"
#include "ui/cli/start_settings.h"

namespace vpc::cli {
namespace {

using Problem = std::string;  // one line for people; empty: none

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

/// What is left to be shown of a machine that is gone.
struct LastLook {
    bool taken = false;
    std::optional<std::vector<std::string>> text;  // none: the screen showed graphics
    devices::Frame picture;
    nlohmann::ordered_json statistics;

    void take(const RunOptions& options, devices::Board& board) {
        taken = true;
        if (const auto screen = board.vga().text()) {
            text = screen->lines;
        }
        if (!options.screenshot.empty()) {
            picture = board.vga().render();
        }
        if (options.stats) {
            statistics = run_statistics(board);
        }
    }
};

/// What the user asked to see of the screen when the machine has stopped.
Problem show_screen(const RunOptions& options, const LastLook& look) {
    if (options.print_screen) {
        if (look.text) {
            for (const std::string& line : *look.text) {
                const std::size_t end = line.find_last_not_of(' ');
                std::printf("%s\n", line.substr(0, end == std::string::npos ? 0 : end + 1).c_str());
            }
        } else {
            std::fprintf(stderr, "vpc: --print-screen: the screen shows graphics, not text; try --screenshot\n");
        }
        std::fflush(stdout);
    }
    if (!options.screenshot.empty()) {
        if (const auto written = write_png(options.screenshot, look.picture); !written) {
            return written.error();
        }
    }
    return {};
}

/// Closing it ends the machine in the way that keeps what there is to be kept.
std::unique_ptr<VirtualMachineWindow> open_window(const RunOptions& options, const ClaimedMachine* claimed) {
    if (options.window.headless) {
        return nullptr;
    }
    using Closing = VirtualMachineWindow::Closing;
    auto window = VirtualMachineWindow::open(
        options.machine, claimed != nullptr ? name_for_commands(claimed->machine()) : "", options.window,
        claimed == nullptr || options.undo ? Closing::TurnsOff : Closing::Saves);
    if (!window) {
        std::fprintf(stderr, "vpc: no window, running headless: %s\n", window.error().c_str());
        return nullptr;
    }
    return std::move(*window);
}

ExitStatus run(const RunOptions& options, ClaimedMachine* claimed) {
    for (const std::string& category : options.trace) {
        trace_category(category);
    }
    MachineRunner runner;  // refuses malformed expressions, key scripts and back ends before anything is opened
    if (const Problem problem = runner.prepare(options); !problem.empty()) {
        std::fprintf(stderr, "vpc: %s\n", problem.c_str());
        return kUsage;
    }
    auto settings = start_settings(options);
    if (!settings) {
        return fail(settings.error());
    }
    if (claimed != nullptr) {
        claimed->describe(*settings);
    }
    OutputFile debug_output;
    if (!options.debug_port.empty()) {
        if (const Problem problem = debug_output.open(options.debug_port); !problem.empty()) {
            return fail(problem);
        }
        settings->firmware_log = settings->debug_log = [&](std::uint8_t byte) { debug_output.put(byte); };
    }
    if (const Problem problem = runner.connect(*settings); !problem.empty()) {
        return fail(problem);
    }
    LastLook look;
    settings->last_look = [&](devices::Board& board) { look.take(options, board); };
    tasks::VirtualPC pc;
    const auto machine = tasks::VirtualMachine::make(std::move(*settings), pc.worker(), pc.Tasks());
    std::unique_ptr<MachineControl> control;
    if (claimed != nullptr) {
        auto listening = MachineControl::listen(claimed->machine(), pc, machine);
        if (!listening) {
            return fail(listening.error());
        }
        control = std::move(*listening);
    }
    auto window = open_window(options, claimed);
    const MachineRunner::Outcome outcome = runner.run(machine, window.get());
    window.reset();
    ExitStatus status = outcome.status;
    if (!outcome.problem.empty()) {
        std::fprintf(stderr, "vpc: %s\n", outcome.problem.c_str());
    }
    if (look.taken) {
        if (const Problem problem = show_screen(options, look); !problem.empty()) {
            std::fprintf(stderr, "vpc: %s\n", problem.c_str());
            status = status == kDone ? kFailed : status;
        }
        if (options.stats) {
            std::printf("%s\n", with_ending(look.statistics, outcome.wall_time, outcome.reason).c_str());
        }
    }
    if (control) {
        control->say_farewell();
    }
    return status;
}

}  // namespace

ExitStatus run_machine(const RunOptions& typed, const IsGiven& given) {
    if (typed.machine.empty()) {
        return run(typed, nullptr);
    }
    const auto machine = find_machine(typed.machine);
    if (!machine) {
        return fail(machine.error());
    }
    const auto claimed = ClaimedMachine::claim(*machine);
    if (!claimed) {
        return fail(fmt::format("'{}': {}", machine->file.string(), claimed.error()));
    }
    auto options = read_machine(machine->file, typed, given);
    if (!options) {
        return fail(options.error());
    }
    options->machine = machine->name;
    return run(*options, claimed->get());
}

}  // namespace vpc::cli
