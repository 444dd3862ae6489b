#include "ui/cli/serial_backend.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
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
    std::filesystem::path folder_;
};

TEST_F(SerialBackendTest, FileIsCompleteAfterFinish) {
    const std::string text(300'000, 'z');
    auto backend = open_serial_backend({.kind = Kind::File, .path = folder_ / "log"});
    ASSERT_TRUE(backend.has_value());
    send(**backend, text);
    (*backend)->finish();
    std::ifstream file(folder_ / "log");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
}

TEST_F(SerialBackendTest, FileThatCannotBeMadeIsAnError) {
    EXPECT_FALSE(open_serial_backend({.kind = Kind::File, .path = folder_ / "no" / "log"}).has_value());
}

TEST_F(SerialBackendTest, SocketCarriesBytesBothWaysAndItsFileGoesAway) {
    const std::string path = folder_ / "socket";
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = path});
    ASSERT_TRUE(backend.has_value());
    std::atomic<int> received = 0;
    (*backend)->on_receive([&](std::span<const std::uint8_t> bytes) { received += static_cast<int>(bytes.size()); });

    const int client = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size());
    ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(write(client, "hello", 5), 5);
    for (int i = 0; i < 500 && received < 5; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(received, 5);
    send(**backend, "ok");
    char answer[2] = {};
    EXPECT_EQ(recv(client, answer, 2, MSG_WAITALL), 2);
    EXPECT_EQ(std::string(answer, 2), "ok");
    close(client);
    backend->reset();
    EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(SerialBackendTest, BytesVanishWithoutAClient) {
    auto backend = open_serial_backend({.kind = Kind::Unix, .path = folder_ / "lonely"});
    ASSERT_TRUE(backend.has_value());
    send(**backend, std::string(100'000, 'x'));
    (*backend)->finish();
}

}  // namespace
}  // namespace vpc::cli
