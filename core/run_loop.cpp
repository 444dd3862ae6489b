#include "core/run_loop.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/state_stream.h"

namespace vpc {
namespace {

// How often an engine that cannot tell when IF is set is looked at while an interrupt waits.
constexpr Nanoseconds kPollWindow = 100 * kMicrosecond;

// A guest that has just been woken up mostly halts again long before its next event: then the machine waits for that
// event, and the kicker must not wake up for it, too. So it is told of an event this far away with some delay, which
// covers how late the host ends waits (timer_slack_ns in proc_pid_timerslack_ns(5) is 50 us), and is left alone.
constexpr Nanoseconds kFar = kMillisecond;
constexpr Nanoseconds kGrace = 150 * kMicrosecond;

}  // namespace

RunLoop::RunLoop(Cpu& cpu, VirtualClock& clock, Hooks hooks)
    : cpu_(cpu), clock_(clock), hooks_(std::move(hooks)), kicker_([this] { cpu_.request_stop(); }) {
    // A chip that the guest programs during a run may want to be called sooner than the kicker is armed for.
    clock_.on_schedule([this](Nanoseconds) {
        if (in_cpu_ && host_deadline() < armed_for_) {
            arm_kicker();
        }
    });
}

RunLoop::~RunLoop() {
    clock_.on_schedule({});
}

void RunLoop::arm_kicker() {
    armed_for_ = has_posted_ ? 0 : host_deadline();
    if (std::exchange(was_halted_, false) && armed_for_ != Kicker::kNever &&
        armed_for_ - VirtualClock::steady_host_time() >= kFar) {
        armed_for_ += kGrace;
        kicker_.move(armed_for_);
    } else {
        kicker_.arm(armed_for_);
    }
}

void RunLoop::quit() {
    quit_ = true;
    post([] {});
}

void RunLoop::post(std::function<void()> work) {
    const std::scoped_lock guard(mutex_);
    posted_.push_back(std::move(work));
    has_posted_ = true;
    if (place_ == Place::Sleeping) {
        wake_.notify_one();
    } else if (place_ == Place::Running) {
        cpu_.request_stop();
        kicker_.kick_soon();  // repeats the stop until the machine's thread has seen the post
    }
}

void RunLoop::serialize(StateStream& stream) {
    stream.section("run loop", 1, [&] { stream.field(nmi_); });
}

void RunLoop::run_posted() {
    if (!has_posted_) {
        return;
    }
    std::vector<std::function<void()>> work;
    {
        const std::scoped_lock guard(mutex_);
        work.swap(posted_);
        has_posted_ = false;
    }
    for (const std::function<void()>& each : work) {
        each();
    }
}

void RunLoop::set_interrupt_request(bool asserted) {
    interrupt_request_ = asserted;
    cpu_.set_interrupt_request(asserted);
}

void RunLoop::raise_nmi() {
    nmi_ = true;
    cpu_.request_stop();
}

Nanoseconds RunLoop::host_deadline() const {
    Nanoseconds wait = Kicker::kNever;
    const Nanoseconds now = clock_.now();
    if (const auto next = clock_.next_deadline()) {
        wait = std::max<Nanoseconds>(*next - now, 0);
    }
    if (interrupt_request_ && !cpu_.announces_interrupt_window()) {
        wait = std::min(wait, kPollWindow);
    }
    const Nanoseconds host_now = VirtualClock::steady_host_time();
    return wait >= Kicker::kNever - host_now ? Kicker::kNever : host_now + wait;
}

void RunLoop::wait_while_halted() {
    const Nanoseconds until = host_deadline();
    kicker_.rest_until(until);
    const Nanoseconds before = VirtualClock::steady_host_time();
    const auto posted = [this] { return has_posted_.load(); };
    std::unique_lock guard(mutex_);
    place_ = Place::Watching;
    guard.unlock();
    const bool came = short_wait_.watch(posted, until);
    guard.lock();
    if (!came && !posted()) {
        place_ = Place::Sleeping;
        const Nanoseconds asleep = VirtualClock::steady_host_time();
        if (until == Kicker::kNever) {
            wake_.wait(guard, posted);
        } else {
            wake_.wait_until(guard, std::chrono::steady_clock::time_point(std::chrono::nanoseconds(until)), posted);
        }
        if (posted()) {
            short_wait_.slept(VirtualClock::steady_host_time() - asleep);
        }
    }
    place_ = Place::Running;
    guard.unlock();
    idle_time_ += VirtualClock::steady_host_time() - before;
    was_halted_ = true;
}

std::string RunLoop::run() {
    clock_.resume();
    {
        const std::scoped_lock guard(mutex_);
        place_ = Place::Running;
    }
    std::string failure;
    while (!quit_) {
        kicker_.disarm();
        run_posted();
        clock_.run_due();
        if (nmi_) {
            nmi_ = false;
            cpu_.deliver_nmi();
        } else if (interrupt_request_ && cpu_.can_take_interrupt()) {
            cpu_.deliver_interrupt(hooks_.acknowledge());
        }
        arm_kicker();
        in_cpu_ = true;
        const CpuExit exit = cpu_.run();
        in_cpu_ = false;
        switch (exit) {
            case CpuExit::Stopped:
                break;
            case CpuExit::Halted:
                if (!(interrupt_request_ && cpu_.can_take_interrupt()) && !nmi_) {
                    wait_while_halted();
                }
                break;
            case CpuExit::Shutdown:
                hooks_.cpu_shutdown();
                break;
            case CpuExit::Failed:
                failure = cpu_.failure();
                quit_ = true;
                break;
        }
    }
    {
        // Whoever posts from now on finds nobody who would see his kicks, which would be repeated for ever.
        const std::scoped_lock guard(mutex_);
        place_ = Place::Away;
        kicker_.disarm();
    }
    quit_ = false;
    clock_.pause();
    return failure;
}

}  // namespace vpc
