// Undo disks: what a session leaves in which file, what each of the three choices does, and what is refused.
#include "disk/operations/undo_disk.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/check.h"
#include "disk/operations/create.h"
#include "disk/vhd/footer_search.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/stopping_operation.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::filled_sectors;
using testing::read_sectors;
using testing::StoppingOperation;
using testing::TemporaryFolder;
using testing::write_sectors;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 400;
/// 2009-06-30 21:05:07 UTC.
constexpr std::time_t kTime = 1246395907;

Bytes contents_of(const std::filesystem::path& image) {
    const auto device = open_image(image, OpenMode::ReadOnly);
    EXPECT_TRUE(device.has_value()) << device.error().message;
    return device ? read_sectors(**device, 0, (*device)->sectors()) : Bytes();
}

/// A machine's hard disk of each type.
class UndoDisk : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        const std::string type = GetParam();
        const Bytes root = type == "raw"     ? Bytes(kSectors * 512, 9)
                           : type == "fixed" ? build_fixed(kSectors)
                                             : build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}}});
        disk_ = folder_.write("disk.vhd", root);
        if (type == "differencing") {
            const auto below = folder_.write("below.vhd", root);
            ASSERT_TRUE(create_image({.file = disk_,
                                      .type = ImageType::Differencing,
                                      .parent = below,
                                      .block_size = 4096,
                                      .overwrite = true},
                                     {}));
        }
        before_ = TemporaryFolder::read(disk_);
        expected_ = contents_of(disk_);
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    std::filesystem::path begin() {
        const auto undo = begin_undo_disk(disk_, {.time = kTime}, {});
        EXPECT_TRUE(undo.has_value()) << undo.error().message;
        return undo ? *undo : std::filesystem::path();
    }

    /// What a guest does in a session.
    void session(const std::filesystem::path& undo, std::uint64_t sector, std::uint64_t count, std::uint8_t byte) {
        const auto device = open_undo_disk(undo, disk_);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        ASSERT_EQ(read_sectors(**device, 0, kSectors), expected_) << "it goes on where the last one ended";
        ASSERT_TRUE(write_sectors(**device, sector, count, byte));
        ASSERT_TRUE((*device)->flush());
        std::fill_n(expected_.begin() + static_cast<std::ptrdiff_t>(sector * 512), count * 512, byte);
    }

    TemporaryFolder folder_;
    std::filesystem::path disk_;
    Bytes before_;    ///< the disk's file
    Bytes expected_;  ///< what the guest shall find
};

TEST_P(UndoDisk, KeepsSessionsUntilTheyAreCommitted) {
    const auto undo = begin();
    EXPECT_EQ(undo.filename(), "VirtualPCUndo_disk_0_0_21050706302009.vud");
    EXPECT_EQ(undo.parent_path(), folder_.path());
    session(undo, 20, 30, 0x41);
    session(undo, 45, 100, 0);
    session(undo, kSectors - 1, 1, 0x43);
    EXPECT_EQ(TemporaryFolder::read(disk_), before_) << "the disk itself is only read";
    EXPECT_TRUE(check(undo, {}, {})->clean());

    double last = -1;
    const auto status = commit_undo_disk(undo, disk_, {}, {.progress = [&last](const Progress& progress) {
                                             const double part = static_cast<double>(progress.done) /
                                                                 static_cast<double>(progress.total);
                                             EXPECT_GE(part, last);
                                             last = part;
                                         }});
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(last, 1);
    EXPECT_FALSE(std::filesystem::exists(undo));
    EXPECT_EQ(contents_of(disk_), expected_);
    session(begin(), 7, 1, 0x44);  // a fresh one next time
}

TEST_P(UndoDisk, DiscardedTheDiskIsAsItWas) {
    const Bytes expected = expected_;
    const auto undo = begin();
    session(undo, 20, 300, 0x41);
    ASSERT_TRUE(discard_undo_disk(undo));
    EXPECT_FALSE(std::filesystem::exists(undo));
    EXPECT_EQ(TemporaryFolder::read(disk_), before_);
    expected_ = expected;
    session(begin(), 7, 1, 0x44);
}

TEST_P(UndoDisk, LiesWhereItIsToldAndMovesWithTheMachine) {
    const auto machines = folder_ / "machine";
    std::filesystem::create_directory(machines);
    const auto undo = begin_undo_disk(disk_, {.folder = machines, .controller = 1, .unit = 1, .time = kTime}, {});
    ASSERT_TRUE(undo.has_value()) << undo.error().message;
    EXPECT_EQ(*undo, machines / "VirtualPCUndo_disk_1_1_21050706302009.vud");
    session(*undo, 3, 9, 0x51);
    // Neither the recorded relative nor the absolute path is right any more.
    const auto elsewhere = folder_ / "a" / "b";
    std::filesystem::create_directories(elsewhere);
    const auto moved = elsewhere / undo->filename();
    std::filesystem::rename(*undo, moved);
    std::filesystem::rename(disk_, folder_ / "renamed.vhd");
    disk_ = folder_ / "renamed.vhd";
    session(moved, 11, 2, 0x52);
    const auto status = commit_undo_disk(moved, disk_, {}, {});
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(contents_of(disk_), expected_);
}

TEST_P(UndoDisk, TwoBegunInOneSecondHaveNamesOfTheirOwn) {
    EXPECT_EQ(begin().filename(), "VirtualPCUndo_disk_0_0_21050706302009.vud");
    EXPECT_EQ(begin().filename(), "VirtualPCUndo_disk_0_0_21050806302009.vud");
}

TEST_P(UndoDisk, IsNotCommittedWhileOthersNeedTheDisk) {
    const auto undo = begin();
    const auto other = begin();
    session(undo, 20, 3, 0x41);
    if (std::string(GetParam()) != "raw") {  // whose children cannot be told
        const auto status = commit_undo_disk(undo, disk_, {}, {});
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::InUse);
        EXPECT_NE(status.error().message.find(other.filename().string()), std::string::npos) << status.error().message;
    }
    ASSERT_TRUE(discard_undo_disk(other));
    const auto user = open_image(disk_, OpenMode::ReadOnly);
    EXPECT_EQ(commit_undo_disk(undo, disk_, {}, {}).error().code, ErrorCode::InUse);
    EXPECT_EQ(TemporaryFolder::read(disk_), before_);
    EXPECT_TRUE(open_undo_disk(undo, disk_)) << "but others may read the disk during a session";
}

TEST_P(UndoDisk, StoppedAnywhereACommitCanBeRepeated) {
    const auto undo = begin();
    session(undo, 20, 30, 0x41);
    session(undo, 100, 250, 0x42);
    int stopped = 0;
    for (;; ++stopped) {
        StoppingOperation operation(stopped + 1);
        const auto status = commit_undo_disk(undo, disk_, {}, operation.get());
        if (status) {
            break;
        }
        ASSERT_EQ(status.error().code, ErrorCode::Cancelled) << status.error().message;
        const auto device = open_undo_disk(undo, disk_);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        ASSERT_EQ(read_sectors(**device, 0, kSectors), expected_);
    }
    EXPECT_GT(stopped, 2);
    EXPECT_EQ(contents_of(disk_), expected_);
    EXPECT_FALSE(std::filesystem::exists(undo));
}

TEST_P(UndoDisk, HoldsItsFilesDuringASession) {
    const auto undo = begin();
    const auto device = open_undo_disk(undo, disk_);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ(discard_undo_disk(undo).error().code, ErrorCode::InUse);
    EXPECT_EQ(open_undo_disk(undo, disk_).error().code, ErrorCode::InUse);
    EXPECT_EQ(commit_undo_disk(undo, disk_, {}, {}).error().code, ErrorCode::InUse);
    EXPECT_EQ(open_image(disk_, OpenMode::ReadWrite).error().code, ErrorCode::InUse);
}

INSTANTIATE_TEST_SUITE_P(Disks, UndoDisk, ::testing::Values("raw", "fixed", "dynamic", "differencing"),
                         [](const auto& type) { return std::string(type.param); });

class UndoDiskErrors : public ::testing::Test {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        disk_ = folder_.write("disk.vhd", build_fixed(kSectors));
        const auto undo = begin_undo_disk(disk_, {.time = kTime}, {});
        ASSERT_TRUE(undo.has_value()) << undo.error().message;
        undo_ = *undo;
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    /// All that needs the disk is refused like this, and nothing changes.
    void expect_refused(ErrorCode code, const std::string& part) {
        const Bytes undo = TemporaryFolder::read(undo_);
        const Bytes disk = TemporaryFolder::read(disk_);
        const std::array errors = {read_undo_disk(undo_, disk_).error(), open_undo_disk(undo_, disk_).error(),
                                   commit_undo_disk(undo_, disk_, {}, {}).error()};
        for (const Error& error : errors) {
            EXPECT_EQ(error.code, code) << error.message;
            EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
        }
        EXPECT_EQ(TemporaryFolder::read(undo_), undo);
        EXPECT_EQ(TemporaryFolder::read(disk_), disk);
    }

    /// Changes the footer of a fixed disk or both of the undo disk's.
    static void change_footer(const std::filesystem::path& path, const std::function<void(vhd::Footer&)>& change) {
        Bytes bytes = TemporaryFolder::read(path);
        auto footer = vhd::parse_footer(std::span(bytes).last(512));
        change(footer);
        const auto changed = vhd::serialise(footer);
        std::copy(changed.begin(), changed.end(), bytes.end() - 512);
        if (footer.disk_type != vhd::DiskType::Fixed) {
            std::copy(changed.begin(), changed.end(), bytes.begin());
        }
        std::ofstream(path, std::ios::binary)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    }

    TemporaryFolder folder_;
    std::filesystem::path disk_;
    std::filesystem::path undo_;
};

TEST_F(UndoDiskErrors, AnotherDisk) {
    change_footer(disk_, [](vhd::Footer& footer) { footer.unique_id[0] ^= 1; });
    expect_refused(ErrorCode::ParentMismatch, "put the right disk there, or discard the undo disk");
    EXPECT_TRUE(discard_undo_disk(undo_)) << "the way out";
}

TEST_F(UndoDiskErrors, ALargerDisk) {
    Bytes larger = build_fixed(kSectors + 1);
    disk_ = folder_.write("disk.vhd", larger);
    expect_refused(ErrorCode::ParentMismatch, "has 205312");
}

TEST_F(UndoDiskErrors, AMissingDiskOrUndoDisk) {
    std::filesystem::rename(disk_, folder_ / "other.vhd");
    for (const auto& error : {read_undo_disk(undo_, disk_).error(), open_undo_disk(undo_, disk_).error(),
                              commit_undo_disk(undo_, disk_, {}, {}).error(), begin_undo_disk(disk_, {}, {}).error(),
                              discard_undo_disk(folder_ / "no.vud").error()}) {
        EXPECT_EQ(error.code, ErrorCode::NotFound) << error.message;
        EXPECT_NE(error.message.find("check the path"), std::string::npos) << error.message;
    }
}

TEST_F(UndoDiskErrors, WhatIsNoUndoDiskIsNotDeleted) {
    const auto not_differencing = folder_.write("a.vud", build_fixed(kSectors));
    const auto nothing = folder_.write("b.vud", Bytes(100, 1));
    const auto text = folder_.write("c.vud", Bytes(4096, 1));
    ASSERT_TRUE(create_image({.file = folder_ / "d.vhd", .type = ImageType::Differencing, .parent = disk_}, {}));
    for (const auto& path : {not_differencing, nothing, text, folder_ / "d.vhd"}) {
        const auto status = discard_undo_disk(path);
        EXPECT_EQ(status.error().code, ErrorCode::Unsupported) << path;
        EXPECT_NE(status.error().message.find("name the right file"), std::string::npos) << status.error().message;
        EXPECT_TRUE(std::filesystem::exists(path));
        EXPECT_FALSE(read_undo_disk(path, disk_)) << path;
        EXPECT_FALSE(commit_undo_disk(path, disk_, {}, {})) << path;
    }
}

TEST_F(UndoDiskErrors, SavedState) {
    change_footer(undo_, [](vhd::Footer& footer) { footer.saved_state = 1; });
    for (const auto& error : {discard_undo_disk(undo_).error(), open_undo_disk(undo_, disk_).error(),
                              commit_undo_disk(undo_, disk_, {}, {}).error()}) {
        EXPECT_EQ(error.code, ErrorCode::InUse);
        EXPECT_NE(error.message.find("saved state"), std::string::npos) << error.message;
    }
    EXPECT_TRUE(open_undo_disk(undo_, disk_, {}, true)) << "for the machine that is resumed";
}

TEST_F(UndoDiskErrors, AnUndoDiskWithAChild) {
    ASSERT_TRUE(create_image({.file = folder_ / "child.vhd", .type = ImageType::Differencing, .parent = undo_}, {}));
    const auto status = discard_undo_disk(undo_);
    EXPECT_EQ(status.error().code, ErrorCode::InUse);
    EXPECT_NE(status.error().message.find("child.vhd"), std::string::npos) << status.error().message;
    EXPECT_TRUE(std::filesystem::exists(undo_));
}

TEST_F(UndoDiskErrors, AFolderThatIsNotThere) {
    const auto undo = begin_undo_disk(disk_, {.folder = folder_ / "no"}, {});
    ASSERT_FALSE(undo.has_value());
    EXPECT_EQ(undo.error().code, ErrorCode::NotFound);
}

TEST_F(UndoDiskErrors, ADiskThatHasChangedIsToldAndNotRefused) {
    EXPECT_FALSE(read_undo_disk(undo_, disk_)->disk_changed);
    std::filesystem::last_write_time(disk_, std::filesystem::last_write_time(disk_) + std::chrono::hours(1));
    const auto state = read_undo_disk(undo_, disk_);
    ASSERT_TRUE(state.has_value());
    EXPECT_TRUE(state->disk_changed);
    EXPECT_EQ(state->file_size, std::filesystem::file_size(undo_));
    EXPECT_TRUE(open_undo_disk(undo_, disk_));
}

}  // namespace
}  // namespace vpc::disk
