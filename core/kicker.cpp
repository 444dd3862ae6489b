#include "core/kicker.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

namespace vpc {
namespace {

// How long a kick may go unanswered before it is repeated.
constexpr Nanoseconds kRepeat = 50 * kMicrosecond;

// How much too early a moved timer may expire: less than that is the noise of asking two clocks one after the other.
constexpr Nanoseconds kCloseEnough = 20 * kMicrosecond;

int make_timer() {
    const int descriptor = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);  // the clock of VirtualClock::steady_host_time
    if (descriptor < 0) {
        throw std::system_error(errno, std::generic_category(), "cannot make a timer");
    }
    return descriptor;
}

std::thread start(int descriptor, std::function<void()> body) {
    try {
        return std::thread(std::move(body));
    } catch (...) {
        close(descriptor);
        throw;
    }
}

}  // namespace

Kicker::Kicker(std::function<void()> kick)
    : kick_(std::move(kick)), descriptor_(make_timer()), thread_(start(descriptor_, [this] { loop(); })) {}

Kicker::~Kicker() {
    {
        const std::scoped_lock guard(mutex_);
        quit_ = true;
        set_timer(0);
    }
    thread_.join();
    close(descriptor_);
}

void Kicker::set_timer(Nanoseconds host_time) {
    timer_.store(host_time);
    itimerspec when{};  // zeros switch the timer off
    if (host_time != kNever) {
        when.it_value.tv_sec = static_cast<time_t>(host_time / kSecond);
        when.it_value.tv_nsec = static_cast<long>(host_time % kSecond);
        if (host_time <= 0) {
            when.it_value = {.tv_sec = 0, .tv_nsec = 1};  // at once
        }
    }
    timerfd_settime(descriptor_, TFD_TIMER_ABSTIME, &when, nullptr);
}

void Kicker::arm(Nanoseconds host_time) {
    deadline_.store(host_time);
    if (host_time < timer_.load()) {
        const std::scoped_lock guard(mutex_);
        if (host_time < timer_.load()) {
            set_timer(host_time);
        }
    }
}

void Kicker::move(Nanoseconds host_time) {
    deadline_.store(host_time);
    const Nanoseconds timer = timer_.load();
    if (timer > host_time || timer < host_time - kCloseEnough) {
        const std::scoped_lock guard(mutex_);
        set_timer(std::min(host_time, deadline_.load()));  // somebody may have asked for less meanwhile
    }
}

void Kicker::rest_until(Nanoseconds host_time) {
    disarm();
    if (timer_.load() <= host_time && timer_.load() != kNever) {
        const std::scoped_lock guard(mutex_);
        set_timer(kNever);
        // Whoever kicked before that may have trusted the timer.
        if (quit_ || deadline_.load() != kNever) {
            set_timer(0);
        }
    }
}

void Kicker::kick_soon() {
    arm(VirtualClock::steady_host_time() + kRepeat);
}

void Kicker::loop() {
    for (;;) {
        std::uint64_t expirations = 0;
        if (read(descriptor_, &expirations, sizeof expirations) < 0 && errno != EINTR) {
            return;  // cannot be: the descriptor is ours and blocks
        }
        const std::unique_lock guard(mutex_);
        if (quit_) {
            return;
        }
        const Nanoseconds now = VirtualClock::steady_host_time();
        timer_.store(kNever);
        const Nanoseconds deadline = deadline_.load();  // who arms behind this finds the timer too late, and sets it
        if (deadline <= now) {
            kick_();
            set_timer(now + kRepeat);
        } else if (deadline != kNever) {
            set_timer(deadline);
        }
    }
}

}  // namespace vpc
