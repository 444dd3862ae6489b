#include "disk/vhd/dynamic_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/disk/image_builder.h"
#include "tests/disk/recording_file.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::built_byte;
using testing::BuiltBlock;
using testing::DynamicImage;
using testing::filled_sectors;
using testing::MemoryContents;
using testing::open_contents;
using testing::read_sectors;
using testing::write_sectors;

using Bytes = std::vector<std::uint8_t>;

std::uint32_t table_entry(const MemoryContents& contents, std::uint32_t block) {
    return vhd::load_big_endian<std::uint32_t>(contents.bytes(), 1536 + std::size_t{block} * 4);
}

std::unique_ptr<BlockDevice> open_writable(const std::shared_ptr<MemoryContents>& contents) {
    auto device = open_contents(contents, OpenMode::ReadWrite);
    EXPECT_TRUE(device.has_value()) << device.error().message;
    return std::move(*device);
}

TEST(DynamicDisk, SectorsWhoseBitIsClearReadAsZeros) {
    for (const int pattern : {0x00, 0x80, 0x01, 0x55, 0xF0, 0x0F, 0xFE, 0xFF}) {
        const auto bitmap = static_cast<std::uint8_t>(pattern);
        const auto contents =
            MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{1, bitmap}}, .unwritten_byte = 0xEE}));
        const auto device = open_contents(contents, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        const Bytes all = read_sectors(**device, 8, 8);
        for (std::size_t i = 0; i < 8; ++i) {
            const bool present = (pattern & 0x80 >> i) != 0;
            EXPECT_EQ(all[i * 512], present ? built_byte(8 + i) : 0) << pattern << " sector " << i;
        }
    }
}

TEST(DynamicDisk, WritingSetsTheBitsOfThoseSectorsOnly) {
    const auto contents =
        MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{1, 0x80}}, .unwritten_byte = 0xEE}));
    {
        const auto device = open_writable(contents);
        ASSERT_TRUE(write_sectors(*device, 10, 2, 0x33));
        EXPECT_EQ(read_sectors(*device, 10, 2), filled_sectors(2, 0x33));
        EXPECT_EQ(read_sectors(*device, 12, 1), filled_sectors(1, 0));
        EXPECT_EQ(contents->bytes()[2048], 0x80) << "not before the data is on the disk";
        ASSERT_TRUE(device->flush());
        EXPECT_EQ(contents->bytes()[2048], 0xB0);
    }
    const auto again = open_writable(contents);
    EXPECT_EQ(read_sectors(*again, 8, 1), filled_sectors(1, built_byte(8)));
    EXPECT_EQ(read_sectors(*again, 9, 1), filled_sectors(1, 0));
    EXPECT_EQ(read_sectors(*again, 10, 2), filled_sectors(2, 0x33));
}

TEST(DynamicDisk, ReadsThroughBuffersOfAnyShapeAcrossBlocks) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{2}, {0}, {1, 0x55}}}));
    const auto device = open_contents(contents, OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    Bytes whole = read_sectors(**device, 3, 30);
    Bytes pieces(30 * 512, 0xCC);
    const std::span<std::uint8_t> all(pieces);
    const std::array<Buffer, 5> buffers = {all.subspan(0, 512), all.subspan(512, 0), all.subspan(512, 512 * 11),
                                           all.subspan(512 * 12, 512 * 17), all.subspan(512 * 29, 512)};
    ASSERT_TRUE((*device)->read(3, buffers));
    EXPECT_EQ(pieces, whole);
    EXPECT_EQ(whole[0], built_byte(3));
}

TEST(DynamicDisk, NewBlockIsSeenAtOnceAndEntersTheTableWithTheFlush) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{0}}}));
    const std::uint64_t footer = contents->size - 512;
    const auto device = open_writable(contents);
    ASSERT_TRUE(write_sectors(*device, 19, 2, 0x44));
    EXPECT_EQ(read_sectors(*device, 16, 8), [] {
        Bytes expected = filled_sectors(8, 0);
        std::fill_n(expected.begin() + 3 * 512, 2 * 512, std::uint8_t{0x44});
        return expected;
    }());
    EXPECT_EQ(table_entry(*contents, 2), 0xFFFFFFFF);
    ASSERT_TRUE(device->flush());
    EXPECT_EQ(table_entry(*contents, 2), footer / 512);
    EXPECT_EQ(contents->bytes()[footer], 0xFF) << "the bitmap of a new block is all ones";
}

TEST(DynamicDisk, WritingZerosToAMissingBlockAllocatesNothing) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64, .blocks = {{0}}}));
    const Bytes before = contents->bytes();
    {
        const auto device = open_writable(contents);
        ASSERT_TRUE(write_sectors(*device, 8, 30, 0));
        ASSERT_TRUE(device->flush());
    }
    EXPECT_EQ(contents->bytes(), before);
    {
        const auto device = open_writable(contents);
        ASSERT_TRUE(write_sectors(*device, 1, 1, 0));
        EXPECT_EQ(read_sectors(*device, 1, 1), filled_sectors(1, 0)) << "but it overwrites what is there";
    }
}

TEST(DynamicDisk, ClosingFlushesAndLeavesTheFooterRightBehindTheLastBlock) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64}));
    const std::uint64_t before = contents->size;
    {
        const auto device = open_writable(contents);
        ASSERT_TRUE(write_sectors(*device, 0, 1, 0x11));
        ASSERT_TRUE(write_sectors(*device, 63, 1, 0x22));
        EXPECT_GT(contents->size, before + 2 * 4608) << "room for more blocks than these";
    }
    EXPECT_EQ(contents->size, before + 2 * 4608);
    EXPECT_TRUE(testing::ends_with_footer(*contents));
    const auto again = open_writable(contents);
    EXPECT_EQ(read_sectors(*again, 0, 1), filled_sectors(1, 0x11));
    EXPECT_EQ(read_sectors(*again, 63, 1), filled_sectors(1, 0x22));
}

TEST(DynamicDisk, ClosingCutsTheFileNotBeforeTheNewFooterIsOnTheDisk) {
    using Kind = testing::FileOperation::Kind;
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 64}));
    const auto operations = std::make_shared<testing::FileOperations>();
    {
        const auto device =
            open_image(std::make_unique<testing::RecordingFile>(contents, operations), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        ASSERT_TRUE(write_sectors(**device, 0, 1, 0x11));
    }
    ASSERT_GE(operations->size(), 3u);
    const auto last = operations->end() - 3;
    EXPECT_EQ(last[0].kind, Kind::Write);
    EXPECT_TRUE(vhd::is_intact_footer(last[0].bytes));
    EXPECT_EQ(last[1].kind, Kind::Sync);
    EXPECT_EQ(last[2].kind, Kind::Truncate);
    EXPECT_EQ(last[2].offset, last[0].offset + 512);
}

TEST(DynamicDisk, OnlyTheLastFewBlocksWaitForAFlush) {
    constexpr std::uint32_t kBlocks = 2 * vhd::DynamicDisk::kWaitingBlocks + 3;
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 8 * kBlocks}));
    const auto device = open_writable(contents);
    for (std::uint32_t block = 0; block < kBlocks; ++block) {
        ASSERT_TRUE(write_sectors(*device, std::uint64_t{block} * 8, 1, 0x11));
        if (block >= vhd::DynamicDisk::kWaitingBlocks) {
            EXPECT_NE(table_entry(*contents, block - vhd::DynamicDisk::kWaitingBlocks), 0xFFFFFFFF) << block;
        }
    }
}

TEST(DynamicDisk, RoomForNewBlocksIsMadeWithoutWaitingForTheirData) {
    using Kind = testing::FileOperation::Kind;
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 8 * 30}));
    const auto operations = std::make_shared<testing::FileOperations>();
    const auto device = open_image(std::make_unique<testing::RecordingFile>(contents, operations), OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    for (std::uint32_t block = 0; block < 30; ++block) {
        ASSERT_TRUE(write_sectors(**device, std::uint64_t{block} * 8, 1, 0x11));
    }
    int footers = 0;
    for (std::size_t i = 0; i < operations->size(); ++i) {
        EXPECT_NE((*operations)[i].kind, Kind::Sync);
        if ((*operations)[i].kind == Kind::SyncLast) {
            ASSERT_GE(i, 1u);
            EXPECT_TRUE(vhd::is_intact_footer((*operations)[i - 1].bytes));
            ++footers;
        }
    }
    EXPECT_EQ(footers, 4);
}

TEST(DynamicDisk, CopyOfTheFooterAtTheStartIsNeverTouched) {
    const auto contents = MemoryContents::of(build_dynamic({.sectors = 256}));
    Bytes start = contents->bytes();
    start.resize(1536);
    start[300] = 0x5A;  // not even repaired
    ASSERT_TRUE(contents->write(300, std::span(start).subspan(300, 1)));
    {
        const auto device = open_writable(contents);
        ASSERT_TRUE(write_sectors(*device, 0, 256, 0x11));
    }
    Bytes after = contents->bytes();
    after.resize(1536);
    EXPECT_EQ(after, start);
}

class DynamicDiskAlignment : public ::testing::TestWithParam<std::uint32_t> {};

TEST_P(DynamicDiskAlignment, OfTheFileIsKept) {
    const std::uint32_t block_size = GetParam();
    const std::uint64_t sectors_per_block = block_size / 512;
    const auto contents = MemoryContents::of(
        build_dynamic({.sectors = sectors_per_block * 20, .block_size = block_size, .aligned = true, .blocks = {{3}}}));
    ASSERT_EQ(contents->size % 4096, 0u);
    {
        const auto device = open_writable(contents);
        for (std::uint64_t block = 0; block < 20; block += 2) {
            ASSERT_TRUE(write_sectors(*device, block * sectors_per_block, 1, static_cast<std::uint8_t>(block + 1)));
        }
    }
    EXPECT_EQ(contents->size % 4096, 0u);
    for (std::uint32_t block = 0; block < 20; block += 2) {
        EXPECT_EQ((table_entry(*contents, block) * std::uint64_t{512} + vhd::bitmap_bytes(block_size)) % 4096, 0u);
    }
    const auto device = open_writable(contents);
    for (std::uint64_t block = 0; block < 20; block += 2) {
        EXPECT_EQ(read_sectors(*device, block * sectors_per_block, 1),
                  filled_sectors(1, static_cast<std::uint8_t>(block + 1)));
        if (sectors_per_block > 1) {
            EXPECT_EQ(read_sectors(*device, block * sectors_per_block + 1, sectors_per_block - 1),
                      filled_sectors(sectors_per_block - 1, 0));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, DynamicDiskAlignment, ::testing::Values(512u, 4096u, 0x80000u, 0x800000u));

TEST(DynamicDisk, WhatALostBlockLeftBehindIsZeroedBeforeItsPlaceIsUsedAgain) {
    Bytes bytes = build_dynamic({.sectors = 256, .blocks = {{0}}});
    const Bytes footer(bytes.end() - 512, bytes.end());
    bytes.erase(bytes.end() - 512, bytes.end());
    bytes.resize(bytes.size() + 3000 * 3, 0xEE);
    bytes.resize((bytes.size() + 511) / 512 * 512, 0xEE);
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    const auto contents = MemoryContents::of(bytes);
    const auto device = open_writable(contents);
    for (std::uint64_t sector = 11; sector < 256; sector += 8) {
        ASSERT_TRUE(write_sectors(*device, sector, 1, 0x44));
    }
    for (std::uint64_t sector = 11; sector < 256; sector += 8) {
        EXPECT_EQ(read_sectors(*device, sector - 3, 3), filled_sectors(3, 0));
        EXPECT_EQ(read_sectors(*device, sector + 1, 4), filled_sectors(4, 0));
    }
}

TEST(DynamicDisk, WhatFollowsTheTableOfAnImageWithoutBlocksIsKept) {
    Bytes bytes = build_dynamic({.sectors = 64});
    const Bytes footer(bytes.end() - 512, bytes.end());
    bytes.erase(bytes.end() - 512, bytes.end());
    const std::size_t unknown = bytes.size();
    bytes.resize(unknown + 1024, 0xBA);
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    const auto contents = MemoryContents::of(bytes);
    ASSERT_TRUE(write_sectors(*open_writable(contents), 5, 1, 0x44));
    const Bytes after = contents->bytes();
    EXPECT_EQ(Bytes(after.begin() + static_cast<std::ptrdiff_t>(unknown),
                    after.begin() + static_cast<std::ptrdiff_t>(unknown) + 1024),
              Bytes(1024, 0xBA));
}

TEST(DynamicDisk, LargestDiskTheFormatAllowsOpensAndTakesItsLastSector) {
    const std::uint64_t sectors = vhd::kMaxDiskSize / 512;
    const auto contents = MemoryContents::of(build_dynamic({.sectors = sectors, .block_size = vhd::kDefaultBlockSize}));
    {
        const auto device = open_writable(contents);
        ASSERT_EQ(device->sectors(), 0xFF000000u);
        ASSERT_TRUE(write_sectors(*device, sectors - 1, 1, 0x77));
    }
    const auto again = open_writable(contents);
    EXPECT_EQ(read_sectors(*again, sectors - 1, 1), filled_sectors(1, 0x77));
}

TEST(DynamicDisk, RefusesABlockThatWouldStartBeyondWhatTheTableCanHold) {
    Bytes bytes = build_dynamic({.sectors = 64, .blocks = {{0}}});
    const Bytes footer(bytes.end() - 512, bytes.end());
    const auto contents = MemoryContents::of(bytes);
    // The last block that fits: its start can be written into the table, the next one's cannot.
    const std::uint64_t last = std::uint64_t{0xFFFFFFFE} - 8;
    Bytes entry(4);
    vhd::store_big_endian(entry, 0, static_cast<std::uint32_t>(last));
    contents->write(1536 + 4, entry);
    contents->write((last + 9) * 512, footer);
    const auto device = open_writable(contents);
    const Status status = write_sectors(*device, 20, 1, 0x11);
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::NoSpace);
    EXPECT_TRUE(device->flush());
}

TEST(DynamicDisk, ManyPartialBitmapsDoNotWaitForeverForAFlush) {
    DynamicImage image = {.sectors = 8 * 200};
    for (std::uint32_t block = 0; block < 200; ++block) {
        image.blocks.push_back({block, 0x80});
    }
    const auto contents = MemoryContents::of(build_dynamic(image));
    const auto device = open_writable(contents);
    for (std::uint64_t block = 0; block < 200; ++block) {
        ASSERT_TRUE(write_sectors(*device, block * 8 + 7, 1, 0x99));
    }
    const Bytes bytes = contents->bytes();
    EXPECT_EQ(bytes[std::size_t{table_entry(*contents, 0)} * 512], 0x81);
    for (std::uint64_t block = 0; block < 200; ++block) {
        ASSERT_EQ(read_sectors(*device, block * 8 + 6, 2)[0], 0);
        ASSERT_EQ(read_sectors(*device, block * 8 + 6, 2)[512], 0x99);
    }
}

struct RandomCase {
    std::uint32_t block_size;
    bool aligned;
    std::uint8_t bitmap;
};

class DynamicDiskRandom : public ::testing::TestWithParam<RandomCase> {};

TEST_P(DynamicDiskRandom, OperationsAgreeWithAModelAlsoWhenOpenedAgain) {
    const RandomCase& parameters = GetParam();
    const std::uint64_t sectors = 1003;
    const testing::TemporaryFolder folder;
    DynamicImage image = {.sectors = sectors, .block_size = parameters.block_size, .aligned = parameters.aligned};
    const auto blocks = static_cast<std::uint32_t>(vhd::needed_table_entries(sectors * 512, parameters.block_size));
    Bytes model(sectors * 512);
    for (std::uint32_t block = 0; block < blocks; block += 3) {
        image.blocks.insert(image.blocks.begin(), BuiltBlock{block, parameters.bitmap});
    }
    const auto path = folder.write("disk.vhd", build_dynamic(image));
    auto device = open_image(path, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    ASSERT_TRUE((*device)->read(0, Buffer(model)));

    std::mt19937 random(parameters.block_size + parameters.bitmap);
    for (int step = 0; step < 1500; ++step) {
        const std::uint64_t sector = random() % sectors;
        const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(sectors - sector, 1 + random() % 60);
        const auto place = model.begin() + static_cast<std::ptrdiff_t>(sector * 512);
        switch (random() % 16) {
            case 0:
                ASSERT_TRUE((*device)->flush());
                break;
            case 1:
                device->reset();
                device = open_image(path, OpenMode::ReadWrite);
                ASSERT_TRUE(device.has_value()) << device.error().message;
                break;
            case 2:
                ASSERT_TRUE(write_sectors(**device, sector, count, 0));
                std::fill_n(place, count * 512, std::uint8_t{0});
                break;
            case 3:
            case 4:
            case 5:
            case 6: {
                Bytes bytes(count * 512);
                std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
                const std::size_t cut = random() % (count + 1) * 512;
                const std::array<ConstBuffer, 2> buffers = {ConstBuffer(bytes).first(cut),
                                                            ConstBuffer(bytes).subspan(cut)};
                ASSERT_TRUE((*device)->write(sector, buffers));
                std::copy(bytes.begin(), bytes.end(), place);
                break;
            }
            default:
                ASSERT_EQ(read_sectors(**device, sector, count),
                          Bytes(place, place + static_cast<std::ptrdiff_t>(count * 512)));
        }
    }
    device->reset();
    device = open_image(path, OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ(read_sectors(**device, 0, sectors), model);
}

INSTANTIATE_TEST_SUITE_P(Layouts, DynamicDiskRandom,
                         ::testing::Values(RandomCase{512, false, 0xFF}, RandomCase{4096, false, 0xFF},
                                           RandomCase{4096, true, 0x5A}, RandomCase{32768, false, 0x37},
                                           RandomCase{32768, true, 0xFF}, RandomCase{0x200000, false, 0xFF}));

}  // namespace
}  // namespace vpc::disk
