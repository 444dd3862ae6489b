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

/// The host's end of a serial cable. Neither direction ever blocks the machine: what the guest sends is handed to a
/// writer thread; what comes in is read on another thread. When nobody reads (a closed pipe, no client), bytes vanish,
/// as on an unplugged cable.
class SerialBackend {
  public:
    using Receiver = std::function<void(std::span<const std::uint8_t>)>;

    virtual ~SerialBackend() = default;
    /// A byte from the guest. One thread at a time.
    virtual void send(std::uint8_t byte) = 0;
    /// Who gets the bytes from outside, on the back end's thread. Called once; reading begins then.
    virtual void on_receive(Receiver receiver) = 0;
    /// Stops reading and returns when everything sent has been written.
    virtual void finish() = 0;
};

/// Opens files, terminals and sockets. The error is one line for people.
tl::expected<std::unique_ptr<SerialBackend>, std::string> open_serial_backend(const SerialBackendChoice& choice);

}  // namespace vpc::cli
