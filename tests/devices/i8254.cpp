#include "devices/i8254.h"

#include <gtest/gtest.h>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class I8254Test : public testing::Test {
  protected:
    /// Moves to the start of the n-th tick from power-on.
    void to_tick(std::int64_t tick) {
        const Nanoseconds time = (tick * kSecond + I8254::kFrequency - 1) / I8254::kFrequency;
        bench.run_for(time - bench.clock.now());
    }
    void write_word(std::uint16_t port, unsigned value) {
        bench.out(port, value & 0xFF);
        bench.out(port, value >> 8);
    }
    std::uint32_t read_word(std::uint16_t port) {
        const std::uint32_t low = bench.in(port);
        return low | bench.in(port) << 8;
    }
    std::uint32_t latched(unsigned counter) {
        bench.out(0x43, counter << 6);
        return read_word(static_cast<std::uint16_t>(0x40 + counter));
    }
    std::uint32_t status(unsigned counter) {
        bench.out(0x43, 0xE0 | 2u << counter);
        return bench.in(static_cast<std::uint16_t>(0x40 + counter));
    }

    Bench bench;
    Probe out0;
    I8254& pit = bench.add_device<I8254>(bench.ports, bench.clock, out0.line());
};

TEST_F(I8254Test, Mode0RaisesOutOneTickAfterTheCountRanOut) {
    bench.out(0x43, 0x30);
    EXPECT_FALSE(pit.output(0));
    write_word(0x40, 100);
    to_tick(100);
    EXPECT_FALSE(pit.output(0));
    EXPECT_EQ(out0.rises, 0u);
    to_tick(101);
    EXPECT_TRUE(pit.output(0));
    EXPECT_EQ(out0.rises, 1u);
    bench.run_for(kSecond);
    EXPECT_EQ(out0.rises, 1u);
}

TEST_F(I8254Test, Mode0CountsOnThroughZero) {
    bench.out(0x43, 0x30);
    write_word(0x40, 100);
    to_tick(111);
    EXPECT_EQ(latched(0), 0xFFF6u);
}

TEST_F(I8254Test, Mode0FirstHalfOfACountStopsIt) {
    bench.out(0x43, 0x30);
    write_word(0x40, 100);
    to_tick(50);
    bench.out(0x40, 5);
    bench.run_for(kSecond);
    EXPECT_EQ(out0.rises, 0u);
    bench.out(0x40, 0);
    bench.run_for(kSecond);
    EXPECT_EQ(out0.rises, 1u);
}

TEST_F(I8254Test, Mode0GateHoldsTheCount) {
    bench.out(0x43, 0xB0);
    write_word(0x42, 100);  // gate 2 is low
    to_tick(1000);
    EXPECT_EQ(latched(2), 100u);
    pit.set_gate(2, true);
    to_tick(1040);
    EXPECT_EQ(latched(2), 60u);
    pit.set_gate(2, false);
    to_tick(2000);
    EXPECT_EQ(latched(2), 60u);
    pit.set_gate(2, true);
    to_tick(2059);
    EXPECT_FALSE(pit.output(2));
    to_tick(2060);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, Mode1StartsAtEachRiseOfTheGate) {
    bench.out(0x43, 0xB2);
    write_word(0x42, 10);
    EXPECT_TRUE(pit.output(2));
    pit.set_gate(2, true);
    to_tick(1);
    EXPECT_FALSE(pit.output(2));
    to_tick(5);
    pit.set_gate(2, false);
    pit.set_gate(2, true);  // retriggered
    to_tick(15);
    EXPECT_FALSE(pit.output(2));
    to_tick(16);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, Mode2IsLowForTheLastTickOfEachPeriod) {
    bench.out(0x43, 0x34);
    write_word(0x40, 10);
    to_tick(9);
    EXPECT_TRUE(pit.output(0));
    to_tick(10);
    EXPECT_FALSE(pit.output(0));
    EXPECT_EQ(latched(0), 1u);
    to_tick(11);
    EXPECT_TRUE(pit.output(0));
    EXPECT_EQ(latched(0), 10u);
}

TEST_F(I8254Test, Mode2NewCountWaitsForTheEndOfThePeriod) {
    bench.out(0x43, 0x34);
    write_word(0x40, 100);
    to_tick(51);
    write_word(0x40, 1000);
    EXPECT_EQ(latched(0), 50u);
    to_tick(101);
    EXPECT_EQ(latched(0), 1000u);
    EXPECT_EQ(pit.period(0), 1000);
}

TEST_F(I8254Test, Mode3CountsDownByTwosInTwoHalves) {
    bench.out(0x43, 0x36);
    write_word(0x40, 10);
    to_tick(1);
    EXPECT_TRUE(pit.output(0));
    EXPECT_EQ(latched(0), 10u);
    to_tick(5);
    EXPECT_TRUE(pit.output(0));
    EXPECT_EQ(latched(0), 2u);
    to_tick(6);
    EXPECT_FALSE(pit.output(0));
    EXPECT_EQ(latched(0), 10u);
    to_tick(11);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Mode3OddCountIsHighOneTickLonger) {
    bench.out(0x43, 0x36);
    write_word(0x40, 5);
    to_tick(3);
    EXPECT_TRUE(pit.output(0));
    to_tick(4);
    EXPECT_FALSE(pit.output(0));
    to_tick(5);
    EXPECT_FALSE(pit.output(0));
    to_tick(6);
    EXPECT_TRUE(pit.output(0));
}

TEST_F(I8254Test, Mode3NewCountTakesEffectAfterTheHalfCycle) {
    bench.out(0x43, 0xB6);
    pit.set_gate(2, true);
    write_word(0x42, 100);
    to_tick(11);
    write_word(0x42, 20);
    to_tick(50);
    EXPECT_TRUE(pit.output(2));
    to_tick(51);
    EXPECT_FALSE(pit.output(2));
    to_tick(60);
    EXPECT_FALSE(pit.output(2));
    to_tick(61);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, LowGateStopsThePeriodicModesWithOutHigh) {
    bench.out(0x43, 0xB6);
    pit.set_gate(2, true);
    write_word(0x42, 10);
    to_tick(8);
    EXPECT_FALSE(pit.output(2));
    pit.set_gate(2, false);
    EXPECT_TRUE(pit.output(2));
    to_tick(100);
    EXPECT_TRUE(pit.output(2));
    pit.set_gate(2, true);
    to_tick(101);
    EXPECT_EQ(latched(2), 10u);
}

TEST_F(I8254Test, Mode4StrobesOnceAfterTheCount) {
    bench.out(0x43, 0x38);
    EXPECT_TRUE(pit.output(0));
    const unsigned before = out0.rises;
    write_word(0x40, 10);
    to_tick(10);
    EXPECT_TRUE(pit.output(0));
    to_tick(11);
    EXPECT_FALSE(pit.output(0));
    to_tick(12);
    EXPECT_TRUE(pit.output(0));
    bench.run_for(kSecond);
    EXPECT_EQ(out0.rises, before + 1);
}

TEST_F(I8254Test, Mode5StrobesAfterTheTrigger) {
    bench.out(0x43, 0xBA);
    write_word(0x42, 10);
    to_tick(50);
    EXPECT_TRUE(pit.output(2));
    pit.set_gate(2, true);
    to_tick(61);
    EXPECT_FALSE(pit.output(2));
    to_tick(62);
    EXPECT_TRUE(pit.output(2));
}

TEST_F(I8254Test, BcdCountsInDecimal) {
    bench.out(0x43, 0x35);
    write_word(0x40, 0x1000);
    to_tick(2);
    EXPECT_EQ(latched(0), 0x0999u);
    EXPECT_EQ(pit.period(0), 1000);
}

TEST_F(I8254Test, CountOfZeroIsTheLongest) {
    bench.out(0x43, 0x34);
    write_word(0x40, 0);
    EXPECT_EQ(pit.period(0), 65536);
    bench.out(0x43, 0x35);
    write_word(0x40, 0);
    EXPECT_EQ(pit.period(0), 10000);
}

TEST_F(I8254Test, SingleByteAccessWritesOneHalfAndClearsTheOther) {
    bench.out(0x43, 0x14);
    bench.out(0x40, 0x12);
    EXPECT_EQ(pit.period(0), 0x12);
    bench.out(0x43, 0x24);
    bench.out(0x40, 0x12);
    EXPECT_EQ(pit.period(0), 0x1200);
}

TEST_F(I8254Test, LatchedCountStandsStillUntilItIsRead) {
    bench.out(0x43, 0x34);
    write_word(0x40, 1000);
    to_tick(101);
    bench.out(0x43, 0x00);
    to_tick(201);
    bench.out(0x43, 0x00);  // ignored: the first is not read yet
    EXPECT_EQ(read_word(0x40), 900u);
    EXPECT_EQ(read_word(0x40), 800u);
}

TEST_F(I8254Test, LatchCommandDoesNotTouchTheInterrupts) {
    bench.out(0x43, 0x34);
    write_word(0x40, 1000);
    const unsigned before = out0.rises;
    for (int tick = 1; tick <= 10'001; tick += 10) {
        to_tick(tick);
        latched(0);
    }
    EXPECT_EQ(out0.rises - before, 10u);
}

TEST_F(I8254Test, ReadBackLatchesStatusBeforeCount) {
    bench.out(0x43, 0x34);
    EXPECT_EQ(status(0), 0xF4u);  // OUT high, null count, word access, mode 2
    write_word(0x40, 1000);
    to_tick(11);
    bench.out(0x43, 0xC2);  // both
    EXPECT_EQ(bench.in(0x40), 0xB4u);
    EXPECT_EQ(read_word(0x40), 990u);
}

TEST_F(I8254Test, ReadBackReachesSeveralCountersAtOnce) {
    bench.out(0x43, 0x34);
    bench.out(0x43, 0xB6);
    bench.out(0x43, 0xE0 | 0x0A);
    EXPECT_EQ(bench.in(0x40) & 0x3Fu, 0x34u);
    EXPECT_EQ(bench.in(0x42) & 0x3Fu, 0x36u);
}

TEST_F(I8254Test, NullCountLastsUntilANewCountIsLoaded) {
    bench.out(0x43, 0x34);
    write_word(0x40, 100);
    to_tick(1);
    EXPECT_EQ(status(0) & 0x40, 0u);
    write_word(0x40, 50);
    EXPECT_EQ(status(0) & 0x40, 0x40u);
    to_tick(101);
    EXPECT_EQ(status(0) & 0x40, 0u);
}

TEST_F(I8254Test, InterruptRateIsExactOverAnHour) {
    bench.out(0x43, 0x36);
    write_word(0x40, 11932);
    const unsigned before = out0.rises;
    bench.run_for(3600 * kSecond);
    EXPECT_EQ(out0.rises - before, std::uint64_t{3600} * 1'193'182 / 11932);
}

TEST_F(I8254Test, LateHostDeliversMissedTicksOneAfterAnother) {
    bench.out(0x43, 0x34);
    write_word(0x40, 11932);  // 10 ms
    unsigned before = out0.rises;
    bench.advance(100 * kMillisecond);
    EXPECT_EQ(out0.rises - before, 1u) << "the guest must be able to take each one";
    bench.run_for(100 * kMillisecond);
    EXPECT_GE(out0.rises - before, 19u);
    EXPECT_LE(out0.rises - before, 20u);
}

TEST_F(I8254Test, BacklogIsBoundedToASecond) {
    bench.out(0x43, 0x34);
    write_word(0x40, 11932);
    const unsigned before = out0.rises;
    bench.advance(3600 * kSecond);
    bench.run_for(2 * kSecond);
    EXPECT_LE(out0.rises - before, 303u);
    EXPECT_GE(out0.rises - before, 298u);
}

TEST_F(I8254Test, ShortestPeriodDoesNotFloodTheHost) {
    bench.out(0x43, 0x14);
    bench.out(0x40, 2);
    const unsigned before = out0.rises;
    bench.run_for(10 * kMillisecond);
    EXPECT_LE(out0.rises - before, 501u);
}

TEST_F(I8254Test, LoadedTimerKeepsItsPhase) {
    bench.out(0x43, 0x34);
    write_word(0x40, 11932);
    bench.run_for(995 * kMillisecond);
    Bench second;
    Probe second_out;
    second.add_device<I8254>(second.ports, second.clock, second_out.line());
    second.load(bench.save());
    EXPECT_TRUE(second_out.level);
    const unsigned before = second_out.rises;
    second.run_for(6 * kMillisecond);
    EXPECT_EQ(second_out.rises - before, 1u);
}

TEST_F(I8254Test, ControlPortReadsAsOpenBus) {
    EXPECT_EQ(bench.in(0x43), 0xFFu);
}

}  // namespace
}  // namespace vpc::devices::test
