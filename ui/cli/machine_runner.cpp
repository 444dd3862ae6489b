#include "ui/cli/machine_runner.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

#include "devices/board.h"
#include "ui/cli/open_media.h"

namespace vpc::cli {
namespace {

// How often the screen is looked at and keys are typed.
constexpr std::chrono::milliseconds kTick{20};
// When there is nothing to look at but signals and the time limit.
constexpr std::chrono::milliseconds kSlowTick{100};
// The longest sequence of scan codes one key sends; with less room in the keyboard's buffer the typist waits.
constexpr std::size_t kLongestKeySequence = 8;
// So much may wait for a UART before the other end of its cable has to.
constexpr std::size_t kMostIncoming = 64 << 10;

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
    const auto host_key = parse_host_key(options.host_key);
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
        serial_[port] = std::move(*opened);
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

/// Machine's thread: the UART takes what it has room for.
void MachineRunner::drain_incoming(devices::Board& board, std::size_t port) {
    std::vector<std::uint8_t>& waiting = incoming_[port];
    devices::Uart16550A& uart = board.serial(static_cast<unsigned>(port));
    std::size_t taken = 0;
    while (taken < waiting.size() && uart.room() != 0) {
        uart.receive(waiting[taken++]);
    }
    waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(taken));
    serial_[port]->hold_back(waiting.size() + posted_bytes_[port] > kMostIncoming);
}

void MachineRunner::connect_receivers(devices::Board& board) {
    for (std::size_t port = 0; port < serial_.size(); ++port) {
        if (!serial_[port]) {
            continue;
        }
        board.serial(static_cast<unsigned>(port)).on_room([this, &board, port] {
            if (!incoming_[port].empty()) {
                drain_incoming(board, port);
            }
        });
        const auto receive = [this, &board, port](std::span<const std::uint8_t> bytes) {
            if ((posted_bytes_[port] += bytes.size()) > kMostIncoming) {
                serial_[port]->hold_back(true);  // before the post, whose drain may decide otherwise
            }
            board.post([this, &board, port, copy = std::vector<std::uint8_t>(bytes.begin(), bytes.end())] {
                incoming_[port].insert(incoming_[port].end(), copy.begin(), copy.end());
                posted_bytes_[port] -= copy.size();
                drain_incoming(board, port);
            });
        };
        // A null modem cable: whoever is at the other end raises all of the guest's modem inputs.
        const auto plugged = [&board, port](bool somebody) {
            board.post([&board, port, somebody] {
                using Uart = devices::Uart16550A;
                const auto lines = static_cast<std::uint8_t>(Uart::kCts | Uart::kDsr | Uart::kDcd);
                board.serial(static_cast<unsigned>(port)).set_modem_inputs(somebody ? lines : std::uint8_t{0});
            });
        };
        serial_[port]->on_receive(receive, plugged);
    }
}

/// One line for people when output was lost.
std::string MachineRunner::finish_backends() {
    std::string problem;
    const auto finish = [&](SerialBackend* backend, const std::string& option) {
        if (backend != nullptr) {
            backend->finish();
            if (const std::string why = backend->problem(); !why.empty() && problem.empty()) {
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

void MachineRunner::type_keys(devices::Board& board, Nanoseconds now) {
    while (next_key_ < keys_.size() && now >= next_key_at_) {
        const KeyStep& step = keys_[next_key_];
        if (changing_disk_) {
            return;
        }
        if (!step.media.drive.empty()) {
            changing_disk_ = true;
            const std::scoped_lock guard(mutex_);
            wanted_disk_ = step.media;
        }
        if (step.key != devices::Key::None) {
            if (board.keyboard().room() < kLongestKeySequence) {
                return;
            }
            board.keyboard().key(step.key, step.pressed);
        }
        ++next_key_;
        next_key_at_ = now + step.wait;
    }
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
    auto window = MachineWindow::open(host_key_);
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
    connect_receivers(board);
    const sigset_t signals = ending_signals();
    const Nanoseconds start = VirtualClock::steady_host_time();
    const bool watches = until_serial_ || until_screen_ || !keys_.empty();
    if (window_) {
        window_->attach(board, {.pause_or_resume = [&] { pause_or_resume(board); },
                                .turn_off = [&] { end(board, kDone, "turned off"); }});
    }
    std::thread machine([&] { run_board(board); });
    bool paused = false;
    const auto tick = window_ ? std::chrono::milliseconds(0) : watches ? kTick : kSlowTick;  // the window waits itself
    const auto has_stopped = [&] {
        if (window_) {
            window_->process(kTick, paused);
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
                type_keys(board, board.clock().now());
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
    if (window_) {
        window_->detach();
    }
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
