#include "disk/operations/merge.h"

#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/compact.h"
#include "disk/operations/compare.h"
#include "disk/operations/create.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/stopping_operation.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::FileOperations;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_contents;
using testing::read_sectors;
using testing::RecordingFile;
using testing::StoppingOperation;
using testing::TemporaryFolder;

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 400;

/// Runs of sectors with one byte each, some of them zeros over data.
void scribble(const std::filesystem::path& image, std::uint32_t seed) {
    const auto device = open_image(image, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    std::mt19937 random(seed);
    for (int i = 0; i < 25; ++i) {
        const std::uint64_t sector = random() % (*device)->sectors();
        const std::uint64_t count = 1 + random() % std::min<std::uint64_t>(20, (*device)->sectors() - sector);
        const auto byte = static_cast<std::uint8_t>(random() % 4 == 0 ? 0 : random());
        ASSERT_TRUE(testing::write_sectors(**device, sector, count, byte));
    }
    ASSERT_TRUE((*device)->flush());
}

Bytes contents_of(const std::filesystem::path& image) {
    const auto device = open_image(image, OpenMode::ReadOnly);
    EXPECT_TRUE(device.has_value()) << device.error().message;
    return device ? read_sectors(**device, 0, (*device)->sectors()) : Bytes();
}

/// A root of each type under two differencing images.
class Chain : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        const std::string type = GetParam();
        root_ =
            folder_.write("root.vhd", type == "raw"     ? Bytes(kSectors * 512, 9)
                                      : type == "fixed" ? build_fixed(kSectors)
                                                        : build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}}}));
        middle_ = make_child("middle.vhd", root_);
        scribble(middle_, 1);
        leaf_ = make_child("leaf.vhd", middle_);
        scribble(leaf_, 2);
        expected_ = contents_of(leaf_);
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    std::filesystem::path make_child(const std::string& name, const std::filesystem::path& parent) {
        const auto status = create_image(
            {.file = folder_ / name, .type = ImageType::Differencing, .parent = parent, .block_size = 4096}, {});
        EXPECT_TRUE(status.has_value()) << status.error().message;
        return folder_ / name;
    }

    TemporaryFolder folder_;
    std::filesystem::path root_;
    std::filesystem::path middle_;
    std::filesystem::path leaf_;
    Bytes expected_;
};

TEST_P(Chain, MergesTheChildIntoItsParent) {
    const Bytes root = TemporaryFolder::read(root_);
    const auto status = merge(leaf_, {}, {});
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_FALSE(std::filesystem::exists(leaf_));
    EXPECT_EQ(contents_of(middle_), expected_);
    EXPECT_EQ(TemporaryFolder::read(root_), root) << "the grandparent is not touched";
    ASSERT_TRUE(merge(middle_, {}, {}));
    EXPECT_EQ(contents_of(root_), expected_);
    EXPECT_EQ(merge(root_, {}, {}).error().code, ErrorCode::Unsupported);
}

TEST_P(Chain, LeavesAnotherNameOfTheChildAlone) {
    const TemporaryFolder elsewhere;
    const auto kept = elsewhere / "kept.vhd";
    std::error_code error;
    std::filesystem::create_hard_link(leaf_, kept, error);
    if (error) {
        GTEST_SKIP() << "no hard links here: " << error.message();
    }
    const Bytes before = TemporaryFolder::read(kept);
    ASSERT_TRUE(merge(leaf_, {}, {}));
    EXPECT_FALSE(std::filesystem::exists(leaf_));
    EXPECT_EQ(TemporaryFolder::read(kept), before);
}

TEST_P(Chain, MergesAllIntoTheRoot) {
    double last = -1;
    const Operation operation = {.progress = [&last](const Progress& progress) {
        const double part = static_cast<double>(progress.done) / static_cast<double>(progress.total);
        EXPECT_GE(part, last);
        last = part;
    }};
    const auto status = merge(leaf_, {.all = true, .keep_children = true}, operation);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(last, 1);
    EXPECT_EQ(contents_of(root_), expected_);
    EXPECT_TRUE(std::filesystem::exists(leaf_));
    ASSERT_TRUE(merge(leaf_, {.all = true}, {})) << "again";
    EXPECT_FALSE(std::filesystem::exists(leaf_));
    EXPECT_FALSE(std::filesystem::exists(middle_));
    EXPECT_EQ(contents_of(root_), expected_);
}

TEST_P(Chain, MergesToANewImageAndLeavesTheChainAlone) {
    const Bytes before = TemporaryFolder::read(leaf_);
    for (const ImageType type : {ImageType::Raw, ImageType::Fixed, ImageType::Dynamic}) {
        const auto target = folder_ / "new.vhd";
        ASSERT_TRUE(merge_to(leaf_, {}, {.file = target, .type = type, .overwrite = true}, {}));
        EXPECT_EQ(contents_of(target), expected_);
    }
    EXPECT_EQ(TemporaryFolder::read(leaf_), before);
    EXPECT_EQ(contents_of(leaf_), expected_);
}

TEST_P(Chain, IsNotMergedUnderOtherChildren) {
    const auto other = make_child("other.vhd", middle_);
    const Bytes before = TemporaryFolder::read(middle_);
    const auto status = merge(leaf_, {}, {});
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::InUse);
    EXPECT_NE(status.error().message.find("other.vhd"), std::string::npos) << status.error().message;
    EXPECT_EQ(TemporaryFolder::read(middle_), before);
    EXPECT_EQ(merge(middle_, {}, {}).error().code, ErrorCode::InUse) << "nor away from its own";
    EXPECT_TRUE(merge(leaf_, {.allow_other_children = true}, {}));
}

TEST_P(Chain, IsNotMergedWhileItIsInUse) {
    for (const auto& path : {leaf_, middle_}) {
        const auto user = open_file(path, OpenMode::ReadOnly);
        ASSERT_TRUE((*user)->lock(LockKind::Shared));
        EXPECT_EQ(merge(leaf_, {}, {}).error().code, ErrorCode::InUse);
    }
    EXPECT_EQ(contents_of(leaf_), expected_);
}

TEST_P(Chain, CancelledAnywhereTheChildStillHoldsItsDisk) {
    int cancelled = 0;
    while (true) {
        StoppingOperation operation(cancelled + 1);
        const auto status = merge(leaf_, {.all = true}, operation.get());
        if (status) {
            break;
        }
        ASSERT_EQ(status.error().code, ErrorCode::Cancelled) << status.error().message;
        ASSERT_EQ(contents_of(leaf_), expected_);
        ++cancelled;
    }
    EXPECT_GT(cancelled, 5);
    EXPECT_EQ(contents_of(root_), expected_);
}

TEST_P(Chain, CompactingDropsWhatTheParentHoldsToo) {
    {
        const auto child = open_image(leaf_, OpenMode::ReadWrite);
        const auto parent = open_image(middle_, OpenMode::ReadOnly);
        ASSERT_TRUE(child.has_value());
        ASSERT_TRUE(parent.has_value());
        // The first half becomes what the parent holds, stored once more; one block zeros where the parent has data.
        ASSERT_TRUE((*child)->write(0, ConstBuffer(read_sectors(**parent, 0, 200))));
        ASSERT_TRUE(testing::write_sectors(**child, 3 * 8, 8, 0));
        ASSERT_TRUE((*child)->flush());
    }
    expected_ = contents_of(leaf_);
    const auto result = compact(leaf_, {}, {});
    ASSERT_TRUE(result.has_value()) << result.error().message;
    EXPECT_LT(result->size_after + 20 * 4096, result->size_before);
    EXPECT_EQ(contents_of(leaf_), expected_);
}

INSTANTIATE_TEST_SUITE_P(Roots, Chain, ::testing::Values("raw", "fixed", "dynamic"),
                         [](const auto& root) { return std::string(root.param); });

/// A differencing image and its dynamic parent, as files in memory.
class MergeInMemory : public ::testing::Test {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        const TemporaryFolder folder;
        const auto parent =
            folder.write("parent.vhd", build_dynamic({.sectors = kSectors, .blocks = {{3}, {9, 0x3C}, {20}}}));
        const auto child = folder / "child.vhd";
        ASSERT_TRUE(
            create_image({.file = child, .type = ImageType::Differencing, .parent = parent, .block_size = 4096}, {}));
        scribble(child, 7);
        expected_ = contents_of(child);
        parent_ = MemoryContents::of(TemporaryFolder::read(parent));
        child_ = MemoryContents::of(TemporaryFolder::read(child));
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    Status merge_into(std::unique_ptr<File> file) {
        auto parent = open_image(std::move(file), OpenMode::ReadWrite);
        if (!parent) {
            return tl::unexpected<Error>(parent.error());
        }
        // Only what the child has itself is read: any parent with the right id and size will do here.
        auto child = open_image(std::make_unique<MemoryFile>(child_), OpenMode::ReadOnly,
                                std::move(*open_contents(parent_, OpenMode::ReadOnly)));
        if (!child) {
            return tl::unexpected<Error>(child.error());
        }
        WorkMeter meter({}, 1);
        return merge_sectors(**child, 1, **parent, meter);
    }

    std::string inspect(const MemoryContents& left) {
        const auto copy = std::make_shared<MemoryContents>(left);
        {
            auto parent = open_contents(copy, OpenMode::ReadOnly);
            if (!parent) {
                return "the parent does not open: " + parent.error().message;
            }
            const auto child = open_image(std::make_unique<MemoryFile>(child_), OpenMode::ReadOnly, std::move(*parent));
            if (!child || read_sectors(**child, 0, kSectors) != expected_) {
                return "the child holds something else";
            }
        }
        if (auto again = merge_into(std::make_unique<MemoryFile>(copy)); !again) {
            return "cannot be merged again: " + again.error().message;
        }
        const auto merged = open_contents(copy, OpenMode::ReadOnly);
        return merged && read_sectors(**merged, 0, kSectors) == expected_ ? "" : "wrong after merging again";
    }

    std::shared_ptr<MemoryContents> parent_;
    std::shared_ptr<MemoryContents> child_;
    Bytes expected_;
};

TEST_F(MergeInMemory, APowerFailureAtAnyMomentLosesNothing) {
    const MemoryContents before = *parent_;
    const auto operations = std::make_shared<FileOperations>();
    const auto work = std::make_shared<MemoryContents>(*parent_);
    ASSERT_TRUE(merge_into(std::make_unique<RecordingFile>(work, operations)));
    const auto report = testing::simulate_crashes(
        before, *operations, 1, [](const auto&) {}, [this](const MemoryContents& left) { return inspect(left); });
    EXPECT_EQ(report.wrong, "");
    EXPECT_GT(report.states, 100);
    std::cout << "merge: " << report.states << " crash points, lost writes 0, unopenable images 0\n";
}

/// Fails at the n-th write or barrier.
class FailingFile final : public MemoryFile {
  public:
    FailingFile(std::shared_ptr<MemoryContents> contents, int calls) : MemoryFile(std::move(contents)), calls_(calls) {}
    using MemoryFile::write;
    Status write(std::uint64_t offset, std::span<const ConstBuffer> buffers) override {
        return calls_-- > 0 ? MemoryFile::write(offset, buffers) : fail(ErrorCode::NoSpace, "'memory' is full");
    }
    Status sync() override { return calls_-- > 0 ? Status() : fail(ErrorCode::IoError, "'memory' cannot be stored"); }

  private:
    int calls_;
};

TEST_F(MergeInMemory, AFullHostIsReportedAndTheChildStillHoldsItsDisk) {
    int calls = 0;
    for (;; ++calls) {
        const auto work = std::make_shared<MemoryContents>(*parent_);
        const auto status = merge_into(std::make_unique<FailingFile>(work, calls));
        ASSERT_EQ(inspect(*work), "") << calls;
        if (status) {
            break;
        }
    }
    EXPECT_GT(calls, 20);
}

}  // namespace
}  // namespace vpc::disk
