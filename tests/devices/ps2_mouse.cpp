#include "devices/ps2_mouse.h"

#include <gtest/gtest.h>

#include <vector>

#include "devices/i8042.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

class Ps2MouseTest : public testing::Test {
  protected:
    Bytes drain() {
        Bytes bytes;
        while (mouse.has_byte()) {
            bytes.push_back(mouse.take_byte());
        }
        return bytes;
    }
    Bytes send(std::initializer_list<std::uint8_t> bytes) {
        Bytes answers;
        for (const std::uint8_t byte : bytes) {
            mouse.receive(byte);
            const Bytes answer = drain();
            answers.insert(answers.end(), answer.begin(), answer.end());
        }
        return answers;
    }
    /// The next packet in stream mode.
    Bytes packet() {
        bench.run_for(10 * kMillisecond);
        return drain();
    }

    Bench bench;
    Ps2Mouse& mouse = bench.add_device<Ps2Mouse>(bench.clock);
};

TEST_F(Ps2MouseTest, ResetIsAnsweredByTheSelfTestAndTheIdentification) {
    send({0xF4, 0xE7, 0xF3, 200, 0xF3, 100, 0xF3, 80});
    EXPECT_EQ(send({0xF2}), (Bytes{0xFA, 3}));
    EXPECT_EQ(send({0xFF}), Bytes{0xFA});
    bench.run_for(20 * kMillisecond);
    EXPECT_EQ(drain(), (Bytes{0xAA, 0x00}));
    EXPECT_EQ(send({0xF2}), (Bytes{0xFA, 0}));
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x00, 2, 100}));
}

TEST_F(Ps2MouseTest, SaysNothingUntilReportingIsOn) {
    mouse.move(5, 5);
    mouse.set_buttons(Ps2Mouse::kLeft);
    EXPECT_EQ(packet(), Bytes{});
    EXPECT_EQ(send({0xF4}), Bytes{0xFA});
    EXPECT_EQ(packet(), Bytes{}) << "what happened before is over";
    mouse.move(3, -4);
    EXPECT_EQ(packet(), (Bytes{0x09, 3, 4}));
    EXPECT_EQ(send({0xF5}), Bytes{0xFA});
    mouse.move(1, 1);
    EXPECT_EQ(packet(), Bytes{});
}

TEST_F(Ps2MouseTest, MovementHasNineBitSigns) {
    send({0xF4});
    mouse.move(-1, 0);
    EXPECT_EQ(packet(), (Bytes{0x18, 0xFF, 0}));
    mouse.move(0, 2);
    EXPECT_EQ(packet(), (Bytes{0x28, 0, 0xFE}));
    mouse.move(200, -200);
    EXPECT_EQ(packet(), (Bytes{0x08, 200, 200}));
    mouse.move(-200, 200);
    EXPECT_EQ(packet(), (Bytes{0x38, 56, 56}));
}

TEST_F(Ps2MouseTest, WhatDoesNotFitIntoAPacketFollows) {
    send({0xF4});
    mouse.move(600, 0);
    EXPECT_EQ(packet(), (Bytes{0x08, 255, 0}));
    EXPECT_EQ(packet(), (Bytes{0x08, 255, 0}));
    EXPECT_EQ(packet(), (Bytes{0x08, 90, 0}));
    EXPECT_EQ(packet(), Bytes{});
}

TEST_F(Ps2MouseTest, ButtonsAndAClickShorterThanASample) {
    send({0xF4});
    mouse.set_buttons(Ps2Mouse::kRight | Ps2Mouse::kMiddle);
    EXPECT_EQ(packet(), (Bytes{0x0E, 0, 0}));
    mouse.set_buttons(0);
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0}));
    mouse.set_buttons(Ps2Mouse::kLeft);
    mouse.move(7, 0);
    mouse.set_buttons(0);
    EXPECT_EQ(packet(), (Bytes{0x09, 7, 0}));
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0}));
    EXPECT_EQ(packet(), Bytes{});
}

TEST_F(Ps2MouseTest, EndlessClicksEndWithTheTrueButtons) {
    send({0xF4});
    for (int i = 0; i < 1000; ++i) {
        mouse.set_buttons(i % 2 == 0 ? Ps2Mouse::kLeft : 0);
    }
    mouse.set_buttons(Ps2Mouse::kMiddle);
    Bytes last;
    for (Bytes next = packet(); !next.empty(); next = packet()) {
        last = next;
    }
    EXPECT_EQ(last, (Bytes{0x0C, 0, 0}));
}

TEST_F(Ps2MouseTest, PacketsComeNoFasterThanTheSampleRate) {
    send({0xF3, 10, 0xF4});
    unsigned packets = 0;
    for (int i = 0; i < 995; ++i) {
        mouse.move(1, 0);
        bench.run_for(kMillisecond);
        packets += drain().empty() ? 0 : 1;
    }
    EXPECT_EQ(packets, 10u);
    send({0xF6, 0xF3, 200, 0xF4});
    packets = 0;
    for (int i = 0; i < 995; ++i) {
        mouse.move(1, 0);
        bench.run_for(kMillisecond);
        packets += drain().empty() ? 0 : 1;
    }
    EXPECT_EQ(packets, 200u);
}

TEST_F(Ps2MouseTest, MovementAddsUpWhileAPacketIsNotTaken) {
    send({0xF4});
    mouse.move(1, 0);
    bench.run_for(kSecond);
    mouse.move(10, 0);
    mouse.move(20, 0);
    bench.run_for(kSecond);
    EXPECT_EQ(drain(), (Bytes{0x08, 1, 0}));
    EXPECT_EQ(packet(), (Bytes{0x08, 30, 0}));
}

TEST_F(Ps2MouseTest, ThreeRatesMakeItAnIntelliMouse) {
    EXPECT_EQ(send({0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF2}), (Bytes{0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 0xFA, 3}));
    send({0xF3, 100, 0xF4});
    mouse.move(1, 0, 1);
    EXPECT_EQ(packet(), (Bytes{0x08, 1, 0, 1}));
    mouse.move(0, 0, -20);
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0, 0xF8}));
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0, 0xF8}));
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0, 0xFC}));
    mouse.set_buttons(Ps2Mouse::kSide);
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0, 0})) << "no fourth button in this protocol";
}

TEST_F(Ps2MouseTest, OtherRatesDoNot) {
    send({0xF3, 200, 0xF3, 100, 0xF3, 100, 0xF3, 80});
    EXPECT_EQ(send({0xF2}), (Bytes{0xFA, 0}));
    send({0xF4});
    mouse.move(0, 0, 1);
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0})) << "the wheel turned, and only that something did can be told";
}

TEST_F(Ps2MouseTest, ExplorerHasFiveButtons) {
    send({0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF3, 200, 0xF3, 200, 0xF3, 80});
    EXPECT_EQ(send({0xF2}), (Bytes{0xFA, 4}));
    send({0xF4});
    mouse.set_buttons(Ps2Mouse::kSide);
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0, 0x10}));
    mouse.set_buttons(Ps2Mouse::kExtra | Ps2Mouse::kLeft);
    mouse.move(0, 0, -1);
    EXPECT_EQ(packet(), (Bytes{0x09, 0, 0, 0x2F}));
}

TEST_F(Ps2MouseTest, RemoteModeTellsWhenAsked) {
    EXPECT_EQ(send({0xF0}), Bytes{0xFA});
    mouse.move(5, 6);
    mouse.set_buttons(Ps2Mouse::kLeft);
    EXPECT_EQ(packet(), Bytes{});
    EXPECT_EQ(send({0xEB}), (Bytes{0xFA, 0x28, 5, 0xFA}));
    EXPECT_EQ(send({0xEB}), (Bytes{0xFA, 0x09, 0, 0}));
    EXPECT_EQ(send({0xEB}), (Bytes{0xFA, 0x09, 0, 0})) << "also when nothing changed";
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x44, 2, 100}));
    EXPECT_EQ(send({0xEA, 0xF4}), (Bytes{0xFA, 0xFA}));
    mouse.move(1, 0);
    EXPECT_EQ(packet(), (Bytes{0x09, 1, 0}));
}

TEST_F(Ps2MouseTest, WrapModeEchoesEverythingButItsEnds) {
    send({0xF4});
    EXPECT_EQ(send({0xEE}), Bytes{0xFA});
    EXPECT_EQ(send({0x00, 0xF3, 0xF4, 0xEE, 0xFE}), (Bytes{0x00, 0xF3, 0xF4, 0xEE, 0xFE}));
    mouse.move(1, 1);
    EXPECT_EQ(packet(), Bytes{});
    EXPECT_EQ(send({0xEC}), Bytes{0xFA});
    mouse.move(1, 0);
    EXPECT_EQ(packet(), (Bytes{0x08, 1, 0}));
    send({0xEE});
    EXPECT_EQ(send({0xFF}), Bytes{0xFA});
    EXPECT_EQ(packet(), (Bytes{0xAA, 0x00}));
}

TEST_F(Ps2MouseTest, ScalingIsForStreamModeOnly) {
    send({0xE7, 0xF4});
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x30, 2, 100}));
    const std::pair<int, std::uint8_t> expected[] = {{1, 1}, {2, 1}, {3, 3}, {4, 6}, {5, 9}, {6, 12}, {100, 200}};
    for (const auto& [counts, told] : expected) {
        mouse.move(counts, 0);
        EXPECT_EQ(packet(), (Bytes{0x08, told, 0})) << counts;
    }
    mouse.move(-5, 0);
    EXPECT_EQ(packet(), (Bytes{0x18, 0xF7, 0}));
    send({0xF0});
    mouse.move(5, 0);
    EXPECT_EQ(send({0xEB}), (Bytes{0xFA, 0x08, 5, 0}));
    send({0xE6});
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x60, 2, 100}));
}

TEST_F(Ps2MouseTest, StatusShowsButtonsResolutionAndRate) {
    EXPECT_EQ(send({0xE8, 3, 0xF3, 40}), (Bytes{0xFA, 0xFA, 0xFA, 0xFA}));
    mouse.set_buttons(Ps2Mouse::kLeft | Ps2Mouse::kMiddle);
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x06, 3, 40}));
    mouse.set_buttons(Ps2Mouse::kRight);
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x01, 3, 40}));
    EXPECT_EQ(send({0xF6, 0xE9}), (Bytes{0xFA, 0xFA, 0x01, 2, 100}));
}

TEST_F(Ps2MouseTest, NonsenseIsRefusedAndTwiceInARowIsAnError) {
    EXPECT_EQ(send({0x12}), Bytes{0xFE});
    EXPECT_EQ(send({0x13}), Bytes{0xFC});
    EXPECT_EQ(send({0x12}), Bytes{0xFE});
    EXPECT_EQ(send({0xF2}), (Bytes{0xFA, 0}));
    EXPECT_EQ(send({0x12}), Bytes{0xFE});
    EXPECT_EQ(send({0xF3, 55}), (Bytes{0xFA, 0xFE}));
    EXPECT_EQ(send({60}), Bytes{0xFA}) << "the right parameter may still follow";
    EXPECT_EQ(send({0xE8, 4}), (Bytes{0xFA, 0xFE}));
    EXPECT_EQ(send({0xE9}), (Bytes{0xFA, 0x00, 2, 60}));
}

TEST_F(Ps2MouseTest, ResendRepeatsTheWholeAnswer) {
    send({0xE9});
    EXPECT_EQ(send({0xFE}), (Bytes{0xFA, 0x00, 2, 100}));
    send({0xF4});
    mouse.move(1, 2);
    bench.run_for(kMillisecond);
    EXPECT_EQ(mouse.take_byte(), 0x28);
    EXPECT_EQ(send({0xFE}), (Bytes{0x28, 1, 0xFE}));
}

TEST_F(Ps2MouseTest, WakingTheDriverSendsAPacketOfNothing) {
    mouse.wake_driver();
    send({0xF4});
    EXPECT_EQ(packet(), Bytes{});
    mouse.wake_driver();
    EXPECT_EQ(packet(), (Bytes{0x08, 0, 0}));
    EXPECT_EQ(packet(), Bytes{});
}

TEST_F(Ps2MouseTest, SavedInAPacketItGoesOnInIt) {
    send({0xF3, 200, 0xF3, 100, 0xF3, 80, 0xF4});
    mouse.set_buttons(Ps2Mouse::kLeft);
    mouse.move(300, 0, 2);
    mouse.set_buttons(0);
    bench.run_for(kMillisecond);
    EXPECT_EQ(mouse.take_byte(), 0x09);
    Bench second;
    auto& restored = second.add_device<Ps2Mouse>(second.clock);
    second.load(bench.save());
    const auto everything = [](Bench& where, Ps2Mouse& from) {
        Bytes bytes;
        for (int i = 0; i < 20; ++i) {
            while (from.has_byte()) {
                bytes.push_back(from.take_byte());
            }
            where.run_for(20 * kMillisecond);
        }
        return bytes;
    };
    const Bytes rest = everything(bench, mouse);
    EXPECT_EQ(rest, (Bytes{255, 0, 2, 0x09, 45, 0, 0, 0x08, 0, 0, 0}));
    EXPECT_EQ(everything(second, restored), rest);
}

/// Behind the controller, as a PC's driver sees it.
TEST(Ps2MouseBehind8042, PacketsArriveByInterrupt12) {
    Bench bench;
    Probe irq1;
    Probe irq12;
    auto& mouse = bench.add<Ps2Mouse>(bench.clock);
    auto& controller = bench.add<I8042>(bench.ports, bench.clock, irq1.line(), irq12.line(), Line(), Line());
    controller.connect_aux(mouse);
    bench.out(0x64, 0x60);
    bench.out(0x60, 0x03);
    bench.out(0x64, 0xD4);
    bench.out(0x60, 0xF4);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x64) & 0x21, 0x21u);
    EXPECT_EQ(bench.in(0x60), 0xFAu);
    mouse.move(2, 3);
    Bytes bytes;
    for (int i = 0; i < 3; ++i) {
        bench.run_for(10 * kMillisecond);
        EXPECT_TRUE(irq12.level);
        bytes.push_back(static_cast<std::uint8_t>(bench.in(0x60)));
        EXPECT_FALSE(irq12.level);
    }
    EXPECT_EQ(bytes, (Bytes{0x28, 2, 0xFD}));
    EXPECT_FALSE(irq1.level);
}

}  // namespace
}  // namespace vpc::devices::test
