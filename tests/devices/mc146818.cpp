#include "devices/mc146818.h"

#include <gtest/gtest.h>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

constexpr std::int64_t kStart = 1'204'329'595;  // Friday 2008-02-29 23:59:55

class Mc146818Test : public testing::Test {
  protected:
    std::uint32_t cell(std::uint8_t index) {
        bench.out(0x70, index);
        return bench.in(0x71);
    }
    void set(std::uint8_t index, std::uint8_t value) {
        bench.out(0x70, index);
        bench.out(0x71, value);
    }

    Bench bench;
    Probe irq8;
    Probe nmi_mask;
    Line nmi_line = nmi_mask.line();
    Mc146818& rtc = bench.add_device<Mc146818>(
        bench.ports, bench.clock, [] { return kStart; }, irq8.line(), [this](bool masked) { nmi_line.set(masked); });
};

TEST_F(Mc146818Test, ShowsTheStartingTimeInBcd) {
    EXPECT_EQ(cell(0x00), 0x55u);
    EXPECT_EQ(cell(0x02), 0x59u);
    EXPECT_EQ(cell(0x04), 0x23u);
    EXPECT_EQ(cell(0x06), 0x06u);  // Friday
    EXPECT_EQ(cell(0x07), 0x29u);
    EXPECT_EQ(cell(0x08), 0x02u);
    EXPECT_EQ(cell(0x09), 0x08u);
    EXPECT_EQ(cell(0x32), 0x20u);
}

TEST_F(Mc146818Test, LeapDayIsFollowedByMarch) {
    bench.run_for(5 * kSecond);
    EXPECT_EQ(cell(0x00), 0x00u);
    EXPECT_EQ(cell(0x04), 0x00u);
    EXPECT_EQ(cell(0x07), 0x01u);
    EXPECT_EQ(cell(0x08), 0x03u);
    EXPECT_EQ(cell(0x06), 0x07u);
}

TEST_F(Mc146818Test, ShowsBinaryAndTwelveHours) {
    set(0x0B, 0x04);
    EXPECT_EQ(cell(0x00), 55u);
    EXPECT_EQ(cell(0x04), 0x80u | 11u);
    bench.run_for(5 * kSecond);
    EXPECT_EQ(cell(0x04), 12u) << "midnight";
}

TEST_F(Mc146818Test, GuestSetsTheTimeUnderSet) {
    set(0x0B, 0x82);
    set(0x00, 0x30);
    set(0x02, 0x15);
    set(0x04, 0x12);
    set(0x07, 0x31);
    set(0x08, 0x12);
    set(0x09, 0x99);
    set(0x32, 0x19);
    bench.run_for(10 * kSecond);
    EXPECT_EQ(cell(0x00), 0x30u) << "the clock stands still under SET";
    set(0x0B, 0x02);
    bench.run_for(kSecond);
    EXPECT_EQ(cell(0x00), 0x31u);
    EXPECT_EQ(cell(0x07), 0x31u);
    EXPECT_EQ(cell(0x09), 0x99u);
    EXPECT_EQ(cell(0x32), 0x19u);
}

TEST_F(Mc146818Test, TimeCellWrittenWhileRunningTakesEffect) {
    set(0x04, 0x10);
    bench.run_for(5 * kSecond);
    EXPECT_EQ(cell(0x04), 0x11u);
    EXPECT_EQ(cell(0x07), 0x29u);
}

TEST_F(Mc146818Test, ImpossibleTimesAreClamped) {
    set(0x0B, 0x82);
    for (const int index : {0x00, 0x02, 0x04, 0x07, 0x08, 0x09, 0x32}) {
        set(static_cast<std::uint8_t>(index), 0xFF);
    }
    set(0x0B, 0x02);
    EXPECT_EQ(cell(0x00), 0x59u);
    EXPECT_EQ(cell(0x08), 0x12u);
    EXPECT_EQ(cell(0x07), 0x31u);
}

TEST_F(Mc146818Test, UpdateInProgressLeadsTheUpdateBy244Microseconds) {
    bench.run_for(kSecond - 245 * kMicrosecond);
    EXPECT_EQ(cell(0x0A), 0x26u);
    bench.run_for(2 * kMicrosecond);
    EXPECT_EQ(cell(0x0A), 0xA6u);
    bench.run_for(243 * kMicrosecond);
    EXPECT_EQ(cell(0x0A), 0x26u);
    EXPECT_EQ(cell(0x00), 0x56u);
}

TEST_F(Mc146818Test, ReleasedDividerUpdatesHalfASecondLater) {
    bench.run_for(300 * kMillisecond);
    set(0x0A, 0x76);
    bench.run_for(10 * kSecond);
    EXPECT_EQ(cell(0x00), 0x55u);
    set(0x0A, 0x26);
    bench.run_for(499 * kMillisecond);
    EXPECT_EQ(cell(0x00), 0x55u);
    bench.run_for(2 * kMillisecond);
    EXPECT_EQ(cell(0x00), 0x56u);
}

TEST_F(Mc146818Test, IdleClockHasNoEvents) {
    EXPECT_FALSE(bench.clock.next_deadline().has_value());
    set(0x0B, 0x12);
    EXPECT_TRUE(bench.clock.next_deadline().has_value());
    bench.run_for(2 * kSecond);
    EXPECT_FALSE(bench.clock.next_deadline().has_value()) << "raised, and not yet acknowledged";
}

TEST_F(Mc146818Test, UpdateEndedInterruptsEachSecond) {
    set(0x0B, 0x12);
    bench.run_for(kSecond);
    EXPECT_TRUE(irq8.level);
    EXPECT_EQ(cell(0x0C) & 0x90, 0x90u);
    EXPECT_FALSE(irq8.level);
    EXPECT_EQ(cell(0x0C), 0x00u);
    bench.run_for(kSecond);
    EXPECT_TRUE(irq8.level);
}

TEST_F(Mc146818Test, FlagsAreSetWithoutInterruptsEnabled) {
    bench.run_for(kSecond);
    EXPECT_EQ(cell(0x0C), 0x50u);  // PF at the default rate, UF
    EXPECT_EQ(irq8.rises, 0u);
}

TEST_F(Mc146818Test, PeriodicInterruptHasItsRate) {
    set(0x0B, 0x42);
    unsigned interrupts = 0;
    for (int i = 0; i < 10'000; ++i) {
        bench.run_for(100 * kMicrosecond);
        if (irq8.level) {
            ++interrupts;
            cell(0x0C);
        }
    }
    EXPECT_EQ(interrupts, 1024u);
    set(0x0A, 0x2F);
    irq8.rises = 0;
    bench.run_for(kSecond / 2);
    EXPECT_EQ(irq8.rises, 1u);
}

TEST_F(Mc146818Test, RateZeroIsNoPeriodicInterrupt) {
    set(0x0A, 0x20);
    cell(0x0C);
    set(0x0B, 0x42);
    bench.run_for(10 * kSecond);
    EXPECT_FALSE(irq8.level);
}

TEST_F(Mc146818Test, AlarmRingsAtItsTime) {
    set(0x01, 0x02);
    set(0x03, 0x00);
    set(0x05, 0x00);
    set(0x0B, 0x22);
    bench.run_for(6 * kSecond);
    EXPECT_FALSE(irq8.level);
    bench.run_for(kSecond);
    EXPECT_TRUE(irq8.level);
    EXPECT_EQ(cell(0x0C) & 0xA0, 0xA0u);
    irq8.rises = 0;
    bench.run_for(86'399 * kSecond);
    EXPECT_EQ(irq8.rises, 0u);
    bench.run_for(kSecond);
    EXPECT_EQ(irq8.rises, 1u);
}

TEST_F(Mc146818Test, AlarmFieldsThatDoNotCareMatchAlways) {
    set(0x01, 0xC0);
    set(0x03, 0xFF);
    set(0x05, 0xC0);
    set(0x0B, 0x22);
    bench.run_for(kSecond);
    EXPECT_TRUE(irq8.level);
}

TEST_F(Mc146818Test, ImpossibleAlarmNeverRings) {
    set(0x01, 0x77);
    set(0x03, 0xC0);
    set(0x05, 0xC0);
    set(0x0B, 0x22);
    bench.run_for(100'000 * kSecond);
    EXPECT_FALSE(irq8.level);
}

TEST_F(Mc146818Test, EnablingAnInterruptWithItsFlagSetRaisesIt) {
    bench.run_for(kSecond);
    set(0x0B, 0x12);
    EXPECT_TRUE(irq8.level);
}

TEST_F(Mc146818Test, SetClearsUpdateInterruptEnable) {
    set(0x0B, 0x92);
    EXPECT_EQ(cell(0x0B), 0x82u);
}

TEST_F(Mc146818Test, RegistersCAndDCannotBeWritten) {
    set(0x0C, 0xFF);
    set(0x0D, 0x00);
    EXPECT_EQ(cell(0x0C), 0x00u);
    EXPECT_EQ(cell(0x0D), 0x80u);
}

TEST_F(Mc146818Test, ResetKeepsTimeAndRamAndTurnsInterruptsOff) {
    set(0x40, 0xA5);
    set(0x0B, 0x7A);
    bench.run_for(2 * kSecond);
    rtc.reset();
    EXPECT_FALSE(irq8.level);
    EXPECT_EQ(cell(0x0B), 0x02u);
    EXPECT_EQ(cell(0x40), 0xA5u);
    EXPECT_EQ(cell(0x00), 0x57u);
}

TEST_F(Mc146818Test, ExtendedBankIsSeparate) {
    set(0x40, 0x11);
    bench.out(0x72, 0x40);
    bench.out(0x73, 0x22);
    EXPECT_EQ(cell(0x40), 0x11u);
    EXPECT_EQ(bench.in(0x73), 0x22u);
    EXPECT_EQ(rtc.peek_cell(0xC0), 0x22);
}

TEST_F(Mc146818Test, IndexBit7MasksTheNmi) {
    bench.out(0x70, 0x8F);
    EXPECT_TRUE(nmi_mask.level);
    bench.out(0x70, 0x0F);
    EXPECT_FALSE(nmi_mask.level);
}

}  // namespace
}  // namespace vpc::devices::test
