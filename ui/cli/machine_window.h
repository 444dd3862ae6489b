#pragma once
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tl/expected.hpp>
#include <utility>

#include "devices/key.h"
#include "devices/vga/frame.h"
#include "ui/desktop/message_picture.h"
#include "ui/desktop/window.h"

namespace vpc::devices {
class Board;
}

namespace vpc::cli {

/// The key that `--host-key` names, as in key scripts: RALT, F12, MENU. The error is one line for people.
tl::expected<devices::Key, std::string> parse_host_key(const std::string& name);

/// A running machine's screen, keyboard and mouse in a window. Its members belong to the thread that opened it; what
/// it does to the machine is posted to the machine's thread.
class MachineWindow {
  public:
    /// What the user asks for with the host key or the window's buttons; called from within `process`.
    struct Controls {
        std::function<void()> pause_or_resume;
        std::function<void()> reset;
        std::function<void()> close;
    };
    /// Has `work` run on the machine's thread, in the order of posting; false when it will not be.
    using Post = std::function<bool(std::function<void(devices::Board&)> work)>;

    /// `machine`: its name for the title, empty if it has none. The error is one line for people: why there can be no
    /// window.
    static tl::expected<std::unique_ptr<MachineWindow>, std::string> open(const std::string& machine,
                                                                          devices::Key host_key, Controls controls);
    ~MachineWindow();

    /// Once there is a machine. Its board must not run any more when this object goes.
    void attach(Post post);

    /// Handles what the user does for up to `longest_wait`, and shows what the machine does. A machine that stands
    /// still gets nothing. `state` is for the title.
    void process(std::chrono::milliseconds longest_wait, bool stands_still, const std::string& state);
    /// Shows something that went wrong until the user takes it away or something else is told; nothing if empty.
    void tell(const std::string& text);

  private:
    /// What the machine's thread leaves for the window's.
    struct Shared {
        std::mutex mutex;
        std::condition_variable looked;  // asked is false
        std::optional<devices::Frame> frame;
        std::uint8_t leds = 0;
        bool absolute = false;
        bool asked = false;  // a look at the screen is under way
    };
    class Look;

    explicit MachineWindow(Controls controls) : controls_(std::move(controls)) {}
    desktop::Window::Listener listener();
    bool post(std::function<void(devices::Board&)> work);
    void act(desktop::HostAction action);
    void look_at_screen();
    void update_title(const std::string& state, std::uint8_t leds);

    const Controls controls_;
    std::string name_;
    std::unique_ptr<desktop::Window> window_;
    std::optional<desktop::Font> font_;  // from the first message on
    std::string told_;                   // for the title, if there is no font to write it
    Post post_;
    bool stands_still_ = false;
    std::string title_;
    const std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();  // looks may outlive the window
    std::uint64_t seen_generation_ = 0;                                  // machine's thread only
    bool seen_any_ = false;                                              // likewise
};

}  // namespace vpc::cli
