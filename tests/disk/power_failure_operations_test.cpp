// A power failure at any moment of whole operations, over all files that they touch: contents, names, deletions. What
// the system calls were is recorded (host_recorder.h), so this judges what really goes to the host.
#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <optional>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/check.h"
#include "disk/operations/create.h"
#include "disk/operations/merge.h"
#include "disk/operations/set_parent.h"
#include "disk/operations/undo_disk.h"
#include "tests/disk/host_recorder.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

namespace fs = std::filesystem;

using testing::build_dynamic;
using testing::build_fixed;
using testing::HostHistory;
using testing::HostOperation;
using testing::HostRecorder;
using testing::InspectFolder;
using testing::read_sectors;
using testing::TemporaryFolder;
using testing::write_sectors;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 203;
/// More than a table of one sector has entries for, in blocks of 8 sectors.
constexpr std::uint64_t kLargerSectors = 1100;
constexpr const char* kUndo = "VirtualPCUndo_disk_0_0_21050706302009.vud";

bool is_barrier(const HostOperation& operation) {
    return operation.kind == HostOperation::Kind::SyncFile || operation.kind == HostOperation::Kind::SyncFolder;
}

class WholeOperation : public ::testing::TestWithParam<const char*> {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        folder_.emplace();
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    fs::path path(const std::string& name) const { return *folder_ / name; }

    void write_root(const std::string& name) const {
        const std::string type = GetParam();
        folder_->write(name, type == "raw"     ? Bytes(kSectors * 512, 9)
                             : type == "fixed" ? build_fixed(kSectors)
                                               : build_dynamic({.sectors = kSectors, .blocks = {{3}, {9, 0x3C}}}));
    }

    void make_child(const std::string& name, const std::string& parent, std::uint64_t sectors = 0) const {
        const auto status = create_image({.file = path(name),
                                          .type = ImageType::Differencing,
                                          .size = sectors * 512,
                                          .parent = path(parent),
                                          .block_size = 4096},
                                         {});
        ASSERT_TRUE(status.has_value()) << status.error().message;
    }

    static void scribble(BlockDevice& device, std::uint8_t byte) {
        ASSERT_TRUE(write_sectors(device, 20, 30, byte));
        ASSERT_TRUE(write_sectors(device, 75, 3, 0));
        ASSERT_TRUE(write_sectors(device, device.sectors() - 1, 1, byte));
        ASSERT_TRUE(device.flush());
    }
    void scribble(const std::string& name, std::uint8_t byte) const {
        const auto device = open_image(path(name), OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        scribble(**device, byte);
    }

    static Bytes contents_of(BlockDevice& device) { return read_sectors(device, 0, device.sectors()); }
    static Bytes contents_of(const fs::path& image) {
        const auto device = open_image(image, OpenMode::ReadOnly);
        return device ? contents_of(**device) : Bytes();
    }

    /// Records what the operation does to the folder, which is gone afterwards: the images name it in their paths.
    HostHistory record(const std::function<Status(const Operation&)>& operation) {
        HostRecorder recorder(folder_->path());
        std::optional<std::size_t> complete_after;
        const Status status = operation({.progress = [&](const Progress& progress) {
            if (progress.done == progress.total) {
                complete_after = recorder.operations();
            }
        }});
        EXPECT_TRUE(status.has_value()) << status.error().message;
        HostHistory history = recorder.stop();
        EXPECT_GT(history.operations.size(), 1u);
        EXPECT_EQ(complete_after.value_or(history.operations.size()), history.operations.size())
            << "100 % before everything was stored";
        folder_.reset();
        return history;
    }

    /// Nothing is lost at any moment; and as proof that the simulation would see it, something is without some of the
    /// operation's barriers. (Not without each: some only keep apart what is safe in other ways in these small files.)
    static void expect_nothing_lost(const std::string& name, const HostHistory& history, const InspectFolder& inspect) {
        const auto report = testing::simulate_host_crashes(history, 1, inspect);
        EXPECT_EQ(report.wrong, "");
        EXPECT_GT(report.states, 15);
        int barriers = 0;
        int needed = 0;
        for (std::size_t i = 0; i < history.operations.size(); ++i) {
            if (is_barrier(history.operations[i])) {
                HostHistory without = history;
                without.operations.erase(without.operations.begin() + static_cast<std::ptrdiff_t>(i));
                ++barriers;
                needed += testing::simulate_host_crashes(without, 1, inspect, i).wrong.empty() ? 0 : 1;
            }
        }
        EXPECT_GT(needed, 0) << "the simulation is blind";
        std::cout << name << ": " << report.states << " crash points, lost writes 0, unopenable images 0; " << needed
                  << " of " << barriers << " barriers are missed\n";
    }

    /// Whether an image opens for writing, holds this, and nothing is wrong with it then.
    static std::string judge(const fs::path& image, const Bytes& expected) {
        {
            const auto reading = open_image(image, OpenMode::ReadOnly);
            if (!reading) {
                return "does not open: " + reading.error().message;
            }
            if (contents_of(**reading) != expected) {
                return image.filename().string() + " holds something else";
            }
        }
        {
            const auto writing = open_image(image, OpenMode::ReadWrite);
            if (!writing) {
                return "does not open for writing: " + writing.error().message;
            }
            if (contents_of(**writing) != expected) {
                return image.filename().string() + " holds something else once it is open for writing";
            }
        }
        const auto checked = check(image, {}, {});
        for (const Finding& finding : checked->findings) {
            // Footers that differ are put right without loss.
            if (finding.problem && finding.remedy != Remedy::Lossless) {
                return "check says: " + finding.text;
            }
        }
        return "";
    }

    /// For a merge of `child`: it holds its disk until the root does, and the merge can be repeated.
    static std::string judge_merge(const fs::path& child, const fs::path& root, const MergeOptions& options,
                                   const Bytes& expected, bool returned) {
        if (!fs::exists(child)) {
            return judge(root, expected);
        }
        if (returned) {
            return "the child is back";
        }
        if (auto wrong = judge(child, expected); !wrong.empty()) {
            return wrong;
        }
        if (const auto again = merge(child, options, {}); !again) {
            return "cannot be repeated: " + again.error().message;
        }
        return fs::exists(child) ? "the child is still there" : judge(root, expected);
    }

    std::optional<TemporaryFolder> folder_;
};

using Create = WholeOperation;

TEST_P(Create, AnImageIsThereAsAWholeOrNotAtAll) {
    const std::string type = GetParam();
    folder_->write("parent.vhd", build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}}}));
    const Bytes parent = contents_of(path("parent.vhd"));
    const HostHistory history = record([&](const Operation& operation) {
        if (type == "undo") {
            const auto undo = begin_undo_disk(path("parent.vhd"), {.time = 0}, operation);
            EXPECT_EQ(undo->filename(), "VirtualPCUndo_parent_0_0_00000001011970.vud");
            return undo ? Status() : Status(tl::unexpected<Error>(undo.error()));
        }
        return create_image({.file = path("new.vhd"),
                             .type = type == "raw"       ? ImageType::Raw
                                     : type == "fixed"   ? ImageType::Fixed
                                     : type == "dynamic" ? ImageType::Dynamic
                                                         : ImageType::Differencing,
                             .size = type == "differencing" ? 0 : kSectors * 512,
                             .reserve = type == "fixed",
                             .parent = type == "differencing" ? path("parent.vhd") : fs::path()},
                            operation);
    });
    const bool child = type == "differencing" || type == "undo";
    expect_nothing_lost("create " + type, history, [&](const fs::path& folder, bool returned) -> std::string {
        bool is_there = false;
        for (const auto& entry : fs::directory_iterator(folder)) {
            const std::string name = entry.path().filename().string();
            if (name == "parent.vhd") {
                continue;
            }
            if (name != "new.vhd" && name != "VirtualPCUndo_parent_0_0_00000001011970.vud") {
                return name + " is left behind";
            }
            is_there = true;
            if (auto wrong = judge(entry.path(), child ? parent : Bytes(kSectors * 512)); !wrong.empty()) {
                return wrong;
            }
        }
        if (returned && !is_there) {
            return "the image is gone";
        }
        return contents_of(folder / "parent.vhd") == parent ? "" : "the parent has changed";
    });
}

INSTANTIATE_TEST_SUITE_P(Types, Create, ::testing::Values("raw", "fixed", "dynamic", "differencing", "undo"),
                         [](const auto& type) { return std::string(type.param); });

using PowerFailureWhile = WholeOperation;

TEST_P(PowerFailureWhile, MergingALargerChild) {
    write_root("parent.vhd");
    make_child("child.vhd", "parent.vhd", kLargerSectors);
    scribble("child.vhd", 0x42);
    const Bytes expected = contents_of(path("child.vhd"));
    const HostHistory history =
        record([&](const Operation& operation) { return merge(path("child.vhd"), {}, operation); });
    expect_nothing_lost(std::string("merge into a smaller parent, ") + GetParam(), history,
                        [&](const fs::path& folder, bool returned) {
                            return judge_merge(folder / "child.vhd", folder / "parent.vhd", {}, expected, returned);
                        });
}

TEST_P(PowerFailureWhile, MergingAChain) {
    write_root("root.vhd");
    make_child("middle.vhd", "root.vhd");
    scribble("middle.vhd", 0x42);
    make_child("leaf.vhd", "middle.vhd");
    scribble("leaf.vhd", 0x43);
    const Bytes expected = contents_of(path("leaf.vhd"));
    const HostHistory history =
        record([&](const Operation& operation) { return merge(path("leaf.vhd"), {.all = true}, operation); });
    expect_nothing_lost(std::string("merge --all, ") + GetParam(), history, [&](const fs::path& folder, bool returned) {
        return judge_merge(folder / "leaf.vhd", folder / "root.vhd", {.all = true}, expected, returned);
    });
}

TEST_P(PowerFailureWhile, CommittingAnUndoDisk) {
    write_root("first.vhd");
    ASSERT_TRUE(begin_undo_disk(path("first.vhd"), {}, {}));
    for (const auto& entry : fs::directory_iterator(folder_->path())) {
        if (entry.path().extension() == ".vud") {
            fs::rename(entry.path(), path(kUndo));
        }
    }
    // Nothing leads there from what it has recorded, so that a commit begins by correcting that.
    fs::rename(path("first.vhd"), path("disk.img"));
    EXPECT_EQ(open_image(path(kUndo), OpenMode::ReadOnly).error().code, ErrorCode::NotFound);
    Bytes expected;
    {
        const auto device = open_undo_disk(path(kUndo), path("disk.img"));
        ASSERT_TRUE(device.has_value()) << device.error().message;
        scribble(**device, 0x42);
        expected = contents_of(**device);
    }
    const HostHistory history = record(
        [&](const Operation& operation) { return commit_undo_disk(path(kUndo), path("disk.img"), {}, operation); });
    expect_nothing_lost(
        std::string("undo commit, ") + GetParam(), history, [&](const fs::path& folder, bool returned) -> std::string {
            if (fs::exists(folder / kUndo)) {
                if (returned) {
                    return "the undo disk is back";
                }
                {
                    const auto session = open_undo_disk(folder / kUndo, folder / "disk.img");
                    if (!session) {
                        return "no session: " + session.error().message;
                    }
                    if (contents_of(**session) != expected) {
                        return "the next session finds something else";
                    }
                }
                if (const auto again = commit_undo_disk(folder / kUndo, folder / "disk.img", {}, {}); !again) {
                    return "cannot be repeated: " + again.error().message;
                }
            }
            return fs::exists(folder / kUndo) ? "the undo disk is still there" : judge(folder / "disk.img", expected);
        });
}

TEST_P(PowerFailureWhile, DiscardingAnUndoDisk) {
    write_root("disk.img");
    const Bytes disk = contents_of(path("disk.img"));
    const auto undo = begin_undo_disk(path("disk.img"), {}, {});
    ASSERT_TRUE(undo.has_value());
    const auto name = undo->filename();
    Bytes changed;
    {
        const auto device = open_undo_disk(*undo, path("disk.img"));
        scribble(**device, 0x42);
        changed = contents_of(**device);
    }
    const HostHistory history = record([&](const Operation&) { return discard_undo_disk(*undo); });
    expect_nothing_lost(std::string("undo discard, ") + GetParam(), history,
                        [&](const fs::path& folder, bool returned) -> std::string {
                            if (fs::exists(folder / name)) {
                                if (returned) {
                                    return "the undo disk is back";
                                }
                                const auto session = open_undo_disk(folder / name, folder / "disk.img");
                                if (!session || contents_of(**session) != changed) {
                                    return "the next session finds something else";
                                }
                            }
                            return judge(folder / "disk.img", disk);
                        });
}

TEST_P(PowerFailureWhile, SettingAParent) {
    write_root("before.vhd");
    make_child("child.vhd", "before.vhd");
    scribble("child.vhd", 0x42);
    const Bytes expected = contents_of(path("child.vhd"));
    fs::rename(path("before.vhd"), path("after.vhd"));
    const HostHistory history = record([&](const Operation& operation) -> Status {
        const auto change = set_parent(path("child.vhd"), path("after.vhd"), {}, operation);
        return change ? Status() : Status(tl::unexpected<Error>(change.error()));
    });
    expect_nothing_lost(
        std::string("set-parent, ") + GetParam(), history, [&](const fs::path& folder, bool returned) -> std::string {
            if (returned) {
                return judge(folder / "child.vhd", expected);
            }
            if (const auto again = set_parent(folder / "child.vhd", folder / "after.vhd", {}, {}); !again) {
                return "cannot be repeated: " + again.error().message;
            }
            return judge(folder / "child.vhd", expected);
        });
}

INSTANTIATE_TEST_SUITE_P(Roots, PowerFailureWhile, ::testing::Values("raw", "fixed", "dynamic"),
                         [](const auto& root) { return std::string(root.param); });

}  // namespace
}  // namespace vpc::disk
