#pragma once

#include <cstdint>

namespace vpc::devices {

/// The keys of a 104-key PC keyboard, named by what is printed on a US key cap. A key is a place on the keyboard, not
/// a character: what it types is the guest's business.
// clang-format off
enum class Key : std::uint8_t {
    None,
    A, B, C, D, E, F, G, H, I, J, K, L, M, N, O, P, Q, R, S, T, U, V, W, X, Y, Z,
    Digit0, Digit1, Digit2, Digit3, Digit4, Digit5, Digit6, Digit7, Digit8, Digit9,
    Escape, Tab, CapsLock, Enter, Backspace, Space,
    Grave, Minus, Equal, LeftBracket, RightBracket, Backslash, Semicolon, Apostrophe, Comma, Period, Slash,
    NonUsBackslash,  ///< between left shift and Z on 102-key keyboards
    LeftShift, RightShift, LeftCtrl, RightCtrl, LeftAlt, RightAlt, LeftGui, RightGui, Menu,
    F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12,
    PrintScreen, ScrollLock, Pause,
    Insert, Delete, Home, End, PageUp, PageDown, Up, Down, Left, Right,
    NumLock, KeypadDivide, KeypadMultiply, KeypadSubtract, KeypadAdd, KeypadEnter, KeypadDecimal,
    Keypad0, Keypad1, Keypad2, Keypad3, Keypad4, Keypad5, Keypad6, Keypad7, Keypad8, Keypad9,
    Count  ///< how many there are; no key
};
// clang-format on

}  // namespace vpc::devices
