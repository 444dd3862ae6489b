// Children that are larger than their parents are merged: the parent grows first.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/check.h"
#include "disk/operations/create.h"
#include "disk/operations/enlarge_parent.h"
#include "disk/operations/merge.h"
#include "disk/vhd/footer_search.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/stopping_operation.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::read_sectors;
using testing::StoppingOperation;
using testing::TemporaryFolder;
using testing::write_sectors;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 400;
/// More than a table of one sector has entries for, in blocks of 8 sectors.
constexpr std::uint64_t kLargerSectors = 5000;

/// A parent of each type under a child that is larger.
class LargerChild : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        const std::string type = GetParam();
        const Bytes bytes = type == "raw"     ? Bytes(kSectors * 512, 9)
                            : type == "fixed" ? build_fixed(kSectors)
                                              : build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}}});
        parent_ = folder_.write("parent.vhd", bytes);
        if (type == "differencing") {
            std::filesystem::rename(parent_, folder_ / "below.vhd");
            make_child("parent.vhd", folder_ / "below.vhd", 0);
        }
        child_ = make_child("child.vhd", parent_, kLargerSectors);
        const auto device = open_image(child_, OpenMode::ReadWrite);
        ASSERT_TRUE(write_sectors(**device, 20, 30, 0x42));
        ASSERT_TRUE(write_sectors(**device, kSectors + 3, 9, 0x43));
        ASSERT_TRUE(write_sectors(**device, kLargerSectors - 1, 1, 0x44));
        ASSERT_TRUE((*device)->flush());
        expected_ = read_sectors(**device, 0, kLargerSectors);
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    std::filesystem::path make_child(const std::string& name, const std::filesystem::path& parent,
                                     std::uint64_t sectors) {
        const auto status = create_image({.file = folder_ / name,
                                          .type = ImageType::Differencing,
                                          .size = sectors * 512,
                                          .parent = parent,
                                          .block_size = 4096},
                                         {});
        EXPECT_TRUE(status.has_value()) << status.error().message;
        return folder_ / name;
    }

    static Bytes contents_of(const std::filesystem::path& image) {
        const auto device = open_image(image, OpenMode::ReadOnly);
        EXPECT_TRUE(device.has_value()) << device.error().message;
        return device ? read_sectors(**device, 0, (*device)->sectors()) : Bytes();
    }

    TemporaryFolder folder_;
    std::filesystem::path parent_;
    std::filesystem::path child_;
    Bytes expected_;
};

TEST_P(LargerChild, IsMergedIntoItsParentWhichGrows) {
    double last = -1;
    const auto status = merge(child_, {}, {.progress = [&last](const Progress& progress) {
                                  const double part =
                                      static_cast<double>(progress.done) / static_cast<double>(progress.total);
                                  EXPECT_GE(part, last);
                                  last = part;
                              }});
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(last, 1);
    EXPECT_FALSE(std::filesystem::exists(child_));
    EXPECT_EQ(contents_of(parent_), expected_);
    EXPECT_TRUE(check(parent_, {}, {})->clean());
}

TEST_P(LargerChild, IsMergedWithAllItsParents) {
    const auto leaf = make_child("leaf.vhd", child_, 0);
    {
        const auto device = open_image(leaf, OpenMode::ReadWrite);
        ASSERT_TRUE(write_sectors(**device, kSectors + 5, 2, 0));
        ASSERT_TRUE((*device)->flush());
        expected_ = read_sectors(**device, 0, kLargerSectors);
    }
    const auto status = merge(leaf, {.all = true}, {});
    ASSERT_TRUE(status.has_value()) << status.error().message;
    const auto root = std::string(GetParam()) == "differencing" ? folder_ / "below.vhd" : parent_;
    EXPECT_EQ(contents_of(root), expected_);
}

TEST_P(LargerChild, StoppedAnywhereItCanBeRepeated) {
    int stopped = 0;
    for (;; ++stopped) {
        StoppingOperation operation(stopped + 1);
        const auto status = merge(child_, {}, operation.get());
        if (status) {
            break;
        }
        ASSERT_EQ(status.error().code, ErrorCode::Cancelled) << status.error().message;
        ASSERT_EQ(contents_of(child_), expected_);
    }
    EXPECT_GT(stopped, 2);
    EXPECT_EQ(contents_of(parent_), expected_);
}

TEST_P(LargerChild, IsNotMergedUnderOtherChildrenNorWhileInUse) {
    const Bytes before = TemporaryFolder::read(parent_);
    const Bytes child = TemporaryFolder::read(child_);
    if (std::string(GetParam()) != "raw") {  // whose children cannot be told
        const auto other = make_child("other.vhd", parent_, 0);
        const auto status = merge(child_, {}, {});
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::InUse);
        EXPECT_NE(status.error().message.find("other.vhd"), std::string::npos) << status.error().message;
    }
    for (const auto& path : {child_, parent_}) {
        const auto user = open_file(path, OpenMode::ReadOnly);
        ASSERT_TRUE((*user)->lock(LockKind::Shared));
        EXPECT_EQ(merge(child_, {.allow_other_children = true}, {}).error().code, ErrorCode::InUse);
    }
    EXPECT_EQ(TemporaryFolder::read(parent_), before) << "not even enlarged";
    EXPECT_EQ(TemporaryFolder::read(child_), child);
    EXPECT_TRUE(merge(child_, {.allow_other_children = true}, {}));
    EXPECT_EQ(contents_of(parent_), expected_);
}

/// After the enlargement alone, whatever became of the merge.
TEST_P(LargerChild, HoldsItsDiskOverTheEnlargedParent) {
    const auto links = read_chain(child_);
    ASSERT_TRUE(links.has_value());
    WorkMeter meter({}, 1);
    const auto status = enlarge_parent({(*links)[0], (*links)[1]}, {}, meter);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(contents_of(parent_).size(), kLargerSectors * 512);
    EXPECT_EQ(contents_of(child_), expected_);
    if (std::string(GetParam()) == "fixed") {
        // What a power failure can leave where the new part begins: the old footer.
        std::fstream file(parent_, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(kSectors * 512);
        file << std::string(512, 'x');
        file.close();
        EXPECT_EQ(contents_of(child_), expected_);
        ASSERT_TRUE(merge(child_, {}, {}));
        EXPECT_EQ(contents_of(parent_), expected_);
    }
}

INSTANTIATE_TEST_SUITE_P(Parents, LargerChild, ::testing::Values("raw", "fixed", "dynamic", "differencing"),
                         [](const auto& type) { return std::string(type.param); });

TEST(LargerChildErrors, AParentWhoseBlocksAreTooSmall) {
    const TemporaryFolder folder;
    const auto parent = folder.write("parent.vhd", build_dynamic({.sectors = kSectors}));
    ASSERT_TRUE(create_image({.file = folder / "child.vhd",
                              .type = ImageType::Differencing,
                              .size = std::uint64_t{1} << 40,
                              .parent = parent,
                              .block_size = 2 << 20},
                             {}));
    const Bytes before = TemporaryFolder::read(parent);
    const auto status = merge(folder / "child.vhd", {}, {});
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::Unsupported);
    EXPECT_NE(status.error().message.find("convert it to larger ones"), std::string::npos) << status.error().message;
    EXPECT_EQ(TemporaryFolder::read(parent), before);
}

}  // namespace
}  // namespace vpc::disk
