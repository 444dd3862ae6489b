// Keys that are typed in the guest's time.
#include "tasks/typist.h"

#include <gtest/gtest.h>

#include "core/state_stream.h"
#include "devices/ps2_keyboard.h"

namespace vpc::tasks {
namespace {

using devices::Key;
using Bytes = std::vector<std::uint8_t>;

constexpr Nanoseconds kHeld = 20 * kMillisecond;

/// A keyboard, its typist, and the host's time.
struct Desk {
    Nanoseconds host_time = 0;
    VirtualClock clock{[this] { return host_time; }};
    devices::Ps2Keyboard keyboard{clock};
    std::shared_ptr<Typist> typist = Typist::make(clock, keyboard);

    Desk() { clock.resume(); }
    void advance(Nanoseconds span) {
        host_time += span;
        clock.run_due();
    }
    void type(const std::vector<KeyMove>& moves) {
        typist->add(moves);
        typist->begin();
    }
    Bytes sent() {
        Bytes bytes;
        while (keyboard.has_byte()) {
            bytes.push_back(keyboard.take_byte());
        }
        return bytes;
    }
};

std::vector<KeyMove> stroke(Key key, Nanoseconds held = kHeld) {
    return {{.key = key, .pressed = true, .wait = held}, {.key = key, .pressed = false, .wait = kHeld}};
}

TEST(Typist, TellsWhenItHasComeToAMove) {
    Desk desk;
    int reached = 0;
    desk.type({{.key = Key::A, .pressed = true, .wait = kHeld}, {.reached = [&] { ++reached; }}});
    desk.advance(0);
    EXPECT_EQ(reached, 0);
    desk.advance(kHeld - 1);
    EXPECT_EQ(reached, 0);
    desk.advance(1);
    EXPECT_EQ(reached, 1);
    desk.advance(kHeld);
    EXPECT_EQ(reached, 1);
}

TEST(Typist, MovesOneKeyAfterTheOther) {
    Desk desk;
    desk.type(stroke(Key::A));
    EXPECT_EQ(desk.sent(), Bytes{}) << "not before the clock's turn";
    desk.advance(0);
    EXPECT_EQ(desk.sent(), Bytes{0x1C});
    desk.type(stroke(Key::B));
    desk.advance(kHeld - 1);
    EXPECT_EQ(desk.sent(), Bytes{});
    desk.advance(1);
    EXPECT_EQ(desk.sent(), (Bytes{0xF0, 0x1C}));
    desk.advance(kHeld);
    EXPECT_EQ(desk.sent(), Bytes{0x32});
    desk.advance(kHeld);
    EXPECT_EQ(desk.sent(), (Bytes{0xF0, 0x32}));
    desk.type(stroke(Key::A));
    desk.advance(kHeld - 1);
    EXPECT_EQ(desk.sent(), Bytes{}) << "the last key's wait counts for what is typed later";
}

TEST(Typist, ABusyHostMakesNoKeyRepeat) {
    Desk desk;
    desk.type(stroke(Key::A));
    desk.advance(0);
    desk.advance(10 * kSecond);
    EXPECT_EQ(desk.sent(), (Bytes{0x1C, 0xF0, 0x1C}));
}

TEST(Typist, AKeyThatIsHeldForLongRepeats) {
    Desk desk;
    desk.type(stroke(Key::A, kSecond));
    desk.advance(0);
    desk.advance(600 * kMillisecond);
    EXPECT_EQ(desk.sent(), (Bytes{0x1C, 0x1C}));
}

TEST(Typist, WaitsUntilTheKeyboardHasRoom) {
    Desk desk;
    std::vector<KeyMove> moves;
    for (int i = 0; i < 10; ++i) {
        for (const KeyMove& move : stroke(Key::Up)) {
            moves.push_back(move);
        }
    }
    desk.type(moves);
    Bytes all;
    for (int i = 0; i < 200; ++i) {
        desk.advance(kHeld);
        if (i % 20 == 19) {
            for (const std::uint8_t byte : desk.sent()) {
                all.push_back(byte);
            }
        }
    }
    Bytes wanted;
    for (int i = 0; i < 10; ++i) {
        wanted.insert(wanted.end(), {0xE0, 0x75, 0xE0, 0xF0, 0x75});
    }
    EXPECT_EQ(all, wanted);
}

TEST(Typist, AKeyThatWasDownInASavedStateGoesUp) {
    StateStream saved = StateStream::saver();
    {
        Desk desk;
        desk.type(stroke(Key::A));
        desk.advance(0);
        desk.sent();
        desk.clock.serialize(saved);
        desk.keyboard.serialize(saved);
    }
    Desk desk;
    StateStream loaded = StateStream::loader(saved.bytes());
    desk.clock.pause();
    desk.clock.serialize(loaded);
    desk.keyboard.serialize(loaded);
    desk.clock.resume();
    desk.advance(kHeld);
    EXPECT_EQ(desk.sent(), (Bytes{0xF0, 0x1C}));
    desk.advance(10 * kSecond);
    EXPECT_EQ(desk.sent(), Bytes{});
}

}  // namespace
}  // namespace vpc::tasks
