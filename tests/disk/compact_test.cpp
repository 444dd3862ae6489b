#include "disk/operations/compact.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <tuple>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/convert.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/stopping_operation.h"
#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::built_byte;
using testing::DynamicImage;
using testing::FileOperations;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_contents;
using testing::read_sectors;
using testing::RecordingFile;
using testing::StoppingOperation;
using testing::TemporaryFolder;

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 400;  // 50 blocks of 8 sectors

/// Blocks in a random order in the file; of some every sector is unwritten, of some zeros have been written.
std::shared_ptr<MemoryContents> make_image(bool aligned, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::uint32_t> order(50);
    for (std::uint32_t i = 0; i < order.size(); ++i) {
        order[i] = i;
    }
    std::shuffle(order.begin(), order.end(), random);
    order.resize(30);
    DynamicImage image = {.sectors = kSectors, .aligned = aligned};
    for (const std::uint32_t block : order) {
        image.blocks.push_back({block, static_cast<std::uint8_t>(random() % 3 == 0 ? 0 : 0xFF)});
    }
    auto contents = MemoryContents::of(build_dynamic(image));
    const auto device = open_contents(contents, OpenMode::ReadWrite);
    for (const std::uint32_t block : order) {
        if (random() % 3 == 0) {
            EXPECT_TRUE(testing::write_sectors(**device, std::uint64_t{block} * 8, 8, 0));
        }
    }
    EXPECT_TRUE((*device)->flush());
    return contents;
}

Bytes contents_of(const std::shared_ptr<MemoryContents>& image) {
    const auto device = open_contents(image, OpenMode::ReadOnly);
    return device ? read_sectors(**device, 0, (*device)->sectors()) : Bytes();
}

std::uint64_t data_blocks(const Bytes& disk) {
    std::uint64_t count = 0;
    for (auto at = disk.begin(); at < disk.end(); at += 4096) {
        count += std::any_of(at, at + 4096, [](std::uint8_t byte) { return byte != 0; }) ? 1 : 0;
    }
    return count;
}

Result<Compaction> compact_file(std::unique_ptr<File> file, const Operation& operation) {
    auto device = open_image(std::move(file), OpenMode::ReadWrite);
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    return compact(dynamic_cast<vhd::DynamicDisk&>(**device), {}, operation);
}

class Compact : public ::testing::TestWithParam<std::tuple<bool, std::uint32_t>> {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
};

TEST_P(Compact, LeavesBlocksWithDataOnlyAndNoGaps) {
    const auto [aligned, seed] = GetParam();
    const auto image = make_image(aligned, seed);
    const Bytes before = contents_of(image);
    const std::uint64_t size_before = image->size;
    const auto result = compact_file(std::make_unique<MemoryFile>(image), {});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_EQ(result->size_before, size_before);
    EXPECT_EQ(result->size_after, image->size);
    EXPECT_EQ(contents_of(image), before);
    // Footer copy, header and a table of a sector, then slots.
    const std::uint64_t slot = aligned ? 8192 : 512 + 4096;
    const std::uint64_t expected =
        aligned ? 4096 + data_blocks(before) * slot : 2048 + data_blocks(before) * slot + 512;
    EXPECT_EQ(image->size, expected);
    const auto again = compact_file(std::make_unique<MemoryFile>(image), {});
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->size_after, expected) << "nothing left to do";
    const auto device = open_contents(image, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    EXPECT_TRUE(testing::write_sectors(**device, 0, kSectors, 3));
    EXPECT_EQ(read_sectors(**device, 0, kSectors), testing::filled_sectors(kSectors, 3));
}

TEST_P(Compact, APowerFailureAtAnyMomentLosesNothing) {
    const auto [aligned, seed] = GetParam();
    const auto image = make_image(aligned, seed);
    const MemoryContents before = *image;
    const Bytes expected = contents_of(image);
    const auto operations = std::make_shared<FileOperations>();
    ASSERT_TRUE(compact_file(std::make_unique<RecordingFile>(image, operations), {}));
    const auto report = testing::simulate_crashes(
        before, *operations, seed, [](const auto&) {},
        [&](const MemoryContents& left) -> std::string {
            const auto copy = std::make_shared<MemoryContents>(left);
            if (contents_of(copy) != expected) {
                return "wrong contents";
            }
            if (const auto again = compact_file(std::make_unique<MemoryFile>(copy), {}); !again) {
                return "cannot be compacted again: " + again.error().message;
            }
            if (contents_of(copy) != expected || copy->size != image->size) {
                return "wrong after compacting again";
            }
            return "";
        });
    EXPECT_EQ(report.wrong, "");
    EXPECT_GT(report.states, 100);
    std::cout << "compact: " << report.states << " crash points, lost writes 0, unopenable images 0\n";
}

TEST_P(Compact, CancelledAnywhereKeepsTheContents) {
    const auto [aligned, seed] = GetParam();
    const auto original = make_image(aligned, seed);
    const Bytes expected = contents_of(original);
    for (int stop_at = 1;; ++stop_at) {
        const auto image = std::make_shared<MemoryContents>(*original);
        StoppingOperation operation(stop_at);
        const auto result = compact_file(std::make_unique<MemoryFile>(image), operation.get());
        ASSERT_EQ(contents_of(image), expected);
        ASSERT_TRUE(open_contents(image, OpenMode::ReadWrite).has_value());
        if (result) {
            EXPECT_GT(stop_at, 5);
            break;
        }
        ASSERT_EQ(result.error().code, ErrorCode::Cancelled);
    }
}

/// Fails at the n-th write, truncation or barrier.
class FailingFile final : public MemoryFile {
  public:
    FailingFile(std::shared_ptr<MemoryContents> contents, int calls) : MemoryFile(std::move(contents)), calls_(calls) {}
    using MemoryFile::write;
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        return calls_-- > 0 ? MemoryFile::write(offset, buffers) : fail(ErrorCode::NoSpace, "'memory' is full");
    }
    Status truncate(std::uint64_t size) override {
        return calls_-- > 0 ? MemoryFile::truncate(size) : fail(ErrorCode::IoError, "'memory' cannot be cut");
    }
    Status sync() override { return calls_-- > 0 ? Status() : fail(ErrorCode::IoError, "'memory' cannot be stored"); }

  private:
    int calls_;
};

TEST_P(Compact, AFailureOfTheHostIsReportedAndLosesNothing) {
    const auto [aligned, seed] = GetParam();
    const auto original = make_image(aligned, seed);
    const Bytes expected = contents_of(original);
    int calls = 0;
    for (;; ++calls) {
        const auto image = std::make_shared<MemoryContents>(*original);
        const auto result = compact_file(std::make_unique<FailingFile>(image, calls), {});
        ASSERT_EQ(contents_of(image), expected) << calls;
        ASSERT_TRUE(open_contents(image, OpenMode::ReadWrite).has_value()) << calls;
        if (result) {
            break;
        }
    }
    EXPECT_GT(calls, 10);
}

INSTANTIATE_TEST_SUITE_P(Images, Compact, ::testing::Combine(::testing::Bool(), ::testing::Values(1u, 2u, 3u)));

TEST(CompactFiles, RefusesWhatHasNoBlocksOrIsInUse) {
    const TemporaryFolder folder;
    const auto fixed = folder.write("fixed.vhd", testing::build_fixed(100));
    const auto raw = folder.write("disk.raw", Bytes(51200));
    const auto dynamic = folder.write("a.vhd", build_dynamic({.blocks = {{0}, {3}}}));
    for (const auto& path : {fixed, raw}) {
        const auto result = compact(path, {}, {});
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code, ErrorCode::Unsupported);
        EXPECT_NE(result.error().message.find(path.filename().string()), std::string::npos);
    }
    const Bytes before = TemporaryFolder::read(dynamic);
    {
        const auto user = open_image(dynamic, OpenMode::ReadOnly);
        EXPECT_EQ(compact(dynamic, {}, {}).error().code, ErrorCode::InUse);
    }
    EXPECT_EQ(TemporaryFolder::read(dynamic), before);
    EXPECT_TRUE(compact(dynamic, {}, {}));
    EXPECT_EQ(compact(folder / "missing.vhd", {}, {}).error().code, ErrorCode::NotFound);
}

/// A deleted file's data goes when the volume says so, and only then; the others stay, by the judgement of its own
/// tools.
TEST(CompactFiles, DropsWhatNoFileUsesWhenAsked) {
    if (!vpc::testing::installed("mkfs.fat mcopy mdel fsck.fat")) {
        GTEST_SKIP() << "dosfstools or mtools are not installed";
    }
    const TemporaryFolder folder;
    std::mt19937 random(4);
    for (const char* name : {"f1", "f2", "f3"}) {
        Bytes bytes(6 << 20);
        std::generate(bytes.begin(), bytes.end(), [&random] { return static_cast<std::uint8_t>(random()); });
        folder.write(name, bytes);
    }
    folder.write("disk.raw", {});
    std::filesystem::resize_file(folder / "disk.raw", 32 << 20);
    const auto made = vpc::testing::shell("cd " + folder.path().string() +
                                          " && mkfs.fat -F 16 disk.raw && mcopy -i disk.raw f1 f2 f3 ::/ && "
                                          "mdel -i disk.raw ::/f2");
    ASSERT_EQ(made.status, 0) << made.output;
    const auto image = folder / "disk.vhd";
    ASSERT_TRUE(convert(folder / "disk.raw", {.file = image}, {}));
    const auto unchanged = compact(image, {}, {});
    ASSERT_TRUE(unchanged.has_value());
    EXPECT_EQ(unchanged->size_after, unchanged->size_before);
    const auto result = compact(image, {.free_space = true}, {});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    ASSERT_EQ(result->free_space.volumes.size(), 1u);
    EXPECT_EQ(result->free_space.volumes[0].file_system, "FAT16");
    EXPECT_LE(result->size_after, result->size_before - (2 << 20) * 2);
    ASSERT_TRUE(convert(image, {.file = folder / "after.raw", .type = ImageType::Raw}, {}));
    const auto checked = vpc::testing::shell("cd " + folder.path().string() +
                                             " && fsck.fat -n after.raw && mcopy -i after.raw ::/f1 g1 && "
                                             "mcopy -i after.raw ::/f3 g3 && cmp f1 g1 && cmp f3 g3");
    EXPECT_EQ(checked.status, 0) << checked.output;
}

/// An image without any data becomes as small as a new one.
TEST(CompactFiles, AnEmptyDiskKeepsNoBlock) {
    for (const bool aligned : {false, true}) {
        const auto image = MemoryContents::of(build_dynamic({.aligned = aligned, .blocks = {{5, 0}, {2, 0}}}));
        ASSERT_TRUE(compact_file(std::make_unique<MemoryFile>(image), {}));
        EXPECT_EQ(image->size, aligned ? 4096u : 2048u + 512u);
        EXPECT_TRUE(open_contents(image, OpenMode::ReadWrite).has_value());
    }
}

}  // namespace
}  // namespace vpc::disk
