// Chains of many differencing VHDs in memory: reads find the image that holds a sector, whatever was written since.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

#include "disk/vhd/page_holders.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_child;
using testing::build_dynamic;
using testing::filled_sectors;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::read_sectors;
using testing::write_sectors;

constexpr std::uint64_t kSectors = 500;  // the last block of every image is cut off

/// A dynamic image and its children, and what the disk of the youngest holds: a byte for each sector.
class LongChain : public ::testing::Test {
  protected:
    void add(const std::vector<std::uint8_t>& image) { files_.push_back(MemoryContents::of(image)); }
    void add_generations(int count, std::uint32_t block_size = 16384) {
        while (count-- > 0) {
            add(files_.empty() ? build_dynamic({.sectors = kSectors, .block_size = block_size})
                               : build_child({.sectors = kSectors, .block_size = block_size},
                                             static_cast<std::uint8_t>(files_.size())));
        }
    }
    /// The youngest image over all the others.
    std::unique_ptr<BlockDevice> open(OpenMode mode) {
        std::unique_ptr<BlockDevice> device;
        for (std::size_t i = 0; i < files_.size(); ++i) {
            auto opened = open_image(std::make_unique<MemoryFile>(files_[i]),
                                     i + 1 < files_.size() ? OpenMode::ReadOnly : mode, std::move(device));
            if (!opened) {
                ADD_FAILURE() << opened.error().message;
                return nullptr;
            }
            device = std::move(*opened);
        }
        return device;
    }
    void write_somewhere(BlockDevice& device) {
        const std::uint64_t sector = random_() % kSectors;
        const std::uint64_t count = std::min<std::uint64_t>(1 + random_() % 20, kSectors - sector);
        const auto byte = static_cast<std::uint8_t>(random_() % 256);
        ASSERT_TRUE(write_sectors(device, sector, count, byte));
        std::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(sector), count, byte);
    }
    void read_somewhere(BlockDevice& device) {
        const std::uint64_t sector = random_() % kSectors;
        const std::uint64_t count = std::min<std::uint64_t>(1 + random_() % 60, kSectors - sector);
        // In two buffers, cut anywhere.
        std::vector<std::uint8_t> bytes(count * kSectorSize, 0xCC);
        const std::size_t cut = random_() % (count + 1) * kSectorSize;
        const std::array<Buffer, 2> buffers = {Buffer(bytes).first(cut), Buffer(bytes).subspan(cut)};
        ASSERT_TRUE(device.read(sector, buffers));
        for (std::uint64_t i = 0; i < count; ++i) {
            ASSERT_EQ(bytes[i * kSectorSize], expected_[sector + i]) << sector + i;
        }
    }

    std::vector<std::shared_ptr<MemoryContents>> files_;
    std::vector<std::uint8_t> expected_ = std::vector<std::uint8_t>(kSectors);
    std::mt19937 random_{42};
};

TEST_F(LongChain, HoldsWhatWasWrittenLast) {
    for (int generation = 0; generation < 6; ++generation) {
        add_generations(1);
        const auto device = open(OpenMode::ReadWrite);
        ASSERT_NE(device, nullptr);
        for (int i = 0; i < 25; ++i) {
            write_somewhere(*device);
            for (int reads = 0; reads < 20; ++reads) {
                read_somewhere(*device);
            }
            if (i % 10 == 9) {
                ASSERT_TRUE(device->flush());
            }
        }
    }
    const auto device = open(OpenMode::ReadOnly);
    ASSERT_NE(device, nullptr);
    for (int reads = 0; reads < 1000; ++reads) {
        read_somewhere(*device);
    }
}

TEST_F(LongChain, MayHaveBlocksOfSeveralSizes) {
    for (const std::uint32_t block_size : {16384, 4096, 4096, 512, 512, 512, 32768, 32768, 32768}) {
        add_generations(1, block_size);
        const auto device = open(OpenMode::ReadWrite);
        ASSERT_NE(device, nullptr);
        for (int i = 0; i < 15; ++i) {
            write_somewhere(*device);
            for (int reads = 0; reads < 20; ++reads) {
                read_somewhere(*device);
            }
        }
    }
}

TEST_F(LongChain, FailsOnlyWhereALostBlockIsNeeded) {
    add_generations(4, 4096);
    // A block of the second oldest image that reaches beyond its end.
    auto lost = build_child({.sectors = kSectors, .block_size = 4096, .blocks = {{3}}}, 1);
    vhd::store_big_endian(lost, 1536 + 3 * 4, std::uint32_t{1} << 24);
    files_[1] = MemoryContents::of(lost);
    const auto device = open(OpenMode::ReadWrite);
    ASSERT_NE(device, nullptr);
    ASSERT_TRUE(write_sectors(*device, 24, 4, 0x77));
    for (int times = 0; times < 4; ++times) {
        EXPECT_EQ(read_sectors(*device, 24, 4), filled_sectors(4, 0x77));
        EXPECT_EQ(read_sectors(*device, 8, 16), filled_sectors(16, 0));
        std::vector<std::uint8_t> bytes(kSectorSize);
        const auto status = device->read(28, Buffer(bytes));
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::Corrupt);
    }
}

TEST(PageHolders, RemembersABlockFromTheSecondTimeOnUntilAnotherTakesItsPlace) {
    constexpr std::uint32_t kSectorsPerBlock = 512 * 1024;  // 64 KiB for the pages of each: 4 places
    vhd::PageHolders holders(100, kSectorsPerBlock);
    EXPECT_FALSE(holders.asked_before(1));
    EXPECT_TRUE(holders.asked_before(1));
    const auto pages = holders.start(1);
    ASSERT_EQ(pages.size(), 65536);
    std::vector<std::uint8_t> bitmap(65536);
    bitmap[0] = 0xFF;
    bitmap[1] = 0x01;
    vhd::PageHolders::add_image(pages, 3, bitmap);
    bitmap[1] = bitmap[2] = 0xFF;
    vhd::PageHolders::add_image(pages, 4, bitmap);
    EXPECT_EQ(holders.find(1)[0], 3);
    EXPECT_EQ(holders.find(1)[1], vhd::PageHolders::kMixed);
    EXPECT_EQ(holders.find(1)[2], 4);
    EXPECT_EQ(holders.find(1)[3], vhd::PageHolders::kNone);
    holders.written(1, 4, 20);
    EXPECT_EQ(holders.find(1)[0], vhd::PageHolders::kMixed);
    EXPECT_EQ(holders.find(1)[1], 0);
    EXPECT_EQ(holders.find(1)[2], 0);
    const auto run = vhd::PageHolders::run_at(holders.find(1), 9, 100);
    EXPECT_EQ(run.holder, 0);
    EXPECT_EQ(run.count, 15);
    EXPECT_FALSE(holders.asked_before(5));
    EXPECT_TRUE(holders.find(1).empty());
    EXPECT_TRUE(holders.find(5).empty());
    EXPECT_TRUE(holders.asked_before(5));
}

}  // namespace
}  // namespace vpc::disk
