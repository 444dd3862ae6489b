#pragma once
#include <atomic>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <tl/expected.hpp>
#include <vector>

#include "tasks/result.h"

namespace vpc::tasks {

/// The protocol between a running machine and the commands of other processes: JSON-RPC 2.0 over a Unix socket, one
/// message a line, UTF-8, at most kLongestMessage bytes. A client's batches and notifications are refused: every
/// request has an id and gets one response. Errors are JSON-RPC's own (-32700 to -32602), or -32000 with `data.hresult`
/// "0x…" when the machine refuses.
///
/// A client that calls "watch" (no parameters, result {}) gets events from then on: notifications, first of everything
/// there is to be told, then of whatever changes, kLook after it at the latest. They may come before the response of a
/// later request.
///
/// A client says "hello" first and reads "protocol" in the result; another number than kProtocol means that it cannot
/// go on. Within a number, methods and keys are only added.
inline constexpr int kProtocol = 1;
inline constexpr std::size_t kLongestMessage = 64 << 10;

/// What a method comes to: a result, or why not.
struct Refusal {
    int code = -32000;
    std::string message;
    HResult hresult = HResult::E_FAIL;  ///< with -32000
};
using Answer = tl::expected<nlohmann::json, Refusal>;
inline tl::unexpected<Refusal> no_such_method(const std::string& method) {
    return tl::unexpected(Refusal{.code = -32601, .message = "there is no method '" + method + "'"});
}
inline tl::unexpected<Refusal> bad_parameters(const std::string& why) {
    return tl::unexpected(Refusal{.code = -32602, .message = why});
}

/// What can be watched, as it is now. The events of one `key` tell of one thing.
struct Event {
    std::string method;  ///< of the notification
    std::string key;
    nlohmann::json parameters;
};

/// The machine's end. Clients are not trusted: a malformed or oversized message, one client too many, or one who does
/// not read his responses costs him the connection and nobody else anything.
class ControlServer {
  public:
    static constexpr std::size_t kMostClients = 16;
    static constexpr int kLook = 100;  ///< milliseconds
    /// Called on the server's thread, one request at a time; should be back soon. Exceptions become JSON-RPC's internal
    /// error, -32603.
    using Handler = std::function<Answer(const std::string& method, const nlohmann::json& parameters)>;
    /// Called there, too, while somebody watches. Must not throw.
    using Observer = std::function<std::vector<Event>()>;

    /// Listens at `socket` (mode 0600), in a folder of this user alone, in the place of whatever was there: the caller
    /// holds the machine's lock, so that can only be a dead process's. The error is one line.
    static tl::expected<std::unique_ptr<ControlServer>, std::string> listen(const std::filesystem::path& socket,
                                                                            Handler handler, Observer observer);
    /// Tells those who watch what has changed last, hangs up and removes the socket.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Clients connected now who do not watch. Any thread.
    std::size_t clients() const { return client_count_; }

  private:
    struct Client {
        int descriptor = -1;
        std::string received = {};
        bool watches = false;
        std::map<std::string, nlohmann::json> told = {};  // by the events' keys
    };

    ControlServer(std::filesystem::path socket, int listener, int wake_read, int wake_write, Handler handler,
                  Observer observer);
    void loop();
    void accept_client();
    /// False: the connection ends.
    bool receive(Client& client);
    bool send(const Client& client, const nlohmann::json& message);
    nlohmann::json response_to(std::string_view line, Client& client);
    bool is_watched() const;
    void tell_watchers();
    /// As receive().
    bool tell(Client& client, const std::vector<Event>& events);
    void hang_up(std::size_t index);

    const std::filesystem::path socket_;
    const int listener_;
    const int wake_read_;
    const int wake_write_;
    const Handler handler_;
    const Observer observer_;
    std::vector<Client> clients_;  // the server's thread
    std::atomic<std::size_t> client_count_ = 0;
    std::thread thread_;
};

}  // namespace vpc::tasks
