#include "core/virtual_clock.h"

#include <gtest/gtest.h>

#include "core/line.h"
#include "core/state_stream.h"

namespace vpc::test {
namespace {

class VirtualClockTest : public testing::Test {
  protected:
    VirtualClock::Event named(const std::string& name) {
        return clock.make_event(name, [this, name](std::int64_t payload, Nanoseconds late) {
            log += name + ":" + std::to_string(payload) + "+" + std::to_string(late) + " ";
        });
    }
    Nanoseconds host = 1000;
    VirtualClock clock{[this] { return host; }};
    std::string log;
};

TEST_F(VirtualClockTest, StartsPausedAtZero) {
    host += 500;
    EXPECT_TRUE(clock.paused());
    EXPECT_EQ(clock.now(), 0);
}

TEST_F(VirtualClockTest, FollowsTheHostWhileRunningAndStandsStillWhilePaused) {
    clock.resume();
    host += 70;
    EXPECT_EQ(clock.now(), 70);
    clock.pause();
    host += 1000;
    EXPECT_EQ(clock.now(), 70);
    clock.resume();
    clock.resume();
    host += 5;
    EXPECT_EQ(clock.now(), 75);
}

TEST_F(VirtualClockTest, RunsDueEventsEarliestFirstAndTellsTheirLateness) {
    auto a = named("a");
    auto b = named("b");
    auto c = named("c");
    a.schedule(30, 1);
    b.schedule(10, 2);
    c.schedule(200, 3);
    clock.resume();
    host += 50;
    clock.run_due();
    EXPECT_EQ(log, "b:2+40 a:1+20 ");
    EXPECT_FALSE(a.pending());
    EXPECT_TRUE(c.pending());
    EXPECT_EQ(clock.next_deadline(), 200);
}

TEST_F(VirtualClockTest, TiesRunInTheOrderOfScheduling) {
    auto a = named("a");
    auto b = named("b");
    auto c = named("c");
    c.schedule(10);
    a.schedule(10);
    b.schedule(10);
    clock.resume();
    host += 10;
    clock.run_due();
    EXPECT_EQ(log, "c:0+0 a:0+0 b:0+0 ");
}

TEST_F(VirtualClockTest, SchedulingAgainMovesAnEvent) {
    auto a = named("a");
    a.schedule(10, 1);
    a.schedule(20, 2);
    EXPECT_EQ(a.when(), 20);
    clock.resume();
    host += 15;
    clock.run_due();
    EXPECT_EQ(log, "");
    host += 5;
    clock.run_due();
    EXPECT_EQ(log, "a:2+0 ");
}

TEST_F(VirtualClockTest, CancelledEventDoesNotRun) {
    auto a = named("a");
    a.schedule(10);
    a.cancel();
    EXPECT_FALSE(a.pending());
    EXPECT_EQ(clock.next_deadline(), std::nullopt);
    clock.resume();
    host += 15;
    clock.run_due();
    EXPECT_EQ(log, "");
    VirtualClock::Event nobody;
    nobody.cancel();
    EXPECT_FALSE(nobody.pending());
}

TEST_F(VirtualClockTest, HandlerMayScheduleItselfAndIsCaughtUp) {
    VirtualClock::Event tick;
    int ticks = 0;
    Nanoseconds next = 10;
    tick = clock.make_event("tick", [&](std::int64_t, Nanoseconds) {
        ++ticks;
        tick.schedule(next += 10);
    });
    tick.schedule(next);
    clock.resume();
    host += 55;
    clock.run_due();
    EXPECT_EQ(ticks, 5);
    EXPECT_EQ(clock.next_deadline(), 60);
}

TEST_F(VirtualClockTest, NamesAreUnique) {
    (void)named("a");
    EXPECT_THROW((void)named("a"), std::logic_error);
}

TEST_F(VirtualClockTest, ListenerHearsEveryScheduling) {
    auto a = named("a");
    std::vector<Nanoseconds> heard;
    clock.on_schedule([&](Nanoseconds when) { heard.push_back(when); });
    a.schedule(10);
    a.schedule(5);
    EXPECT_EQ(heard, (std::vector<Nanoseconds>{10, 5}));
}

TEST_F(VirtualClockTest, SavedClockContinuesWhereItWas) {
    auto a = named("a");
    auto b = named("b");
    clock.resume();
    host += 100;
    b.schedule(150, 7);
    a.schedule(150, 8);
    StateStream saver = StateStream::saver();
    clock.serialize(saver);

    Nanoseconds other_host = 5'000'000;
    VirtualClock other{[&] { return other_host; }};
    std::string other_log;
    const auto note = [&](const std::string& name) {
        return [&other_log, name](std::int64_t payload, Nanoseconds) {
            other_log += name + std::to_string(payload) + " ";
        };
    };
    auto other_a = other.make_event("a", note("a"));
    auto other_b = other.make_event("b", note("b"));
    StateStream loader = StateStream::loader(saver.bytes());
    other.serialize(loader);
    EXPECT_EQ(other.now(), 100);
    EXPECT_TRUE(other_a.pending());
    EXPECT_EQ(other_b.when(), 150);
    other.resume();
    other_host += 50;
    other.run_due();
    EXPECT_EQ(other_log, "b7 a8 ") << "ties keep their order";
}

TEST_F(VirtualClockTest, OrderOfTiesGoesOnAfterLoading) {
    auto a = named("a");
    (void)named("b");
    for (int i = 0; i < 5; ++i) {
        a.schedule(10);
    }
    StateStream saver = StateStream::saver();
    clock.serialize(saver);
    VirtualClock other{[this] { return host; }};
    std::string order;
    (void)other.make_event("a", [&](std::int64_t, Nanoseconds) { order += "a"; });
    auto other_b = other.make_event("b", [&](std::int64_t, Nanoseconds) { order += "b"; });
    StateStream loader = StateStream::loader(saver.bytes());
    other.serialize(loader);
    other_b.schedule(10);
    other.resume();
    host += 10;
    other.run_due();
    EXPECT_EQ(order, "ab");
}

TEST_F(VirtualClockTest, StateOfOtherEventsIsRefused) {
    (void)named("a");
    StateStream saver = StateStream::saver();
    clock.serialize(saver);
    VirtualClock none{[this] { return host; }};
    StateStream first = StateStream::loader(saver.bytes());
    EXPECT_THROW(none.serialize(first), StateError);
    VirtualClock renamed{[this] { return host; }};
    (void)renamed.make_event("b", {});
    StateStream second = StateStream::loader(saver.bytes());
    EXPECT_THROW(renamed.serialize(second), StateError);
}

TEST(Line, OtherEndHearsOfChangesOnly) {
    std::vector<bool> heard;
    Line line([&](bool level) { heard.push_back(level); });
    line.set(false);
    line.set(true);
    line.set(true);
    line.set(false);
    EXPECT_EQ(heard, (std::vector<bool>{true, false}));
    EXPECT_FALSE(line.level());
}

TEST(Line, PulseOnAHighLineOnlyLowersIt) {
    std::vector<bool> heard;
    Line line([&](bool level) { heard.push_back(level); });
    line.pulse();
    EXPECT_EQ(heard, (std::vector<bool>{true, false}));
    line.set(true);
    line.pulse();
    EXPECT_EQ(heard, (std::vector<bool>{true, false, true, false}));
}

TEST(Line, UnconnectedLineKeepsItsLevel) {
    Line line;
    line.set(true);
    EXPECT_TRUE(line.level());
}

}  // namespace
}  // namespace vpc::test
