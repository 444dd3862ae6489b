#pragma once
#include <csignal>

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/virtual_clock.h"
#include "ui/cli/exit_status.h"
#include "ui/cli/key_script.h"
#include "ui/cli/line_matcher.h"
#include "ui/cli/machine_window.h"
#include "ui/cli/run_options.h"
#include "ui/cli/serial_backend.h"
#include "ui/cli/serial_cable.h"

namespace vpc::devices {
class Board;
struct BoardConfiguration;
}  // namespace vpc::devices

namespace vpc::cli {

/// Runs a machine on a thread of its own and watches it from the caller's: time limit, expected output, typed keys,
/// signals. One use: prepare, connect, run. While it exists, SIGINT, SIGTERM and SIGHUP are blocked in the thread that
/// made it, and so in every thread made meanwhile; it must therefore be made before any of the machine's threads.
class MachineRunner {
  public:
    MachineRunner();
    ~MachineRunner();
    MachineRunner(const MachineRunner&) = delete;
    MachineRunner& operator=(const MachineRunner&) = delete;

    /// Checks and keeps what the options say. Returns one line about a malformed one, or an empty string.
    std::string prepare(const RunOptions& options);
    /// Opens the serial back ends and puts them into the configuration. Returns one line on failure.
    std::string connect(devices::BoardConfiguration& configuration);
    /// Opens a window for the machine. Returns one line on failure; the machine can run without.
    std::string open_window();

    struct Outcome {
        ExitStatus status = kDone;
        std::string reason;   ///< "power off", "serial match", "screen match", "time limit", "interrupt", "turned off",
                              ///< "failure"
        std::string problem;  ///< one line for people, when something is to be said
        Nanoseconds wall_time = 0;
    };
    /// Blocks until the machine has stopped. The signals above stop it.
    Outcome run(devices::Board& board);

  private:
    std::string finish_backends();
    void guest_sent(std::size_t port, std::uint8_t byte);
    void look_at_screen(devices::Board& board);
    void type_keys(devices::Board& board);
    void run_board(devices::Board& board);
    void pause_or_resume(devices::Board& board);
    void change_disk(devices::Board& board, const MediaStep& step);
    void fail(devices::Board& board, const std::string& problem);
    void end(devices::Board& board, ExitStatus status, const char* reason);

    sigset_t previous_signals_;
    RunOptions options_;
    std::optional<LineMatcher> until_serial_;
    std::optional<LineMatcher> until_screen_;
    std::vector<KeyStep> keys_;

    std::array<std::unique_ptr<SerialCable>, 2> serial_;
    std::unique_ptr<SerialBackend> printer_;
    devices::Key host_key_ = devices::Key::None;
    std::unique_ptr<MachineWindow> window_;
    devices::Board* board_ = nullptr;

    // Machine's thread only.
    bool serial_changed_ = false;  // since the unfinished line was searched
    std::uint64_t seen_generation_ = 0;
    std::size_t next_key_ = 0;
    VirtualClock::Event typing_;  // in the guest's time: a busy host holds no key down for longer

    bool changing_disk_ = false;  // typing waits until it is done

    std::mutex mutex_;
    std::optional<MediaStep> wanted_disk_;  // for the watching thread, which opens files
    std::condition_variable ended_;
    std::condition_variable resumed_;
    bool paused_ = false;             // by the user; Board::run has come back or will soon
    bool stopped_ = false;            // Board::run has come back for good
    std::optional<Outcome> outcome_;  // the first reason to end wins
};

}  // namespace vpc::cli
