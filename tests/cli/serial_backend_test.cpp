#include "ui/cli/serial_backend.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

namespace vpc::cli {
namespace {

using Kind = SerialBackendChoice::Kind;

TEST(SerialBackendChoice, ParsesEveryKind) {
    EXPECT_EQ(parse_serial_backend("stdio")->kind, Kind::Stdio);
    EXPECT_EQ(parse_serial_backend("pty")->kind, Kind::Pty);
    EXPECT_EQ(parse_serial_backend("null")->kind, Kind::Null);
    EXPECT_EQ(parse_serial_backend("file:a:b")->path, "a:b");
    EXPECT_EQ(parse_serial_backend("unix:s")->kind, Kind::Unix);
}

TEST(SerialBackendChoice, RefusesAnythingElse) {
    for (const char* text : {"", "file:", "unix:", "tcp:1", "Stdio"}) {
        EXPECT_FALSE(parse_serial_backend(text).has_value()) << text;
    }
}

/// Gives what happens on other threads ten seconds.
bool eventually(const std::function<bool()>& condition) {
    for (int i = 0; i < 2000; ++i) {
        if (condition()) {
            return true;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return false;
}

std::string read_exactly(int fd, std::size_t size) {
    std::string text;
    std::array<char, 4096> buffer;
    while (text.size() < size) {
        const ssize_t count = read(fd, buffer.data(), std::min(buffer.size(), size - text.size()));
        if (count <= 0) {
            break;
        }
        text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    return text;
}

/// Text whose every part can be told from every other.
std::string numbers(int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
        text += std::to_string(i) + ",";
    }
    return text;
}

class SerialBackendTest : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() / ("vpc-serial-" + std::to_string(getpid()));
        std::filesystem::create_directory(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    static void send(SerialBackend& backend, std::string_view text) {
        for (const char character : text) {
            backend.send(static_cast<std::uint8_t>(character));
        }
    }
    /// Listens to the back end; what it says lands in the members below.
    void listen(SerialBackend& backend) {
        backend.on_receive([this](std::span<const std::uint8_t> bytes) { received += bytes.size(); },
                           [this](bool somebody) { plugged = somebody ? 1 : 0; });
        ASSERT_TRUE(eventually([this] { return plugged != -1; }));
    }
    static int connect_to(const std::string& path) {
        const int client = socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::memcpy(address.sun_path, path.c_str(), path.size());
        EXPECT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
        return client;
    }
    /// A back end on a new pty, and the path of its other end.
    static std::pair<std::unique_ptr<SerialBackend>, std::string> open_pty() {
        auto backend = open_serial_backend({.kind = Kind::Pty});
        EXPECT_TRUE(backend.has_value());
        const std::string terminal = (*backend)->terminal();
        EXPECT_TRUE(terminal.starts_with("/dev/"));
        return {std::move(*backend), terminal};
    }

    std::filesystem::path folder_;
    std::atomic<std::size_t> received = 0;
    std::atomic<int> plugged = -1;
};

TEST_F(SerialBackendTest, FileIsCompleteAfterFinish) {
    const std::string text(300'000, 'z');
    auto backend = open_serial_backend({.kind = Kind::File, .path = folder_ / "log"});
    ASSERT_TRUE(backend.has_value());
    send(**backend, text);
    (*backend)->finish();
    std::ifstream file(folder_ / "log");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
    EXPECT_EQ((*backend)->problem(), "");
}

TEST_F(SerialBackendTest, FileThatCannotBeMadeIsAnError) {
    EXPECT_FALSE(open_serial_backend({.kind = Kind::File, .path = folder_ / "no" / "log"}).has_value());
}

TEST_F(SerialBackendTest, FileThatTakesNoMoreIsAProblem) {
    auto backend = open_serial_backend({.kind = Kind::File, .path = "/dev/full"});
    ASSERT_TRUE(backend.has_value());
    EXPECT_EQ((*backend)->problem(), "");
    send(**backend, "x");
    EXPECT_TRUE(eventually([&] { return !(*backend)->problem().empty(); }));
    EXPECT_EQ((*backend)->problem(), std::strerror(ENOSPC));
    send(**backend, std::string(100'000, 'x'));
    (*backend)->finish();
}

TEST_F(SerialBackendTest, SocketCarriesBytesBothWaysAndItsFileGoesAway) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    listen(**backend);
    const int client = connect_to(path);
    ASSERT_EQ(write(client, "hello", 5), 5);
    EXPECT_TRUE(eventually([&] { return received == 5; }));
    send(**backend, "ok");
    EXPECT_EQ(read_exactly(client, 2), "ok");
    close(client);
    backend->reset();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(SerialBackendTest, SocketTellsWhetherSomebodyIsThere) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    listen(**backend);
    EXPECT_EQ(plugged, 0);
    const int client = connect_to(path);
    EXPECT_TRUE(eventually([&] { return plugged == 1; }));
    close(client);
    EXPECT_TRUE(eventually([&] { return plugged == 0; }));
}

TEST_F(SerialBackendTest, BytesVanishWithoutAClient) {
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = folder_ / "lonely"});
    ASSERT_TRUE(backend.has_value());
    send(**backend, std::string(100'000, 'x'));
    (*backend)->finish();
    EXPECT_EQ((*backend)->problem(), "");
}

/// Each client leaves in the middle of output; none gets a byte that was meant for another, nor does any other file of
/// the program.
TEST_F(SerialBackendTest, ClientsThatVanishDoNotDisturbWhatFollows) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    listen(**backend);
    const std::string other = folder_ / "other";
    for (int round = 0; round < 100; ++round) {
        const int client = connect_to(path);
        ASSERT_TRUE(eventually([&] { return plugged == 1; }));
        send(**backend, std::string(20'000, 'x'));
        EXPECT_EQ(read_exactly(client, 10), std::string(10, 'x'));
        close(client);
        const int next = open(other.c_str(), O_CREAT | O_WRONLY, 0666);  // gets the number of the closed descriptor
        ASSERT_TRUE(eventually([&] { return plugged == 0; }));
        close(next);
    }
    EXPECT_EQ(std::filesystem::file_size(other), 0u);
    const int last = connect_to(path);
    ASSERT_TRUE(eventually([&] { return plugged == 1; }));
    const std::string text = numbers(1000);
    send(**backend, text);
    EXPECT_EQ(read_exactly(last, text.size()), text);
    close(last);
}

TEST_F(SerialBackendTest, StalledPtyReaderLosesNothing) {
    auto [backend, path] = open_pty();
    listen(*backend);
    EXPECT_EQ(plugged, 0);
    const int terminal = open(path.c_str(), O_RDWR | O_NOCTTY);
    ASSERT_GE(terminal, 0) << path;
    ASSERT_TRUE(eventually([&] { return plugged == 1; }));
    const std::string text = numbers(20'000);  // far more than a terminal holds
    send(*backend, text);
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    EXPECT_EQ(read_exactly(terminal, text.size()), text);
    ASSERT_EQ(write(terminal, "hello", 5), 5);
    EXPECT_TRUE(eventually([&] { return received == 5; })) << "raw: no line discipline holds it back";
    close(terminal);
    EXPECT_TRUE(eventually([&] { return plugged == 0; }));
}

TEST_F(SerialBackendTest, PtyCanBeOpenedAgainAndStaysRaw) {
    auto [backend, path] = open_pty();
    listen(*backend);
    for (int round = 0; round < 3; ++round) {
        const int terminal = open(path.c_str(), O_RDWR | O_NOCTTY);
        ASSERT_TRUE(eventually([&] { return plugged == 1; }));
        send(*backend, "a\nb\r");
        EXPECT_EQ(read_exactly(terminal, 4), "a\nb\r");
        close(terminal);
        ASSERT_TRUE(eventually([&] { return plugged == 0; }));
    }
    EXPECT_EQ(received, 0u) << "no echo of what the guest sent";
}

TEST_F(SerialBackendTest, HeldBackItReadsNothing) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    listen(**backend);
    const int client = connect_to(path);
    ASSERT_TRUE(eventually([&] { return plugged == 1; }));
    (*backend)->hold_back(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    ASSERT_EQ(write(client, "hello", 5), 5);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    EXPECT_EQ(received, 0u);
    (*backend)->hold_back(false);
    EXPECT_TRUE(eventually([&] { return received == 5; }));
    close(client);
}

TEST_F(SerialBackendTest, FinishDoesNotWaitForAReaderThatHasStopped) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    listen(**backend);
    const int client = connect_to(path);
    ASSERT_TRUE(eventually([&] { return plugged == 1; }));
    send(**backend, std::string(4'000'000, 'x'));
    (*backend)->finish();
    close(client);
}

}  // namespace
}  // namespace vpc::cli
