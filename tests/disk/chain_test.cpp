// New images of every type, and how children find their parents.
#include "disk/chain.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "disk/log.h"
#include "disk/operations/create.h"
#include "disk/vhd/footer_search.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

namespace fs = std::filesystem;
using testing::filled_sectors;
using testing::read_sectors;
using testing::TemporaryFolder;
using testing::write_sectors;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class Images : public ::testing::Test {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    fs::path path(const std::string& name) const { return folder_.path() / name; }

    void create(const std::string& name, ImageType type, std::uint64_t size) {
        const Status status = create_image({.file = path(name), .type = type, .size = size}, {});
        ASSERT_TRUE(status.has_value()) << status.error().message;
    }
    void create_child(const std::string& name, const std::string& parent) {
        const Status status =
            create_image({.file = path(name), .type = ImageType::Differencing, .parent = path(parent)}, {});
        ASSERT_TRUE(status.has_value()) << status.error().message;
    }
    void write(const std::string& name, std::uint64_t sector, std::uint8_t byte) {
        const auto device = open_image(path(name), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        ASSERT_TRUE(write_sectors(**device, sector, 1, byte));
        ASSERT_TRUE((*device)->flush());
    }
    /// The byte in a sector, or why there is none.
    std::string read(const fs::path& image, std::uint64_t sector, const OpenOptions& options = {}) {
        const auto device = open_image(image, options);
        if (!device) {
            return device.error().message;
        }
        const auto bytes = read_sectors(**device, sector, 1);
        return bytes.empty() ? "unreadable" : std::to_string(bytes[0]);
    }
    ErrorCode error_of(const fs::path& image, OpenMode mode = OpenMode::ReadOnly) {
        const auto device = open_image(image, mode);
        EXPECT_FALSE(device.has_value());
        return device ? ErrorCode::IoError : device.error().code;
    }

    TemporaryFolder folder_;
};

TEST_F(Images, OfEveryTypeAreEmptyAndTakeWrites) {
    for (const auto type : {ImageType::Raw, ImageType::Fixed, ImageType::Dynamic}) {
        const std::string name = "disk" + std::to_string(static_cast<int>(type));
        create(name, type, 5 * kMiB);
        write(name, 9000, 7);
        EXPECT_EQ(read(path(name), 9000), "7");
        EXPECT_EQ(read(path(name), 9001), "0");
        const auto device = open_image(path(name), OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        EXPECT_EQ((*device)->sectors(), 5 * kMiB / 512);
    }
}

TEST_F(Images, WithBlocksLieOnBoundariesOf4KiB) {
    create("disk.vhd", ImageType::Dynamic, 100 * kMiB);
    EXPECT_EQ(fs::file_size(path("disk.vhd")) % 4096, 0u);
    write("disk.vhd", 0, 1);
    EXPECT_EQ(fs::file_size(path("disk.vhd")) % 4096, 0u);
    create_child("child.vhd", "disk.vhd");
    write("child.vhd", 8, 2);
    EXPECT_EQ(fs::file_size(path("child.vhd")) % 4096, 0u);
    EXPECT_EQ(read(path("child.vhd"), 0), "1");
    EXPECT_EQ(read(path("child.vhd"), 8), "2");
    EXPECT_EQ(read(path("disk.vhd"), 8), "0");
}

TEST_F(Images, OfTheLargestSizeAreMadeAtOnce) {
    create("large.vhd", ImageType::Dynamic, vhd::kMaxDiskSize);
    create_child("child.vhd", "large.vhd");
    write("child.vhd", vhd::kMaxDiskSize / 512 - 1, 9);
    EXPECT_EQ(read(path("child.vhd"), vhd::kMaxDiskSize / 512 - 1), "9");
    EXPECT_LT(fs::file_size(path("child.vhd")), 16 * kMiB);
}

TEST_F(Images, ThatCannotBeAreRefusedAndLeaveNothingBehind) {
    const auto code_of = [&](NewImage image) {
        image.file = path("new.vhd");
        const Status status = create_image(image, {});
        EXPECT_FALSE(status.has_value());
        EXPECT_FALSE(fs::exists(image.file));
        return status ? ErrorCode::IoError : status.error().code;
    };
    EXPECT_EQ(code_of({.size = 0}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.size = 1000}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.size = vhd::kMaxDiskSize + 512}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.size = kMiB, .block_size = 3000}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.size = vhd::kMaxDiskSize, .block_size = 4096}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.size = kMiB, .reserve = true}), ErrorCode::Unsupported);
    EXPECT_EQ(code_of({.type = ImageType::Differencing, .parent = path("none.vhd")}), ErrorCode::NotFound);
    create("small.vhd", ImageType::Fixed, kMiB);
    EXPECT_EQ(code_of({.type = ImageType::Differencing, .size = kMiB / 2, .parent = path("small.vhd")}),
              ErrorCode::Unsupported);
    const Status exists = create_image({.file = path("small.vhd"), .size = kMiB}, {});
    ASSERT_FALSE(exists.has_value());
    EXPECT_EQ(exists.error().code, ErrorCode::AlreadyExists);
    std::stop_source stopped;
    stopped.request_stop();
    const Status cancelled =
        create_image({.file = path("new.vhd"), .size = kMiB}, {.progress = {}, .stop = stopped.get_token()});
    ASSERT_FALSE(cancelled.has_value());
    EXPECT_EQ(cancelled.error().code, ErrorCode::Cancelled);
    EXPECT_FALSE(fs::exists(path("new.vhd")));
}

TEST_F(Images, ReserveTheirRoomOnRequest) {
    const Status status =
        create_image({.file = path("disk.vhd"), .type = ImageType::Fixed, .size = 4 * kMiB, .reserve = true}, {});
    if (!status && status.error().code == ErrorCode::Unsupported) {
        GTEST_SKIP() << status.error().message;
    }
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(read(path("disk.vhd"), 8191), "0");
}

TEST_F(Images, FormChainsThatReadThroughAllParents) {
    create("0.vhd", ImageType::Fixed, kMiB);
    write("0.vhd", 0, 100);
    for (int i = 1; i <= 8; ++i) {
        const std::string name = std::to_string(i) + ".vhd";
        create_child(name, std::to_string(i - 1) + ".vhd");
        write(name, static_cast<std::uint64_t>(i), static_cast<std::uint8_t>(100 + i));
    }
    for (std::uint64_t i = 0; i <= 8; ++i) {
        EXPECT_EQ(read(path("8.vhd"), i), std::to_string(100 + i));
    }
    const auto chain = read_chain(path("8.vhd"));
    ASSERT_TRUE(chain.has_value()) << chain.error().message;
    ASSERT_EQ(chain->size(), 9u);
    EXPECT_EQ(chain->front().type, ImageType::Differencing);
    EXPECT_EQ(chain->back().type, ImageType::Fixed);
    EXPECT_EQ(chain->back().path.filename(), "0.vhd");
    for (std::size_t i = 0; i + 1 < chain->size(); ++i) {
        EXPECT_EQ((*chain)[i].parent_id, (*chain)[i + 1].unique_id);
        EXPECT_FALSE((*chain)[i].parent_problem.has_value());
    }
}

TEST_F(Images, HaveAtMost64InAChain) {
    create("0.vhd", ImageType::Fixed, kMiB);
    for (int i = 1; i < 64; ++i) {
        create_child(std::to_string(i) + ".vhd", std::to_string(i - 1) + ".vhd");
    }
    create_child("64.vhd", "63.vhd");
    EXPECT_EQ(read(path("63.vhd"), 0), "0");
    EXPECT_EQ(error_of(path("64.vhd")), ErrorCode::Unsupported);
}

TEST_F(Images, MayHaveARawParent) {
    create("disk.img", ImageType::Raw, kMiB);
    write("disk.img", 3, 33);
    create_child("child.vhd", "disk.img");
    EXPECT_EQ(read(path("child.vhd"), 3), "33");
}

TEST_F(Images, FindParentsThatHaveMovedWithThem) {
    fs::create_directories(path("a/parents"));
    create("a/parents/base.vhd", ImageType::Dynamic, kMiB);
    write("a/parents/base.vhd", 0, 50);
    create_child("a/child.vhd", "a/parents/base.vhd");
    fs::rename(path("a"), path("b"));
    EXPECT_EQ(read(path("b/child.vhd"), 0), "50") << "by the relative path";
    fs::rename(path("b/child.vhd"), path("child.vhd"));
    EXPECT_EQ(error_of(path("child.vhd")), ErrorCode::NotFound);
    EXPECT_EQ(read(path("child.vhd"), 0, {.parent_folders = {path("b/parents")}}), "50");
    fs::rename(path("b/parents/base.vhd"), path("BASE.VHD"));
    EXPECT_EQ(read(path("child.vhd"), 0), "50") << "whatever the case";
    fs::rename(path("BASE.VHD"), path("renamed.vhd"));
    EXPECT_EQ(read(path("child.vhd"), 0), "50") << "by its id";
    fs::create_directories(path("links"));
    fs::create_symlink(path("child.vhd"), path("links/link.vhd"));
    EXPECT_EQ(read(path("links/link.vhd"), 0), "50") << "from the child's real folder";
}

TEST_F(Images, FindParentsByTheirAbsolutePath) {
    fs::create_directories(path("x"));
    fs::create_directories(path("y/z"));
    create("x/base.vhd", ImageType::Dynamic, kMiB);
    write("x/base.vhd", 0, 60);
    create_child("x/child.vhd", "x/base.vhd");
    fs::rename(path("x/child.vhd"), path("y/z/child.vhd"));
    EXPECT_EQ(read(path("y/z/child.vhd"), 0), "60");
}

TEST_F(Images, RefuseParentsOfTheWrongIdentity) {
    create("base.vhd", ImageType::Dynamic, kMiB);
    create_child("child.vhd", "base.vhd");
    fs::remove(path("base.vhd"));
    create("base.vhd", ImageType::Dynamic, kMiB);
    EXPECT_EQ(error_of(path("child.vhd")), ErrorCode::ParentMismatch);
    const auto chain = read_chain(path("child.vhd"));
    ASSERT_TRUE(chain.has_value()) << chain.error().message;
    ASSERT_EQ(chain->size(), 1u);
    ASSERT_TRUE(chain->front().parent_problem.has_value());
    EXPECT_EQ(chain->front().parent_problem->code, ErrorCode::ParentMismatch);
}

TEST_F(Images, WarnOfParentsThatHaveChangedAndReadThemAllTheSame) {
    create("base.vhd", ImageType::Dynamic, kMiB);
    create_child("child.vhd", "base.vhd");
    EXPECT_FALSE(read_chain(path("child.vhd"))->back().changed_since_child_was_made);
    fs::last_write_time(path("base.vhd"), fs::last_write_time(path("base.vhd")) - std::chrono::hours(1));
    const auto chain = read_chain(path("child.vhd"));
    ASSERT_TRUE(chain.has_value());
    EXPECT_TRUE(chain->back().changed_since_child_was_made);
    EXPECT_EQ(read(path("child.vhd"), 0), "0");
}

TEST_F(Images, RefuseToBeTheirOwnAncestors) {
    create("base.vhd", ImageType::Dynamic, kMiB);
    create_child("child.vhd", "base.vhd");
    create_child("grandchild.vhd", "child.vhd");
    // The grandchild takes its grandparent's place.
    const auto footer_of = [&](const std::string& name) {
        const auto file = open_file(path(name), OpenMode::ReadOnly);
        return (*vhd::find_footer(**file, *(*file)->size()))->footer;
    };
    vhd::Footer footer = footer_of("grandchild.vhd");
    footer.unique_id = footer_of("base.vhd").unique_id;
    fs::remove(path("base.vhd"));
    fs::rename(path("grandchild.vhd"), path("base.vhd"));
    {
        const auto file = open_file(path("base.vhd"), OpenMode::ReadWrite);
        ASSERT_TRUE((*file)->write(0, ConstBuffer(vhd::serialise(footer))));
        ASSERT_TRUE((*file)->write(*(*file)->size() - 512, ConstBuffer(vhd::serialise(footer))));
    }
    EXPECT_EQ(error_of(path("base.vhd")), ErrorCode::Corrupt);
}

TEST_F(Images, KeepTheirParentsFromBeingWritten) {
    create("base.vhd", ImageType::Dynamic, kMiB);
    create_child("a.vhd", "base.vhd");
    create_child("b.vhd", "base.vhd");
    const auto a = open_image(path("a.vhd"), OpenMode::ReadWrite);
    ASSERT_TRUE(a.has_value());
    EXPECT_EQ(error_of(path("base.vhd"), OpenMode::ReadWrite), ErrorCode::InUse);
    EXPECT_TRUE(open_image(path("b.vhd"), OpenMode::ReadWrite).has_value()) << "siblings may share it";
}

TEST_F(Images, InSavedStateAreLeftAloneUnlessTheMachineAsks) {
    create("base.vhd", ImageType::Fixed, kMiB);
    {
        const auto file = open_file(path("base.vhd"), OpenMode::ReadWrite);
        vhd::Footer footer = (*vhd::find_footer(**file, *(*file)->size()))->footer;
        footer.saved_state = 1;
        ASSERT_TRUE((*file)->write(kMiB, ConstBuffer(vhd::serialise(footer))));
    }
    EXPECT_EQ(error_of(path("base.vhd"), OpenMode::ReadWrite), ErrorCode::InUse);
    EXPECT_TRUE(
        open_image(path("base.vhd"), OpenOptions{.mode = OpenMode::ReadWrite, .allow_saved_state = true}).has_value());
}

}  // namespace
}  // namespace vpc::disk
