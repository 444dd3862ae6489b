#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "core/virtual_clock.h"

namespace vpc {

/// Interrupts a running CPU at a host time, from a thread of its own. One that has to fire repeats itself until it is
/// disarmed, since a stop can be lost while the engine starts (see Cpu::request_stop).
class Kicker {
  public:
    /// `kick` runs on the kicker's thread.
    explicit Kicker(std::function<void()> kick);
    ~Kicker();
    Kicker(const Kicker&) = delete;
    Kicker& operator=(const Kicker&) = delete;

    static constexpr Nanoseconds kNever = INT64_MAX;

    /// Kicks from `host_time` (VirtualClock::steady_host_time) on. Replaces what was armed. Cheap unless the time is
    /// earlier than anything the thread sleeps for. Machine's thread only.
    void arm(Nanoseconds host_time);
    void disarm() { deadline_.store(kNever, std::memory_order_relaxed); }
    /// As arm with the present time, from any thread; only a disarm ends it.
    void kick_now();

  private:
    void loop();

    std::function<void()> kick_;
    std::atomic<Nanoseconds> deadline_ = kNever;
    std::atomic<Nanoseconds> asleep_until_ = 0;  // 0: awake, or about to look at the deadline again
    bool quit_ = false;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::thread thread_;
};

}  // namespace vpc
