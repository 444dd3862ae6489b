#include "disk/operations/image_info.h"

#include <gtest/gtest.h>

#include "disk/log.h"
#include "disk/operations/create.h"
#include "disk/vhd/footer_search.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::TemporaryFolder;

class Info : public ::testing::Test {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    std::filesystem::path make_child(const std::string& name, const std::filesystem::path& parent) {
        const auto status =
            create_image({.file = folder_ / name, .type = ImageType::Differencing, .parent = parent}, {});
        EXPECT_TRUE(status.has_value()) << status.error().message;
        return folder_ / name;
    }

    TemporaryFolder folder_;
};

TEST_F(Info, OfADynamicImage) {
    const auto bytes = build_dynamic({.sectors = 403, .blocks = {{3}, {50}, {9}}});
    const auto info = read_image_info(folder_.write("a.vhd", bytes));
    ASSERT_TRUE(info.has_value()) << info.error().message;
    EXPECT_EQ(info->type, ImageType::Dynamic);
    EXPECT_EQ(info->virtual_size, 403u * 512);
    EXPECT_EQ(info->file_size, bytes.size());
    EXPECT_GT(info->stored_size, 0u);
    EXPECT_EQ(info->geometry, vhd::geometry_for(403));
    ASSERT_TRUE(info->blocks);
    EXPECT_EQ(info->blocks->block_size, 4096u);
    EXPECT_EQ(info->blocks->blocks, 51u);
    EXPECT_EQ(info->blocks->allocated, 3u);
    ASSERT_TRUE(info->footer);
    EXPECT_EQ(vhd::text_of_id(info->footer->unique_id), "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
    EXPECT_EQ(text_of(info->footer->creator_application), "test");
    EXPECT_TRUE(info->parents.empty());
    EXPECT_FALSE(info->missing_parent);
}

TEST_F(Info, OfFixedAndRawImagesHasNoBlocks) {
    const auto fixed = read_image_info(folder_.write("f.vhd", build_fixed(100)));
    ASSERT_TRUE(fixed.has_value());
    EXPECT_EQ(fixed->type, ImageType::Fixed);
    EXPECT_EQ(fixed->virtual_size, 51200u);
    EXPECT_EQ(fixed->file_size, 51712u);
    EXPECT_TRUE(fixed->footer);
    EXPECT_FALSE(fixed->blocks);
    const auto raw = read_image_info(folder_.write("r.img", std::vector<std::uint8_t>(51200, 7)));
    ASSERT_TRUE(raw.has_value());
    EXPECT_EQ(raw->type, ImageType::Raw);
    EXPECT_EQ(raw->virtual_size, 51200u);
    EXPECT_FALSE(raw->footer);
    EXPECT_FALSE(raw->blocks);
}

TEST_F(Info, OfAChainNamesEveryParent) {
    const auto root = folder_.write("root.vhd", build_fixed(400));
    const auto leaf = make_child("leaf.vhd", make_child("middle.vhd", root));
    const auto info = read_image_info(leaf);
    ASSERT_TRUE(info.has_value()) << info.error().message;
    EXPECT_EQ(info->type, ImageType::Differencing);
    ASSERT_EQ(info->parents.size(), 2u);
    EXPECT_EQ(info->parents[0].path.filename(), "middle.vhd");
    EXPECT_EQ(info->parents[1].path.filename(), "root.vhd");
    EXPECT_EQ(info->parents[1].type, ImageType::Fixed);
    EXPECT_FALSE(info->parents[1].changed_since_child_was_made);
    std::filesystem::last_write_time(root, std::filesystem::last_write_time(root) + std::chrono::hours(1));
    EXPECT_TRUE(read_image_info(leaf)->parents[1].changed_since_child_was_made);
}

TEST_F(Info, OfABrokenChainSaysWhichParentIsMissing) {
    const auto root = folder_.write("root.vhd", build_fixed(400));
    const auto leaf = make_child("leaf.vhd", make_child("middle.vhd", root));
    std::filesystem::remove(root);
    const auto info = read_image_info(leaf);
    ASSERT_TRUE(info.has_value()) << info.error().message;
    ASSERT_EQ(info->parents.size(), 1u);
    ASSERT_TRUE(info->missing_parent);
    EXPECT_EQ(info->missing_parent->name, "root.vhd");
    EXPECT_EQ(info->missing_parent->problem.code, ErrorCode::NotFound);
    EXPECT_EQ(vhd::text_of_id(info->missing_parent->unique_id), "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
    auto other = testing::make_footer(400, vhd::DiskType::Fixed);
    other.unique_id = {1, 2, 3};
    auto bytes = std::vector<std::uint8_t>(400 * 512);
    const auto footer = vhd::serialise(other);
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    folder_.write("root.vhd", bytes);
    EXPECT_EQ(read_image_info(leaf)->missing_parent->problem.code, ErrorCode::ParentMismatch);
}

TEST_F(Info, OfWhatIsNoImageIsAnError) {
    EXPECT_EQ(read_image_info(folder_ / "missing.vhd").error().code, ErrorCode::NotFound);
    EXPECT_EQ(read_image_info(folder_.write("empty.vhd", {})).error().code, ErrorCode::NotAnImage);
    EXPECT_EQ(text_of({'d', '2', 'v', '\0'}), "d2v");
    EXPECT_EQ(text_of({'a', '\n', 'b', ' '}), "a?b");
}

}  // namespace
}  // namespace vpc::disk
