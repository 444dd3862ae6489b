#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>

namespace vpc::cli {

/// What the other end of a guest's serial port is.
struct SerialBackendChoice {
    enum class Kind { Null, Stdio, File, Pty, Unix };
    Kind kind = Kind::Null;
    std::string path;  ///< of File and Unix
};
/// Parses "stdio", "file:PATH", "pty", "unix:PATH" or "null".
tl::expected<SerialBackendChoice, std::string> parse_serial_backend(const std::string& text);

/// The host's end of a serial cable. Neither direction ever blocks the machine: a thread of the back end writes what
/// the guest sent and reads what comes in.
///
/// While nobody is at the other end (a socket without a client, a pty that nobody has open), bytes vanish, as on an
/// unplugged cable. A reader that is there but slow loses nothing until it is 16 MiB behind; what comes then is lost.
class SerialBackend {
  public:
    using Receiver = std::function<void(std::span<const std::uint8_t>)>;

    virtual ~SerialBackend() = default;
    /// A byte from the guest. One thread at a time.
    virtual void send(std::uint8_t byte) = 0;
    /// Begins to read. `receiver` gets the bytes from outside; `plugged` hears whether somebody is at the other end,
    /// once at the start and whenever it changes. Both are called on the back end's thread, or at once where there is
    /// none. Called at most once.
    virtual void on_receive(Receiver receiver, std::function<void(bool)> plugged) = 0;
    /// While held back nothing is read, and the other end has to wait. Any thread.
    virtual void hold_back(bool held) = 0;
    /// Stops reading and returns when everything sent has been written, or the other end has taken nothing for two
    /// seconds.
    virtual void finish() = 0;
    /// The terminal that a pty's other end is, such as /dev/pts/3; otherwise empty.
    virtual std::string terminal() const { return {}; }
    /// Why output was lost: one line for people, empty when none was. A reader that went away is no loss. Any thread.
    virtual std::string problem() const = 0;
};

/// Opens files, terminals and sockets. The error is one line for people.
tl::expected<std::unique_ptr<SerialBackend>, std::string> open_serial_backend(const SerialBackendChoice& choice);

}  // namespace vpc::cli
