// The beginning of a wait: awake after short sleeps, and after those only.
#include "core/short_wait.h"

#include <gtest/gtest.h>

#include <limits>

namespace vpc::test {
namespace {

constexpr Nanoseconds kShortSleep = ShortWait::kShort - 1;

class ShortWaitTest : public testing::Test {
  protected:
    /// Watches something that is ready at the look of that number, the first being 1; never for 0.
    bool watch(int ready_at, Nanoseconds until = std::numeric_limits<Nanoseconds>::max()) {
        looks = 0;
        return wait.watch([&] { return ++looks == ready_at; }, until);
    }
    ShortWait wait;
    int looks = 0;
};

TEST_F(ShortWaitTest, WhatIsReadyNeedsNoWait) {
    EXPECT_TRUE(watch(1));
    EXPECT_EQ(looks, 1);
}

TEST_F(ShortWaitTest, NobodyStaysAwakeAtFirst) {
    EXPECT_FALSE(watch(2));
    EXPECT_EQ(looks, 1);
}

TEST_F(ShortWaitTest, StaysAwakeAfterAShortSleepUntilItIsReady) {
    wait.slept(kShortSleep);
    EXPECT_TRUE(watch(2));
    EXPECT_EQ(looks, 2);
    EXPECT_TRUE(watch(2)) << "and the next time, too";
}

TEST_F(ShortWaitTest, GivesUpWhenTheWaitIsLong) {
    wait.slept(kShortSleep);
    const Nanoseconds before = VirtualClock::steady_host_time();
    EXPECT_FALSE(watch(0));
    EXPECT_GE(VirtualClock::steady_host_time() - before, ShortWait::kShort);
    EXPECT_GT(looks, 1);
    EXPECT_FALSE(watch(2)) << "sleeps at once";
    EXPECT_EQ(looks, 1);
    wait.slept(kShortSleep);
    EXPECT_TRUE(watch(2)) << "until a sleep is short again";
}

TEST_F(ShortWaitTest, ALongSleepIsNoReasonToStayAwake) {
    wait.slept(kShortSleep);
    wait.slept(ShortWait::kShort);
    EXPECT_FALSE(watch(2));
    EXPECT_EQ(looks, 1);
}

TEST_F(ShortWaitTest, WatchesNotBeyondTheTimeOfTheNextEvent) {
    wait.slept(kShortSleep);
    EXPECT_FALSE(watch(3, 0));
    EXPECT_EQ(looks, 2);
}

}  // namespace
}  // namespace vpc::test
