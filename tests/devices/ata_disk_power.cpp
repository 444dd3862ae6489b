// Power modes of the AtaDisk, and what it does while no command runs.
#include <gtest/gtest.h>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

constexpr unsigned kActive = 0xFF;
constexpr unsigned kIdle = 0x80;
constexpr unsigned kStandby = 0x00;

class AtaDiskPowerTest : public testing::Test {
  protected:
    IdeBench bench;
    std::shared_ptr<DiskImage> image = bench.add_disk(0, 0);

    void command(std::uint8_t code, unsigned count = 0) {
        bench.out(0x1F6, 0xE0);
        bench.out(0x1F2, count);
        bench.out(0x1F7, code);
        bench.in(0x1F7);
    }
    /// CHECK POWER MODE is a command, too: it restarts the timer.
    unsigned mode() {
        command(0xE5);
        return bench.in(0x1F2);
    }
    void write_sector() {
        for (std::uint16_t reg = 0x1F3; reg <= 0x1F5; ++reg) {
            bench.out(reg, 0);
        }
        command(0x30, 1);
        for (unsigned i = 0; i < disk::kSectorSize / 2; ++i) {
            bench.out(0x1F0, 0x1234, 2);
        }
        ASSERT_EQ(bench.in(0x1F7), 0x50u);
    }
};

TEST_F(AtaDiskPowerTest, TheStandbyTimerIsOffAtPowerOn) {
    command(0xE1);
    bench.run_for(100 * 3600 * kSecond);
    EXPECT_EQ(mode(), kIdle);
}

TEST_F(AtaDiskPowerTest, TheStandbyTimerRunsAsLongAsItWasTold) {
    struct Case {
        unsigned code;
        Nanoseconds period;
    };
    for (const auto& [code, period] :
         {Case{1, 5 * kSecond}, Case{240, 20 * 60 * kSecond}, Case{241, 1800 * kSecond}, Case{251, 11 * 1800 * kSecond},
          Case{252, 21 * 60 * kSecond}, Case{255, 1275 * kSecond}}) {
        SCOPED_TRACE(code);
        command(0xE3, code);  // IDLE
        bench.run_for(period - kSecond);
        EXPECT_EQ(mode(), kIdle);
        bench.run_for(period - kSecond);
        EXPECT_EQ(mode(), kIdle) << "a command restarts it";
        bench.run_for(period);
        EXPECT_EQ(mode(), kStandby);
    }
}

TEST_F(AtaDiskPowerTest, TheVendorsPeriodIsBetweenEightAndTwelveHours) {
    command(0xE3, 253);
    bench.run_for((8 * 3600 - 1) * kSecond);
    EXPECT_EQ(mode(), kIdle);
    bench.run_for(12 * 3600 * kSecond);
    EXPECT_EQ(mode(), kStandby);
}

TEST_F(AtaDiskPowerTest, StandbySetsTheTimerForTheNextTime) {
    command(0xE2, 1);
    EXPECT_EQ(mode(), kStandby);
    write_sector();
    EXPECT_EQ(mode(), kActive);
    bench.run_for(5 * kSecond);
    EXPECT_EQ(mode(), kStandby);
    command(0xE3, 0);
    bench.run_for(3600 * kSecond);
    EXPECT_EQ(mode(), kIdle);
}

TEST_F(AtaDiskPowerTest, ImmediateCommandsLeaveTheTimerAlone) {
    command(0xE3, 1);
    command(0xE1, 99);  // IDLE IMMEDIATE
    bench.run_for(5 * kSecond);
    EXPECT_EQ(mode(), kStandby);
}

TEST_F(AtaDiskPowerTest, TheTimerGoesOnInALoadedState) {
    command(0xE3, 2);
    bench.run_for(6 * kSecond);
    const auto state = bench.save();
    bench.ide.reset();
    bench.load(state);
    EXPECT_EQ(bench.save(), state);
    bench.run_for(4 * kSecond);
    EXPECT_EQ(mode(), kStandby);
}

TEST_F(AtaDiskPowerTest, AResetSwitchesTheTimerOff) {
    command(0xE3, 1);
    bench.ide.reset();
    bench.enable();
    bench.run_for(60 * kSecond);
    EXPECT_EQ(mode(), kActive);
}

TEST_F(AtaDiskPowerTest, WhatWasWrittenIsFlushedOnceTheDiskIsIdle) {
    write_sector();
    bench.run_for(900 * kMillisecond);
    EXPECT_EQ(image->flushes, 0u);
    write_sector();
    bench.run_for(900 * kMillisecond);
    EXPECT_EQ(image->flushes, 0u) << "it was not idle for a second";
    bench.run_for(200 * kMillisecond);
    EXPECT_EQ(image->flushes, 1u);
    EXPECT_EQ(bench.in(0x1F7), 0x50u);
    bench.run_for(60 * kSecond);
    EXPECT_EQ(image->flushes, 1u) << "nothing was written since";
}

TEST_F(AtaDiskPowerTest, WhatTheGuestHasFlushedIsNotFlushedAgain) {
    write_sector();
    command(0xE7);
    EXPECT_EQ(image->flushes, 1u);
    bench.run_for(60 * kSecond);
    EXPECT_EQ(image->flushes, 1u);
}

TEST_F(AtaDiskPowerTest, AFlushInTheBackgroundDoesNotDisturbTheNextCommand) {
    write_sector();
    bench.io.deferring = true;
    bench.run_for(2 * kSecond);
    EXPECT_EQ(bench.io.pending(), 1u);
    command(0x40, 1);  // READ VERIFY, queued behind it
    EXPECT_EQ(bench.in(0x1F7), 0x80u);
    bench.io.run_one();
    EXPECT_EQ(image->flushes, 1u);
    EXPECT_EQ(bench.in(0x1F7), 0x80u);
    bench.io.run();
    EXPECT_EQ(bench.in(0x1F7), 0x50u);
}

}  // namespace
}  // namespace vpc::devices::test
