#pragma once
#include <deque>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "tasks/control_server.h"

namespace vpc::tasks {

/// A command's end of the connection to a running machine; see tasks/control_server.h. One thread at a time.
class ControlClient {
  public:
    enum class Problem {
        NotRunning,  ///< nobody listens; a dead process's socket was removed
        Other,
    };
    struct Error {
        Problem problem = Problem::Other;
        std::string message;  ///< one line for people
    };

    /// Connects and says hello.
    static tl::expected<std::unique_ptr<ControlClient>, Error> connect(const std::filesystem::path& socket);
    /// The same for the machine with this configuration file, whose socket is in runtime_folder().
    static tl::expected<std::unique_ptr<ControlClient>, Error> reach(const std::filesystem::path& vmc);
    ~ControlClient();
    ControlClient(const ControlClient&) = delete;
    ControlClient& operator=(const ControlClient&) = delete;

    /// What the machine answered to hello: "protocol", "name", "file", "pid", "state".
    const nlohmann::json& hello() const { return hello_; }
    /// Waits for the answer, at most half a minute. A connection that breaks is a Refusal with E_UNEXPECTED.
    Answer call(const std::string& method, const nlohmann::json& parameters = nlohmann::json::object());

    /// After a call of "watch": the notification ("method", "params") that came next, or nothing when there is none.
    std::optional<nlohmann::json> next_event();
    /// For poll(): readable when there may be an event.
    int descriptor() const { return descriptor_; }
    /// The connection has ended, as next_event() has noticed.
    bool broken() const { return broken_; }

  private:
    explicit ControlClient(int descriptor) : descriptor_(descriptor) {}
    /// The next message; with MSG_DONTWAIT, if it is there.
    std::optional<nlohmann::json> receive(int flags);
    /// False: the connection has ended, or nobody reads.
    bool send(std::string_view text);

    const int descriptor_;
    std::string received_;
    std::deque<nlohmann::json> events_;
    bool broken_ = false;
    int last_id_ = 0;
    nlohmann::json hello_;
};

}  // namespace vpc::tasks
