#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "devices/key.h"
#include "devices/vga/frame.h"
#include "ui/desktop/host_key.h"

namespace vpc::desktop {

/// A window of the host that shows a machine's screen and takes its keyboard and mouse, over SDL2.
///
/// The picture keeps its proportions; beside it the window is black. While the user has not given the window a size of
/// his own it has the picture's, so that a pixel is a pixel. A click into the picture captures mouse and keyboard: the
/// pointer vanishes and its movement goes to the guest, until the host key is pressed alone or the window loses the
/// keyboard. That click is not told. With set_absolute nothing is captured, and the guest hears where the pointer is.
///
/// All members belong to the thread that opened it, the process's first one. One window at a time.
class Window {
  public:
    /// Called from within process_events. All must be set.
    struct Listener {
        std::function<void(devices::Key key, bool pressed)> key;
        /// Every key is up: the window lost the keyboard.
        std::function<void()> release_keys;
        /// The captured mouse, in pixels of the host, right and down.
        std::function<void(int right, int down)> moved;
        /// In absolute mode: parts of the picture's width and height, 0 to 1.
        std::function<void(double x, double y)> pointed;
        /// Clicks towards the user.
        std::function<void(int clicks)> wheel;
        /// All buttons that are down, a sum of devices::Ps2Mouse::Button.
        std::function<void(std::uint8_t buttons)> buttons;
        /// Never FullScreen or ReleaseMouse, which the window does by itself.
        std::function<void(HostAction action)> action;
    };
    /// The error is one line for people: there is no display, or SDL cannot use it. A video driver that shows nothing
    /// will do only if SDL_VIDEODRIVER names it.
    static tl::expected<std::unique_ptr<Window>, std::string> open(const std::string& title, devices::Key host_key,
                                                                   Listener listener);
    ~Window();
    Window(const Window&) = delete;
    Window& operator=(const Window&) = delete;

    /// Sleeps until there is an event or `longest_wait` has passed, and handles what there is.
    void process_events(std::chrono::milliseconds longest_wait);

    void show(const devices::Frame& frame);
    void set_title(const std::string& title);
    /// Lays a picture over the top of the machine's and releases the mouse, until a click or Escape, which are not
    /// told, takes it away. An empty picture takes it away, too.
    void lay_over(const devices::Frame& picture);
    /// Whether the guest wants to be told positions instead of movement.
    void set_absolute(bool absolute);
    bool captured() const;

  private:
    class Sdl;
    explicit Window(std::unique_ptr<Sdl> sdl);
    std::unique_ptr<Sdl> sdl_;
};

}  // namespace vpc::desktop
