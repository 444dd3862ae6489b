#include "ui/desktop/sdl_keys.h"

#include <gtest/gtest.h>

#include <map>

namespace vpc::desktop {
namespace {

using devices::Key;

TEST(SdlKeys, PlacesAreWhereAUsKeyboardHasThem) {
    EXPECT_EQ(key_at(SDL_SCANCODE_A), Key::A);
    EXPECT_EQ(key_at(SDL_SCANCODE_Z), Key::Z);
    EXPECT_EQ(key_at(SDL_SCANCODE_0), Key::Digit0);
    EXPECT_EQ(key_at(SDL_SCANCODE_9), Key::Digit9);
    EXPECT_EQ(key_at(SDL_SCANCODE_F12), Key::F12);
    EXPECT_EQ(key_at(SDL_SCANCODE_KP_0), Key::Keypad0);
    EXPECT_EQ(key_at(SDL_SCANCODE_KP_9), Key::Keypad9);
    EXPECT_EQ(key_at(SDL_SCANCODE_RALT), Key::RightAlt);
    EXPECT_EQ(key_at(SDL_SCANCODE_UNKNOWN), Key::None);
    EXPECT_EQ(key_at(SDL_SCANCODE_VOLUMEUP), Key::None);
}

TEST(SdlKeys, EveryKeyHasAPlace) {
    std::map<Key, int> places;
    for (int code = 0; code < SDL_NUM_SCANCODES; ++code) {
        ++places[key_at(static_cast<SDL_Scancode>(code))];
    }
    for (int key = 1; key < static_cast<int>(Key::Count); ++key) {
        const auto which = static_cast<Key>(key);
        EXPECT_EQ(places[which], which == Key::Backslash ? 2 : 1) << key;
    }
}

}  // namespace
}  // namespace vpc::desktop
