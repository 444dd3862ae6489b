// Images with a great many small blocks: nothing may take the time of one block multiplied by another.
#include <gtest/gtest.h>

#include <memory>

#include "disk/operations/operation.h"
#include "disk/vhd/examination.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_child;
using testing::build_dynamic;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_contents;

/// A dynamic image in blocks of one sector, of which every second is stored: all in one hole of the file, so that their
/// bitmaps call them unwritten.
std::shared_ptr<MemoryContents> every_second_block(std::uint32_t blocks) {
    constexpr std::uint32_t kTable = 1536;  // where build_dynamic() has it
    constexpr std::uint32_t kSlotSectors = 2;
    auto bytes = build_dynamic({.sectors = blocks, .block_size = kSectorSize});
    const std::vector<std::uint8_t> footer(bytes.end() - vhd::kFooterSize, bytes.end());
    bytes.resize(bytes.size() - vhd::kFooterSize);
    auto sector = static_cast<std::uint32_t>((bytes.size() + MemoryContents::kPage) / kSectorSize);
    for (std::uint32_t block = 0; block < blocks; block += 2, sector += kSlotSectors) {
        vhd::store_big_endian(bytes, kTable + std::size_t{block} * 4, sector);
    }
    auto contents = MemoryContents::of(bytes);
    contents->write(std::uint64_t{sector} * kSectorSize, footer);
    return contents;
}

/// Counts what the host is asked.
class CountingFile final : public MemoryFile {
  public:
    CountingFile(std::shared_ptr<MemoryContents> contents, int& calls)
        : MemoryFile(std::move(contents)), calls_(calls) {}
    using MemoryFile::read;
    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override {
        ++calls_;
        return MemoryFile::read(offset, buffers);
    }
    Result<FileExtent> extent(std::uint64_t offset, std::uint64_t limit) override {
        ++calls_;
        return MemoryFile::extent(offset, limit);
    }

  private:
    int& calls_;
};

TEST(ManyBlocks, InOneHoleAreNotReadOneByOneByACheck) {
    int calls = 0;
    CountingFile file(every_second_block(100'000), calls);
    WorkMeter meter({}, 1);
    const auto examination = vhd::examine(file, false, meter);
    ASSERT_TRUE(examination.has_value()) << examination.error().message;
    EXPECT_TRUE(examination->report.clean());
    EXPECT_LT(calls, 100);
}

TEST(ManyBlocks, DataBetweenHolesIsFoundByACheck) {
    const auto contents = every_second_block(2000);
    // What the last but one of the stored blocks holds, whose bitmap says that it holds nothing.
    contents->write(contents->size - vhd::kFooterSize - 2 * 1024 + 512, std::vector<std::uint8_t>(512, 7));
    MemoryFile file(contents);
    WorkMeter meter({}, 1);
    const auto examination = vhd::examine(file, false, meter);
    ASSERT_TRUE(examination.has_value()) << examination.error().message;
    ASSERT_EQ(examination->report.findings.size(), 1u);
    EXPECT_EQ(examination->report.findings[0].kind, FindingKind::BitmapIncomplete);
}

/// Were all of the child's missing blocks looked at for each run of the parent, this would take an hour.
TEST(ManyBlocks, OfAParentAreWalkedThroughOnce) {
    constexpr std::uint32_t kBlocks = 1 << 20;
    const auto child = open_image(
        std::make_unique<MemoryFile>(MemoryContents::of(build_child({.sectors = kBlocks, .block_size = kSectorSize}))),
        OpenMode::ReadOnly, *open_contents(every_second_block(kBlocks), OpenMode::ReadOnly));
    ASSERT_TRUE(child.has_value()) << child.error().message;
    std::uint32_t runs = 0;
    for (std::uint64_t sector = 0; sector < kBlocks; ++runs) {
        const auto run = (*child)->extent(sector, kBlocks - sector);
        ASSERT_TRUE(run.has_value()) << run.error().message;
        ASSERT_FALSE(run->data);
        sector += run->sectors;
    }
    EXPECT_EQ(runs, kBlocks);
}

}  // namespace
}  // namespace vpc::disk
