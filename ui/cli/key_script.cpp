#include "ui/cli/key_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

namespace vpc::cli {
namespace {

using devices::Key;

// Long enough for firmware that polls, short enough for long texts.
constexpr Nanoseconds kBetweenKeys = 15 * kMillisecond;
constexpr double kLongestWait = 86400;

constexpr auto kNames = std::to_array<std::pair<std::string_view, Key>>({
    {"ESC", Key::Escape},
    {"ESCAPE", Key::Escape},
    {"TAB", Key::Tab},
    {"CAPSLOCK", Key::CapsLock},
    {"ENTER", Key::Enter},
    {"RETURN", Key::Enter},
    {"BACKSPACE", Key::Backspace},
    {"BKSP", Key::Backspace},
    {"SPACE", Key::Space},
    {"SHIFT", Key::LeftShift},
    {"LSHIFT", Key::LeftShift},
    {"RSHIFT", Key::RightShift},
    {"CTRL", Key::LeftCtrl},
    {"LCTRL", Key::LeftCtrl},
    {"RCTRL", Key::RightCtrl},
    {"ALT", Key::LeftAlt},
    {"LALT", Key::LeftAlt},
    {"RALT", Key::RightAlt},
    {"ALTGR", Key::RightAlt},
    {"GUI", Key::LeftGui},
    {"WIN", Key::LeftGui},
    {"LGUI", Key::LeftGui},
    {"RGUI", Key::RightGui},
    {"MENU", Key::Menu},
    {"F1", Key::F1},
    {"F2", Key::F2},
    {"F3", Key::F3},
    {"F4", Key::F4},
    {"F5", Key::F5},
    {"F6", Key::F6},
    {"F7", Key::F7},
    {"F8", Key::F8},
    {"F9", Key::F9},
    {"F10", Key::F10},
    {"F11", Key::F11},
    {"F12", Key::F12},
    {"PRINTSCREEN", Key::PrintScreen},
    {"PRTSC", Key::PrintScreen},
    {"SCROLLLOCK", Key::ScrollLock},
    {"PAUSE", Key::Pause},
    {"BREAK", Key::Pause},
    {"INSERT", Key::Insert},
    {"INS", Key::Insert},
    {"DELETE", Key::Delete},
    {"DEL", Key::Delete},
    {"HOME", Key::Home},
    {"END", Key::End},
    {"PAGEUP", Key::PageUp},
    {"PGUP", Key::PageUp},
    {"PAGEDOWN", Key::PageDown},
    {"PGDN", Key::PageDown},
    {"UP", Key::Up},
    {"DOWN", Key::Down},
    {"LEFT", Key::Left},
    {"RIGHT", Key::Right},
    {"NUMLOCK", Key::NumLock},
    {"KP/", Key::KeypadDivide},
    {"KP*", Key::KeypadMultiply},
    {"KP-", Key::KeypadSubtract},
    {"KPPLUS", Key::KeypadAdd},
    {"KPENTER", Key::KeypadEnter},
    {"KP.", Key::KeypadDecimal},
    {"KP0", Key::Keypad0},
    {"KP1", Key::Keypad1},
    {"KP2", Key::Keypad2},
    {"KP3", Key::Keypad3},
    {"KP4", Key::Keypad4},
    {"KP5", Key::Keypad5},
    {"KP6", Key::Keypad6},
    {"KP7", Key::Keypad7},
    {"KP8", Key::Keypad8},
    {"KP9", Key::Keypad9},
    {"102ND", Key::NonUsBackslash},
});

struct Stroke {
    Key key = Key::None;
    bool shift = false;
};

// What the characters of a US keyboard other than letters and digits lie on: plain, then with shift.
constexpr std::string_view kPlain = "`-=[]\\;',./ ";
constexpr std::string_view kShifted = "~_+{}|:\"<>? ";
constexpr std::array<Key, 12> kPunctuation{Key::Grave,        Key::Minus,     Key::Equal,     Key::LeftBracket,
                                           Key::RightBracket, Key::Backslash, Key::Semicolon, Key::Apostrophe,
                                           Key::Comma,        Key::Period,    Key::Slash,     Key::Space};
constexpr std::string_view kShiftedDigits = ")!@#$%^&*(";

Key offset(Key first, std::size_t by) {
    return static_cast<Key>(static_cast<std::size_t>(first) + by);
}

std::optional<Stroke> stroke_of(char character) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte < 128 && std::isalpha(byte) != 0) {
        const bool upper = std::isupper(byte) != 0;
        return Stroke{offset(Key::A, static_cast<std::size_t>(std::tolower(byte) - 'a')), upper};
    }
    if (byte < 128 && std::isdigit(byte) != 0) {
        return Stroke{offset(Key::Digit0, static_cast<std::size_t>(character - '0')), false};
    }
    if (character == '\n') {
        return Stroke{Key::Enter, false};
    }
    if (character == '\t') {
        return Stroke{Key::Tab, false};
    }
    if (const std::size_t at = kPlain.find(character); at != std::string_view::npos) {
        return Stroke{kPunctuation[at], false};
    }
    if (const std::size_t at = kShifted.find(character); at != std::string_view::npos) {
        return Stroke{kPunctuation[at], true};
    }
    if (const std::size_t at = kShiftedDigits.find(character); at != std::string_view::npos) {
        return Stroke{offset(Key::Digit0, at), true};
    }
    return std::nullopt;
}

void press_together(const std::vector<Key>& keys, std::vector<KeyStep>& steps, Nanoseconds held = kBetweenKeys) {
    for (const Key key : keys) {
        steps.push_back({.key = key, .pressed = true, .wait = kBetweenKeys});
    }
    steps.back().wait = std::max(held, kBetweenKeys);
    for (std::size_t left = keys.size(); left-- > 0;) {
        steps.push_back({.key = keys[left], .pressed = false, .wait = kBetweenKeys});
    }
}

void type(const Stroke& stroke, std::vector<KeyStep>& steps) {
    press_together(stroke.shift ? std::vector{Key::LeftShift, stroke.key} : std::vector{stroke.key}, steps);
}

std::optional<Key> named_key(std::string_view name) {
    std::string upper(name);
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    const auto found =
        std::find_if(kNames.begin(), kNames.end(), [&](const auto& entry) { return entry.first == upper; });
    if (found != kNames.end()) {
        return found->second;
    }
    if (name.size() == 1) {
        if (const std::optional<Stroke> stroke = stroke_of(name[0])) {
            return stroke->key;
        }
    }
    return std::nullopt;
}

std::optional<Nanoseconds> wait_of(std::string_view text) {
    double seconds = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
    if (error != std::errc() || end != text.data() + text.size() || !(seconds >= 0 && seconds <= kLongestWait)) {
        return std::nullopt;
    }
    return static_cast<Nanoseconds>(seconds * static_cast<double>(kSecond));
}

/// What follows a word and a space, not case-sensitive, if the text begins so.
std::optional<std::string_view> behind(std::string_view word, std::string_view text) {
    const bool begins = text.size() > word.size() && text[word.size()] == ' ' &&
                        std::equal(word.begin(), word.end(), text.begin(), [](char wanted, char have) {
                            return wanted == static_cast<char>(std::toupper(static_cast<unsigned char>(have)));
                        });
    return begins ? std::optional(text.substr(word.size() + 1)) : std::nullopt;
}

/// "a FILE" to insert, "a" to eject.
std::optional<MediaStep> media_of(std::string_view text, bool insert) {
    const std::size_t space = std::min(text.find(' '), text.size());
    std::string drive(text.substr(0, space));
    std::transform(drive.begin(), drive.end(), drive.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::string_view file = text.substr(std::min(space + 1, text.size()));
    if ((drive != "a" && drive != "b" && drive != "cd") || insert == file.empty()) {
        return std::nullopt;
    }
    return MediaStep{.drive = drive, .file = std::string(file)};
}

}  // namespace

tl::expected<std::vector<KeyStep>, std::string> parse_key_script(std::string_view script) {
    std::vector<KeyStep> steps;
    const auto refuse = [](std::size_t at, const std::string& why) {
        return tl::unexpected(fmt::format("at character {}: {}", at + 1, why));
    };
    for (std::size_t at = 0; at < script.size();) {
        if (script[at] != '{') {
            const std::optional<Stroke> stroke = stroke_of(script[at]);
            if (!stroke || script[at] == '}') {
                return refuse(at, script[at] == '}' ? "a single '}'; the character is written {}}"
                                                    : "a character that is not on a US keyboard");
            }
            type(*stroke, steps);
            ++at;
            continue;
        }
        if (script.substr(at, 3) == "{{}" || script.substr(at, 3) == "{}}") {
            type(*stroke_of(script[at + 1]), steps);
            at += 3;
            continue;
        }
        const std::size_t close = script.find('}', at);
        if (close == std::string_view::npos) {
            return refuse(at, "'{' without '}'");
        }
        const std::string_view inside = script.substr(at + 1, close - at - 1);
        auto insert = behind("INSERT", inside);
        if (insert && wait_of(*insert)) {
            insert.reset();  // the key of that name, held
        }
        if (const auto text = insert ? insert : behind("EJECT", inside)) {
            const std::optional<MediaStep> media = media_of(*text, insert.has_value());
            if (!media) {
                return refuse(
                    at, fmt::format("{{{}}}: it is {{INSERT a FILE}} or {{EJECT a}}, with drive a, b or cd", inside));
            }
            steps.push_back({.media = *media});
        } else if (const auto seconds = behind("WAIT", inside)) {
            const std::optional<Nanoseconds> wait = wait_of(*seconds);
            if (!wait) {
                return refuse(at, fmt::format("{{{}}}: wait takes seconds, 0 to 86400", inside));
            }
            steps.push_back({.wait = *wait});
        } else {
            const std::size_t space = std::min(inside.find(' ', 1), inside.size());
            const std::string_view names = inside.substr(0, space);
            std::optional<Nanoseconds> held = kBetweenKeys;
            if (space < inside.size()) {
                held = wait_of(inside.substr(space + 1));
            }
            if (!held) {
                return refuse(at, fmt::format("{{{}}}: a key is held for seconds, 0 to 86400", inside));
            }
            std::vector<Key> keys;
            for (std::size_t from = 0; from <= names.size();) {
                const std::size_t plus = std::min(names.find('+', from), names.size());
                const std::optional<Key> key = named_key(names.substr(from, plus - from));
                if (!key) {
                    return refuse(at + 1 + from, fmt::format("there is no key '{}'", names.substr(from, plus - from)));
                }
                keys.push_back(*key);
                from = plus + 1;
            }
            press_together(keys, steps, *held);
        }
        at = close + 1;
    }
    return steps;
}

}  // namespace vpc::cli
