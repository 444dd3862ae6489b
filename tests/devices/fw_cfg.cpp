#include "devices/fw_cfg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class FwCfgTest : public testing::Test {
  protected:
    void select(std::uint16_t selector) { bench.out(0x510, selector, 2); }
    std::string bytes(unsigned count) {
        std::string result;
        for (unsigned i = 0; i < count; ++i) {
            result += static_cast<char>(bench.in(0x511));
        }
        return result;
    }
    static std::uint32_t swapped(std::uint32_t value) { return __builtin_bswap32(value); }
    void put(std::uint32_t address, std::uint32_t value) { bench.memory.write_bus(address, swapped(value), 4); }
    std::uint32_t get(std::uint32_t address) { return swapped(bench.memory.read_bus(address, 4)); }
    /// Runs a transfer with the descriptor at 1000h and returns its control word afterwards.
    std::uint32_t dma(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
        put(0x1000, control);
        put(0x1004, length);
        put(0x1008, static_cast<std::uint32_t>(address >> 32));
        put(0x100C, static_cast<std::uint32_t>(address));
        bench.out(0x514, 0, 4);
        bench.out(0x518, swapped(0x1000), 4);
        return get(0x1000);
    }
    std::string memory(std::uint32_t address, unsigned count) {
        std::string result(count, '\0');
        std::transform(result.begin(), result.end(), result.begin(),
                       [&](char) { return static_cast<char>(bench.memory.read_bus(address++, 1)); });
        return result;
    }

    Bench bench;
    FwCfg& fw_cfg = bench.add_device<FwCfg>(bench.ports, bench.memory);
};

TEST_F(FwCfgTest, SignatureAndFeaturesAreThereFromTheStart) {
    select(0x00);
    EXPECT_EQ(bytes(4), "QEMU");
    select(0x01);
    EXPECT_EQ(bytes(4), std::string("\3\0\0\0", 4));
}

TEST_F(FwCfgTest, NumbersAreLittleEndian) {
    fw_cfg.add_number(FwCfgItem::RamSize, 8, 0x10000000);
    select(0x03);
    EXPECT_EQ(bytes(8), std::string("\0\0\0\x10\0\0\0\0", 8));
}

TEST_F(FwCfgTest, ReadingPastTheEndGivesZeros) {
    select(0x00);
    bytes(4);
    EXPECT_EQ(bytes(3), std::string(3, '\0'));
    select(0x3FFF);
    EXPECT_EQ(bytes(2), std::string(2, '\0'));
}

TEST_F(FwCfgTest, DirectoryListsFilesBigEndian) {
    fw_cfg.add_file("etc/first", {'1'});
    fw_cfg.add_file("etc/second", std::vector<std::uint8_t>(300, 'x'));
    fw_cfg.add_file("etc/first", {'n', 'e', 'w'});
    select(0x19);
    EXPECT_EQ(bytes(4), std::string("\0\0\0\2", 4));
    EXPECT_EQ(bytes(8), std::string("\0\0\0\3\0\x20\0\0", 8));
    EXPECT_EQ(bytes(56), "etc/first" + std::string(47, '\0'));
    EXPECT_EQ(bytes(8), std::string("\0\0\1\x2C\0\x21\0\0", 8));
    EXPECT_EQ(bytes(56), "etc/second" + std::string(46, '\0'));
    select(0x20);
    EXPECT_EQ(bytes(3), "new");
}

TEST_F(FwCfgTest, LongFileNamesAreCutAndStayTerminated) {
    fw_cfg.add_file(std::string(80, 'n'), {'1'});
    select(0x19);
    bytes(12);
    EXPECT_EQ(bytes(56), std::string(55, 'n') + '\0');
}

TEST_F(FwCfgTest, DmaRegisterShowsItsSignature) {
    EXPECT_EQ(bench.in(0x514, 4), 0x554D4551u);
    EXPECT_EQ(bench.in(0x518, 4), 0x47464320u);
}

TEST_F(FwCfgTest, DmaSelectsAndReadsAndPads) {
    fw_cfg.add_file("etc/data", {'d', 'a', 't', 'a'});
    bench.memory.write_bus(0x2004, 0xFFFFFFFF, 4);
    EXPECT_EQ(dma(0x00200000 | 0x08 | 0x02, 6, 0x2000), 0u);
    EXPECT_EQ(memory(0x2000, 7), std::string("data\0\0\xFF", 7));
}

TEST_F(FwCfgTest, DmaSkipsAndContinues) {
    fw_cfg.add_file("etc/data", {'d', 'a', 't', 'a'});
    select(0x20);
    EXPECT_EQ(dma(0x04, 1, 0), 0u);
    EXPECT_EQ(dma(0x02, 2, 0x2000), 0u);
    EXPECT_EQ(memory(0x2000, 2), "at");
    EXPECT_EQ(bytes(1), "a");
}

TEST_F(FwCfgTest, DmaWriteIsAnError) {
    fw_cfg.add_file("etc/data", {'d'});
    EXPECT_EQ(dma(0x00200000 | 0x08 | 0x10, 1, 0x2000), 1u);
    select(0x20);
    EXPECT_EQ(bytes(1), "d");
}

TEST_F(FwCfgTest, EndlessDmaIsRefused) {
    EXPECT_EQ(dma(0x02, 0xFFFFFFFF, 0x2000), 1u);
    EXPECT_EQ(dma(0x04, 0xFFFFFFFF, 0x2000), 0u) << "skipping costs nothing";
}

TEST_F(FwCfgTest, DmaFarOutsideMemoryIsRefused) {
    EXPECT_EQ(dma(0x02, 4, 0xFFFFFFFF'FFFFFFFE), 1u);
}

TEST_F(FwCfgTest, DmaOverItsOwnDescriptorIsHarmless) {
    EXPECT_EQ(dma(0x08 | 0x02, 32, 0x1000), 0u);
}

}  // namespace
}  // namespace vpc::devices::test
