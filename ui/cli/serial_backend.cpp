#include "ui/cli/serial_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace vpc::cli {
namespace {

/// A file descriptor that is closed with it.
class Descriptor {
  public:
    Descriptor() = default;
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Descriptor() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    int get() const { return fd_; }
    explicit operator bool() const { return fd_ >= 0; }

  private:
    int fd_ = -1;
};

/// Puts the terminal on stdin into raw mode, so that keys go to the guest one by one, and restores it. Ctrl-C still
/// interrupts the program.
class RawTerminal {
  public:
    RawTerminal() {
        if (isatty(STDIN_FILENO) == 0 || tcgetattr(STDIN_FILENO, &saved_) != 0) {
            return;
        }
        termios raw = saved_;
        raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
        raw.c_iflag &= ~static_cast<tcflag_t>(ICRNL | IXON);
        active_ = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    }
    RawTerminal(const RawTerminal&) = delete;
    RawTerminal& operator=(const RawTerminal&) = delete;
    ~RawTerminal() {
        if (active_) {
            tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
        }
    }

  private:
    termios saved_{};
    bool active_ = false;
};

/// All kinds of back end: a descriptor to write to, one to read from, or a listening socket whose client is both.
class StreamBackend final : public SerialBackend {
  public:
    struct Ends {
        Descriptor owned;  // closed with the back end
        int output = -1;   // -1: nobody yet
        int input = -1;
        Descriptor listener;    // of a unix socket
        Descriptor slave;       // of a pty: keeps it alive without a client
        std::string remove;     // the socket's file
        bool terminal = false;  // stdin may be one
    };

    explicit StreamBackend(Ends ends) : ends_(std::move(ends)), wake_reader_(eventfd(0, EFD_CLOEXEC)) {
        output_ = ends_.output;
        if (ends_.terminal) {
            terminal_.emplace();
        }
        writer_ = std::thread([this] { write_loop(); });
    }

    ~StreamBackend() override {
        finish();
        if (!ends_.remove.empty()) {
            unlink(ends_.remove.c_str());
        }
    }

    void send(std::uint8_t byte) override {
        const std::scoped_lock guard(mutex_);
        if (outgoing_.size() < kLargestBacklog) {
            outgoing_.push_back(byte);
        }
        work_.notify_one();
    }

    void on_receive(Receiver receiver) override {
        if (ends_.input >= 0 || ends_.listener) {
            reader_ = std::thread([this, take = std::move(receiver)] { read_loop(take); });
        }
    }

    void finish() override {
        {
            const std::scoped_lock guard(mutex_);
            finished_ = true;
        }
        work_.notify_one();
        const std::uint64_t one = 1;
        (void)!write(wake_reader_.get(), &one, sizeof one);
        if (writer_.joinable()) {
            writer_.join();
        }
        if (reader_.joinable()) {
            reader_.join();
        }
    }

  private:
    static constexpr std::size_t kLargestBacklog = 16 << 20;

    void write_loop() {
        std::unique_lock guard(mutex_);
        for (;;) {
            work_.wait(guard, [this] { return finished_ || !outgoing_.empty(); });
            if (outgoing_.empty()) {
                return;
            }
            std::vector<std::uint8_t> bytes;
            bytes.swap(outgoing_);
            guard.unlock();
            write_all(bytes);
            guard.lock();
        }
    }

    void write_all(std::span<const std::uint8_t> bytes) {
        while (!bytes.empty()) {
            const int fd = output_;
            if (fd < 0) {
                return;
            }
            const ssize_t count = write(fd, bytes.data(), bytes.size());
            if (count > 0) {
                bytes = bytes.subspan(static_cast<std::size_t>(count));
            } else if (count < 0 && errno == EAGAIN) {
                // A reader that is too slow gets a moment; with nobody at the other end the bytes vanish.
                pollfd ready{.fd = fd, .events = POLLOUT, .revents = 0};
                if (poll(&ready, 1, 100) <= 0) {
                    return;
                }
            } else if (count < 0 && errno != EINTR) {
                return;
            }
        }
    }

    /// Waits for input on `fd`; false when the back end finishes.
    bool readable(int fd) {
        std::array<pollfd, 2> waiting{pollfd{.fd = fd, .events = POLLIN, .revents = 0},
                                      pollfd{.fd = wake_reader_.get(), .events = POLLIN, .revents = 0}};
        while (poll(waiting.data(), waiting.size(), -1) < 0 && errno == EINTR) {
        }
        return waiting[1].revents == 0;
    }

    void read_loop(const Receiver& receiver) {
        do {
            int fd = ends_.input;
            Descriptor client;
            if (ends_.listener) {
                if (!readable(ends_.listener.get())) {
                    return;
                }
                client = Descriptor(accept4(ends_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
                if (!client) {
                    continue;
                }
                fd = client.get();
                output_ = fd;
            }
            read_from(fd, receiver);
            if (ends_.listener) {
                output_ = -1;
            }
        } while (ends_.listener && !finishing());
    }

    bool finishing() {
        const std::scoped_lock guard(mutex_);
        return finished_;
    }

    void read_from(int fd, const Receiver& receiver) {
        std::array<std::uint8_t, 4096> buffer;
        while (readable(fd)) {
            const ssize_t count = read(fd, buffer.data(), buffer.size());
            if (count > 0) {
                receiver({buffer.data(), static_cast<std::size_t>(count)});
            } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
                return;
            }
        }
    }

    Ends ends_;
    Descriptor wake_reader_;
    std::optional<RawTerminal> terminal_;
    std::atomic<int> output_ = -1;
    std::mutex mutex_;
    std::condition_variable work_;
    std::vector<std::uint8_t> outgoing_;
    bool finished_ = false;
    std::thread writer_;
    std::thread reader_;
};

class NullBackend final : public SerialBackend {
  public:
    void send(std::uint8_t) override {}
    void on_receive(Receiver) override {}
    void finish() override {}
};

tl::expected<StreamBackend::Ends, std::string> open_ends(const SerialBackendChoice& choice) {
    const auto failed = [] { return tl::unexpected(std::string(std::strerror(errno))); };
    StreamBackend::Ends ends;
    switch (choice.kind) {
        case SerialBackendChoice::Kind::Stdio:
            ends.output = STDOUT_FILENO;
            ends.input = STDIN_FILENO;
            ends.terminal = true;
            break;
        case SerialBackendChoice::Kind::File:
            ends.owned = Descriptor(open(choice.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
            if (!ends.owned) {
                return failed();
            }
            ends.output = ends.owned.get();
            break;
        case SerialBackendChoice::Kind::Pty: {
            int master = -1;
            int slave = -1;
            std::array<char, 256> name{};
            if (openpty(&master, &slave, name.data(), nullptr, nullptr) != 0) {
                return failed();
            }
            ends.owned = Descriptor(master);
            ends.slave = Descriptor(slave);
            fcntl(master, F_SETFL, O_NONBLOCK);
            termios raw{};
            tcgetattr(slave, &raw);
            cfmakeraw(&raw);
            tcsetattr(slave, TCSANOW, &raw);
            ends.output = ends.input = master;
            std::fprintf(stderr, "vpc: serial port on %s\n", name.data());
            break;
        }
        case SerialBackendChoice::Kind::Unix: {
            sockaddr_un address{};
            address.sun_family = AF_UNIX;
            if (choice.path.size() >= sizeof address.sun_path) {
                errno = ENAMETOOLONG;
                return failed();
            }
            std::memcpy(address.sun_path, choice.path.c_str(), choice.path.size());
            ends.listener = Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
            if (!ends.listener ||
                bind(ends.listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
                listen(ends.listener.get(), 1) != 0) {
                return failed();
            }
            ends.remove = choice.path;
            break;
        }
        case SerialBackendChoice::Kind::Null:
            break;
    }
    return ends;
}

}  // namespace

tl::expected<SerialBackendChoice, std::string> parse_serial_backend(const std::string& text) {
    using Kind = SerialBackendChoice::Kind;
    if (text == "stdio") {
        return SerialBackendChoice{.kind = Kind::Stdio};
    }
    if (text == "pty") {
        return SerialBackendChoice{.kind = Kind::Pty};
    }
    if (text == "null") {
        return SerialBackendChoice{};
    }
    if (text.starts_with("file:") && text.size() > 5) {
        return SerialBackendChoice{.kind = Kind::File, .path = text.substr(5)};
    }
    if (text.starts_with("unix:") && text.size() > 5) {
        return SerialBackendChoice{.kind = Kind::Unix, .path = text.substr(5)};
    }
    return tl::unexpected("'" + text + "' is none of stdio, file:PATH, pty, unix:PATH, null");
}

tl::expected<std::unique_ptr<SerialBackend>, std::string> open_serial_backend(const SerialBackendChoice& choice) {
    if (choice.kind == SerialBackendChoice::Kind::Null) {
        return std::make_unique<NullBackend>();
    }
    std::signal(SIGPIPE, SIG_IGN);  // a reader that goes away must not end the machine
    auto ends = open_ends(choice);
    if (!ends) {
        return tl::unexpected(ends.error());
    }
    return std::make_unique<StreamBackend>(std::move(*ends));
}

}  // namespace vpc::cli
