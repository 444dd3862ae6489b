#include "tasks/control_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "tasks/runtime_folder.h"
#include "tasks/untrusted_json.h"

namespace vpc::tasks {
namespace {

using nlohmann::json;

json error_response(const json& id, int code, const std::string& message) {
    return {{"jsonrpc", "2.0"}, {"id", id}, {"error", {{"code", code}, {"message", message}}}};
}

}  // namespace

tl::expected<std::unique_ptr<ControlServer>, std::string> ControlServer::listen(const std::filesystem::path& socket,
                                                                                Handler handler, Observer observer) {
    const auto problem = [&](const char* what) {
        return tl::unexpected(fmt::format("cannot {} at '{}': {}", what, socket.string(), std::strerror(errno)));
    };
    // It is made under another name and gets its own when it listens: whoever finds it there can connect.
    const std::string temporary = socket.string() + ".new";
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (temporary.size() >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return problem("listen");
    }
    std::copy(temporary.begin(), temporary.end(), address.sun_path);
    const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0) {
        return problem("make a socket");
    }
    const FolderLock lock(socket.parent_path());
    ::unlink(temporary.c_str());
    std::array<int, 2> wake{-1, -1};
    if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
        ::chmod(temporary.c_str(), 0600) != 0 || ::listen(listener, static_cast<int>(kMostClients)) != 0 ||
        ::pipe2(wake.data(), O_CLOEXEC) != 0 || ::rename(temporary.c_str(), socket.c_str()) != 0) {
        auto failed = problem("listen");
        ::close(listener);
        ::unlink(temporary.c_str());
        for (const int end : wake) {
            if (end >= 0) {
                ::close(end);
            }
        }
        return failed;
    }
    return std::unique_ptr<ControlServer>(
        new ControlServer(socket, listener, wake[0], wake[1], std::move(handler), std::move(observer)));
}

ControlServer::ControlServer(std::filesystem::path socket, int listener, int wake_read, int wake_write, Handler handler,
                             Observer observer)
    : socket_(std::move(socket)),
      listener_(listener),
      wake_read_(wake_read),
      wake_write_(wake_write),
      handler_(std::move(handler)),
      observer_(std::move(observer)),
      thread_([this] { loop(); }) {}

ControlServer::~ControlServer() {
    ::unlink(socket_.c_str());
    ::close(wake_write_);  // wakes the thread
    thread_.join();
    for (const Client& client : clients_) {
        ::close(client.descriptor);
    }
    ::close(listener_);
    ::close(wake_read_);
}

void ControlServer::loop() {
    for (;;) {
        std::vector<pollfd> watched{{.fd = wake_read_, .events = POLLIN, .revents = 0},
                                    {.fd = listener_, .events = POLLIN, .revents = 0}};
        for (const Client& client : clients_) {
            watched.push_back({.fd = client.descriptor, .events = POLLIN, .revents = 0});
        }
        if (::poll(watched.data(), watched.size(), is_watched() ? kLook : -1) < 0) {
            continue;  // EINTR
        }
        if (watched[0].revents != 0) {
            return tell_watchers();
        }
        for (std::size_t i = clients_.size(); i-- > 0;) {
            if (watched[i + 2].revents != 0 && !receive(clients_[i])) {
                hang_up(i);
            }
        }
        if (watched[1].revents != 0) {
            accept_client();
        }
        tell_watchers();
        client_count_ = static_cast<std::size_t>(
            std::count_if(clients_.begin(), clients_.end(), [](const Client& client) { return !client.watches; }));
    }
}

void ControlServer::hang_up(std::size_t index) {
    ::close(clients_[index].descriptor);
    clients_.erase(clients_.begin() + static_cast<std::ptrdiff_t>(index));
}

bool ControlServer::is_watched() const {
    return std::any_of(clients_.begin(), clients_.end(), [](const Client& client) { return client.watches; });
}

void ControlServer::tell_watchers() {
    if (!is_watched()) {
        return;
    }
    const std::vector<Event> events = observer_();
    for (std::size_t i = clients_.size(); i-- > 0;) {
        if (clients_[i].watches && !tell(clients_[i], events)) {
            hang_up(i);
        }
    }
}

bool ControlServer::tell(Client& client, const std::vector<Event>& events) {
    std::map<std::string, json> told;
    for (const Event& event : events) {
        const auto before = client.told.find(event.key);
        const bool is_news = before == client.told.end() || before->second != event.parameters;
        if (is_news && !send(client, {{"jsonrpc", "2.0"}, {"method", event.method}, {"params", event.parameters}})) {
            return false;
        }
        told[event.key] = event.parameters;
    }
    client.told = std::move(told);
    return true;
}

void ControlServer::accept_client() {
    const int descriptor = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (descriptor < 0) {
        return;
    }
    if (clients_.size() >= kMostClients) {
        ::close(descriptor);
        return;
    }
    clients_.push_back({.descriptor = descriptor});
}

bool ControlServer::receive(Client& client) {
    std::array<char, 4096> buffer{};
    const ssize_t got = ::recv(client.descriptor, buffer.data(), buffer.size(), 0);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    if (got == 0) {
        return false;
    }
    client.received.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = client.received.find('\n')) != std::string::npos;) {
        const std::string line = client.received.substr(0, end);
        client.received.erase(0, end + 1);
        if (!send(client, response_to(line, client))) {
            return false;
        }
    }
    if (client.received.size() > kLongestMessage) {
        send(client, error_response(nullptr, -32600, "the message is too long"));
        return false;
    }
    return true;
}

bool ControlServer::send(const Client& client, const json& message) {
    const std::string text = message.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    // Messages are short: what does not fit into the socket's buffer goes to somebody who does not read.
    return ::send(client.descriptor, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(text.size());
}

json ControlServer::response_to(std::string_view line, Client& client) {
    const auto parsed = parse_untrusted_json(line);
    if (!parsed) {
        return error_response(nullptr, -32700, "the message is no JSON");
    }
    const json& request = *parsed;
    const bool whole = request.is_object() && request.value("jsonrpc", json()) == "2.0" && request.contains("id") &&
                       (request["id"].is_number_integer() || request["id"].is_string()) &&
                       request.value("method", json()).is_string() &&
                       (!request.contains("params") || request["params"].is_object());
    if (!whole) {
        return error_response(nullptr, -32600, "the message is no request with an id, a method and named params");
    }
    const json& id = request["id"];
    if (request["method"] == "watch") {
        client.watches = true;
        return {{"jsonrpc", "2.0"}, {"id", id}, {"result", json::object()}};
    }
    try {
        const Answer answer = handler_(request["method"].get<std::string>(), request.value("params", json::object()));
        if (answer) {
            return {{"jsonrpc", "2.0"}, {"id", id}, {"result", *answer}};
        }
        json response = error_response(id, answer.error().code, answer.error().message);
        if (answer.error().code == -32000) {
            response["error"]["data"] = {{"hresult", hresult_number(answer.error().hresult)}};
        }
        return response;
    } catch (const std::exception& problem) {
        return error_response(id, -32603, problem.what());
    }
}

}  // namespace vpc::tasks
