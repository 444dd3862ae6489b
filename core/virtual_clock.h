#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace vpc {

class StateStream;

/// Nanoseconds of virtual time: a point counts from the machine's power-on, a span is a difference of points.
using Nanoseconds = std::int64_t;

inline constexpr Nanoseconds kSecond = 1'000'000'000;
inline constexpr Nanoseconds kMillisecond = 1'000'000;
inline constexpr Nanoseconds kMicrosecond = 1'000;

/// The machine's only time. While it runs it follows the host's monotonic clock; while paused it stands still. Devices
/// read it, schedule named events on it, and see no other clock.
///
/// Machine's thread only.
class VirtualClock {
  public:
    /// Monotonic host nanoseconds. Tests pass their own and move it by hand.
    using HostTime = std::function<Nanoseconds()>;
    /// `payload` is what was scheduled; `late` is how far past its time the event runs (>= 0).
    using Handler = std::function<void(std::int64_t payload, Nanoseconds late)>;
    class Event;

    explicit VirtualClock(HostTime host_time = steady_host_time);
    VirtualClock(const VirtualClock&) = delete;
    VirtualClock& operator=(const VirtualClock&) = delete;

    /// Starts paused, at 0.
    Nanoseconds now() const { return paused_ ? frozen_ : host_time_() + offset_; }
    bool paused() const { return paused_; }
    void pause();
    void resume();

    /// An event type, once per name and clock; the name identifies it in saved states. At most one occurrence of each
    /// is pending: scheduling again moves it.
    class Event {
      public:
        Event() = default;
        void schedule(Nanoseconds when, std::int64_t payload = 0);
        void cancel();
        bool pending() const;
        /// Meaningless unless pending.
        Nanoseconds when() const;

      private:
        friend class VirtualClock;
        Event(VirtualClock* clock, std::size_t index) : clock_(clock), index_(index) {}
        VirtualClock* clock_ = nullptr;
        std::size_t index_ = 0;
    };
    /// Throws std::logic_error when the name is taken. `handler` must outlive the clock or never become due.
    [[nodiscard]] Event make_event(std::string name, Handler handler);

    /// Hears of every scheduled event, with its time: whoever sleeps until the next deadline may have to wake earlier.
    /// At most one listener.
    void on_schedule(std::function<void(Nanoseconds when)> listener) { on_schedule_ = std::move(listener); }
    /// The earliest pending event's time.
    std::optional<Nanoseconds> next_deadline() const;
    /// Runs everything due by now(), earliest first, ties in the order of scheduling.
    void run_due();

    /// The time and all pending events. Loading requires the same event names to have been made.
    void serialize(StateStream& stream);

    static Nanoseconds steady_host_time();

  private:
    struct Entry {
        std::string name;
        Handler handler;
        bool pending = false;
        Nanoseconds when = 0;
        std::int64_t payload = 0;
        std::uint64_t order = 0;
    };
    const Entry* earliest() const;

    HostTime host_time_;
    bool paused_ = true;
    Nanoseconds frozen_ = 0;
    Nanoseconds offset_ = 0;
    std::function<void(Nanoseconds)> on_schedule_;
    std::vector<Entry> entries_;
    std::uint64_t next_order_ = 1;
};

}  // namespace vpc
