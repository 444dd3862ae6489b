#include "core/kicker.h"

#include <chrono>

namespace vpc {
namespace {

// How long a kick may go unanswered before it is repeated.
constexpr Nanoseconds kRepeat = 50 * kMicrosecond;

std::chrono::steady_clock::time_point time_point(Nanoseconds host_time) {
    return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(host_time));
}

}  // namespace

Kicker::Kicker(std::function<void()> kick) : kick_(std::move(kick)), thread_([this] { loop(); }) {}

Kicker::~Kicker() {
    {
        const std::scoped_lock guard(mutex_);
        quit_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void Kicker::arm(Nanoseconds host_time) {
    deadline_.store(host_time);
    if (host_time < asleep_until_.load()) {
        const std::scoped_lock guard(mutex_);  // the thread is now inside its wait, or has yet to look
        wake_.notify_one();
    }
}

void Kicker::kick_now() {
    arm(0);
}

void Kicker::loop() {
    std::unique_lock guard(mutex_);
    while (!quit_) {
        const Nanoseconds now = VirtualClock::steady_host_time();
        const Nanoseconds deadline = deadline_.load();
        Nanoseconds until = deadline;
        if (deadline <= now) {
            kick_();
            until = now + kRepeat;
        }
        asleep_until_.store(until);
        // Whoever armed before that store saw nobody asleep and did not wake us: look again.
        if (deadline_.load() != deadline) {
            asleep_until_.store(0);
            continue;
        }
        if (until == kNever) {
            wake_.wait(guard);
        } else {
            wake_.wait_until(guard, time_point(until));
        }
        asleep_until_.store(0);
    }
}

}  // namespace vpc
