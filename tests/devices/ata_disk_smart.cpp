// SMART of the AtaDisk.
#include <gtest/gtest.h>

#include <numeric>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

class AtaDiskSmartTest : public testing::Test {
  protected:
    IdeBench bench;
    std::shared_ptr<DiskImage> image = bench.add_disk(0, 0);

    /// Returns the status.
    unsigned smart(unsigned subcommand, unsigned count = 0, unsigned mid = 0x4F, unsigned high = 0xC2) {
        bench.out(0x1F6, 0xE0);
        bench.out(0x1F1, subcommand);
        bench.out(0x1F2, count);
        bench.out(0x1F4, mid);
        bench.out(0x1F5, high);
        bench.out(0x1F7, 0xB0);
        return bench.in(0x1F7);
    }
    std::vector<std::uint8_t> sector() {
        std::vector<std::uint8_t> bytes;
        while (bytes.size() < disk::kSectorSize) {
            const std::uint32_t word = bench.in(0x1F0, 2);
            bytes.push_back(static_cast<std::uint8_t>(word));
            bytes.push_back(static_cast<std::uint8_t>(word >> 8));
        }
        return bytes;
    }
    unsigned identify_word(unsigned word) {
        bench.out(0x1F6, 0xE0);
        bench.out(0x1F7, 0xEC);
        const auto bytes = sector();
        return bytes[2 * word] | unsigned{bytes[2 * word + 1]} << 8;
    }
    void read_sector(unsigned lba) {
        bench.out(0x1F6, 0xE0);
        bench.out(0x1F2, 1);
        bench.out(0x1F3, lba);
        bench.out(0x1F4, 0);
        bench.out(0x1F5, 0);
        bench.out(0x1F7, 0x40);
    }
};

TEST_F(AtaDiskSmartTest, IsAnnouncedAndCanBeSwitchedOff) {
    EXPECT_EQ(identify_word(82) & 1, 1u);
    EXPECT_EQ(identify_word(85) & 1, 1u);
    EXPECT_EQ(smart(0xD9), 0x50u);
    EXPECT_EQ(identify_word(82) & 1, 1u);
    EXPECT_EQ(identify_word(85) & 1, 0u);
    for (const unsigned subcommand : {0xD0u, 0xD2u, 0xD9u, 0xDAu}) {
        EXPECT_EQ(smart(subcommand), 0x51u) << subcommand;
        EXPECT_EQ(bench.in(0x1F1), 0x04u) << subcommand;
    }
    bench.ide.reset();
    bench.enable();
    EXPECT_EQ(smart(0xDA), 0x51u) << "not even a reset switches it on again";
    EXPECT_EQ(smart(0xD8), 0x50u);
    EXPECT_EQ(smart(0xDA), 0x50u);
}

TEST_F(AtaDiskSmartTest, NeedsItsKey) {
    EXPECT_EQ(smart(0xDA, 0, 0x4E, 0xC2), 0x51u);
    EXPECT_EQ(smart(0xDA, 0, 0x4F, 0xC3), 0x51u);
    EXPECT_EQ(smart(0xD8, 0, 0, 0), 0x51u);
}

TEST_F(AtaDiskSmartTest, AutosaveTakesItsTwoSettings) {
    EXPECT_EQ(smart(0xD2, 0xF1), 0x50u);
    EXPECT_EQ(smart(0xD2, 0x00), 0x50u);
    EXPECT_EQ(smart(0xD2, 0x01), 0x51u);
}

TEST_F(AtaDiskSmartTest, CountsTheSectorsThatCouldNotBeRead) {
    image->bad = {5};
    EXPECT_EQ(smart(0xDA), 0x50u);
    EXPECT_EQ(bench.in(0x1F4), 0x4Fu);
    EXPECT_EQ(bench.in(0x1F5), 0xC2u);
    read_sector(5);
    EXPECT_EQ(bench.in(0x1F7), 0x51u);
    read_sector(5);
    EXPECT_EQ(smart(0xDA), 0x50u);
    EXPECT_EQ(bench.in(0x1F4), 0xF4u) << "a threshold is exceeded";
    EXPECT_EQ(bench.in(0x1F5), 0x2Cu);

    ASSERT_EQ(smart(0xD0), 0x58u);
    const auto data = sector();
    EXPECT_EQ(bench.in(0x1F7), 0x50u);
    EXPECT_EQ(std::accumulate(data.begin(), data.end(), 0u) & 0xFF, 0u);
    EXPECT_EQ(data[0] | data[1] << 8, 0x0010);
    EXPECT_EQ(data[2], 1) << "raw read error rate";
    EXPECT_EQ(data[5], 98) << "two fewer than the best value";
    EXPECT_EQ(data[7] | data[8] << 8, 2);
    EXPECT_EQ(data[14], 200);
    EXPECT_EQ(data[17], 100);
    EXPECT_EQ(data[19], 0);
    EXPECT_EQ(data[367], 0) << "no off-line data collection";
    EXPECT_EQ(data[370] & 1, 0) << "no error log";

    const auto state = bench.save();
    bench.ide.reset();
    bench.load(state);
    smart(0xDA);
    EXPECT_EQ(bench.in(0x1F4), 0xF4u) << "counts are part of a saved state";
}

}  // namespace
}  // namespace vpc::devices::test
