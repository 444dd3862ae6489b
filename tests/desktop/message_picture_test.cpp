#include "ui/desktop/message_picture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

namespace vpc::desktop {
namespace {

/// A font in which a character's first rows are the bits of its code: bit 0 alone in a row's first dot, and so on.
Font legible_font() {
    Font font{};
    for (unsigned code = 0; code < font.size(); ++code) {
        for (unsigned bit = 0; bit < 8; ++bit) {
            font[code][bit] = (code >> bit & 1) != 0 ? 0x81 : 0x00;
        }
    }
    font[' '] = {};
    return font;
}

/// What stands on a picture in that font, in code page 437, without the margins.
std::vector<std::string> read(const devices::Frame& picture) {
    std::vector<std::string> lines;
    for (unsigned top = 8; top + 16 <= picture.height; top += 16) {
        std::string line;
        for (unsigned left = 8; left + 8 < picture.width; left += 8) {
            unsigned code = 0;
            for (unsigned bit = 0; bit < 8; ++bit) {
                const std::uint32_t* row = &picture.pixels[(top + bit) * picture.width + left];
                EXPECT_EQ(row[0], row[7]);
                code |= row[0] != row[3] ? 1u << bit : 0u;
            }
            line += static_cast<char>(code != 0 ? code : ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        lines.push_back(line);
    }
    return lines;
}

std::vector<std::string> shown(const std::string& text) {
    return read(message_picture(text, legible_font()));
}

using Lines = std::vector<std::string>;

TEST(MessagePicture, ShowsLines) {
    EXPECT_EQ(shown("Out of luck.\n\nTry again"), (Lines{"Out of luck.", "", "Try again"}));
}

TEST(MessagePicture, FitsTheNarrowestModeAndIsAsHighAsItsLines) {
    const devices::Frame one = message_picture("one", legible_font());
    EXPECT_LE(one.width, 640u);
    EXPECT_EQ(one.height, 32u);
    EXPECT_EQ(one.pixels.size(), std::size_t{one.width} * one.height);
    EXPECT_EQ(message_picture("one\ntwo\nthree", legible_font()).height, 64u);
    EXPECT_TRUE(shown("").empty());
}

TEST(MessagePicture, LongLinesAreBrokenAtSpaces) {
    const std::string half(40, 'a');
    EXPECT_EQ(shown(half + " " + half + "\nb"), (Lines{half, half, "b"}));
    EXPECT_EQ(shown(std::string(72, 'x') + " y"), (Lines{std::string(72, 'x'), "y"}));
    EXPECT_EQ(shown(std::string(100, 'x')), (Lines{std::string(72, 'x'), std::string(28, 'x')}));
}

TEST(MessagePicture, CharactersAreTheFontsOrQuestionMarks) {
    EXPECT_EQ(shown("Bär, Łódź, ☃"), (Lines{"B\x84r, ?\xA2"
                                            "d?, ?"}));
    EXPECT_EQ(shown("\xFF\x80\xC3"), (Lines{"??"}));  // not UTF-8
    EXPECT_EQ(shown("a\tb\x01"), (Lines{"a?b?"}));
}

TEST(MessagePicture, TheFontIsFoundInAVgaBiosByItsLetterA) {
    constexpr std::array<std::uint8_t, 16> kLetterA{0x00, 0x00, 0x10, 0x38, 0x6C, 0xC6, 0xC6, 0xFE,
                                                    0xC6, 0xC6, 0xC6, 0xC6, 0x00, 0x00, 0x00, 0x00};
    std::vector<std::uint8_t> rom(10'000, 0x55);
    EXPECT_FALSE(find_font(rom));
    std::copy(kLetterA.begin(), kLetterA.end(), rom.begin() + 3000 + 'A' * 16);
    rom[3000 + 'B' * 16] = 0x77;
    const auto font = find_font(rom);
    ASSERT_TRUE(font);
    EXPECT_EQ((*font)['A'], kLetterA);
    EXPECT_EQ((*font)['B'][0], 0x77);
    rom.resize(3000 + 4096);
    EXPECT_TRUE(find_font(rom));
    rom.pop_back();
    EXPECT_FALSE(find_font(rom)) << "its end is missing";
    rom.erase(rom.begin(), rom.begin() + 3001);
    rom.resize(10'000);
    EXPECT_FALSE(find_font(rom)) << "its start is missing";
}

}  // namespace
}  // namespace vpc::desktop
