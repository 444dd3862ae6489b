#include "ui/cli/serial_backend.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
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
    Descriptor& operator=(Descriptor other) noexcept {
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

/// All kinds of back end: a descriptor to write to, one to read from, or a listening socket whose client is both. One
/// thread owns them all, so that none is closed under the hands of another.
class StreamBackend final : public SerialBackend {
  public:
    struct Ends {
        Descriptor owned;  // closed with the back end
        int output = -1;   // -1: nobody yet
        int input = -1;
        Descriptor listener;        // of a unix socket
        std::string remove;         // the socket's file
        bool terminal = false;      // stdin may be one
        bool pty = false;           // its other end comes and goes unannounced
        std::string terminal_name;  // of a pty
        bool file = false;          // takes everything, or fails for good
    };

    explicit StreamBackend(Ends ends)
        : ends_(std::move(ends)),
          connected_(ends_.output >= 0 && !ends_.pty),
          wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
        if (ends_.terminal) {
            terminal_.emplace();
        }
        thread_ = std::thread([this] { run(); });
    }

    ~StreamBackend() override {
        finish();
        if (!ends_.remove.empty()) {
            unlink(ends_.remove.c_str());
        }
    }

    void send(std::uint8_t byte) override {
        bool first = false;
        {
            const std::scoped_lock guard(mutex_);
            if (outgoing_.size() >= kLargestBacklog) {
                return;
            }
            first = outgoing_.empty();
            outgoing_.push_back(byte);
        }
        if (first) {
            wake();
        }
    }

    void on_receive(Receiver receiver, std::function<void(bool)> plugged) override {
        {
            const std::scoped_lock guard(mutex_);
            receiver_ = std::move(receiver);
            plugged_ = std::move(plugged);
        }
        wake();
    }

    void hold_back(bool held) override {
        if (held_back_.exchange(held) != held) {
            wake();
        }
    }

    void finish() override {
        finishing_ = true;
        wake();
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    std::string terminal() const override { return ends_.terminal_name; }

    std::string problem() const override {
        const std::scoped_lock guard(mutex_);
        return problem_;
    }

  private:
    static constexpr std::size_t kLargestBacklog = 16 << 20;
    // A pipe that polls as writable takes so much without blocking (pipe(7): PIPE_BUF).
    static constexpr std::size_t kLargestWrite = 4096;
    static constexpr int kPtyPeriod = 100;  // ms: how often it is looked whether somebody has opened it
    static constexpr std::chrono::seconds kPatience{2};

    void wake() const {
        const std::uint64_t one = 1;
        (void)!write(wake_.get(), &one, sizeof one);
    }

    void run() {
        auto last_progress = std::chrono::steady_clock::now();
        for (;;) {
            refill();
            if (finishing_) {
                if (writing_.empty() || std::chrono::steady_clock::now() - last_progress > kPatience) {
                    return;
                }
            } else if (writing_.empty()) {
                last_progress = std::chrono::steady_clock::now();
            }
            if (wait_and_serve()) {
                last_progress = std::chrono::steady_clock::now();
            }
        }
    }

    /// Takes what the guest sent, unless there is something left to write. Nobody at the other end: it vanishes.
    void refill() {
        const bool was_reading = reading_;
        {
            const std::scoped_lock guard(mutex_);
            if (writing_.empty()) {
                writing_.swap(outgoing_);
                written_ = 0;
            }
            if (!connected_) {
                writing_.clear();
                outgoing_.clear();
            }
            reading_ = static_cast<bool>(receiver_);
        }
        if (reading_ && !was_reading) {
            plugged_(connected_);
        }
    }

    /// One turn: true when output went on.
    bool wait_and_serve() {
        enum : std::size_t { kWake, kOutput, kInput, kListener, kCount };
        std::array<pollfd, kCount> waiting{};
        waiting.fill({.fd = -1, .events = 0, .revents = 0});
        waiting[kWake] = {.fd = wake_.get(), .events = POLLIN, .revents = 0};
        if (connected_ && !writing_.empty() && !ends_.file) {
            waiting[kOutput] = {.fd = ends_.output, .events = POLLOUT, .revents = 0};
        }
        const bool reads = reading_ && !finishing_ && !held_back_;
        if (connected_ && reads && ends_.input >= 0) {
            waiting[kInput] = {.fd = ends_.input, .events = POLLIN, .revents = 0};
        }
        if (ends_.listener && !connected_ && !finishing_) {
            waiting[kListener] = {.fd = ends_.listener.get(), .events = POLLIN, .revents = 0};
        }
        int timeout = finishing_ || (ends_.pty && !finishing_) ? kPtyPeriod : -1;
        if (ends_.file && !writing_.empty()) {
            timeout = 0;
        }
        if (poll(waiting.data(), waiting.size(), timeout) < 0) {
            return false;  // EINTR
        }
        if (waiting[kWake].revents != 0) {
            std::uint64_t count = 0;
            (void)!read(wake_.get(), &count, sizeof count);
        }
        if (ends_.pty) {
            look_for_pty_user();
        }
        const bool progress = (ends_.file || waiting[kOutput].revents != 0) && connected_ && write_some();
        if (waiting[kInput].revents != 0 && connected_) {
            read_some();
        }
        if (waiting[kListener].revents != 0) {
            accept_client();
        }
        return progress;
    }

    bool write_some() {
        const std::size_t size = std::min(writing_.size() - written_, kLargestWrite);
        if (size == 0) {
            return false;
        }
        const ssize_t count = write(ends_.output, writing_.data() + written_, size);
        if (count < 0) {
            if (errno != EINTR && errno != EAGAIN) {
                output_failed(errno);
            }
            return false;
        }
        written_ += static_cast<std::size_t>(count);
        if (written_ == writing_.size()) {
            writing_.clear();
            written_ = 0;
        }
        return count > 0;
    }

    void output_failed(int error) {
        if (ends_.listener) {
            client_left();
            return;
        }
        if (ends_.pty) {
            set_connected(false);
            return;
        }
        if (error != EPIPE) {  // its reader has gone, and knows
            const std::scoped_lock guard(mutex_);
            problem_ = std::strerror(error);
        }
        writing_.clear();
        ends_.output = -1;
        if (ends_.input < 0) {
            set_connected(false);
        } else {
            discard_output();
        }
    }

    /// From now on output vanishes and input goes on.
    void discard_output() {
        ends_.owned = Descriptor(open("/dev/null", O_WRONLY | O_CLOEXEC));
        ends_.output = ends_.owned.get();
    }

    void read_some() {
        std::array<std::uint8_t, 4096> buffer;
        const ssize_t count = read(ends_.input, buffer.data(), buffer.size());
        if (count > 0) {
            receiver_({buffer.data(), static_cast<std::size_t>(count)});
        } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
            if (ends_.listener) {
                client_left();
            } else if (ends_.pty) {
                set_connected(false);
            } else {
                ends_.input = -1;  // the end of stdin; output goes on
            }
        }
    }

    void accept_client() {
        Descriptor client(accept4(ends_.listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
        if (client) {
            ends_.input = ends_.output = client.get();
            ends_.owned = std::move(client);
            set_connected(true);
        }
    }

    void client_left() {
        set_connected(false);
        ends_.input = ends_.output = -1;
        ends_.owned = Descriptor();
    }

    /// The master of a pty whose slave nobody has open is in the state "hung up".
    void look_for_pty_user() {
        pollfd state{.fd = ends_.output, .events = 0, .revents = 0};
        if (poll(&state, 1, 0) >= 0) {
            set_connected((state.revents & POLLHUP) == 0);
        }
    }

    void set_connected(bool connected) {
        if (std::exchange(connected_, connected) == connected) {
            return;
        }
        if (!connected) {
            writing_.clear();
            written_ = 0;
        }
        if (reading_) {
            plugged_(connected);
        }
    }

    // The back end's thread only, once it runs.
    Ends ends_;
    std::vector<std::uint8_t> writing_;
    std::size_t written_ = 0;  // of it
    bool connected_;           // somebody is at the other end
    bool reading_ = false;     // the receivers are set and will not change any more

    Descriptor wake_;
    std::optional<RawTerminal> terminal_;
    std::atomic<bool> held_back_ = false;
    std::atomic<bool> finishing_ = false;
    mutable std::mutex mutex_;
    std::vector<std::uint8_t> outgoing_;
    std::string problem_;
    Receiver receiver_;
    std::function<void(bool)> plugged_;
    std::thread thread_;
};

class NullBackend final : public SerialBackend {
  public:
    void send(std::uint8_t) override {}
    void on_receive(Receiver, std::function<void(bool)> plugged) override { plugged(true); }
    void hold_back(bool) override {}
    void finish() override {}
    std::string problem() const override { return {}; }
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
            ends.file = true;
            break;
        case SerialBackendChoice::Kind::Pty: {
            int master = -1;
            int slave = -1;
            std::array<char, 256> name{};
            if (openpty(&master, &slave, name.data(), nullptr, nullptr) != 0) {
                return failed();
            }
            ends.owned = Descriptor(master);
            const Descriptor open_once(slave);  // its settings stay with the master
            ends.pty = true;
            fcntl(master, F_SETFL, O_NONBLOCK);
            termios raw{};
            tcgetattr(slave, &raw);
            cfmakeraw(&raw);
            tcsetattr(slave, TCSANOW, &raw);
            ends.output = ends.input = master;
            ends.terminal_name = name.data();
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
