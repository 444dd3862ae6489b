#pragma once
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <stop_token>
#include <string>
#include <tl/expected.hpp>

namespace vpc::tasks {

/// The host's end of a cable to the QEMU guest agent, `qemu-ga -m isa-serial -p /dev/ttyS1` in the guest. Commands and
/// answers are JSON, one a line (QEMU Guest Agent Protocol Reference, qemu-ga-ref(7)).
///
/// Nothing goes down the cable until somebody calls, so that a guest which uses the port for something else is left
/// alone. Every call begins with guest-sync-delimited: what the agent or the port still had to say to somebody before
/// is dropped, and a command leaves only when an agent is known to listen. The guest is not trusted: its answers are
/// limited in size and depth.
class GuestAgent {
  public:
    /// An answer longer than this is dropped.
    static constexpr std::size_t kLongestAnswer = 256 << 10;

    struct Error {
        enum class Kind {
            Silent,     ///< no answer in time: no agent, or it is busy
            Refused,    ///< the agent answered with an error
            Unknown,    ///< the agent does not have this command, or its owner has disabled it
            Malformed,  ///< an answer that is none
            Cancelled,  ///< through the stop token
            Unplugged,  ///< the machine ended
        };
        Kind kind = Kind::Silent;
        std::string message;  ///< one line for people
    };
    using Result = tl::expected<nlohmann::json, Error>;

    /// `wake` is called on the caller's thread when bytes wait for the guest; it has to see to it that they are taken
    /// and put into the port.
    explicit GuestAgent(std::function<void()> wake) : wake_(std::move(wake)) {}
    GuestAgent(const GuestAgent&) = delete;
    GuestAgent& operator=(const GuestAgent&) = delete;

    /// Carries out a command; one at a time, others wait for their turn. Any thread but the machine's. `patience` is
    /// the host's time for each of the two answers.
    Result call(const std::string& command, const nlohmann::json& arguments, std::chrono::milliseconds patience,
                const std::stop_token& stop = {});
    /// The same for a command that the agent answers on failure only: silence for `patience` is success.
    Result call_without_answer(const std::string& command, const nlohmann::json& arguments,
                               std::chrono::milliseconds patience, const std::stop_token& stop = {});

    /// The machine's thread: takes bytes for the guest, as many as wait and fit.
    std::size_t take(std::span<std::uint8_t> into);
    /// The machine's thread: a byte from the guest.
    void receive(std::uint8_t byte);
    /// The machine has ended: calls end as Unplugged from now on. Any thread.
    void unplug();

  private:
    using Clock = std::chrono::steady_clock;

    tl::expected<void, Error> synchronize(std::unique_lock<std::mutex>& guard, std::chrono::milliseconds patience,
                                          const std::stop_token& stop);
    /// Queues it, dropping what was not fetched, and forgets what was received.
    void send(std::unique_lock<std::mutex>& guard, const std::string& text);
    /// The next line, without its end.
    tl::expected<std::string, Error> next_line(std::unique_lock<std::mutex>& guard, Clock::time_point until,
                                               const std::stop_token& stop);
    Result carry_out(const std::string& command, const nlohmann::json& arguments, std::chrono::milliseconds patience,
                     const std::stop_token& stop, bool answered);

    const std::function<void()> wake_;
    std::mutex calls_;          // held for a whole call
    std::int64_t last_id_ = 0;  // of a synchronization

    std::mutex mutex_;
    std::condition_variable_any changed_;
    std::deque<std::uint8_t> outgoing_;
    bool listening_ = false;  // a call waits for what the guest sends
    std::string received_;    // whole lines and the beginning of one
    bool too_long_ = false;   // the line that is coming in is dropped
    bool unplugged_ = false;
};

}  // namespace vpc::tasks
