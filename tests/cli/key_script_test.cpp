#include "ui/cli/key_script.h"

#include <gtest/gtest.h>

namespace vpc::cli {
namespace {

using devices::Key;

std::vector<std::pair<Key, bool>> moves(std::string_view script) {
    std::vector<std::pair<Key, bool>> result;
    const auto steps = parse_key_script(script);
    EXPECT_TRUE(steps.has_value()) << (steps ? "" : steps.error());
    for (const KeyStep& step : steps.value_or(std::vector<KeyStep>{})) {
        if (step.key != Key::None) {
            result.emplace_back(step.key, step.pressed);
        }
    }
    return result;
}

using Moves = std::vector<std::pair<Key, bool>>;

TEST(KeyScript, TypesPlainCharacters) {
    EXPECT_EQ(moves("a1"), (Moves{{Key::A, true}, {Key::A, false}, {Key::Digit1, true}, {Key::Digit1, false}}));
}

TEST(KeyScript, HoldsShiftForCapitalsAndShiftedSigns) {
    const Moves expected{{Key::LeftShift, true}, {Key::Digit1, true}, {Key::Digit1, false}, {Key::LeftShift, false}};
    EXPECT_EQ(moves("!"), expected);
    EXPECT_EQ(moves("Q")[0].first, Key::LeftShift);
    EXPECT_EQ(moves("Q")[1].first, Key::Q);
}

TEST(KeyScript, PressesCombinationsInOrderAndReleasesThemBackwards) {
    const Moves expected{{Key::LeftCtrl, true}, {Key::LeftAlt, true},  {Key::Delete, true},
                         {Key::Delete, false},  {Key::LeftAlt, false}, {Key::LeftCtrl, false}};
    EXPECT_EQ(moves("{CTRL+ALT+DEL}"), expected);
    EXPECT_EQ(moves("{ctrl+alt+del}"), expected);
}

TEST(KeyScript, KnowsBracesAndNewlines) {
    EXPECT_EQ(moves("{{}")[1].first, Key::LeftBracket);
    EXPECT_EQ(moves("{}}")[1].first, Key::RightBracket);
    EXPECT_EQ(moves("\n")[0].first, Key::Enter);
}

TEST(KeyScript, WaitsInSeconds) {
    const auto steps = parse_key_script("{WAIT 2.5}");
    ASSERT_TRUE(steps.has_value());
    ASSERT_EQ(steps->size(), 1u);
    EXPECT_EQ(steps->front().wait, 2'500'000'000);
    EXPECT_EQ(steps->front().key, Key::None);
}

TEST(KeyScript, HoldsKeysForSeconds) {
    const auto steps = parse_key_script("{SHIFT+LEFT 1.5}");
    ASSERT_TRUE(steps.has_value());
    ASSERT_EQ(steps->size(), 4u);
    EXPECT_EQ((*steps)[1].key, Key::Left);
    EXPECT_EQ((*steps)[1].wait, 1'500'000'000);
    EXPECT_LT((*steps)[0].wait, 100'000'000);
    EXPECT_EQ(moves("{LEFT 1}"), (Moves{{Key::Left, true}, {Key::Left, false}}));
    EXPECT_EQ(moves("{ }"), (Moves{{Key::Space, true}, {Key::Space, false}}));
}

TEST(KeyScript, ChangesDisks) {
    const auto steps = parse_key_script("{INSERT a my disk.img}{eject CD}{INSERT}");
    ASSERT_TRUE(steps.has_value());
    ASSERT_EQ(steps->size(), 4u);
    EXPECT_EQ((*steps)[0].media, (MediaStep{.drive = "a", .file = "my disk.img"}));
    EXPECT_EQ((*steps)[1].media, (MediaStep{.drive = "cd", .file = ""}));
    EXPECT_EQ((*steps)[2].key, Key::Insert) << "the key of that name";
    EXPECT_EQ(moves("{INSERT 1}"), (Moves{{Key::Insert, true}, {Key::Insert, false}})) << "held";
}

TEST(KeyScript, EveryKeyOfTheUsKeyboardCanBeTyped) {
    for (char character = ' '; character < 0x7F; ++character) {
        if (character != '{' && character != '}') {
            EXPECT_FALSE(moves(std::string(1, character)).empty()) << character;
        }
    }
}

TEST(KeyScript, RefusesWhatItDoesNotKnowAndSaysWhere) {
    for (const char* script :
         {"ab{NOKEY}", "{ENTER", "}", "{WAIT x}", "{WAIT -1}", "{}", "\xC3\xA4", "{CTRL+}", "{LEFT x}", "{LEFT }",
          "{LEFT -1}", "{INSERT a}", "{INSERT x f}", "{EJECT c}", "{EJECT a f}"}) {
        const auto steps = parse_key_script(script);
        ASSERT_FALSE(steps.has_value()) << script;
        EXPECT_NE(steps.error().find("at character"), std::string::npos) << steps.error();
    }
    EXPECT_NE(parse_key_script("ab{NOKEY}").error().find("NOKEY"), std::string::npos);
}

}  // namespace
}  // namespace vpc::cli
