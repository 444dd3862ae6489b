#include "devices/system_ports.h"

#include <gtest/gtest.h>

#include "devices/i8254.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class SystemControlPortsTest : public testing::Test {
  protected:
    Bench bench;
    Probe a20;
    unsigned resets = 0;
    I8254& timer = bench.add_device<I8254>(bench.ports, bench.clock, Line());
    SystemControlPorts& system =
        bench.add_device<SystemControlPorts>(bench.ports, bench.clock, timer, a20.line(), [this] { ++resets; });
};

TEST_F(SystemControlPortsTest, GateBitStartsTimer2AndBit5ShowsItsOutput) {
    bench.out(0x43, 0xB0);
    bench.out(0x42, 100);
    bench.out(0x42, 0);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x61) & 0x20, 0u);
    bench.out(0x61, 0x01);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x61) & 0x21, 0x21u);
}

TEST_F(SystemControlPortsTest, RefreshBitTogglesEvery15Microseconds) {
    unsigned changes = 0;
    std::uint32_t last = bench.in(0x61) & 0x10;
    for (int i = 0; i < 15'085; ++i) {
        bench.run_for(kMicrosecond);
        const std::uint32_t now = bench.in(0x61) & 0x10;
        changes += now != last ? 1 : 0;
        last = now;
    }
    EXPECT_EQ(changes, 1000u);
}

TEST_F(SystemControlPortsTest, OnlyTheLowFourBitsAreWritable) {
    bench.out(0x61, 0xFF);
    EXPECT_EQ(bench.in(0x61) & 0xCF, 0x0Fu);
    EXPECT_TRUE(system.speaker_data());
    bench.out(0x61, 0x01);
    EXPECT_FALSE(system.speaker_data());
}

TEST_F(SystemControlPortsTest, Port92DrivesA20) {
    bench.out(0x92, 0x02);
    EXPECT_TRUE(a20.level);
    EXPECT_EQ(bench.in(0x92), 0x02u);
    bench.out(0x92, 0x00);
    EXPECT_FALSE(a20.level);
    EXPECT_EQ(resets, 0u);
}

TEST_F(SystemControlPortsTest, FastResetActsOnTheRiseOfBit0) {
    bench.out(0x92, 0x01);
    bench.out(0x92, 0x01);
    EXPECT_EQ(resets, 1u);
    bench.out(0x92, 0x00);
    bench.out(0x92, 0x01);
    EXPECT_EQ(resets, 2u);
}

}  // namespace
}  // namespace vpc::devices::test
