#include "ui/cli/serial_cable.h"

#include <utility>

#include "devices/board.h"

namespace vpc::cli {

using devices::Board;
using devices::Uart16550A;

namespace {

// So much may wait for a UART before the other end of its cable has to.
constexpr std::size_t kMostWaiting = 64 << 10;

}  // namespace

void SerialCable::plug_in(Post post) {
    post_ = std::move(post);
    post_([this](Board& board) {
        board.serial(port_).on_room([this, &board] {
            if (!waiting_.empty()) {
                drain(board);
            }
        });
    });
    const auto receive = [this](std::span<const std::uint8_t> bytes) {
        if ((posted_ += bytes.size()) > kMostWaiting) {
            backend_->hold_back(true);  // before the post, whose drain may decide otherwise
        }
        post_([this, copy = std::vector<std::uint8_t>(bytes.begin(), bytes.end())](Board& board) {
            waiting_.insert(waiting_.end(), copy.begin(), copy.end());
            posted_ -= copy.size();
            drain(board);
        });
    };
    const auto plugged = [this](bool somebody) {
        post_([this, somebody](Board& board) {
            const auto lines = static_cast<std::uint8_t>(Uart16550A::kCts | Uart16550A::kDsr | Uart16550A::kDcd);
            board.serial(port_).set_modem_inputs(somebody ? lines : std::uint8_t{0});
        });
    };
    backend_->on_receive(receive, plugged);
}

/// Machine's thread: the UART takes what it has room for.
void SerialCable::drain(Board& board) {
    Uart16550A& uart = board.serial(port_);
    std::size_t taken = 0;
    while (taken < waiting_.size() && uart.room() != 0) {
        uart.receive(waiting_[taken++]);
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(taken));
    backend_->hold_back(waiting_.size() + posted_ > kMostWaiting);
}

}  // namespace vpc::cli
