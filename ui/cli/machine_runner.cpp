#include "ui/cli/machine_runner.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "devices/board.h"
#include "devices/ps2_keyboard.h"
#include "ui/cli/open_media.h"

namespace vpc::cli {
namespace {

// How often the screen is looked at.
constexpr std::chrono::milliseconds kTick{20};
// When there is nothing to look at but signals and the time limit.
constexpr std::chrono::milliseconds kSlowTick{100};
// How often typing that has to wait looks whether it can go on.
constexpr Nanoseconds kTypingLook = 20 * kMillisecond;

sigset_t ending_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        sigaddset(&signals, signal);
    }
    return signals;
}

Nanoseconds to_nanoseconds(double seconds) {
    return static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
}

}  // namespace

MachineRunner::MachineRunner() {
    const sigset_t signals = ending_signals();
    pthread_sigmask(SIG_BLOCK, &signals, &previous_signals_);
}

MachineRunner::~MachineRunner() {
    pthread_sigmask(SIG_SETMASK, &previous_signals_, nullptr);
}

std::string MachineRunner::prepare(const RunOptions& options) {
    options_ = options;
    if (options.serial.size() > serial_.size()) {
        return "--serial: a PC has two serial ports, COM1 and COM2";
    }
    if (options.floppies.size() > 2) {
        return "--floppy: a PC has two floppy drives, A and B";
    }
    if (!options.until_serial.empty()) {
        auto matcher = LineMatcher::make(options.until_serial);
        if (!matcher) {
            return "--until-serial: " + matcher.error();
        }
        until_serial_ = std::move(*matcher);
    }
    if (!options.until_screen.empty()) {
        auto matcher = LineMatcher::make(options.until_screen);
        if (!matcher) {
            return "--until-screen: " + matcher.error();
        }
        until_screen_ = std::move(*matcher);
    }
    auto keys = parse_key_script(options.keys);
    if (!keys) {
        return "--keys: " + keys.error();
    }
    keys_ = std::move(*keys);
    const auto host_key = parse_host_key(options.window.host_key);
    if (!host_key) {
        return "--host-key: " + host_key.error();
    }
    host_key_ = *host_key;
    for (const std::string& backend : options.serial) {
        if (const auto parsed = parse_serial_backend(backend); !parsed) {
            return "--serial: " + parsed.error();
        }
    }
    if (!options.parallel.empty()) {
        const auto parsed = parse_serial_backend(options.parallel);
        if (!parsed || parsed->kind != SerialBackendChoice::Kind::File) {
            return "--parallel: '" + options.parallel + "' is not file:PATH";
        }
    }
    return {};
}

std::string MachineRunner::connect(devices::BoardConfiguration& configuration) {
    for (std::size_t port = 0; port < options_.serial.size(); ++port) {
        auto opened = open_serial_backend(*parse_serial_backend(options_.serial[port]));
        if (!opened) {
            return "--serial " + options_.serial[port] + ": " + opened.error();
        }
        if (const std::string terminal = (*opened)->terminal(); !terminal.empty()) {
            std::fprintf(stderr, "vpc: COM%zu is %s\n", port + 1, terminal.c_str());
        }
        serial_[port] = std::make_unique<SerialCable>(std::move(*opened), static_cast<unsigned>(port));
    }
    for (std::size_t port = 0; port < serial_.size(); ++port) {
        if (serial_[port] || (port == 0 && until_serial_)) {
            configuration.serial[port] = [this, port](std::uint8_t byte) { guest_sent(port, byte); };
        }
    }
    if (!options_.parallel.empty()) {
        auto opened = open_serial_backend(*parse_serial_backend(options_.parallel));
        if (!opened) {
            return "--parallel " + options_.parallel + ": " + opened.error();
        }
        printer_ = std::move(*opened);
        configuration.printer = [this](std::uint8_t byte) {
            printer_->send(byte);
            return printer_->problem().empty();
        };
    }
    return {};
}

void MachineRunner::guest_sent(std::size_t port, std::uint8_t byte) {
    if (serial_[port]) {
        serial_[port]->send(byte);
    }
    if (port == 0 && until_serial_) {
        serial_changed_ = true;
        if (until_serial_->feed(byte)) {
            end(*board_, kDone, "serial match");
        }
    }
}

/// One line for people when output was lost.
std::string MachineRunner::finish_backends() {
    std::string problem;
    const auto finish = [&](auto* end, const std::string& option) {
        if (end != nullptr) {
            end->finish();
            if (const std::string why = end->problem(); !why.empty() && problem.empty()) {
                problem = fmt::format("{}: output was lost: {}", option, why);
            }
        }
    };
    for (std::size_t port = 0; port < options_.serial.size(); ++port) {
        finish(serial_[port].get(), "--serial " + options_.serial[port]);
    }
    finish(printer_.get(), "--parallel " + options_.parallel);
    return problem;
}

void MachineRunner::look_at_screen(devices::Board& board) {
    const std::uint64_t generation = board.vga().generation();
    if (generation == seen_generation_) {
        return;
    }
    seen_generation_ = generation;
    if (const auto screen = board.vga().text(); screen && until_screen_->matches_any(screen->lines)) {
        end(board, kDone, "screen match");
    }
}

/// Moves the next key, and comes back when its time is over.
void MachineRunner::type_keys(devices::Board& board) {
    if (next_key_ == keys_.size()) {
        return;
    }
    const KeyStep& step = keys_[next_key_];
    const bool no_room =
        step.key != devices::Key::None && board.keyboard().room() < devices::Ps2Keyboard::kLongestSequence;
    if (changing_disk_ || no_room) {
        typing_.schedule(board.clock().now() + kTypingLook);
        return;
    }
    if (!step.media.drive.empty()) {
        changing_disk_ = true;
        const std::scoped_lock guard(mutex_);
        wanted_disk_ = step.media;
    }
    if (step.key != devices::Key::None) {
        board.keyboard().key(step.key, step.pressed);
    }
    ++next_key_;
    typing_.schedule(board.clock().now() + step.wait);
}

/// On the watching thread: opening a file may take its time.
void MachineRunner::change_disk(devices::Board& board, const MediaStep& step) {
    const bool disc = step.drive == "cd";
    const unsigned floppy = step.drive == "b" ? 1 : 0;
    const std::string what = step.file.empty() ? fmt::format("{{EJECT {}}}", step.drive) : "'" + step.file + "'";
    const auto done = [this, &board, what](const std::string& problem) {
        changing_disk_ = false;
        if (!problem.empty()) {
            fail(board, "--keys: " + what + " " + problem);
        }
    };
    const std::optional<unsigned> place = board.cdrom_place();
    if (disc && !place) {
        return fail(board, "--keys: there is no CD-ROM drive");
    }
    if (step.file.empty()) {
        return disc ? board.eject_disc(*place, done) : board.eject_floppy(floppy, done);
    }
    OpenedMedium medium = disc ? open_disc(step.file) : open_floppy(step.file, options_.undo);
    if (!medium) {
        return fail(board, "--keys: " + medium.error());
    }
    disc ? board.insert_disc(*place, std::move(*medium), done) : board.insert_floppy(floppy, std::move(*medium), done);
}

void MachineRunner::fail(devices::Board& board, const std::string& problem) {
    {
        const std::scoped_lock guard(mutex_);
        if (outcome_) {
            return;
        }
        outcome_ = Outcome{.status = kFailed, .reason = "failure", .problem = problem};
    }
    board.quit();
}

void MachineRunner::end(devices::Board& board, ExitStatus status, const char* reason) {
    {
        const std::scoped_lock guard(mutex_);
        if (outcome_) {
            return;
        }
        outcome_ = Outcome{.status = status, .reason = reason};
    }
    resumed_.notify_one();
    board.quit();
}

std::string MachineRunner::open_window() {
    auto window = MachineWindow::open(options_.machine, host_key_,
                                      {.pause_or_resume = [this] { pause_or_resume(*board_); },
                                       .reset = [this] { board_->post([board = board_] { board->reset(); }); },
                                       .close = [this] { end(*board_, kDone, "turned off"); }});
    if (!window) {
        return window.error();
    }
    window_ = std::move(*window);
    return {};
}

void MachineRunner::pause_or_resume(devices::Board& board) {
    {
        const std::scoped_lock guard(mutex_);
        paused_ = !paused_;
        if (paused_) {
            board.post([&board] { board.quit(); });  // behind what was posted before
        }
    }
    resumed_.notify_one();
}

/// The machine's thread.
void MachineRunner::run_board(devices::Board& board) {
    for (;;) {
        const devices::Board::End how = board.run();
        std::unique_lock guard(mutex_);
        if (how == devices::Board::End::Quit && !outcome_) {
            resumed_.wait(guard, [this] { return !paused_ || outcome_; });
            if (!outcome_) {
                continue;
            }
        }
        stopped_ = true;
        if (how == devices::Board::End::Failed) {
            outcome_ = Outcome{.status = kFailed, .reason = "failure", .problem = board.failure()};
        } else if (how == devices::Board::End::PowerOff && !outcome_) {
            outcome_ = Outcome{.status = kDone, .reason = "power off"};
        }
        ended_.notify_one();
        return;
    }
}

MachineRunner::Outcome MachineRunner::run(devices::Board& board) {
    board_ = &board;
    const auto post = [&board](std::function<void(devices::Board&)> work) {
        board.post([&board, work = std::move(work)] { work(board); });
        return true;
    };
    for (const auto& cable : serial_) {
        if (cable) {
            cable->plug_in(post);
        }
    }
    typing_ = board.clock().make_event("typist", [this, &board](std::int64_t, Nanoseconds) { type_keys(board); });
    typing_.schedule(board.clock().now());
    const sigset_t signals = ending_signals();
    const Nanoseconds start = VirtualClock::steady_host_time();
    const bool watches = until_serial_ || until_screen_;
    if (window_) {
        window_->attach(post);
    }
    std::thread machine([&] { run_board(board); });
    bool paused = false;
    const auto tick = window_ ? std::chrono::milliseconds(0) : watches ? kTick : kSlowTick;  // the window waits itself
    const auto has_stopped = [&] {
        if (window_) {
            window_->process(kTick, paused, paused ? "paused" : "running");
        }
        std::unique_lock guard(mutex_);
        paused = paused_;
        return ended_.wait_for(guard, tick, [this] { return stopped_; });
    };
    while (!has_stopped()) {
        const timespec no_wait{};
        if (const int signal = sigtimedwait(&signals, nullptr, &no_wait); signal > 0) {
            end(board, kInterrupted, "interrupt");
        }
        const Nanoseconds elapsed = VirtualClock::steady_host_time() - start;
        if (options_.time_limit > 0 && elapsed >= to_nanoseconds(options_.time_limit)) {
            end(board, kTimeLimit, "time limit");
        }
        std::optional<MediaStep> wanted;
        {
            const std::scoped_lock guard(mutex_);
            wanted = std::exchange(wanted_disk_, std::nullopt);
        }
        if (wanted) {
            change_disk(board, *wanted);
        }
        if (watches && !paused) {
            board.post([this, &board] {
                if (until_serial_ && std::exchange(serial_changed_, false) && until_serial_->matches_pending()) {
                    end(board, kDone, "serial match");
                }
                if (until_screen_) {
                    look_at_screen(board);
                }
            });
        }
    }
    machine.join();
    const Nanoseconds wall_time = VirtualClock::steady_host_time() - start;
    const std::string lost = finish_backends();
    Outcome outcome = outcome_.value_or(Outcome{});
    outcome.wall_time = wall_time;
    if (outcome.status == kTimeLimit) {
        outcome.problem = fmt::format("the time limit of {} seconds was reached", options_.time_limit);
    }
    if (!lost.empty()) {
        outcome.problem += (outcome.problem.empty() ? "" : "; ") + lost;
        outcome.status = outcome.status == kDone ? kFailed : outcome.status;
    }
    return outcome;
}

}  // namespace vpc::cli
