#include "devices/pc_cmos.h"

#include <gtest/gtest.h>

#include "devices/mc146818.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

class PcCmosTest : public testing::Test {
  protected:
    void fill(const PcCmosLayout& layout) { fill_pc_cmos(cmos, layout); }
    unsigned word(std::uint8_t index) {
        return cmos.peek_cell(index) | cmos.peek_cell(static_cast<std::uint8_t>(index + 1)) << 8;
    }

    Bench bench;
    Mc146818& cmos = bench.add_device<Mc146818>(
        bench.ports, bench.clock, [] { return 0; }, Line());
};

TEST_F(PcCmosTest, SmallMemoryIsDescribedInKilobytes) {
    fill({.memory = 8 * kMiB});
    EXPECT_EQ(word(0x15), 640u);
    EXPECT_EQ(word(0x17), 7 * 1024u);
    EXPECT_EQ(word(0x30), 7 * 1024u);
    EXPECT_EQ(word(0x34), 0u);
}

TEST_F(PcCmosTest, MemoryAbove16MegabytesIsDescribedIn64KilobyteUnits) {
    fill({.memory = 256 * kMiB});
    EXPECT_EQ(word(0x30), 0xFFFFu);
    EXPECT_EQ(word(0x34), 240 * 16u);
    EXPECT_EQ(cmos.peek_cell(0x5B), 0);
}

TEST_F(PcCmosTest, BootOrderFillsTheNibblesInOrder) {
    fill({.memory = 16 * kMiB, .boot_order = "dca"});
    EXPECT_EQ(cmos.peek_cell(0x3D), 0x23);
    EXPECT_EQ(cmos.peek_cell(0x38), 0x10);
    EXPECT_EQ(cmos.peek_cell(0x2D), 0x00);
}

TEST_F(PcCmosTest, BootOrderSkipsUnknownLettersAndStopsAtThree) {
    fill({.memory = 16 * kMiB, .boot_order = "xazcdc"});
    EXPECT_EQ(cmos.peek_cell(0x3D), 0x21);
    EXPECT_EQ(cmos.peek_cell(0x38), 0x30);
    EXPECT_EQ(cmos.peek_cell(0x2D), 0x20);
}

TEST_F(PcCmosTest, SignatureCheckCanBeTurnedOff) {
    fill({.memory = 16 * kMiB, .boot_order = "a", .check_floppy_signature = false});
    EXPECT_EQ(cmos.peek_cell(0x38), 0x01);
}

TEST_F(PcCmosTest, FloppiesShowInTypesAndEquipment) {
    fill({.memory = 16 * kMiB});
    EXPECT_EQ(cmos.peek_cell(0x10), 0x00);
    EXPECT_EQ(cmos.peek_cell(0x14), 0x06);
    fill({.memory = 16 * kMiB, .floppies = {FloppyDriveType::Mb1_44, FloppyDriveType::None}});
    EXPECT_EQ(cmos.peek_cell(0x10), 0x40);
    EXPECT_EQ(cmos.peek_cell(0x14), 0x07);
    fill({.memory = 16 * kMiB, .floppies = {FloppyDriveType::Mb1_44, FloppyDriveType::Mb1_2}});
    EXPECT_EQ(cmos.peek_cell(0x10), 0x42);
    EXPECT_EQ(cmos.peek_cell(0x14), 0x47);
}

TEST_F(PcCmosTest, HardDiskHasTypeGeometryAndTranslation) {
    fill({.memory = 16 * kMiB,
          .hard_disks = {PcCmosLayout::HardDisk{1000, 16, 63, PcCmosLayout::Translation::None},
                         PcCmosLayout::HardDisk{4000, 16, 63, PcCmosLayout::Translation::Lba}}});
    EXPECT_EQ(cmos.peek_cell(0x12), 0xFF);
    EXPECT_EQ(cmos.peek_cell(0x19), 47);
    EXPECT_EQ(word(0x1B), 1000u);
    EXPECT_EQ(cmos.peek_cell(0x1D), 16);
    EXPECT_EQ(cmos.peek_cell(0x23), 63);
    EXPECT_EQ(word(0x24), 4000u);
    EXPECT_EQ(cmos.peek_cell(0x39), 0x04);
}

TEST_F(PcCmosTest, ChecksumCoversTheStandardCells) {
    fill({.memory = 16 * kMiB, .floppies = {FloppyDriveType::Mb1_44, FloppyDriveType::None}});
    unsigned sum = 0;
    for (std::uint8_t index = 0x10; index <= 0x2D; ++index) {
        sum += cmos.peek_cell(index);
    }
    EXPECT_EQ(cmos.peek_cell(0x2E), sum >> 8);
    EXPECT_EQ(cmos.peek_cell(0x2F), sum & 0xFF);
}

}  // namespace
}  // namespace vpc::devices::test
