#pragma once
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

#include "tasks/guest_agent.h"

namespace vpc::tasks {

/// One run of a guest, from power-on to power-off: its agent, its heart beat, and what it does that others wait for.
/// Any thread.
///
/// The heart beats once the agent has answered somebody: it is pinged every kHeartBeat, ten times a minute as
/// Virtual PC's additions tick. Every second time its clock is compared with the host's and set when it is more than
/// kLargestTimeError off, as Virtual Server's additions do every 15 seconds (Microsoft's KB887727).
class GuestSession {
  public:
    static constexpr std::chrono::seconds kHeartBeat{6};
    static constexpr std::chrono::seconds kLargestTimeError{10};
    static constexpr std::size_t kBeatsKept = 10;

    enum class Event {
        None,  ///< nothing in time, or stopped
        Reset,
        PoweredOff,  ///< by the guest
        Gone,        ///< turned off, saved or failed
    };

    /// `wake`: see GuestAgent. `unix_time`: the host's, in seconds; empty: the guest's clock is left alone.
    GuestSession(std::function<void()> wake, std::function<std::int64_t()> unix_time,
                 std::chrono::milliseconds heart_beat = kHeartBeat);
    ~GuestSession();
    GuestSession(const GuestSession&) = delete;
    GuestSession& operator=(const GuestSession&) = delete;

    GuestAgent& agent() { return agent_; }
    /// How long the agent may take for an answer.
    std::chrono::milliseconds patience() const { return std::min<std::chrono::milliseconds>(heart_beat_, kPatience); }
    /// Asks the agent for a sign of life; when there is one, its heart begins to beat.
    GuestAgent::Result make_contact(const std::stop_token& stop = {});
    /// Of the last kBeatsKept beats, or of those there were, how many were answered. 0: no contact yet.
    int heart_beat_percentage() const;
    /// The last beat, or the first contact, was answered.
    bool heart_beats() const;

    /// What the machine reports.
    void was_reset();
    void end(Event how);
    /// Ends the heart beat, and waits for the beat that is under way. Not on the machine's thread.
    void stop_heart();

    std::uint64_t resets() const;
    /// Until the session ends or was reset more often than `resets` times.
    Event wait(std::uint64_t resets, std::chrono::milliseconds limit, const std::stop_token& stop) const;

  private:
    static constexpr std::chrono::seconds kPatience{3};

    void beat(const std::stop_token& stop);
    void correct_time(const std::stop_token& stop);

    GuestAgent agent_;
    const std::function<std::int64_t()> unix_time_;
    const std::chrono::milliseconds heart_beat_;

    mutable std::mutex mutex_;
    mutable std::condition_variable_any changed_;
    std::uint64_t resets_ = 0;
    Event end_ = Event::None;
    std::array<bool, kBeatsKept> beats_{};
    std::size_t beat_count_ = 0;  // since the first contact
    std::jthread heart_;
};

}  // namespace vpc::tasks
