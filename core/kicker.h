#pragma once
#include <atomic>
#include <functional>
#include <mutex>
#include <thread>

#include "core/virtual_clock.h"

namespace vpc {

/// Interrupts a running CPU at a host time, from a thread of its own. One that has to fire repeats itself until it is
/// disarmed, since a stop can be lost while the engine starts (see Cpu::request_stop).
///
/// The time is kept by a timer of Linux's, timerfd_create(2), so that arming does not wake the thread: an idle guest
/// arms a few hundred times a second.
class Kicker {
  public:
    /// `kick` runs on the kicker's thread. Throws std::system_error when the host has no more threads or descriptors.
    explicit Kicker(std::function<void()> kick);
    ~Kicker();
    Kicker(const Kicker&) = delete;
    Kicker& operator=(const Kicker&) = delete;

    static constexpr Nanoseconds kNever = INT64_MAX;

    /// Kicks from `host_time` (VirtualClock::steady_host_time) on. Replaces what was armed. Cheap unless the time is
    /// earlier than the timer's. Machine's thread only.
    void arm(Nanoseconds host_time);
    /// The same, but moves the timer for a later time, too, so that it does not expire before.
    void move(Nanoseconds host_time);
    /// Leaves the timer alone: it may be needed again at once.
    void disarm() { deadline_.store(kNever, std::memory_order_relaxed); }
    /// Disarms, and spares the thread from waking up for nothing while the machine waits until `host_time`.
    void rest_until(Nanoseconds host_time);
    /// Kicks from a moment after the call on, from any thread; only a disarm ends it. For one who has kicked already,
    /// and so mostly spares the thread from waking up: the machine has seen it by then.
    void kick_soon();

  private:
    void loop();
    /// With the mutex held.
    void set_timer(Nanoseconds host_time);

    std::function<void()> kick_;
    std::atomic<Nanoseconds> deadline_ = kNever;
    std::atomic<Nanoseconds> timer_ = kNever;  ///< when the timer expires; changed with the mutex held
    bool quit_ = false;
    std::mutex mutex_;
    int descriptor_;
    std::thread thread_;
};

}  // namespace vpc
