#include "ui/desktop/window.h"

#define SDL_MAIN_HANDLED  // no main of SDL's own
#include <SDL.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "devices/ps2_mouse.h"
#include "ui/desktop/picture_place.h"
#include "ui/desktop/sdl_keys.h"

namespace vpc::desktop {
namespace {

using devices::Ps2Mouse;

// Before the guest has shown anything: VGA text.
constexpr int kFirstWidth = 720;
constexpr int kFirstHeight = 400;

std::uint8_t button_bit(std::uint8_t button) {
    switch (button) {
        case SDL_BUTTON_LEFT:
            return Ps2Mouse::kLeft;
        case SDL_BUTTON_RIGHT:
            return Ps2Mouse::kRight;
        case SDL_BUTTON_MIDDLE:
            return Ps2Mouse::kMiddle;
        case SDL_BUTTON_X1:
            return Ps2Mouse::kSide;
        case SDL_BUTTON_X2:
            return Ps2Mouse::kExtra;
        default:
            return 0;
    }
}

/// Empty if it is not set.
std::string environment(const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nobody changes the environment
    return value != nullptr ? value : "";
}

bool has_display() {
    return !(environment("DISPLAY") + environment("WAYLAND_DISPLAY") + environment("SDL_VIDEODRIVER")).empty();
}

/// Whether SDL has taken a video driver on which the user will see the window. Without a display that it can reach, it
/// is content with one that shows nothing, or takes over the console.
bool will_be_seen(const char* driver) {
    const auto names_it = [driver](const std::string& list) { return SDL_strcasestr(list.c_str(), driver) != nullptr; };
    return !names_it("dummy,offscreen,evdev,KMSDRM") || names_it(environment("SDL_VIDEODRIVER")) ||
           names_it(environment("SDL_VIDEO_DRIVER"));
}

std::string unreachable_display() {
    std::string text = "no display can be reached";
    for (const char* name : {"DISPLAY", "WAYLAND_DISPLAY"}) {
        if (const std::string value = environment(name); !value.empty()) {
            text.append(", ").append(name).append(" is '").append(value).append("'");
        }
    }
    return text;
}

}  // namespace

/// SDL's objects and the window's state.
class Window::Sdl {
  public:
    Sdl(devices::Key host_key, Listener listener) : host_key_(host_key), listener_(std::move(listener)) {}
    ~Sdl() {
        SDL_DestroyTexture(overlay_);
        SDL_DestroyTexture(texture_);
        SDL_DestroyRenderer(renderer_);
        SDL_DestroyWindow(window_);
        if (started_) {
            SDL_QuitSubSystem(SDL_INIT_VIDEO);
        }
    }
    Sdl(const Sdl&) = delete;
    Sdl& operator=(const Sdl&) = delete;

    /// False: SDL_GetError says why.
    bool start(const std::string& title) {
        SDL_SetMainReady();
        SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
        SDL_SetHint(SDL_HINT_VIDEO_ALLOW_SCREENSAVER, "1");
        SDL_SetHint(SDL_HINT_MOUSE_FOCUS_CLICKTHROUGH, "1");
        started_ = SDL_InitSubSystem(SDL_INIT_VIDEO) == 0;
        if (!started_) {
            return false;
        }
        if (!will_be_seen(SDL_GetCurrentVideoDriver())) {
            SDL_SetError("%s", unreachable_display().c_str());
            return false;
        }
        window_ = SDL_CreateWindow(title.c_str(), SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED, kFirstWidth,
                                   kFirstHeight, SDL_WINDOW_RESIZABLE);
        if (window_ == nullptr) {
            return false;
        }
        renderer_ = SDL_CreateRenderer(window_, -1, 0);
        if (renderer_ == nullptr) {
            return false;
        }
        draw();
        return true;
    }

    void process(std::chrono::milliseconds longest_wait) {
        SDL_Event event;
        int found = SDL_WaitEventTimeout(&event, static_cast<int>(longest_wait.count()));
        while (found != 0) {
            handle(event);
            found = SDL_PollEvent(&event);
        }
        if (stale_) {
            draw();
        }
    }

    void show(const devices::Frame& frame) {
        const auto width = static_cast<int>(frame.width);
        const auto height = static_cast<int>(frame.height);
        if (width <= 0 || height <= 0) {
            return;
        }
        if (texture_ == nullptr || width != width_ || height != height_) {
            SDL_DestroyTexture(texture_);
            texture_ = SDL_CreateTexture(renderer_, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STREAMING, width, height);
            earlier_width_ = std::exchange(width_, width);
            earlier_height_ = std::exchange(height_, height);
            if (!user_sized_ && !full_screen_) {
                SDL_SetWindowSize(window_, width, height);
            }
        }
        if (texture_ != nullptr) {
            SDL_UpdateTexture(texture_, nullptr, frame.pixels.data(), width * static_cast<int>(sizeof(std::uint32_t)));
        }
        draw();
    }

    void set_title(const std::string& title) { SDL_SetWindowTitle(window_, title.c_str()); }

    void lay_over(const devices::Frame& picture) {
        SDL_DestroyTexture(overlay_);
        overlay_ = nullptr;
        overlay_width_ = static_cast<int>(picture.width);
        overlay_height_ = static_cast<int>(picture.height);
        if (!picture.pixels.empty()) {
            capture(false);
            overlay_ = SDL_CreateTexture(renderer_, SDL_PIXELFORMAT_RGB888, SDL_TEXTUREACCESS_STATIC, overlay_width_,
                                         overlay_height_);
        }
        if (overlay_ != nullptr) {
            SDL_UpdateTexture(overlay_, nullptr, picture.pixels.data(),
                              overlay_width_ * static_cast<int>(sizeof(std::uint32_t)));
        }
        draw();
    }

    void set_absolute(bool absolute) {
        if (absolute_ == absolute) {
            return;
        }
        absolute_ = absolute;
        if (absolute_) {
            capture(false);
        }
        SDL_ShowCursor(absolute_ ? SDL_DISABLE : SDL_ENABLE);  // the guest draws its own
    }

    bool captured() const { return captured_; }

  private:
    void handle(const SDL_Event& event) {
        switch (event.type) {
            case SDL_KEYDOWN:
            case SDL_KEYUP:
                if (event.key.repeat == 0) {  // repeating is the guest keyboard's business
                    key(key_at(event.key.keysym.scancode), event.type == SDL_KEYDOWN);
                }
                break;
            case SDL_MOUSEMOTION:
                motion(event.motion);
                break;
            case SDL_MOUSEBUTTONDOWN:
            case SDL_MOUSEBUTTONUP:
                button(event.button);
                break;
            case SDL_MOUSEWHEEL:
                if (captured_ || absolute_) {
                    const int away = event.wheel.direction == SDL_MOUSEWHEEL_FLIPPED ? -event.wheel.y : event.wheel.y;
                    listener_.wheel(-away);
                }
                break;
            case SDL_WINDOWEVENT:
                window_event(event.window);
                break;
            case SDL_QUIT:
                listener_.action(HostAction::Close);
                break;
            default:
                break;
        }
    }

    void key(devices::Key key, bool pressed) {
        if (pressed && overlay_ != nullptr && key == devices::Key::Escape) {
            lay_over({});
            return;
        }
        const HostKey::Verdict verdict = host_key_.key(key, pressed);
        if (verdict.for_guest) {
            listener_.key(key, pressed);
        }
        switch (verdict.action) {
            case HostAction::None:
                break;
            case HostAction::FullScreen:
                full_screen_ = !full_screen_;
                SDL_SetWindowFullscreen(window_, full_screen_ ? SDL_WINDOW_FULLSCREEN_DESKTOP : 0);
                stale_ = true;
                break;
            case HostAction::ReleaseMouse:
                capture(false);
                break;
            default:
                listener_.action(verdict.action);
                break;
        }
    }

    void motion(const SDL_MouseMotionEvent& event) {
        if (captured_) {
            listener_.moved(event.xrel, event.yrel);
        } else if (absolute_) {
            const PicturePlace place = picture_place();
            listener_.pointed(part_of_picture(event.x, place.x, place.width),
                              part_of_picture(event.y, place.y, place.height));
        }
    }

    void button(const SDL_MouseButtonEvent& event) {
        const std::uint8_t bit = button_bit(event.button);
        const bool pressed = event.type == SDL_MOUSEBUTTONDOWN;
        if (pressed && overlay_ != nullptr) {
            lay_over({});
            return;
        }
        if (pressed && !captured_ && !absolute_) {
            capture(true);
            return;
        }
        const auto now = static_cast<std::uint8_t>(pressed ? buttons_ | bit : buttons_ & ~bit);
        if (now != buttons_) {
            buttons_ = now;
            listener_.buttons(buttons_);
        }
    }

    void window_event(const SDL_WindowEvent& event) {
        switch (event.event) {
            case SDL_WINDOWEVENT_FOCUS_LOST:
                capture(false);
                host_key_.forget();
                listener_.release_keys();
                break;
            case SDL_WINDOWEVENT_RESIZED:
                user_sized_ = user_sized_ || (!full_screen_ && !own_size(event.data1, event.data2));
                stale_ = true;
                break;
            case SDL_WINDOWEVENT_SIZE_CHANGED:
            case SDL_WINDOWEVENT_EXPOSED:
                stale_ = true;
                break;
            default:
                break;
        }
    }

    /// The picture's, perhaps told late, and so not the user's wish.
    bool own_size(int width, int height) const {
        return (width == width_ && height == height_) || (width == earlier_width_ && height == earlier_height_);
    }

    void capture(bool wanted) {
        if (captured_ == wanted) {
            return;
        }
        captured_ = wanted;
        SDL_SetRelativeMouseMode(wanted ? SDL_TRUE : SDL_FALSE);
        SDL_SetWindowKeyboardGrab(window_, wanted ? SDL_TRUE : SDL_FALSE);
        if (!wanted && buttons_ != 0) {
            buttons_ = 0;
            listener_.buttons(0);
        }
    }

    PicturePlace picture_place() const {
        int width = 0;
        int height = 0;
        SDL_GetWindowSize(window_, &width, &height);
        return place_picture(width_, height_, width, height);
    }

    void draw() {
        stale_ = false;
        SDL_SetRenderDrawColor(renderer_, 0, 0, 0, SDL_ALPHA_OPAQUE);
        SDL_RenderClear(renderer_);
        int width = 0;
        int height = 0;
        SDL_GetRendererOutputSize(renderer_, &width, &height);
        if (texture_ != nullptr) {
            copy(texture_, width_, height_, place_picture(width_, height_, width, height));
        }
        if (overlay_ != nullptr) {
            // Letters are best read at a whole multiple of their size.
            const int room = std::max(width - width % overlay_width_, std::min(width, overlay_width_));
            PicturePlace place = place_picture(overlay_width_, overlay_height_, room, height);
            place.x += (width - room) / 2;
            place.y = 0;
            copy(overlay_, overlay_width_, overlay_height_, place);
        }
        SDL_RenderPresent(renderer_);
    }

    void copy(SDL_Texture* texture, int width, int height, const PicturePlace& place) {
        const SDL_Rect target{place.x, place.y, place.width, place.height};
        const bool whole = place.width % width == 0 && place.height % height == 0;
        SDL_SetTextureScaleMode(texture, whole ? SDL_ScaleModeNearest : SDL_ScaleModeLinear);
        SDL_RenderCopy(renderer_, texture, nullptr, &target);
    }

    HostKey host_key_;
    Listener listener_;
    bool started_ = false;
    SDL_Window* window_ = nullptr;
    SDL_Renderer* renderer_ = nullptr;
    SDL_Texture* texture_ = nullptr;
    SDL_Texture* overlay_ = nullptr;
    int overlay_width_ = 0;
    int overlay_height_ = 0;
    int width_ = kFirstWidth;  // of the picture
    int height_ = kFirstHeight;
    int earlier_width_ = kFirstWidth;
    int earlier_height_ = kFirstHeight;
    bool user_sized_ = false;
    bool full_screen_ = false;
    bool captured_ = false;
    bool absolute_ = false;
    bool stale_ = false;  // what the window shows is to be drawn again
    std::uint8_t buttons_ = 0;
};

tl::expected<std::unique_ptr<Window>, std::string> Window::open(const std::string& title, devices::Key host_key,
                                                                Listener listener) {
    if (!has_display()) {
        return tl::unexpected(std::string("there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set"));
    }
    auto sdl = std::make_unique<Sdl>(host_key, std::move(listener));
    if (!sdl->start(title)) {
        return tl::unexpected(std::string(SDL_GetError()));
    }
    return std::unique_ptr<Window>(new Window(std::move(sdl)));
}

Window::Window(std::unique_ptr<Sdl> sdl) : sdl_(std::move(sdl)) {}
Window::~Window() = default;

void Window::process_events(std::chrono::milliseconds longest_wait) {
    sdl_->process(longest_wait);
}
void Window::show(const devices::Frame& frame) {
    sdl_->show(frame);
}
void Window::set_title(const std::string& title) {
    sdl_->set_title(title);
}
void Window::lay_over(const devices::Frame& picture) {
    sdl_->lay_over(picture);
}
void Window::set_absolute(bool absolute) {
    sdl_->set_absolute(absolute);
}
bool Window::captured() const {
    return sdl_->captured();
}

}  // namespace vpc::desktop
