#include "ui/cli/machine_window.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "devices/board.h"
#include "ui/cli/firmware.h"
#include "ui/cli/key_script.h"

namespace vpc::cli {

using desktop::HostAction;
using devices::Board;
using devices::Key;
using devices::Ps2Keyboard;

namespace {

// A machine that is busy gives its picture later.
constexpr std::chrono::milliseconds kLongestLook{20};

}  // namespace

tl::expected<Key, std::string> parse_host_key(const std::string& name) {
    const auto steps = parse_key_script("{" + name + "}");
    if (!steps || steps->size() != 2 || (*steps)[0].key == Key::None || (*steps)[0].key != (*steps)[1].key) {
        return tl::unexpected("'" + name + "' is not the name of one key, such as RALT, RCTRL, MENU or F12");
    }
    return (*steps)[0].key;
}

tl::expected<std::unique_ptr<MachineWindow>, std::string> MachineWindow::open(const std::string& machine, Key host_key,
                                                                              Controls controls) {
    std::unique_ptr<MachineWindow> result(new MachineWindow(std::move(controls)));
    result->name_ = machine.empty() ? "VPC" : machine + " - VPC";
    auto window = desktop::Window::open(result->name_, host_key, result->listener());
    if (!window) {
        return tl::unexpected(window.error());
    }
    result->window_ = std::move(*window);
    return result;
}

MachineWindow::~MachineWindow() = default;

desktop::Window::Listener MachineWindow::listener() {
    return {
        .key = [this](Key key, bool pressed) { post([=](Board& board) { board.keyboard().key(key, pressed); }); },
        .release_keys = [this] { post([](Board& board) { board.keyboard().release_all(); }); },
        .moved = [this](int right, int down) { post([=](Board& board) { board.mouse().move(right, down); }); },
        .pointed =
            [this](double x, double y) {
                const auto position = [](double part) {
                    return static_cast<std::uint16_t>(std::lround(part * 0xFFFF));
                };
                post([=](Board& board) { board.backdoor().move_to(position(x), position(y)); });
            },
        .wheel =
            [this](int clicks) {
                post([=](Board& board) {
                    if (board.backdoor().absolute()) {
                        board.backdoor().turn_wheel(clicks);
                    } else {
                        board.mouse().move(0, 0, clicks);
                    }
                });
            },
        .buttons =
            [this](std::uint8_t buttons) {
                post([=](Board& board) {
                    if (board.backdoor().absolute()) {
                        board.backdoor().set_buttons(buttons);
                    } else {
                        board.mouse().set_buttons(buttons);
                    }
                });
            },
        .action = [this](HostAction action) { act(action); },
    };
}

void MachineWindow::attach(Post post) {
    post_ = std::move(post);
    post_([shared = shared_](Board& board) {
        const auto lit = [shared](std::uint8_t leds) {
            const std::scoped_lock guard(shared->mutex);
            shared->leds = leds;
        };
        lit(board.keyboard().leds());
        board.keyboard().on_leds(lit);
    });
}

bool MachineWindow::post(std::function<void(Board&)> work) {
    return post_ && !stands_still_ && post_(std::move(work));
}

void MachineWindow::act(HostAction action) {
    switch (action) {
        case HostAction::CtrlAltDelete:
            post([](Board& board) {
                for (const bool pressed : {true, false}) {
                    for (const Key key : {Key::LeftCtrl, Key::LeftAlt, Key::Delete}) {
                        board.keyboard().key(key, pressed);
                    }
                }
            });
            break;
        case HostAction::PauseOrResume:
            // A key that goes up while the machine stands still would stay down in the guest.
            post([](Board& board) { board.keyboard().release_all(); });
            look_at_screen();
            controls_.pause_or_resume();
            break;
        case HostAction::Reset:
            controls_.reset();
            break;
        case HostAction::Close:
            controls_.close();
            break;
        default:
            break;
    }
}

/// A look at the machine's screen, which the machine's thread has in hand: it has ended when that has let go of it,
/// be it that the machine ended before.
class MachineWindow::Look {
  public:
    explicit Look(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
    ~Look() {
        {
            const std::scoped_lock guard(shared_->mutex);
            shared_->asked = false;
        }
        shared_->looked.notify_one();
    }
    Look(const Look&) = delete;
    Look& operator=(const Look&) = delete;

  private:
    std::shared_ptr<Shared> shared_;
};

/// Asks the machine's thread for a picture if there is a new one. The guest waits meanwhile, so never twice at a time.
void MachineWindow::look_at_screen() {
    {
        const std::scoped_lock guard(shared_->mutex);
        if (std::exchange(shared_->asked, true)) {
            return;
        }
    }
    post([this, look = std::make_shared<const Look>(shared_)](Board& board) {
        std::optional<devices::Frame> frame;
        const std::uint64_t generation = board.vga().generation();
        if (!seen_any_ || generation != seen_generation_) {
            seen_any_ = true;
            seen_generation_ = generation;
            frame = board.vga().render();
        }
        const std::scoped_lock guard(shared_->mutex);
        shared_->absolute = board.backdoor().absolute();
        if (frame) {
            shared_->frame = std::move(frame);
        }
    });
}

void MachineWindow::update_title(const std::string& state, std::uint8_t leds) {
    std::string title = name_ + " - " + state + (told_.empty() ? "" : " - " + told_);
    if (window_->captured()) {
        title += " - the host key releases the mouse";
    }
    static constexpr std::pair<Ps2Keyboard::Led, const char*> kLeds[] = {
        {Ps2Keyboard::kNumLock, " Num"}, {Ps2Keyboard::kCapsLock, " Caps"}, {Ps2Keyboard::kScrollLock, " Scroll"}};
    std::string lit;
    for (const auto& [led, name] : kLeds) {
        lit += (leds & led) != 0 ? name : "";
    }
    title += lit.empty() ? "" : " -" + lit;
    std::replace(title.begin(), title.end(), '\n', ' ');
    if (title != title_) {
        title_ = title;
        window_->set_title(title_);
    }
}

void MachineWindow::process(std::chrono::milliseconds longest_wait, bool stands_still, const std::string& state) {
    stands_still_ = stands_still;
    window_->process_events(longest_wait);
    look_at_screen();
    std::optional<devices::Frame> frame;
    std::uint8_t leds = 0;
    bool absolute = false;
    {
        // The machine's thread must not wake the window through SDL instead: SDL 2 sends the window an X event then,
        // which ends the process if the window has been destroyed before the X server comes to it.
        std::unique_lock guard(shared_->mutex);
        shared_->looked.wait_for(guard, kLongestLook, [this] { return !shared_->asked; });
        frame.swap(shared_->frame);
        leds = shared_->leds;
        absolute = shared_->absolute;
    }
    window_->set_absolute(absolute);
    if (frame) {
        window_->show(*frame);
    }
    update_title(state, leds);
}

void MachineWindow::tell(const std::string& text) {
    if (!font_ && !text.empty()) {
        // Whatever the machine's own VGA BIOS is.
        if (const auto vga_bios = load_firmware("vgabios-stdvga.bin", "")) {
            font_ = desktop::find_font(*vga_bios);
        }
    }
    devices::Frame picture;
    if (font_ && !text.empty()) {
        picture = desktop::message_picture(text + "\n\n(A click or the Escape key takes this message away.)", *font_);
    }
    window_->lay_over(picture);
    told_ = font_ ? "" : text;
}

}  // namespace vpc::cli
