#include "devices/ps2_keyboard.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

class Ps2KeyboardTest : public testing::Test {
  protected:
    Bytes drain() {
        Bytes bytes;
        while (keyboard.has_byte()) {
            bytes.push_back(keyboard.take_byte());
        }
        return bytes;
    }
    Bytes send(std::uint8_t byte) {
        keyboard.receive(byte);
        return drain();
    }
    Bytes stroke(Key key) {
        keyboard.key(key, true);
        keyboard.key(key, false);
        return drain();
    }
    void use_set(std::uint8_t set) {
        send(0xF0);
        send(set);
    }

    Bench bench;
    Ps2Keyboard& keyboard = bench.add_device<Ps2Keyboard>(bench.clock);
};

TEST_F(Ps2KeyboardTest, KeysSendSet2MakeAndBreak) {
    EXPECT_EQ(stroke(Key::A), (Bytes{0x1C, 0xF0, 0x1C}));
    EXPECT_EQ(stroke(Key::F7), (Bytes{0x83, 0xF0, 0x83}));
    EXPECT_EQ(stroke(Key::Up), (Bytes{0xE0, 0x75, 0xE0, 0xF0, 0x75}));
    EXPECT_EQ(stroke(Key::KeypadEnter), (Bytes{0xE0, 0x5A, 0xE0, 0xF0, 0x5A}));
}

TEST_F(Ps2KeyboardTest, Set1IsTheTranslationOfSet2) {
    use_set(1);
    EXPECT_EQ(stroke(Key::A), (Bytes{0x1E, 0x9E}));
    EXPECT_EQ(stroke(Key::Escape), (Bytes{0x01, 0x81}));
    EXPECT_EQ(stroke(Key::Right), (Bytes{0xE0, 0x4D, 0xE0, 0xCD}));
    EXPECT_EQ(stroke(Key::F12), (Bytes{0x58, 0xD8}));
    EXPECT_EQ(stroke(Key::PrintScreen), (Bytes{0xE0, 0x2A, 0xE0, 0x37, 0xE0, 0xB7, 0xE0, 0xAA}));
    EXPECT_EQ(stroke(Key::Pause), (Bytes{0xE1, 0x1D, 0x45, 0xE1, 0x9D, 0xC5}));
}

TEST_F(Ps2KeyboardTest, Set3HasOneCodePerKeyAndBreaksOnlyWhereAsked) {
    use_set(3);
    EXPECT_EQ(stroke(Key::F1), (Bytes{0x07}));
    EXPECT_EQ(stroke(Key::LeftShift), (Bytes{0x12, 0xF0, 0x12}));
    EXPECT_EQ(stroke(Key::Up), (Bytes{0x63}));
    EXPECT_EQ(send(0xF8), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::F1), (Bytes{0x07, 0xF0, 0x07}));
}

TEST_F(Ps2KeyboardTest, Set3KeyKindsCanBeSetOneByOne) {
    use_set(3);
    EXPECT_EQ(send(0xFC), Bytes{0xFA});
    EXPECT_EQ(send(0x07), Bytes{0xFA});
    EXPECT_EQ(send(0x0F), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::F1), Bytes{}) << "stopped until F4h";
    EXPECT_EQ(send(0xF4), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::F1), (Bytes{0x07, 0xF0, 0x07}));
    EXPECT_EQ(stroke(Key::F2), (Bytes{0x0F, 0xF0, 0x0F}));
    EXPECT_EQ(stroke(Key::F3), (Bytes{0x17}));
}

TEST_F(Ps2KeyboardTest, PauseSendsEverythingWhenPressed) {
    keyboard.key(Key::Pause, true);
    EXPECT_EQ(drain(), (Bytes{0xE1, 0x14, 0x77, 0xE1, 0xF0, 0x14, 0xF0, 0x77}));
    bench.run_for(2 * kSecond);
    keyboard.key(Key::Pause, false);
    EXPECT_EQ(drain(), Bytes{});
}

TEST_F(Ps2KeyboardTest, PauseWithControlIsBreak) {
    keyboard.key(Key::LeftCtrl, true);
    drain();
    keyboard.key(Key::Pause, true);
    EXPECT_EQ(drain(), (Bytes{0xE0, 0x7E, 0xE0, 0xF0, 0x7E}));
}

TEST_F(Ps2KeyboardTest, PrintScreenDependsOnTheModifiers) {
    EXPECT_EQ(stroke(Key::PrintScreen), (Bytes{0xE0, 0x12, 0xE0, 0x7C, 0xE0, 0xF0, 0x7C, 0xE0, 0xF0, 0x12}));
    keyboard.key(Key::LeftShift, true);
    drain();
    EXPECT_EQ(stroke(Key::PrintScreen), (Bytes{0xE0, 0x7C, 0xE0, 0xF0, 0x7C}));
    keyboard.key(Key::LeftAlt, true);
    drain();
    EXPECT_EQ(stroke(Key::PrintScreen), (Bytes{0x84, 0xF0, 0x84}));
}

TEST_F(Ps2KeyboardTest, HeldKeyRepeatsAfterTheDelay) {
    keyboard.key(Key::A, true);
    EXPECT_EQ(drain(), Bytes{0x1C});
    bench.run_for(499 * kMillisecond);
    EXPECT_EQ(drain(), Bytes{});
    bench.run_for(kMillisecond);
    EXPECT_EQ(drain(), Bytes{0x1C});
    bench.run_for(kSecond);
    EXPECT_EQ(drain().size(), 10u);
    keyboard.key(Key::A, false);
    EXPECT_EQ(drain(), (Bytes{0xF0, 0x1C}));
    bench.run_for(kSecond);
    EXPECT_EQ(drain(), Bytes{});
}

TEST_F(Ps2KeyboardTest, RateCommandSetsDelayAndPeriod) {
    EXPECT_EQ(send(0xF3), Bytes{0xFA});
    EXPECT_EQ(send(0x00), Bytes{0xFA});  // 250 ms, 30 a second
    keyboard.key(Key::A, true);
    drain();
    bench.run_for(250 * kMillisecond);
    EXPECT_EQ(drain(), Bytes{0x1C});
    bench.run_for(300 * kMillisecond);
    EXPECT_EQ(drain().size(), 9u);
}

TEST_F(Ps2KeyboardTest, OnlyTheLastKeyRepeats) {
    keyboard.key(Key::A, true);
    keyboard.key(Key::B, true);
    drain();
    bench.run_for(500 * kMillisecond);
    EXPECT_EQ(drain(), Bytes{0x32});
    keyboard.key(Key::A, false);
    drain();
    bench.run_for(100 * kMillisecond);
    EXPECT_EQ(drain(), Bytes{0x32}) << "letting go of another key does not stop it";
}

TEST_F(Ps2KeyboardTest, LateHostDoesNotGetTheMissedRepeats) {
    keyboard.key(Key::A, true);
    drain();
    bench.advance(3600 * kSecond);
    EXPECT_EQ(drain(), Bytes{0x1C});
}

TEST_F(Ps2KeyboardTest, TellingTheSameTwiceChangesNothing) {
    keyboard.key(Key::A, true);
    keyboard.key(Key::A, true);
    EXPECT_EQ(drain(), Bytes{0x1C});
    keyboard.key(Key::B, false);
    EXPECT_EQ(drain(), Bytes{});
}

TEST_F(Ps2KeyboardTest, ReleaseAllLetsGoOfEveryKey) {
    keyboard.key(Key::LeftCtrl, true);
    keyboard.key(Key::Up, true);
    drain();
    keyboard.release_all();
    EXPECT_EQ(drain().size(), 5u);
    keyboard.release_all();
    EXPECT_EQ(drain(), Bytes{});
}

TEST_F(Ps2KeyboardTest, OverrunLeavesItsCodeAfterSixteenBytes) {
    for (int i = 0; i < 10; ++i) {
        keyboard.key(Key::A, true);
        keyboard.key(Key::A, false);
    }
    const Bytes bytes = drain();
    EXPECT_EQ(bytes.size(), 17u);
    EXPECT_EQ(bytes.back(), 0x00);
    EXPECT_EQ(keyboard.room(), 16u);
}

TEST_F(Ps2KeyboardTest, LedsFollowTheCommand) {
    EXPECT_EQ(send(0xED), Bytes{0xFA});
    EXPECT_EQ(keyboard.leds(), 0);
    EXPECT_EQ(send(0x06), Bytes{0xFA});
    EXPECT_EQ(keyboard.leds(), Ps2Keyboard::kNumLock | Ps2Keyboard::kCapsLock);
}

TEST_F(Ps2KeyboardTest, CommandInPlaceOfAParameterIsACommand) {
    send(0xED);
    EXPECT_EQ(send(0xEE), Bytes{0xEE});
    EXPECT_EQ(keyboard.leds(), 0);
}

TEST_F(Ps2KeyboardTest, IdentifiesItself) {
    EXPECT_EQ(send(0xF2), (Bytes{0xFA, 0xAB, 0x83}));
}

TEST_F(Ps2KeyboardTest, ScanSetCanBeAskedFor) {
    use_set(3);
    EXPECT_EQ(send(0xF0), Bytes{0xFA});
    EXPECT_EQ(send(0x00), (Bytes{0xFA, 0x03}));
    send(0xF0);
    EXPECT_EQ(send(0x07), Bytes{0xFE});
}

TEST_F(Ps2KeyboardTest, ResetAnswersAndLaterPassesTheSelfTest) {
    use_set(1);
    EXPECT_EQ(send(0xFF), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::A), Bytes{}) << "the self-test looks at no keys";
    bench.run_for(10 * kMillisecond);
    EXPECT_EQ(drain(), Bytes{0xAA});
    EXPECT_EQ(stroke(Key::A), (Bytes{0x1C, 0xF0, 0x1C}));
}

TEST_F(Ps2KeyboardTest, UnknownCommandIsRefused) {
    EXPECT_EQ(send(0xF1), Bytes{0xFE});
    EXPECT_EQ(send(0x12), Bytes{0xFE});
}

TEST_F(Ps2KeyboardTest, ResendRepeatsTheLastByte) {
    send(0xF2);
    EXPECT_EQ(send(0xFE), Bytes{0x83});
    EXPECT_EQ(send(0xFE), Bytes{0x83});
}

TEST_F(Ps2KeyboardTest, DisabledKeyboardIsSilent) {
    EXPECT_EQ(send(0xF5), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::A), Bytes{});
    EXPECT_EQ(send(0xF4), Bytes{0xFA});
    EXPECT_EQ(stroke(Key::A).size(), 3u);
}

TEST_F(Ps2KeyboardTest, EveryKeyHasCodesInEverySet) {
    for (std::uint8_t set = 1; set <= 3; ++set) {
        use_set(set);
        for (unsigned key = 1; key < static_cast<unsigned>(Key::Count); ++key) {
            EXPECT_FALSE(stroke(static_cast<Key>(key)).empty()) << "set " << int{set} << " key " << key;
        }
    }
}

TEST_F(Ps2KeyboardTest, NewBytesAreAnnounced) {
    unsigned announcements = 0;
    keyboard.on_ready([&] { ++announcements; });
    keyboard.key(Key::A, true);
    EXPECT_EQ(announcements, 1u);
    bench.run_for(500 * kMillisecond);
    EXPECT_EQ(announcements, 2u);
}

}  // namespace
}  // namespace vpc::devices::test
