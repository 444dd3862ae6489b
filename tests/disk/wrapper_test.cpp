#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "disk/operations/guest_view.h"
#include "disk/undo_overlay.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::built_byte;
using testing::filled_sectors;
using testing::MemoryContents;
using testing::open_bytes;
using testing::open_contents;
using testing::read_sectors;
using testing::write_sectors;

using Bytes = std::vector<std::uint8_t>;

TEST(UndoOverlay, TakesWritesAndLeavesTheImageAsItWas) {
    const testing::TemporaryFolder folder;
    const Bytes before = build_fixed(300);
    const auto path = folder.write("image.vhd", before);
    {
        auto base = open_image(path, OpenMode::ReadOnly);
        ASSERT_TRUE(base.has_value());
        const auto overlay = discard_changes(std::move(*base));
        ASSERT_TRUE(overlay.has_value());
        BlockDevice& device = **overlay;
        EXPECT_FALSE(device.read_only());
        EXPECT_EQ(device.sectors(), 300u);
        EXPECT_EQ(device.geometry(), vhd::geometry_for(300));
        EXPECT_EQ(device.unique_id()[0], 0xA0);
        ASSERT_TRUE(write_sectors(device, 100, 2, 0xEE));
        ASSERT_TRUE(write_sectors(device, 299, 1, 0));
        EXPECT_TRUE(device.flush());
        EXPECT_EQ(read_sectors(device, 99, 1), filled_sectors(1, built_byte(99)));
        EXPECT_EQ(read_sectors(device, 100, 2), filled_sectors(2, 0xEE));
        EXPECT_EQ(read_sectors(device, 102, 1), filled_sectors(1, built_byte(102)));
        EXPECT_EQ(read_sectors(device, 299, 1), filled_sectors(1, 0));
        EXPECT_EQ(write_sectors(device, 299, 2, 1).error().code, ErrorCode::OutOfRange);
        EXPECT_EQ(read_sectors(device, 299, 2), Bytes());
    }
    EXPECT_EQ(testing::TemporaryFolder::read(path), before);
}

TEST(UndoOverlay, TwoMachinesCanUseOneImage) {
    const testing::TemporaryFolder folder;
    const auto path = folder.write("image.vhd", build_fixed(300));
    auto first = discard_changes(*open_image(path, OpenMode::ReadOnly));
    auto second = discard_changes(*open_image(path, OpenMode::ReadOnly));
    ASSERT_TRUE(first.has_value() && second.has_value());
    ASSERT_TRUE(write_sectors(**first, 5, 1, 0x11));
    EXPECT_EQ(read_sectors(**second, 5, 1), filled_sectors(1, built_byte(5)));
}

TEST(UndoOverlay, AgreesWithAModelOverADynamicDisk) {
    constexpr std::uint64_t kSectors = 70'000;  // more than two pages of bits
    auto base = open_bytes(build_dynamic({.sectors = kSectors, .block_size = 0x8000, .blocks = {{3}, {1, 0x55}}}),
                           OpenMode::ReadOnly);
    ASSERT_TRUE(base.has_value());
    Bytes model = read_sectors(**base, 0, kSectors);
    const auto overlay = discard_changes(std::move(*base));
    ASSERT_TRUE(overlay.has_value());
    std::mt19937 random(5);
    for (int step = 0; step < 400; ++step) {
        // Half of them where a page of bits ends.
        const std::uint64_t sector = step % 2 == 0 ? random() % (kSectors - 64) : 32768 - 32 + random() % 32;
        const std::uint64_t count = 1 + random() % 64;
        if (random() % 2 == 0) {
            const auto byte = static_cast<std::uint8_t>(random());
            ASSERT_TRUE(write_sectors(**overlay, sector, count, byte));
            std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(sector * 512), count * 512, byte);
        } else {
            ASSERT_EQ(read_sectors(**overlay, sector, count),
                      Bytes(model.begin() + static_cast<std::ptrdiff_t>(sector * 512),
                            model.begin() + static_cast<std::ptrdiff_t>((sector + count) * 512)));
        }
    }
    EXPECT_EQ(read_sectors(**overlay, 0, kSectors), model);
}

/// A fixed VHD of 2048 sectors whose geometry reaches 2040, of this creator, with one partition up to `partition_end`.
std::unique_ptr<BlockDevice> made_by(const char (&creator)[5], std::uint32_t partition_end,
                                     Geometry geometry = vhd::geometry_for(2048)) {
    Bytes bytes = build_fixed(2048);
    vhd::Footer footer = vhd::parse_footer(std::span(bytes).last(512));
    std::copy_n(creator, 4, footer.creator_application.begin());
    footer.disk_geometry = geometry;
    const auto footer_bytes = vhd::serialise(footer);
    std::copy(footer_bytes.begin(), footer_bytes.end(), bytes.end() - 512);
    std::fill_n(bytes.begin(), 512, std::uint8_t{0});
    if (partition_end != 0) {
        bytes[0x1CE + 4] = 0x06;
        bytes[0x1CE + 8] = 17;
        bytes[0x1CE + 12] = static_cast<std::uint8_t>(partition_end - 17);
        bytes[0x1CE + 13] = static_cast<std::uint8_t>((partition_end - 17) >> 8);
        bytes[510] = 0x55;
        bytes[511] = 0xAA;
    }
    auto view = guest_view(*open_bytes(bytes, OpenMode::ReadWrite));
    return view ? std::move(*view) : nullptr;
}

TEST(GuestView, OfADiskByVirtualPcEndsWithItsGeometry) {
    ASSERT_EQ(vhd::sectors_in(vhd::geometry_for(2048)), 2040u);
    for (const auto& device : {made_by("vpc ", 0), made_by("vs  ", 2040)}) {
        ASSERT_NE(device, nullptr);
        EXPECT_EQ(device->sectors(), 2040u);
        EXPECT_EQ(device->geometry(), vhd::geometry_for(2048));
        EXPECT_TRUE(write_sectors(*device, 2039, 1, 0x11));
        EXPECT_EQ(read_sectors(*device, 2039, 1), filled_sectors(1, 0x11));
        EXPECT_EQ(write_sectors(*device, 2039, 2, 0x11).error().code, ErrorCode::OutOfRange);
        EXPECT_EQ(read_sectors(*device, 2040, 1), Bytes());
        EXPECT_EQ(device->discard(2040, 1).error().code, ErrorCode::OutOfRange);
        EXPECT_TRUE(device->flush());
    }
}

TEST(GuestView, NeverCutsAPartition) {
    EXPECT_EQ(made_by("vpc ", 2041)->sectors(), 2048u);
}

TEST(GuestView, OfOtherDisksIsTheWholeDisk) {
    EXPECT_EQ(made_by("win ", 0)->sectors(), 2048u);
    EXPECT_EQ(made_by("qemu", 0)->sectors(), 2048u);
    EXPECT_EQ(made_by("vpc ", 0, vhd::kSaturatedGeometry)->sectors(), 2048u);
    EXPECT_EQ(made_by("vpc ", 0, {})->sectors(), 2048u);
    const auto raw = guest_view(*open_bytes(Bytes(512 * 2048), OpenMode::ReadOnly));
    ASSERT_TRUE(raw.has_value());
    EXPECT_EQ((*raw)->sectors(), 2048u);
}

}  // namespace
}  // namespace vpc::disk
