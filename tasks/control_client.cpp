#include "tasks/control_client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tasks/runtime_folder.h"

namespace vpc::tasks {
namespace {

using nlohmann::json;

// A time-out has a price: waits that have one end with EINTR when the process was stopped and goes on (signal(7)).
constexpr timeval kPatience{.tv_sec = 30, .tv_usec = 0};

/// -1 with errno.
int connect_to(const std::filesystem::path& socket) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = socket.string();
    if (path.size() >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    std::copy(path.begin(), path.end(), address.sun_path);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
        return -1;
    }
    if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        const int error = errno;
        ::close(descriptor);
        errno = error;
        return -1;
    }
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience));
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));
    return descriptor;
}

bool is_event(const json& message) {
    return message.is_object() && message.contains("method");
}

tl::unexpected<Refusal> no_answer(const std::string& why) {
    return tl::unexpected(Refusal{.message = why, .hresult = HResult::E_UNEXPECTED});
}

}  // namespace

tl::expected<std::unique_ptr<ControlClient>, ControlClient::Error> ControlClient::connect(
    const std::filesystem::path& socket) {
    int descriptor = connect_to(socket);
    if (descriptor < 0 && errno == ECONNREFUSED) {
        const FolderLock lock(socket.parent_path());
        descriptor = connect_to(socket);
        if (descriptor < 0 && errno == ECONNREFUSED) {
            // Nobody listens, and a socket gets its name after it listens: its process is dead.
            ::unlink(socket.c_str());
            errno = ECONNREFUSED;
        }
    }
    if (descriptor < 0) {
        const int error = errno;
        if (error == ECONNREFUSED || error == ENOENT) {
            return tl::unexpected(Error{Problem::NotRunning, "the machine is not running"});
        }
        return tl::unexpected(Error{Problem::Other, fmt::format("'{}': {}", socket.string(), std::strerror(error))});
    }
    std::unique_ptr<ControlClient> client(new ControlClient(descriptor));
    auto hello = client->call("hello");
    if (!hello) {
        return tl::unexpected(Error{Problem::Other, hello.error().message});
    }
    if (const json protocol = hello->is_object() ? hello->value("protocol", json()) : json(); protocol != kProtocol) {
        return tl::unexpected(
            Error{Problem::Other, fmt::format("the machine is run by another version of this program, "
                                              "with protocol {} instead of {}",
                                              protocol.dump(), kProtocol)});
    }
    client->hello_ = std::move(*hello);
    return client;
}

tl::expected<std::unique_ptr<ControlClient>, ControlClient::Error> ControlClient::reach(
    const std::filesystem::path& vmc) {
    const auto folder = runtime_folder();
    if (!folder) {
        return tl::unexpected(Error{Problem::Other, folder.error()});
    }
    return connect(control_socket(*folder, vmc));
}

ControlClient::~ControlClient() {
    ::close(descriptor_);
}

std::optional<json> ControlClient::receive(int flags) {
    std::size_t end = 0;
    while ((end = received_.find('\n')) == std::string::npos) {
        std::array<char, 4096> buffer{};
        const ssize_t got = ::recv(descriptor_, buffer.data(), buffer.size(), flags);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            broken_ = broken_ || got == 0 || errno != EAGAIN;
            return std::nullopt;
        }
        received_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    json message = json::parse(received_.substr(0, end), nullptr, false);
    received_.erase(0, end + 1);
    return message;
}

bool ControlClient::send(std::string_view text) {
    while (!text.empty()) {
        const ssize_t sent = ::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    }
    return true;
}

std::optional<json> ControlClient::next_event() {
    if (events_.empty()) {
        auto message = receive(MSG_DONTWAIT);
        return message && is_event(*message) ? std::move(message) : std::nullopt;
    }
    json event = std::move(events_.front());
    events_.pop_front();
    return event;
}

Answer ControlClient::call(const std::string& method, const json& parameters) {
    const int id = ++last_id_;
    const json request{{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", parameters}};
    const std::string text = request.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
    if (text.size() > kLongestMessage) {
        return bad_parameters("that is more than a message can hold");
    }
    if (!send(text)) {
        return no_answer("the machine's process has gone");
    }
    std::optional<json> message = receive(0);
    while (message && is_event(*message)) {
        events_.push_back(std::move(*message));
        message = receive(0);
    }
    if (!message) {
        return no_answer(broken_ ? "the machine's process has gone" : "the machine's process does not answer");
    }
    const json response = std::move(*message);
    if (!response.is_object()) {
        return no_answer("the machine's process answers nonsense");
    }
    if (response.contains("result")) {
        return response["result"];
    }
    try {
        const json& error = response.at("error");
        Refusal refusal{.code = error.at("code"), .message = error.at("message")};
        if (error.contains("data")) {
            const std::string number = error["data"].at("hresult");  // "0xA0040206"
            refusal.hresult = static_cast<HResult>(std::stoul(number, nullptr, 16));
        }
        return tl::unexpected(std::move(refusal));
    } catch (const std::exception&) {
        return no_answer("the machine's process answers nonsense");
    }
}

}  // namespace vpc::tasks
