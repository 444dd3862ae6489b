// An independent program reads what this one writes, and writes what this one reads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::TemporaryFolder;

using Bytes = std::vector<std::uint8_t>;

/// Runs qemu-img and returns its exit status. The arguments need no quoting.
int qemu_img(const std::string& arguments) {
    return std::system(("qemu-img " + arguments + " >/dev/null 2>&1").c_str());
}

class QemuImg : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        if (qemu_img("--version") != 0) {
            GTEST_SKIP() << "qemu-img is not installed";
        }
    }

    std::string file(const std::string& name) const { return (folder_ / name).string(); }

    /// A raw disk with data here and there, and zeros between.
    Bytes make_raw(std::uint64_t sectors) {
        Bytes bytes(sectors * 512);
        for (std::uint64_t offset = 0; offset < bytes.size(); offset += 3 << 20) {
            const std::uint64_t end = std::min<std::uint64_t>(offset + 300'000, bytes.size());
            std::generate(bytes.begin() + static_cast<std::ptrdiff_t>(offset),
                          bytes.begin() + static_cast<std::ptrdiff_t>(end),
                          [this] { return static_cast<std::uint8_t>(random_()); });
        }
        folder_.write("disk.raw", bytes);
        return bytes;
    }

    TemporaryFolder folder_;
    std::mt19937 random_{11};
};

TEST_P(QemuImg, ImagesReadAsItWroteThemAndItReadsWhatIsWrittenHere) {
    constexpr std::uint64_t kSectors = 40 * 2048;
    Bytes model = make_raw(kSectors);
    ASSERT_EQ(qemu_img("convert -f raw -O vpc -o force_size=on," + std::string(GetParam()) + " " + file("disk.raw") +
                       " " + file("disk.vhd")),
              0);
    {
        const auto device = open_image(file("disk.vhd"), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        ASSERT_EQ((*device)->sectors(), kSectors);
        EXPECT_EQ(testing::read_sectors(**device, 0, kSectors), model);
        for (int step = 0; step < 200; ++step) {
            const std::uint64_t sector = random_() % (kSectors - 200);
            Bytes bytes((1 + random_() % 200) * 512);
            std::generate(bytes.begin(), bytes.end(), [this] { return static_cast<std::uint8_t>(random_()); });
            ASSERT_TRUE((*device)->write(sector, ConstBuffer(bytes)));
            std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(sector * 512));
            if (step % 50 == 20) {
                ASSERT_TRUE((*device)->flush());
            }
        }
    }
    folder_.write("disk.raw", model);
    EXPECT_EQ(qemu_img("compare -f raw -F vpc " + file("disk.raw") + " " + file("disk.vhd")), 0);
    ASSERT_EQ(qemu_img("convert -f vpc -O raw " + file("disk.vhd") + " " + file("back.raw")), 0);
    EXPECT_EQ(TemporaryFolder::read(folder_ / "back.raw"), model);
}

INSTANTIATE_TEST_SUITE_P(Types, QemuImg, ::testing::Values("subformat=fixed", "subformat=dynamic"));

TEST_F(QemuImg, WritesIntoADiskThatWasFilledHereAndTheOtherWayRound) {
    ASSERT_EQ(qemu_img("create -f vpc " + file("disk.vhd") + " 64M"), 0);
    std::uint64_t sectors = 0;
    {
        const auto device = open_image(file("disk.vhd"), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        sectors = (*device)->sectors();
        EXPECT_EQ(sectors, 131'104u) << "rounded up to whole cylinders, as qemu-img shows it";
        ASSERT_TRUE(testing::write_sectors(**device, sectors - 1, 1, 0x11));
        ASSERT_TRUE(testing::write_sectors(**device, 5000, 1, 0x22));
    }
    make_raw(2048);
    ASSERT_EQ(qemu_img("dd -f vpc -O raw bs=512 if=" + file("disk.vhd") + " of=" + file("all.raw")), 0);
    const Bytes all = TemporaryFolder::read(folder_ / "all.raw");
    ASSERT_EQ(all.size(), sectors * 512);
    EXPECT_EQ(all[(sectors - 1) * 512], 0x11);
    EXPECT_EQ(all[5000 * 512 + 511], 0x22);
    // qemu-img allocates behind what was written here.
    ASSERT_EQ(qemu_img("convert -n -f raw -O vpc --target-is-zero " + file("all.raw") + " " + file("disk.vhd")), 0);
    EXPECT_EQ(qemu_img("compare -f raw -F vpc " + file("all.raw") + " " + file("disk.vhd")), 0);
    const auto device = open_image(file("disk.vhd"), OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    EXPECT_EQ(testing::read_sectors(**device, 0, sectors), all);
}

TEST_F(QemuImg, ReadsAnImageWhoseBlocksWereAlignedHere) {
    const auto path = folder_.write(
        "disk.vhd", testing::build_dynamic(
                        {.sectors = 131'104, .block_size = vhd::kDefaultBlockSize, .aligned = true, .blocks = {{30}}}));
    {
        const auto device = open_image(path, OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        for (std::uint64_t sector = 77; sector < 131'104; sector += 9000) {
            ASSERT_TRUE(testing::write_sectors(**device, sector, 9, static_cast<std::uint8_t>(sector)));
        }
    }
    {
        const auto device = open_image(path, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        folder_.write("expected.raw", testing::read_sectors(**device, 0, 131'104));
    }
    EXPECT_EQ(qemu_img("compare -f raw -F vpc " + file("expected.raw") + " " + file("disk.vhd")), 0);
}

}  // namespace
}  // namespace vpc::disk
