#include "ui/cli/machine_runner.h"

#include <fmt/format.h>

#include <utility>

#include "devices/board.h"
#include "ui/cli/machine_file.h"
#include "ui/cli/start_settings.h"

namespace vpc::cli {
namespace {

using tasks::HResult;
using tasks::VMVMState;

// How often the screen is looked at.
constexpr std::chrono::milliseconds kTick{20};
// When there is nothing to look at but signals and the time limit.
constexpr std::chrono::milliseconds kSlowTick{100};

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

std::string text_of(const tasks::Outcome& outcome) {
    return outcome.detail.empty() ? std::string(tasks::hresult_text(outcome.error, tasks::Language::English))
                                  : outcome.detail;
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
    if (const auto host_key = parse_host_key(options.window.host_key); !host_key) {
        return "--host-key: " + host_key.error();
    }
    return PortCables::problem_of(options);
}

std::string MachineRunner::connect(tasks::MachineSettings& settings) {
    if (std::string problem = cables_.connect(options_, settings); !problem.empty()) {
        return problem;
    }
    for (const auto& lines : {cables_.notes(), write_protections(options_)}) {
        for (const std::string& line : lines) {
            std::fprintf(stderr, "vpc: %s\n", line.c_str());
        }
    }
    if (until_serial_) {
        settings.serial[0] = [this, send = std::move(settings.serial[0])](std::uint8_t byte) {
            if (send) {
                send(byte);
            }
            serial_changed_ = true;
            if (until_serial_->feed(byte)) {
                end({.status = kDone, .reason = "serial match"});
                machine_->stand_still();
            }
        };
    }
    return {};
}

void MachineRunner::end(Outcome outcome) {
    {
        const std::scoped_lock guard(mutex_);
        if (outcome_) {
            return;
        }
        outcome_ = std::move(outcome);
    }
    stir();
}

void MachineRunner::stir() {
    {
        const std::scoped_lock guard(mutex_);
        stirred_ = true;
    }
    changed_.notify_all();
}

/// Machine's thread.
void MachineRunner::look_at_screen(devices::Board& board) {
    const std::uint64_t generation = board.vga().generation();
    if (generation == seen_generation_) {
        return;
    }
    seen_generation_ = generation;
    if (const auto screen = board.vga().text(); screen && until_screen_->matches_any(screen->lines)) {
        end({.status = kDone, .reason = "screen match"});
        machine_->stand_still();
    }
}

void MachineRunner::watch_output() {
    if (!until_serial_ && !until_screen_) {
        return;
    }
    machine_->post([this](devices::Board& board) {
        if (until_serial_ && std::exchange(serial_changed_, false) && until_serial_->matches_pending()) {
            end({.status = kDone, .reason = "serial match"});
            machine_->stand_still();
        }
        if (until_screen_) {
            look_at_screen(board);
        }
    });
}

/// Types up to the next change of disks.
void MachineRunner::type_on() {
    std::vector<tasks::KeyMove> moves;
    for (; next_key_ < keys_.size() && keys_[next_key_].media.drive.empty(); ++next_key_) {
        const KeyStep& step = keys_[next_key_];
        moves.push_back({.key = step.key, .pressed = step.pressed, .wait = step.wait});
    }
    if (next_key_ < keys_.size()) {
        moves.push_back({.reached = [this] {
            {
                const std::scoped_lock guard(mutex_);
                disk_is_due_ = true;
            }
            stir();
        }});
    }
    if (!moves.empty()) {
        machine_->type(moves);
    }
}

void MachineRunner::change_disk() {
    const MediaStep& step = keys_[next_key_].media;
    const tasks::RemovableDrive drive = *removable_drive(step.drive);
    tasks::Outcome changed;
    if (step.file.empty()) {
        changed = machine_->eject_medium(drive);
        if (changed.error != HResult::S_OK && changed.error != HResult::VM_E_NO_MEDIA_CAPTURED) {
            return end({.status = kFailed,
                        .reason = "failure",
                        .problem = fmt::format("--keys: {{EJECT {}}}: {}", step.drive, text_of(changed))});
        }
    } else {
        if (const std::string note = write_protection(step.file);
            !note.empty() && drive != tasks::RemovableDrive::CdRom && !options_.undo) {
            std::fprintf(stderr, "vpc: %s\n", note.c_str());
        }
        changed = machine_->insert_medium(drive, step.file);
        if (changed.error != HResult::S_OK) {
            return end({.status = kFailed, .reason = "failure", .problem = "--keys: " + text_of(changed)});
        }
    }
    machine_->type({{.wait = keys_[next_key_].wait}});
    ++next_key_;
    type_on();
}

void MachineRunner::pause_for_a_tick(VirtualMachineWindow* window) {
    if (window != nullptr) {
        return window->process(kTick);
    }
    const auto tick = until_serial_ || until_screen_ ? kTick : kSlowTick;
    std::unique_lock guard(mutex_);
    changed_.wait_for(guard, tick, [this] { return stirred_; });
    stirred_ = false;
}

bool MachineRunner::take_signal() const {
    const sigset_t signals = ending_signals();
    const timespec no_wait{};
    return sigtimedwait(&signals, nullptr, &no_wait) > 0;
}

/// Until the guest runs, or an outcome says why it does not.
void MachineRunner::start(VirtualMachineWindow* window) {
    std::shared_ptr<tasks::IVMTask> startup;
    if (const HResult error = machine_->Startup(startup); error != HResult::S_OK) {
        return end({.status = kFailed, .reason = "failure", .problem = text_of({.error = error})});
    }
    if (window != nullptr) {
        window->attach(machine_, startup);
    }
    while (!startup->IsComplete()) {
        if (window != nullptr) {
            window->process(std::chrono::milliseconds(0));
        }
        startup->WaitForCompletion(static_cast<std::int32_t>(kTick.count()));
        if (take_signal()) {
            startup->Cancel();
            end({.status = kInterrupted, .reason = "interrupt"});
        }
    }
    if (startup->Result() == tasks::VMTaskResult::Cancelled) {
        end({.status = kDone, .reason = "turned off"});  // the window was closed
    } else if (startup->Error() != HResult::S_OK) {
        end({.status = kFailed, .reason = "failure", .problem = startup->ErrorDescription()});
    }
}

void MachineRunner::turn_off_if_ended() {
    {
        const std::scoped_lock guard(mutex_);
        if (!outcome_ || turning_off_) {
            return;
        }
    }
    machine_->TurnOff(turning_off_);  // again when the machine is on its way to another state
}

/// Until the machine is at rest.
void MachineRunner::watch(VirtualMachineWindow* window) {
    while (!is_at_rest(machine_->State())) {
        pause_for_a_tick(window);
        if (take_signal()) {
            end({.status = kInterrupted, .reason = "interrupt"});
        }
        if (options_.time_limit > 0 &&
            VirtualClock::steady_host_time() - started_at_ >= to_nanoseconds(options_.time_limit)) {
            end({.status = kTimeLimit,
                 .reason = "time limit",
                 .problem = fmt::format("the time limit of {} seconds was reached", options_.time_limit)});
        }
        turn_off_if_ended();
        if (machine_->State() != VMVMState::Running) {
            continue;
        }
        watch_output();
        bool disk_is_due = false;
        {
            const std::scoped_lock guard(mutex_);
            disk_is_due = std::exchange(disk_is_due_, false);
        }
        if (disk_is_due) {
            change_disk();
        }
    }
}

MachineRunner::Outcome MachineRunner::run(const std::shared_ptr<tasks::VirtualMachine>& machine,
                                          VirtualMachineWindow* window) {
    machine_ = machine;
    machine_->OnStateChange([this](VMVMState) { stir(); });
    started_at_ = VirtualClock::steady_host_time();
    start(window);
    if (!is_at_rest(machine_->State())) {
        cables_.plug_in(*machine_);
        type_on();
        watch(window);
    }
    Outcome outcome = outcome_.value_or(Outcome{
        .reason = machine_->ended_by_itself()                               ? "power off"
                  : machine_->State() == VMVMState::Saved && !options_.undo ? "saved"
                                                                            : "turned off",
    });
    outcome.wall_time = VirtualClock::steady_host_time() - started_at_;
    const auto add = [&outcome](const std::string& problem) {
        if (!problem.empty()) {
            outcome.problem += (outcome.problem.empty() ? "" : "; ") + problem;
            outcome.status = outcome.status == kDone ? kFailed : outcome.status;
        }
    };
    if (const std::string failure = machine_->failure(); !failure.empty()) {
        outcome.reason = outcome_ ? outcome.reason : "failure";
        add(failure);
    }
    if (turning_off_) {
        turning_off_->WaitForCompletion(-1);
        add(turning_off_->ErrorDescription());
    }
    add(cables_.finish());
    machine_.reset();
    return outcome;
}

}  // namespace vpc::cli
