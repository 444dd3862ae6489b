#include "devices/piix4_pm.h"

#include <gtest/gtest.h>

#include "devices/pci_bus.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint16_t kPm = 0x600;  // where SeaBIOS puts the blocks
constexpr std::uint16_t kSmbus = 0x700;

class Piix4PmTest : public testing::Test {
  protected:
    Bench bench;
    Probe sci;
    unsigned power_offs = 0;
    Piix4Pm& pm = bench.add_device<Piix4Pm>(
        bench.ports, bench.clock, sci.line(), [this] { ++power_offs; }, Piix4Pm::Present{});

    Piix4PmTest() { place(); }
    void place() {
        pm.write_config(0x40, kPm | 1, 4);
        pm.write_config(0x80, 0x01, 1);
        pm.write_config(0x90, kSmbus | 1, 4);
        pm.write_config(0xD2, 0x09, 1);
    }
    std::uint32_t timer() { return bench.in(kPm + 8, 4); }
};

TEST_F(Piix4PmTest, TellsSeaBiosThatSystemManagementModeIsSetUp) {
    EXPECT_EQ(pm.read_config(0, 4), 0x71138086u);
    EXPECT_NE(pm.read_config(0x58, 4) & 1u << 25, 0u);
}

TEST_F(Piix4PmTest, TellsTheDsdtWhichPortsThereAre) {
    EXPECT_EQ(pm.read_config(0x5F, 1) & 0x80, 0u);
    EXPECT_EQ(pm.read_config(0x67, 1) & 0x88, 0x88u);
    Bench other;
    Piix4Pm with_printer(other.ports, other.clock, Line(), {}, {.parallel = true, .serial1 = true, .serial2 = false});
    EXPECT_EQ(with_printer.read_config(0x5F, 1) & 0x80, 0x80u);
    EXPECT_EQ(with_printer.read_config(0x67, 1) & 0x88, 0x08u);
}

TEST_F(Piix4PmTest, TheBlocksAnswerWhereTheyAreEnabled) {
    EXPECT_EQ(bench.ports.owner(kPm), "PIIX4 PM");
    EXPECT_EQ(pm.read_config(0x40, 4), 0x601u);
    pm.write_config(0x40, 0x1041, 4);
    EXPECT_EQ(bench.ports.owner(kPm), "");
    EXPECT_EQ(bench.ports.owner(0x1040), "PIIX4 PM");
    pm.write_config(0x80, 0, 1);
    EXPECT_EQ(bench.ports.owner(0x1040), "");
    pm.reset();
    EXPECT_EQ(bench.ports.owner(kSmbus), "");
}

TEST_F(Piix4PmTest, AnOccupiedPlaceStaysWithItsOwner) {
    pm.write_config(0x40, 0xAFC1, 4);  // reaches over the general purpose events
    EXPECT_EQ(bench.ports.owner(0xAFC0), "");
    EXPECT_EQ(bench.ports.owner(0xAFE0), "PIIX4 general purpose events");
}

TEST_F(Piix4PmTest, TheTimerRunsAt3579545HzAndHas24Bits) {
    const std::uint32_t start = timer();
    bench.advance(kSecond);
    EXPECT_EQ(timer() - start, 3'579'545u);
    bench.advance(4 * kSecond);
    EXPECT_EQ(timer(), 5u * 3'579'545 & 0xFFFFFF);
    EXPECT_EQ(bench.in(kPm + 9, 1), timer() >> 8 & 0xFF);
}

TEST_F(Piix4PmTest, AcpiIsEnabledThroughTheApmPort) {
    EXPECT_EQ(bench.in(kPm + 4, 2), 0u);
    bench.out(0xB2, 0xF1);
    EXPECT_EQ(bench.in(kPm + 4, 2), 1u);
    EXPECT_EQ(bench.in(0xB2), 0xF1u);
    bench.out(0xB2, 0xF0);
    EXPECT_EQ(bench.in(kPm + 4, 2), 0u);
    bench.out(0xB3, 0x5A);
    EXPECT_EQ(bench.in(0xB3), 0x5Au);
}

TEST_F(Piix4PmTest, TimerOverflowRaisesTheSciAtItsTick) {
    bench.out(kPm + 2, 0x0001, 2);
    bench.out(0xB2, 0xF1);
    constexpr Nanoseconds kHalf = Nanoseconds{1 << 23} * kSecond / Piix4Pm::kTimerFrequency;
    bench.run_for(kHalf - 10 * kMicrosecond);
    EXPECT_FALSE(sci.level);
    bench.run_for(20 * kMicrosecond);
    EXPECT_TRUE(sci.level);
    EXPECT_EQ(bench.in(kPm, 2), 1u);
    bench.out(kPm, 1, 2);
    EXPECT_FALSE(sci.level);
    bench.run_for(kHalf);
    EXPECT_EQ(sci.rises, 2u);
}

TEST_F(Piix4PmTest, TimerOverflowIsSeenWithoutInterrupt) {
    bench.advance(2 * kSecond);
    EXPECT_EQ(bench.in(kPm, 2), 0u);
    bench.advance(kSecond);
    EXPECT_EQ(bench.in(kPm, 2), 1u);
    bench.out(kPm, 1, 2);
    EXPECT_EQ(bench.in(kPm, 2), 0u);
    EXPECT_EQ(sci.rises, 0u);
}

TEST_F(Piix4PmTest, ThePowerButtonAsksTheGuest) {
    bench.out(kPm + 2, 0x0100, 2);
    pm.press_power_button();
    EXPECT_EQ(bench.in(kPm, 2), 0x100u);
    EXPECT_FALSE(sci.level);  // no ACPI yet
    bench.out(0xB2, 0xF1);
    EXPECT_TRUE(sci.level);
    bench.out(kPm + 1, 1);
    EXPECT_FALSE(sci.level);
    EXPECT_EQ(power_offs, 0u);
}

TEST_F(Piix4PmTest, SoftOffTurnsThePowerOff) {
    bench.out(kPm + 4, 0x0001, 2);
    EXPECT_EQ(power_offs, 0u);
    bench.out(kPm + 4, 0x2001, 2);
    EXPECT_EQ(power_offs, 1u);
    EXPECT_EQ(bench.in(kPm + 4, 2), 0x0001u);  // SLP_EN reads as zero
}

TEST_F(Piix4PmTest, OtherSleepTypesAreIgnored) {
    for (unsigned type = 1; type < 8; ++type) {
        bench.out(kPm + 4, 0x2001 | type << 10, 2);
    }
    EXPECT_EQ(power_offs, 0u);
    EXPECT_EQ(bench.in(kPm + 4, 2), 0x1C01u);
}

TEST_F(Piix4PmTest, GeneralPurposeEventsAreKept) {
    bench.out(0xAFE2, 0x0002, 2);
    EXPECT_EQ(bench.in(0xAFE0, 4), 0x00020000u);
    bench.out(0xAFE0, 0xFFFF, 2);
    EXPECT_EQ(bench.in(0xAFE0, 2), 0u);
}

TEST_F(Piix4PmTest, NobodyAnswersOnTheSmbus) {
    bench.out(kSmbus + 4, 0xA1);
    bench.out(kSmbus + 2, 0x48);
    EXPECT_EQ(bench.in(kSmbus), 0x04u);
    EXPECT_EQ(bench.in(kSmbus + 2), 0x08u);  // START reads as zero
    bench.out(kSmbus, 0xFF);
    EXPECT_EQ(bench.in(kSmbus), 0u);
    EXPECT_EQ(sci.rises, 0u);
    bench.out(kSmbus + 2, 0x49);  // INTEREN
    EXPECT_TRUE(sci.level);
    bench.out(kSmbus, 0x04);
    EXPECT_FALSE(sci.level);
}

TEST_F(Piix4PmTest, SmbusBlockBufferRewindsWithTheControlRegister) {
    bench.in(kSmbus + 2);
    for (unsigned i = 0; i < 32; ++i) {
        bench.out(kSmbus + 7, 100 + i);
    }
    bench.in(kSmbus + 2);
    EXPECT_EQ(bench.in(kSmbus + 7), 100u);
    EXPECT_EQ(bench.in(kSmbus + 7), 101u);
}

Subject power_management() {
    return {.name = "Piix4Pm",
            .ports = {{kPm, 16}, {0xB2, 2}, {0xAFE0, 4}, {kSmbus, 16}, {0xCFC, 4}, {0xCF8, 1}},
            .build =
                [](Bench& bench) {
                    auto& bus = bench.add_device<PciBus>(bench.ports, nullptr);
                    auto& pm = bench.add_device<Piix4Pm>(bench.ports, bench.clock, Line(), nullptr, Piix4Pm::Present{});
                    bus.attach(1, 3, pm);
                    pm.write_config(0x40, kPm | 1, 4);
                    pm.write_config(0x80, 0x01, 1);
                    pm.write_config(0x90, kSmbus | 1, 4);
                    pm.write_config(0xD2, 0x09, 1);
                    bench.out(0xCF8, 0x80000000 | 1 << 11 | 3 << 8 | 0x80, 4);
                },
            .stimulate = [](Bench& bench,
                            std::mt19937&) { static_cast<Piix4Pm*>(bench.devices[1])->press_power_button(); }};
}

INSTANTIATE_TEST_SUITE_P(PowerManagement, DeviceConformance, testing::Values(power_management()), subject_name);

}  // namespace
}  // namespace vpc::devices::test
