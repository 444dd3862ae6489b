#pragma once
#include <csignal>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/virtual_clock.h"
#include "tasks/virtual_machine.h"
#include "ui/cli/exit_status.h"
#include "ui/cli/key_script.h"
#include "ui/cli/line_matcher.h"
#include "ui/cli/port_cables.h"
#include "ui/cli/run_options.h"
#include "ui/cli/virtual_machine_window.h"

namespace vpc::cli {

/// Runs a machine in the foreground and watches it: time limit, expected output, typed keys, signals. One use: prepare,
/// connect, run. While it exists, SIGINT, SIGTERM and SIGHUP are blocked in the thread that made it, and so in every
/// thread made meanwhile; it must therefore be made before any other thread, and it must outlive the machine.
class MachineRunner {
  public:
    MachineRunner();
    ~MachineRunner();
    MachineRunner(const MachineRunner&) = delete;
    MachineRunner& operator=(const MachineRunner&) = delete;

    /// Checks and keeps what the options say. Returns one line about a malformed one, or an empty string.
    std::string prepare(const RunOptions& options);
    /// Opens what the ports are connected to, and puts into the settings what is to be watched. Returns one line on
    /// failure.
    std::string connect(tasks::MachineSettings& settings);

    struct Outcome {
        ExitStatus status = kDone;
        std::string reason;   ///< "power off", "serial match", "screen match", "time limit", "interrupt", "turned off",
                              ///< "saved", "failure"
        std::string problem;  ///< one line for people, when something is to be said
        Nanoseconds wall_time = 0;
    };
    /// Starts the machine and blocks until it is at rest again. The signals above turn it off. `window`: null for none.
    Outcome run(const std::shared_ptr<tasks::VirtualMachine>& machine, VirtualMachineWindow* window);

  private:
    void start(VirtualMachineWindow* window);
    void watch(VirtualMachineWindow* window);
    void turn_off_if_ended();
    /// Waits for a moment, or until there is something to do.
    void pause_for_a_tick(VirtualMachineWindow* window);
    bool take_signal() const;
    void watch_output();
    void look_at_screen(devices::Board& board);
    void type_on();
    void change_disk();
    void end(Outcome outcome);
    /// Ends the watching thread's pause.
    void stir();

    sigset_t previous_signals_;
    RunOptions options_;
    PortCables cables_;
    std::optional<LineMatcher> until_serial_;
    std::optional<LineMatcher> until_screen_;
    std::vector<KeyStep> keys_;
    std::shared_ptr<tasks::VirtualMachine> machine_;
    Nanoseconds started_at_ = 0;
    std::size_t next_key_ = 0;
    std::shared_ptr<tasks::IVMTask> turning_off_;

    // Machine's thread only.
    bool serial_changed_ = false;  // since the unfinished line was searched
    std::uint64_t seen_generation_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool stirred_ = false;            // any of what follows, or the machine's state, since the last pause
    bool disk_is_due_ = false;        // the script has come to a change of disks
    std::optional<Outcome> outcome_;  // the first reason to end wins
};

}  // namespace vpc::cli
