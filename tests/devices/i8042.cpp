#include "devices/i8042.h"

#include <gtest/gtest.h>

#include <deque>
#include <vector>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class FakeDevice : public Ps2Device {
  public:
    void receive(std::uint8_t byte) override { received.push_back(byte); }
    bool has_byte() const override { return !bytes.empty(); }
    std::uint8_t take_byte() override {
        const std::uint8_t byte = bytes.front();
        bytes.pop_front();
        return byte;
    }
    void say(std::initializer_list<std::uint8_t> what) {
        bytes.insert(bytes.end(), what);
        announce();
    }
    std::vector<std::uint8_t> received;
    std::deque<std::uint8_t> bytes;
};

class I8042Test : public testing::Test {
  protected:
    void SetUp() override {
        controller.connect_keyboard(keyboard);
        write_command_byte(0x03);
    }
    void write_command_byte(std::uint8_t value) {
        bench.out(0x64, 0x60);
        bench.out(0x60, value);
    }
    bool full() { return (bench.in(0x64) & 1) != 0; }
    std::uint32_t answer() {
        bench.run_for(kMillisecond);
        EXPECT_TRUE(full());
        return bench.in(0x60);
    }
    std::uint32_t command(std::uint8_t value) {
        bench.out(0x64, value);
        return answer();
    }

    Bench bench;
    Probe irq1, irq12, a20, reset;
    FakeDevice keyboard;
    FakeDevice mouse;
    I8042& controller =
        bench.add_device<I8042>(bench.ports, bench.clock, irq1.line(), irq12.line(), a20.line(), reset.line());
};

TEST_F(I8042Test, SelfTestPassesAndSetsTheSystemFlag) {
    EXPECT_EQ(bench.in(0x64) & 4, 0u);
    EXPECT_EQ(command(0xAA), 0x55u);
    EXPECT_EQ(bench.in(0x64) & 4, 4u);
}

TEST_F(I8042Test, AnswerTakesAMoment) {
    bench.out(0x64, 0xAA);
    EXPECT_FALSE(full());
    bench.run_for(20 * kMicrosecond);
    EXPECT_TRUE(full());
    bench.in(0x60);
    EXPECT_FALSE(full());
}

TEST_F(I8042Test, InterfaceTestsPass) {
    EXPECT_EQ(command(0xAB), 0x00u);
    EXPECT_EQ(command(0xA9), 0x00u);
}

TEST_F(I8042Test, RamReadsBackWhatWasWritten) {
    bench.out(0x64, 0x7F);
    bench.out(0x60, 0xA5);
    EXPECT_EQ(command(0x3F), 0xA5u);
    EXPECT_EQ(command(0x20), 0x03u);
}

TEST_F(I8042Test, DisableAndEnableCommandsChangeTheCommandByte) {
    bench.out(0x64, 0xAD);
    bench.out(0x64, 0xA7);
    EXPECT_EQ(command(0x20), 0x33u);
    bench.out(0x64, 0xAE);
    bench.out(0x64, 0xA8);
    EXPECT_EQ(command(0x20), 0x03u);
}

TEST_F(I8042Test, StatusTellsCommandFromData) {
    bench.out(0x64, 0xAE);
    EXPECT_EQ(bench.in(0x64) & 8, 8u);
    bench.out(0x60, 0xF4);
    EXPECT_EQ(bench.in(0x64) & 8, 0u);
}

TEST_F(I8042Test, KeyboardBytesArriveOneByOneWithInterrupts) {
    keyboard.say({0x1C, 0x32});
    bench.run_for(100 * kMicrosecond);
    EXPECT_TRUE(irq1.level);
    EXPECT_EQ(bench.in(0x60), 0x1Cu);
    EXPECT_FALSE(irq1.level);
    bench.run_for(100 * kMicrosecond);
    EXPECT_EQ(bench.in(0x60), 0x32u);
    EXPECT_EQ(irq1.rises, 2u);
}

TEST_F(I8042Test, InterruptCanBeDisabled) {
    write_command_byte(0x00);
    keyboard.say({0x1C});
    bench.run_for(kMillisecond);
    EXPECT_TRUE(full());
    EXPECT_FALSE(irq1.level);
    write_command_byte(0x01);
    EXPECT_TRUE(irq1.level);
}

TEST_F(I8042Test, DisabledKeyboardWaits) {
    bench.out(0x64, 0xAD);
    keyboard.say({0x1C});
    bench.run_for(kSecond);
    EXPECT_FALSE(full());
    bench.out(0x64, 0xAE);
    EXPECT_EQ(answer(), 0x1Cu);
}

TEST_F(I8042Test, DataForTheKeyboardEnablesIt) {
    bench.out(0x64, 0xAD);
    bench.out(0x60, 0xF4);
    EXPECT_EQ(keyboard.received, std::vector<std::uint8_t>{0xF4});
    EXPECT_EQ(command(0x20), 0x03u);
}

TEST_F(I8042Test, TranslationFoldsTheBreakPrefix) {
    write_command_byte(0x43);
    keyboard.say({0x1C, 0xF0, 0x1C, 0xE0, 0xF0, 0x75, 0x83});
    EXPECT_EQ(answer(), 0x1Eu);
    EXPECT_EQ(answer(), 0x9Eu);
    EXPECT_EQ(answer(), 0xE0u);
    EXPECT_EQ(answer(), 0xC8u);
    EXPECT_EQ(answer(), 0x41u);
}

TEST_F(I8042Test, AnswersOvertakeKeys) {
    keyboard.say({0x1C, 0x32});
    bench.run_for(kMillisecond);
    bench.out(0x64, 0xAA);
    EXPECT_EQ(answer(), 0x1Cu) << "already in the buffer";
    EXPECT_EQ(answer(), 0x55u);
    EXPECT_EQ(answer(), 0x32u);
}

TEST_F(I8042Test, BuffersCanBeWrittenByTheGuest) {
    bench.out(0x64, 0xD2);
    bench.out(0x60, 0x77);
    EXPECT_EQ(answer(), 0x77u);
    bench.out(0x64, 0xD3);
    bench.out(0x60, 0x78);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x64) & 0x21, 0x21u);
    EXPECT_TRUE(irq12.level);
    EXPECT_EQ(bench.in(0x60), 0x78u);
    EXPECT_FALSE(irq12.level);
}

TEST_F(I8042Test, AuxPortWithoutDeviceTimesOut) {
    bench.out(0x64, 0xD4);
    bench.out(0x60, 0xF2);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x64) & 0x61, 0x61u);
    EXPECT_EQ(bench.in(0x60), 0xFEu);
    EXPECT_EQ(bench.in(0x64) & 0x61, 0x00u);
}

TEST_F(I8042Test, AuxDeviceTalksThroughItsOwnInterrupt) {
    controller.connect_aux(mouse);
    bench.out(0x64, 0xD4);
    bench.out(0x60, 0xF4);
    EXPECT_EQ(mouse.received, std::vector<std::uint8_t>{0xF4});
    mouse.say({0xFA});
    bench.run_for(kMillisecond);
    EXPECT_TRUE(irq12.level);
    EXPECT_FALSE(irq1.level);
    EXPECT_EQ(bench.in(0x64) & 0x21, 0x21u);
    EXPECT_EQ(bench.in(0x60), 0xFAu);
}

TEST_F(I8042Test, OutputPortDrivesA20) {
    EXPECT_TRUE(a20.level) << "high after reset";
    bench.out(0x64, 0xD1);
    bench.out(0x60, 0xDD);
    EXPECT_FALSE(a20.level);
    EXPECT_EQ(command(0xD0) & 3, 1u);
    bench.out(0x64, 0xDF);
    EXPECT_TRUE(a20.level);
    bench.out(0x64, 0xDD);
    EXPECT_FALSE(a20.level);
}

TEST_F(I8042Test, PulsingBit0ResetsTheCpu) {
    bench.out(0x64, 0xFF);
    bench.out(0x64, 0xFD);
    EXPECT_EQ(reset.rises, 0u);
    bench.out(0x64, 0xFE);
    EXPECT_EQ(reset.rises, 1u);
    EXPECT_FALSE(reset.level);
}

TEST_F(I8042Test, OutputPortBit0ResetsTheCpu) {
    bench.out(0x64, 0xD1);
    bench.out(0x60, 0x02);
    EXPECT_EQ(reset.rises, 1u);
}

TEST_F(I8042Test, ResetForgetsAByteOnItsWay) {
    bench.out(0x64, 0xAA);
    controller.reset();
    bench.run_for(kSecond);
    EXPECT_FALSE(full());
}

TEST_F(I8042Test, CommandCancelsAWaitingParameter) {
    bench.out(0x64, 0x60);
    bench.out(0x64, 0xAE);
    bench.out(0x60, 0xED);
    EXPECT_EQ(keyboard.received, std::vector<std::uint8_t>{0xED});
}

}  // namespace
}  // namespace vpc::devices::test
