#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>

#include "tasks/control_client.h"
#include "tasks/control_server.h"
#include "tasks/runtime_folder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks {
namespace {

using nlohmann::json;

Answer echo(const std::string& method, const json& parameters) {
    if (method == "hello") {
        return json{{"protocol", kProtocol}, {"name", "test"}};
    }
    if (method == "echo") {
        return parameters;
    }
    if (method == "refuse") {
        return tl::unexpected(Refusal{.message = "no", .hresult = HResult::VM_E_VM_NOT_RUNNING});
    }
    if (method == "throw") {
        throw std::runtime_error("the reason");
    }
    return no_such_method(method);
}

class Control : public ::testing::Test {
  protected:
    void SetUp() override {
        auto listening = ControlServer::listen(socket, echo, [this] { return observed(); });
        ASSERT_TRUE(listening) << listening.error();
        server = std::move(*listening);
    }
    std::vector<Event> observed() const {
        const std::scoped_lock guard(mutex);
        return events;
    }
    void let_be(std::vector<Event> now) {
        const std::scoped_lock guard(mutex);
        events = std::move(now);
    }
    /// A connection that says whatever it likes.
    int raw() const {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        const std::string path = socket.string();
        std::copy(path.begin(), path.end(), address.sun_path);
        const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
        EXPECT_EQ(::connect(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
        const timeval patience{.tv_sec = 10, .tv_usec = 0};
        ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        return descriptor;
    }
    static std::string line(int descriptor) {
        std::string text;
        for (char c = 0; ::recv(descriptor, &c, 1, 0) == 1 && c != '\n';) {
            text.push_back(c);
        }
        return text;
    }
    json said(const std::string& message) const {
        const int descriptor = raw();
        const std::string text = message + "\n";
        EXPECT_EQ(::send(descriptor, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
        const json response = json::parse(line(descriptor), nullptr, false);
        ::close(descriptor);
        return response;
    }
    int code(const std::string& message) const { return said(message)["error"].value("code", 0); }
    void expect_alive() const {
        const auto client = ControlClient::connect(socket);
        ASSERT_TRUE(client) << client.error().message;
        EXPECT_EQ((*client)->call("echo", {{"a", 1}}).value(), (json{{"a", 1}}));
    }

    disk::testing::TemporaryFolder folder;
    std::filesystem::path socket = folder / "a.sock";
    mutable std::mutex mutex;
    std::vector<Event> events;
    std::unique_ptr<ControlServer> server;  // last: its thread asks for events
};

/// The next event within ten seconds.
json next_event(ControlClient& client) {
    for (int i = 0; i < 1000 && !client.broken(); ++i) {
        if (const auto event = client.next_event()) {
            return *event;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return {};
}

TEST_F(Control, TellsThoseWhoWatchWhatChanges) {
    const Event first{.method = "task", .key = "1", .parameters = {{"id", 1}, {"percent", 0}}};
    Event second{.method = "task", .key = "2", .parameters = {{"id", 2}, {"percent", 0}}};
    let_be({first});
    const auto client = ControlClient::connect(socket);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_FALSE((*client)->next_event()) << "nobody asked for it";
    EXPECT_EQ((*client)->call("watch").value(), json::object());
    const json told = next_event(**client);
    EXPECT_EQ(told["jsonrpc"], "2.0");
    EXPECT_FALSE(told.contains("id"));
    EXPECT_EQ(told["method"], "task");
    EXPECT_EQ(told["params"], first.parameters);
    let_be({first, second});
    EXPECT_EQ(next_event(**client)["params"], second.parameters) << "and the first one has not changed";
    second.parameters["percent"] = 50;
    let_be({first, second});
    std::this_thread::sleep_for(std::chrono::milliseconds(2 * ControlServer::kLook));
    EXPECT_EQ((*client)->call("echo", {{"a", 1}}).value(), (json{{"a", 1}})) << "behind an event";
    EXPECT_EQ(next_event(**client)["params"], second.parameters);
    EXPECT_EQ(server->clients(), 0u) << "nobody who has to be waited for";

    second.parameters["percent"] = 100;
    let_be({second});
    server.reset();
    EXPECT_EQ(next_event(**client)["params"], second.parameters) << "the last one";
    EXPECT_FALSE((*client)->next_event());
    EXPECT_TRUE((*client)->broken());
}

TEST_F(Control, AWatcherWhoDoesNotReadIsHungUpOn) {
    const auto client = ControlClient::connect(socket);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_TRUE((*client)->call("watch"));
    const std::string text(32 << 10, 'x');
    std::vector<Event> many;
    for (int i = 0; i < 200; ++i) {
        many.push_back({.method = "task", .key = std::to_string(i), .parameters = {{"text", text}}});
    }
    let_be(many);
    std::this_thread::sleep_for(std::chrono::milliseconds(3 * ControlServer::kLook));
    expect_alive();
    for (int i = 0; i < 200 && !(*client)->broken(); ++i) {
        next_event(**client);
    }
    EXPECT_TRUE((*client)->broken());
}

// What happens to a command that is stopped with Ctrl+Z and goes on while it waits for its machine.
TEST_F(Control, AnInterruptedCallGoesOn) {
    struct sigaction nothing {};
    nothing.sa_handler = [](int) {};  // and no SA_RESTART
    struct sigaction before {};
    ASSERT_EQ(::sigaction(SIGUSR1, &nothing, &before), 0);
    server.reset();
    auto listening = ControlServer::listen(
        socket,
        [caller = ::pthread_self()](const std::string& method, const json& parameters) {
            for (int i = 0; method == "echo" && i < 20; ++i) {
                ::pthread_kill(caller, SIGUSR1);
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
            return echo(method, parameters);
        },
        [] { return std::vector<Event>(); });
    ASSERT_TRUE(listening) << listening.error();
    server = std::move(*listening);
    expect_alive();
    ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(Control, AnswersAndRefuses) {
    const auto client = ControlClient::connect(socket);
    ASSERT_TRUE(client) << client.error().message;
    EXPECT_EQ((*client)->hello()["name"], "test");
    const json parameters{{"text", "Büro\n\"x\""}, {"number", 7}};
    EXPECT_EQ((*client)->call("echo", parameters).value(), parameters);
    Answer answer = (*client)->call("refuse");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, -32000);
    EXPECT_EQ(answer.error().message, "no");
    EXPECT_EQ(answer.error().hresult, HResult::VM_E_VM_NOT_RUNNING);
    answer = (*client)->call("nonsense");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, -32601);
    answer = (*client)->call("throw");
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code, -32603);
    EXPECT_FALSE((*client)->call("echo", {{"long", std::string(kLongestMessage, 'a')}}));
    expect_alive();
}

TEST_F(Control, IsForThisUserAlone) {
    struct stat status {};
    ASSERT_EQ(::stat(socket.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777u, 0600u);
}

TEST_F(Control, RefusesMalformedMessages) {
    EXPECT_EQ(code("nonsense"), -32700);
    EXPECT_EQ(code(""), -32700);
    EXPECT_EQ(code("{\"jsonrpc\":\"2.0\""), -32700);
    EXPECT_EQ(code("\xFF\xFE"), -32700);
    EXPECT_EQ(code(std::string(1000, '[') + std::string(1000, ']')), -32700);
    EXPECT_EQ(code("[]"), -32600);
    EXPECT_EQ(code("7"), -32600);
    EXPECT_EQ(code(R"({"jsonrpc":"2.0","method":"echo"})"), -32600);
    EXPECT_EQ(code(R"({"jsonrpc":"1.0","id":1,"method":"echo"})"), -32600);
    EXPECT_EQ(code(R"({"jsonrpc":"2.0","id":1,"method":7})"), -32600);
    EXPECT_EQ(code(R"({"jsonrpc":"2.0","id":{},"method":"echo"})"), -32600);
    EXPECT_EQ(code(R"({"jsonrpc":"2.0","id":1,"method":"echo","params":[1]})"), -32600);
    EXPECT_EQ(said(R"({"jsonrpc":"2.0","id":"x","method":"echo"})"),
              (json{{"jsonrpc", "2.0"}, {"id", "x"}, {"result", json::object()}}));
    expect_alive();
}

TEST_F(Control, HangsUpOnMessagesWithoutEnd) {
    const int descriptor = raw();
    const std::string piece(4096, 'a');
    for (std::size_t sent = 0; sent <= 4 * kLongestMessage; sent += piece.size()) {
        if (::send(descriptor, piece.data(), piece.size(), MSG_NOSIGNAL) < 0) {
            break;  // hung up already
        }
    }
    EXPECT_EQ(json::parse(line(descriptor), nullptr, false)["error"]["code"], -32600);
    char c = 0;
    EXPECT_LE(::recv(descriptor, &c, 1, 0), 0);
    ::close(descriptor);
    expect_alive();
}

TEST_F(Control, HangsUpOnWhoDoesNotRead) {
    const int descriptor = raw();
    const std::string request =
        R"({"jsonrpc":"2.0","id":1,"method":"echo","params":{"a":")" + std::string(8000, 'x') + "\"}}\n";
    const timeval patience{.tv_sec = 5, .tv_usec = 0};
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    bool hung_up = false;
    for (int i = 0; i < 2000 && !hung_up; ++i) {
        hung_up = ::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL) < 0 && errno == EPIPE;
    }
    EXPECT_TRUE(hung_up);
    ::close(descriptor);
    expect_alive();
}

TEST_F(Control, TakesNoMoreThanItsClients) {
    std::vector<int> many;
    for (std::size_t i = 0; i < ControlServer::kMostClients; ++i) {
        many.push_back(raw());
    }
    for (int i = 0; i < 5000 && server->clients() < many.size(); ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_FALSE(ControlClient::connect(socket));
    for (const int descriptor : many) {
        ::close(descriptor);
    }
    for (int i = 0; i < 5000 && server->clients() > 0; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    expect_alive();
}

TEST_F(Control, RemovesItsSocketAndADeadOnesIsNoticed) {
    server.reset();
    EXPECT_FALSE(std::filesystem::exists(socket));
    auto client = ControlClient::connect(socket);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().problem, ControlClient::Problem::NotRunning);

    sockaddr_un address{};  // what a killed process leaves
    address.sun_family = AF_UNIX;
    const std::string path = socket.string();
    std::copy(path.begin(), path.end(), address.sun_path);
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    ::close(descriptor);
    ASSERT_TRUE(std::filesystem::exists(socket));
    client = ControlClient::connect(socket);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().problem, ControlClient::Problem::NotRunning);
    EXPECT_FALSE(std::filesystem::exists(socket));

    std::ofstream(socket) << "in the way";
    SetUp();
    expect_alive();
}

TEST_F(Control, IsNotTalkedToInAnotherVersion) {
    server.reset();
    auto listening = ControlServer::listen(
        socket,
        [](const std::string&, const json&) -> Answer {
            return json{{"protocol", kProtocol + 1}};
        },
        [] { return std::vector<Event>(); });
    ASSERT_TRUE(listening);
    const auto client = ControlClient::connect(socket);
    ASSERT_FALSE(client);
    EXPECT_EQ(client.error().problem, ControlClient::Problem::Other);
    EXPECT_NE(client.error().message.find("version"), std::string::npos);
}

TEST(RuntimeFolder, IsForThisUserAlone) {
    const disk::testing::TemporaryFolder folder;
    const char* before = std::getenv("XDG_RUNTIME_DIR");
    const std::string kept = before != nullptr ? before : "";
    ::setenv("XDG_RUNTIME_DIR", folder.path().c_str(), 1);
    const auto made = runtime_folder();
    ASSERT_TRUE(made) << made.error();
    EXPECT_EQ(*made, folder / "vpc");
    EXPECT_EQ(std::filesystem::status(*made).permissions(), std::filesystem::perms::owner_all);
    EXPECT_TRUE(runtime_folder());
    std::filesystem::permissions(*made, std::filesystem::perms::all);
    EXPECT_FALSE(runtime_folder());
    std::filesystem::remove(*made);
    std::filesystem::create_directory_symlink(folder.path(), *made);
    EXPECT_FALSE(runtime_folder());
    before != nullptr ? ::setenv("XDG_RUNTIME_DIR", kept.c_str(), 1) : ::unsetenv("XDG_RUNTIME_DIR");
}

}  // namespace
}  // namespace vpc::tasks
