#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ui/cli/serial_backend.h"

namespace vpc::devices {
class Board;
}

namespace vpc::cli {

/// The null modem cable between a guest's serial port and a back end. What comes in waits until the UART has room; when
/// much waits, the back end is held back. While somebody is at the other end, all of the guest's modem inputs are up.
class SerialCable {
  public:
    /// Runs what it is given on the machine's thread, now or soon, or never when the machine is gone.
    using Post = std::function<void(std::function<void(devices::Board&)>)>;

    /// `port` 0 is COM1.
    SerialCable(std::unique_ptr<SerialBackend> backend, unsigned port) : backend_(std::move(backend)), port_(port) {}

    /// A byte from the guest.
    void send(std::uint8_t byte) { backend_->send(byte); }
    /// Begins to receive: once, with a board that lives as long as `post` reaches one. The cable must live until
    /// finish().
    void plug_in(Post post);
    /// See SerialBackend.
    void finish() { backend_->finish(); }
    std::string problem() const { return backend_->problem(); }

  private:
    void drain(devices::Board& board);

    std::unique_ptr<SerialBackend> backend_;
    const unsigned port_;
    Post post_;
    std::vector<std::uint8_t> waiting_;   // machine's thread only
    std::atomic<std::size_t> posted_{0};  // bytes read, and not yet in waiting_
};

}  // namespace vpc::cli
