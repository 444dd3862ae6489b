#include "devices/ata_channel.h"

#include <gtest/gtest.h>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint8_t kIdle = 0x50;

class AtaChannelTest : public testing::Test {
  protected:
    IdeBench bench;

    unsigned reg(unsigned offset) { return bench.in(static_cast<std::uint16_t>(0x1F0 + offset)); }
    void set(unsigned offset, unsigned value) { bench.out(static_cast<std::uint16_t>(0x1F0 + offset), value); }
    /// The test that SeaBIOS and Linux make before they believe in a device.
    bool registers_hold() {
        set(2, 0x55);
        set(3, 0xAA);
        return reg(2) == 0x55 && reg(3) == 0xAA;
    }
    void software_reset() {
        bench.out(0x3F6, 0x06);
        bench.out(0x3F6, 0x02);
    }
};

TEST_F(AtaChannelTest, AnEmptyCableFloats) {
    set(6, 0xA0);
    EXPECT_EQ(reg(7), 0x7Fu);
    EXPECT_EQ(bench.in(0x3F6), 0x7Fu);
    EXPECT_FALSE(registers_hold());
    software_reset();
    EXPECT_EQ(reg(7), 0x7Fu);
    EXPECT_EQ(bench.in(0x1F0, 2), 0xFF7Fu);
}

TEST_F(AtaChannelTest, AnAbsentSlaveReadsStatusZeroFromTheMaster) {
    bench.add_disk(0, 0);
    set(6, 0xB0);
    EXPECT_EQ(reg(6), 0xB0u);
    EXPECT_TRUE(registers_hold());
    EXPECT_EQ(reg(7), 0u);
    EXPECT_EQ(bench.in(0x3F6), 0u);
    set(7, 0xEC);
    EXPECT_EQ(reg(7), 0u);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    set(6, 0xA0);
    EXPECT_EQ(reg(7), kIdle);
}

TEST_F(AtaChannelTest, AnAbsentMasterFloatsBesideASlave) {
    bench.add_disk(0, 1);
    set(6, 0xA0);
    EXPECT_EQ(reg(7), 0x7Fu);
    set(6, 0xB0);
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_TRUE(registers_hold());
}

TEST_F(AtaChannelTest, SoftwareResetLeavesTheSignature) {
    bench.add_disk(0, 0);
    set(6, 0xE5);
    set(4, 0x12);
    bench.out(0x3F6, 0x04);
    EXPECT_EQ(bench.in(0x3F6), 0x80u);
    bench.out(0x3F6, 0x00);
    EXPECT_EQ(reg(1), 0x01u);
    EXPECT_EQ(reg(2), 0x01u);
    EXPECT_EQ(reg(3), 0x01u);
    EXPECT_EQ(reg(4), 0x00u);
    EXPECT_EQ(reg(5), 0x00u);
    EXPECT_EQ(reg(6), 0x00u);
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(bench.irq[0].rises, 0u);
}

TEST_F(AtaChannelTest, SoftwareResetSelectsTheMaster) {
    bench.add_disk(0, 0);
    set(6, 0xB0);
    EXPECT_EQ(reg(7), 0u);
    software_reset();
    EXPECT_EQ(reg(7), kIdle);
}

TEST_F(AtaChannelTest, DiagnosticsRunOnBothAndInterruptOnce) {
    bench.add_disk(0, 0);
    bench.add_disk(0, 1);
    set(6, 0xB0);
    set(7, 0x90);
    EXPECT_EQ(reg(6), 0u);
    EXPECT_EQ(reg(1), 0x01u);
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(reg(7), kIdle);
    set(6, 0xB0);
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_FALSE(bench.irq[0].level);
}

TEST_F(AtaChannelTest, CommandsGoToTheSelectedDevice) {
    const auto master = bench.add_disk(0, 0);
    const auto slave = bench.add_disk(0, 1);
    slave->written[0] = std::vector<std::uint8_t>(512, 0x5A);
    set(6, 0xF0);
    set(2, 1);
    set(3, 0);
    set(4, 0);
    set(5, 0);
    set(7, 0x20);
    EXPECT_EQ(bench.in(0x1F0, 4), 0x5A5A5A5Au);
    set(6, 0xE0);
    EXPECT_EQ(reg(7), kIdle);
}

TEST_F(AtaChannelTest, InterruptDisableHoldsTheLineBack) {
    bench.add_disk(0, 0);
    bench.out(0x3F6, 0x02);
    set(7, 0xEC);
    EXPECT_FALSE(bench.irq[0].level);
    bench.out(0x3F6, 0x00);
    EXPECT_TRUE(bench.irq[0].level);
    bench.in(0x3F6);  // the alternate status does not acknowledge
    EXPECT_TRUE(bench.irq[0].level);
    reg(7);
    EXPECT_FALSE(bench.irq[0].level);
}

TEST_F(AtaChannelTest, InterruptsFollowTheSelection) {
    bench.add_disk(0, 0);
    bench.add_disk(0, 1);
    set(6, 0xA0);
    set(7, 0xEC);
    EXPECT_TRUE(bench.irq[0].level);
    set(6, 0xB0);
    EXPECT_FALSE(bench.irq[0].level);
    set(6, 0xA0);
    EXPECT_TRUE(bench.irq[0].level);
}

TEST_F(AtaChannelTest, PeekingAtTheStatusDoesNotAcknowledge) {
    bench.add_disk(0, 0);
    set(7, 0xEC);
    EXPECT_EQ(bench.ports.peek(0x1F7, 1), 0x58u);
    EXPECT_EQ(bench.ports.peek(0x1F0, 2), 0x0040u);
    EXPECT_TRUE(bench.irq[0].level);
    EXPECT_EQ(bench.in(0x1F0, 2), 0x0040u);
}

TEST_F(AtaChannelTest, ChannelsAreApart) {
    bench.add_disk(1, 0);
    EXPECT_EQ(reg(7), 0x7Fu);
    EXPECT_EQ(bench.in(0x177), kIdle);
    bench.out(0x177, 0xEC);
    EXPECT_TRUE(bench.irq[1].level);
    EXPECT_FALSE(bench.irq[0].level);
    EXPECT_EQ(bench.in(0x170, 2), 0x0040u);
}

}  // namespace
}  // namespace vpc::devices::test
