#include "ui/desktop/host_key.h"

#include <gtest/gtest.h>

namespace vpc::desktop {
namespace {

using devices::Key;

class HostKeyTest : public testing::Test {
  protected:
    bool for_guest(Key which, bool pressed) { return keys.key(which, pressed).for_guest; }
    HostAction action(Key which, bool pressed) { return keys.key(which, pressed).action; }
    HostKey keys{Key::RightAlt};
};

TEST_F(HostKeyTest, OtherKeysAreTheGuests) {
    EXPECT_TRUE(for_guest(Key::A, true));
    EXPECT_TRUE(for_guest(Key::A, false));
    EXPECT_FALSE(for_guest(Key::RightAlt, true));
    EXPECT_FALSE(for_guest(Key::RightAlt, false));
    EXPECT_FALSE(for_guest(Key::None, true));
    EXPECT_FALSE(for_guest(Key::Count, true));
}

TEST_F(HostKeyTest, AloneItReleasesTheMouse) {
    EXPECT_EQ(action(Key::RightAlt, true), HostAction::None);
    EXPECT_EQ(action(Key::RightAlt, false), HostAction::ReleaseMouse);
    EXPECT_EQ(action(Key::RightAlt, false), HostAction::None) << "was not down";
}

TEST_F(HostKeyTest, WithAnotherKeyItDoesThatKeysThing) {
    const std::pair<Key, HostAction> expected[] = {
        {Key::Enter, HostAction::FullScreen}, {Key::Delete, HostAction::CtrlAltDelete},
        {Key::P, HostAction::PauseOrResume},  {Key::R, HostAction::Reset},
        {Key::F4, HostAction::Close},         {Key::A, HostAction::None}};
    for (const auto& [which, wanted] : expected) {
        keys.key(Key::RightAlt, true);
        const HostKey::Verdict verdict = keys.key(which, true);
        EXPECT_FALSE(verdict.for_guest);
        EXPECT_EQ(verdict.action, wanted);
        EXPECT_FALSE(for_guest(which, false)) << "the guest never saw it going down";
        EXPECT_EQ(action(Key::RightAlt, false), HostAction::None);
    }
}

TEST_F(HostKeyTest, KeysGoUpWhereTheyWentDown) {
    EXPECT_TRUE(for_guest(Key::A, true));
    keys.key(Key::RightAlt, true);
    EXPECT_TRUE(for_guest(Key::A, false));
    EXPECT_FALSE(for_guest(Key::P, true));
    keys.key(Key::RightAlt, false);
    EXPECT_FALSE(for_guest(Key::P, false));
}

TEST_F(HostKeyTest, AfterForgettingNothingIsHeld) {
    keys.key(Key::RightAlt, true);
    keys.key(Key::Escape, true);
    keys.forget();
    EXPECT_TRUE(for_guest(Key::P, true));
    EXPECT_FALSE(for_guest(Key::Escape, false));
    EXPECT_EQ(action(Key::RightAlt, false), HostAction::None);
}

}  // namespace
}  // namespace vpc::desktop
