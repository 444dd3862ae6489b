#include "devices/i8259a.h"

#include <gtest/gtest.h>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class I8259ATest : public testing::Test {
  protected:
    void SetUp() override { initialise(0x11, 0x01); }

    /// ICW1-ICW4 for both, vectors 08h and 70h, nothing masked.
    void initialise(std::uint8_t icw1, std::uint8_t icw4) {
        for (const std::uint16_t base : {std::uint16_t{0x20}, std::uint16_t{0xA0}}) {
            bench.out(base, icw1);
            bench.out(static_cast<std::uint16_t>(base + 1), base == 0x20 ? 0x08 : 0x70);
            bench.out(static_cast<std::uint16_t>(base + 1), base == 0x20 ? 0x04 : 0x02);
            bench.out(static_cast<std::uint16_t>(base + 1), icw4);
        }
    }
    void pulse(I8259A& chip, unsigned input) {
        chip.set_irq(input, true);
        chip.set_irq(input, false);
    }
    std::uint32_t irr() {
        bench.out(0x20, 0x0A);
        return bench.in(0x20);
    }
    std::uint32_t isr() {
        bench.out(0x20, 0x0B);
        return bench.in(0x20);
    }

    Bench bench;
    Probe intr;
    I8259A* master_pointer = nullptr;
    I8259A& slave =
        bench.add_device<I8259A>("8259A-slave", bench.ports, std::uint16_t{0xA0}, std::uint16_t{0x4D1},
                                 std::uint8_t{0xDE}, Line([this](bool level) { master_pointer->set_irq(2, level); }));
    I8259A& master = *(master_pointer = &bench.add_device<I8259A>(
                           "8259A-master", bench.ports, std::uint16_t{0x20}, std::uint16_t{0x4D0}, std::uint8_t{0xF8},
                           intr.line(), [this] { return slave.acknowledge(); }, 2));
};

TEST_F(I8259ATest, RequestRaisesIntrAndYieldsItsVector) {
    master.set_irq(1, true);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(irr(), 0x02u);
    EXPECT_EQ(master.acknowledge(), 0x09);
    EXPECT_FALSE(intr.level);
    EXPECT_EQ(irr(), 0x00u);
    EXPECT_EQ(isr(), 0x02u);
}

TEST_F(I8259ATest, HigherPriorityInterruptsLowerButNotTheOtherWayRound) {
    pulse(master, 4);
    master.acknowledge();
    pulse(master, 5);
    EXPECT_FALSE(intr.level);
    pulse(master, 3);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(master.acknowledge(), 0x0B);
    EXPECT_EQ(isr(), 0x18u);
}

TEST_F(I8259ATest, NonSpecificEoiEndsTheMostUrgentService) {
    pulse(master, 4);
    master.acknowledge();
    pulse(master, 3);
    master.acknowledge();
    bench.out(0x20, 0x20);
    EXPECT_EQ(isr(), 0x10u);
}

TEST_F(I8259ATest, SpecificEoiEndsTheNamedService) {
    pulse(master, 4);
    master.acknowledge();
    pulse(master, 3);
    master.acknowledge();
    bench.out(0x20, 0x64);
    EXPECT_EQ(isr(), 0x08u);
}

TEST_F(I8259ATest, EdgeInputThatStaysHighInterruptsOnce) {
    master.set_irq(1, true);
    master.acknowledge();
    bench.out(0x20, 0x20);
    EXPECT_FALSE(intr.level);
    master.set_irq(1, false);
    master.set_irq(1, true);
    EXPECT_TRUE(intr.level);
}

TEST_F(I8259ATest, LevelInputInterruptsForAsLongAsItIsHigh) {
    bench.out(0x4D0, 0x20);
    master.set_irq(5, true);
    EXPECT_EQ(master.acknowledge(), 0x0D);
    bench.out(0x20, 0x20);
    EXPECT_TRUE(intr.level);
    master.set_irq(5, false);
    EXPECT_FALSE(intr.level);
}

TEST_F(I8259ATest, ElcrKeepsSystemInputsEdgeTriggered) {
    bench.out(0x4D0, 0xFF);
    bench.out(0x4D1, 0xFF);
    EXPECT_EQ(bench.in(0x4D0), 0xF8u);
    EXPECT_EQ(bench.in(0x4D1), 0xDEu);
}

TEST_F(I8259ATest, LtimMakesAllInputsLevelTriggered) {
    initialise(0x19, 0x01);
    master.set_irq(0, true);
    master.acknowledge();
    bench.out(0x20, 0x20);
    EXPECT_TRUE(intr.level);
}

TEST_F(I8259ATest, MaskedInputWaitsUntilUnmasked) {
    bench.out(0x21, 0x02);
    pulse(master, 1);
    EXPECT_FALSE(intr.level);
    EXPECT_EQ(irr(), 0x02u);
    EXPECT_EQ(bench.in(0x21), 0x02u);
    bench.out(0x21, 0x00);
    EXPECT_TRUE(intr.level);
}

TEST_F(I8259ATest, AcknowledgeWithoutRequestIsSpuriousAndNotInService) {
    EXPECT_EQ(master.acknowledge(), 0x0F);
    EXPECT_EQ(isr(), 0x00u);
}

TEST_F(I8259ATest, SlaveRequestTravelsThroughTheCascade) {
    slave.set_irq(6, true);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(master.acknowledge(), 0x76);
    EXPECT_EQ(isr(), 0x04u);
    EXPECT_FALSE(intr.level);
    bench.out(0xA0, 0x20);
    bench.out(0x20, 0x20);
    pulse(slave, 0);
    EXPECT_EQ(master.acknowledge(), 0x70);
}

TEST_F(I8259ATest, WithdrawnSlaveRequestGivesTheSlavesSpuriousVector) {
    bench.out(0x4D1, 0x40);  // level: nothing stays latched
    slave.set_irq(6, true);
    slave.set_irq(6, false);
    EXPECT_EQ(master.acknowledge(), 0x77);
    EXPECT_EQ(isr(), 0x04u);
}

TEST_F(I8259ATest, SlaveInAutoEoiReportsEveryRequest) {
    initialise(0x11, 0x03);
    pulse(slave, 1);
    pulse(slave, 2);
    EXPECT_EQ(master.acknowledge(), 0x71);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(master.acknowledge(), 0x72);
    EXPECT_FALSE(intr.level);
}

TEST_F(I8259ATest, AutoEoiLeavesNothingInService) {
    initialise(0x11, 0x03);
    pulse(master, 3);
    EXPECT_EQ(master.acknowledge(), 0x0B);
    EXPECT_EQ(isr(), 0x00u);
}

TEST_F(I8259ATest, RotatingInAutoEoiServesInTurn) {
    initialise(0x11, 0x03);
    bench.out(0x20, 0x80);
    pulse(master, 0);
    EXPECT_EQ(master.acknowledge(), 0x08);
    pulse(master, 0);
    pulse(master, 1);
    EXPECT_EQ(master.acknowledge(), 0x09);
}

TEST_F(I8259ATest, RotateOnNonSpecificEoiMakesTheServedInputLast) {
    pulse(master, 3);
    master.acknowledge();
    bench.out(0x20, 0xA0);
    pulse(master, 3);
    pulse(master, 4);
    EXPECT_EQ(master.acknowledge(), 0x0C);
}

TEST_F(I8259ATest, SetPriorityMovesTheLowestPriority) {
    bench.out(0x20, 0xC5);  // 5 lowest, 6 highest
    pulse(master, 0);
    pulse(master, 6);
    EXPECT_EQ(master.acknowledge(), 0x0E);
}

TEST_F(I8259ATest, SpecialMaskModeLetsLowerPrioritiesThrough) {
    pulse(master, 3);
    master.acknowledge();
    bench.out(0x21, 0x08);
    pulse(master, 5);
    EXPECT_FALSE(intr.level);
    bench.out(0x20, 0x68);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(master.acknowledge(), 0x0D);
}

TEST_F(I8259ATest, NonSpecificEoiPassesOverMaskedServiceInSpecialMaskMode) {
    pulse(master, 3);
    master.acknowledge();
    bench.out(0x21, 0x08);
    bench.out(0x20, 0x68);
    bench.out(0x20, 0x20);
    EXPECT_EQ(isr(), 0x08u);
}

TEST_F(I8259ATest, SpecialFullyNestedModeLetsTheSlaveInterruptItself) {
    initialise(0x11, 0x11);
    pulse(slave, 5);
    master.acknowledge();
    pulse(slave, 1);
    EXPECT_TRUE(intr.level);
    EXPECT_EQ(master.acknowledge(), 0x71);
}

TEST_F(I8259ATest, FullyNestedModeHoldsTheSlaveBack) {
    pulse(slave, 5);
    master.acknowledge();
    pulse(slave, 1);
    EXPECT_FALSE(intr.level);
}

TEST_F(I8259ATest, PollReturnsTheRequestAndTakesItIntoService) {
    pulse(master, 6);
    bench.out(0x20, 0x0C);
    EXPECT_EQ(bench.ports.peek(0x20, 1), 0x86u);
    EXPECT_EQ(bench.in(0x20), 0x86u);
    EXPECT_EQ(isr(), 0x40u);
    bench.out(0x20, 0x0C);
    EXPECT_EQ(bench.in(0x20), 0x00u);
}

TEST_F(I8259ATest, Icw1ForgetsEdgesMaskAndService) {
    pulse(master, 1);
    master.acknowledge();
    pulse(master, 0);
    bench.out(0x21, 0xAA);
    initialise(0x11, 0x01);
    EXPECT_FALSE(intr.level);
    EXPECT_EQ(bench.in(0x21), 0x00u);
    EXPECT_EQ(isr(), 0x00u);
}

TEST_F(I8259ATest, NoInterruptIsRequestedBeforeInitialisationEnds) {
    bench.out(0x20, 0x11);
    pulse(master, 1);
    EXPECT_FALSE(intr.level);
    bench.out(0x21, 0x08);
    bench.out(0x21, 0x04);
    bench.out(0x21, 0x01);
    EXPECT_TRUE(intr.level);
}

TEST_F(I8259ATest, SingleModeWithoutIcw4NeedsTwoWordsOnly) {
    bench.out(0x20, 0x12);
    bench.out(0x21, 0x50);
    bench.out(0x21, 0xFE);  // already OCW1
    EXPECT_EQ(bench.in(0x21), 0xFEu);
    pulse(master, 0);
    EXPECT_EQ(master.acknowledge(), 0x50);
}

TEST_F(I8259ATest, LoadedRequestIsNotTakenTwiceWhenItsLineIsDrivenAgain) {
    master.set_irq(1, true);
    master.acknowledge();
    bench.out(0x20, 0x20);
    const auto saved = bench.save();
    bench.load(saved);
    master.set_irq(1, true);  // the chip behind it drives its line after the load
    EXPECT_FALSE(intr.level);
}

}  // namespace
}  // namespace vpc::devices::test
