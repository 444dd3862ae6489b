#include "ui/desktop/sdl_keys.h"

#include <array>

namespace vpc::desktop {
namespace {

using devices::Key;

struct Place {
    SDL_Scancode code;
    Key key;
};

// clang-format off
constexpr Place kPlaces[] = {
    {SDL_SCANCODE_RETURN, Key::Enter}, {SDL_SCANCODE_ESCAPE, Key::Escape}, {SDL_SCANCODE_BACKSPACE, Key::Backspace},
    {SDL_SCANCODE_TAB, Key::Tab}, {SDL_SCANCODE_SPACE, Key::Space}, {SDL_SCANCODE_MINUS, Key::Minus},
    {SDL_SCANCODE_EQUALS, Key::Equal}, {SDL_SCANCODE_LEFTBRACKET, Key::LeftBracket},
    {SDL_SCANCODE_RIGHTBRACKET, Key::RightBracket}, {SDL_SCANCODE_BACKSLASH, Key::Backslash},
    {SDL_SCANCODE_NONUSHASH, Key::Backslash}, {SDL_SCANCODE_SEMICOLON, Key::Semicolon},
    {SDL_SCANCODE_APOSTROPHE, Key::Apostrophe}, {SDL_SCANCODE_GRAVE, Key::Grave}, {SDL_SCANCODE_COMMA, Key::Comma},
    {SDL_SCANCODE_PERIOD, Key::Period}, {SDL_SCANCODE_SLASH, Key::Slash}, {SDL_SCANCODE_CAPSLOCK, Key::CapsLock},
    {SDL_SCANCODE_NONUSBACKSLASH, Key::NonUsBackslash}, {SDL_SCANCODE_APPLICATION, Key::Menu},
    {SDL_SCANCODE_LSHIFT, Key::LeftShift}, {SDL_SCANCODE_RSHIFT, Key::RightShift},
    {SDL_SCANCODE_LCTRL, Key::LeftCtrl}, {SDL_SCANCODE_RCTRL, Key::RightCtrl}, {SDL_SCANCODE_LALT, Key::LeftAlt},
    {SDL_SCANCODE_RALT, Key::RightAlt}, {SDL_SCANCODE_LGUI, Key::LeftGui}, {SDL_SCANCODE_RGUI, Key::RightGui},
    {SDL_SCANCODE_PRINTSCREEN, Key::PrintScreen}, {SDL_SCANCODE_SCROLLLOCK, Key::ScrollLock},
    {SDL_SCANCODE_PAUSE, Key::Pause}, {SDL_SCANCODE_INSERT, Key::Insert}, {SDL_SCANCODE_DELETE, Key::Delete},
    {SDL_SCANCODE_HOME, Key::Home}, {SDL_SCANCODE_END, Key::End}, {SDL_SCANCODE_PAGEUP, Key::PageUp},
    {SDL_SCANCODE_PAGEDOWN, Key::PageDown}, {SDL_SCANCODE_UP, Key::Up}, {SDL_SCANCODE_DOWN, Key::Down},
    {SDL_SCANCODE_LEFT, Key::Left}, {SDL_SCANCODE_RIGHT, Key::Right}, {SDL_SCANCODE_NUMLOCKCLEAR, Key::NumLock},
    {SDL_SCANCODE_KP_DIVIDE, Key::KeypadDivide}, {SDL_SCANCODE_KP_MULTIPLY, Key::KeypadMultiply},
    {SDL_SCANCODE_KP_MINUS, Key::KeypadSubtract}, {SDL_SCANCODE_KP_PLUS, Key::KeypadAdd},
    {SDL_SCANCODE_KP_ENTER, Key::KeypadEnter}, {SDL_SCANCODE_KP_PERIOD, Key::KeypadDecimal},
};
/// Places that SDL numbers one after the other, as Key does.
struct Run {
    SDL_Scancode first;
    SDL_Scancode last;
    Key key;
};
constexpr Run kRuns[] = {
    {SDL_SCANCODE_A, SDL_SCANCODE_Z, Key::A},
    {SDL_SCANCODE_1, SDL_SCANCODE_9, Key::Digit1},
    {SDL_SCANCODE_0, SDL_SCANCODE_0, Key::Digit0},
    {SDL_SCANCODE_F1, SDL_SCANCODE_F12, Key::F1},
    {SDL_SCANCODE_KP_1, SDL_SCANCODE_KP_9, Key::Keypad1},
    {SDL_SCANCODE_KP_0, SDL_SCANCODE_KP_0, Key::Keypad0},
};
// clang-format on

constexpr std::array<Key, SDL_NUM_SCANCODES> kKeys = [] {
    std::array<Key, SDL_NUM_SCANCODES> keys{};
    for (const Place& place : kPlaces) {
        keys[place.code] = place.key;
    }
    for (const Run& run : kRuns) {
        for (int code = run.first; code <= run.last; ++code) {
            keys[static_cast<unsigned>(code)] = static_cast<Key>(static_cast<int>(run.key) + code - run.first);
        }
    }
    return keys;
}();

}  // namespace

devices::Key key_at(SDL_Scancode code) {
    const auto index = static_cast<std::size_t>(code);
    return index < kKeys.size() ? kKeys[index] : Key::None;
}

}  // namespace vpc::desktop
