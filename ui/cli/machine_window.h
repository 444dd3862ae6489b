#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tl/expected.hpp>

#include "devices/key.h"
#include "devices/vga/frame.h"
#include "ui/desktop/window.h"

namespace vpc::devices {
class Board;
}

namespace vpc::cli {

/// The key that `--host-key` names, as in key scripts: RALT, F12, MENU. The error is one line for people.
tl::expected<devices::Key, std::string> parse_host_key(const std::string& name);

/// A running machine's screen, keyboard and mouse in a window. Its members belong to the thread that opened it; what
/// it does to the machine goes through Board::post. While the machine is paused it gets nothing.
class MachineWindow {
  public:
    struct Controls {
        std::function<void()> pause_or_resume;
        std::function<void()> turn_off;
    };

    /// The error is one line for people: why there can be no window.
    static tl::expected<std::unique_ptr<MachineWindow>, std::string> open(devices::Key host_key);
    ~MachineWindow();

    /// Before the machine runs. The board must stay until `detach`, and not run behind it.
    void attach(devices::Board& board, Controls controls);
    void detach();

    /// Handles what the user does for up to `longest_wait`, and shows what the machine does.
    void process(std::chrono::milliseconds longest_wait, bool paused);

  private:
    /// What the machine's thread leaves for the window's.
    struct Shared {
        std::mutex mutex;
        std::optional<devices::Frame> frame;
        std::uint8_t leds = 0;
        bool absolute = false;
        bool asked = false;  // a look at the screen is under way
    };

    MachineWindow() = default;
    desktop::Window::Listener listener();
    void post(std::function<void(devices::Board&)> work);
    void act(desktop::HostAction action);
    void look_at_screen();
    void update_title(bool paused, std::uint8_t leds);

    std::unique_ptr<desktop::Window> window_;
    std::string host_key_name_;
    devices::Board* board_ = nullptr;
    Controls controls_;
    bool paused_ = false;
    std::string title_;
    Shared shared_;
    std::uint64_t seen_generation_ = 0;  // machine's thread only
    bool seen_any_ = false;              // likewise
};

}  // namespace vpc::cli
