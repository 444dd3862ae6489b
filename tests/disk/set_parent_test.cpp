// Children that are told where their parent is: what is recorded, what is refused, and power failures at every moment.
#include "disk/operations/set_parent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <iostream>

#include "disk/chain.h"
#include "disk/chain_opener.h"
#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/check.h"
#include "disk/operations/create.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/parent_locator.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::FileOperations;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_bytes;
using testing::read_sectors;
using testing::RecordingFile;
using testing::TemporaryFolder;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 400;

vhd::DynamicHeader header_of(const Bytes& image) {
    const auto footer = vhd::parse_footer(std::span(image).last(512));
    return vhd::parse_dynamic_header(std::span(image).subspan(footer.data_offset, vhd::kDynamicHeaderSize));
}

/// child.vhd over parent.vhd, with data of its own.
class SetParent : public ::testing::Test {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        parent_ = folder_.write("parent.vhd", build_fixed(kSectors));
        child_ = make_child("child.vhd", parent_);
        const auto device = open_image(child_, OpenMode::ReadWrite);
        ASSERT_TRUE(testing::write_sectors(**device, 20, 30, 0x42));
        ASSERT_TRUE(testing::write_sectors(**device, kSectors - 1, 1, 0x43));
        ASSERT_TRUE((*device)->flush());
        expected_ = read_sectors(**device, 0, kSectors);
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    std::filesystem::path make_child(const std::string& name, const std::filesystem::path& parent) {
        const auto status = create_image(
            {.file = folder_ / name, .type = ImageType::Differencing, .parent = parent, .block_size = 4096}, {});
        EXPECT_TRUE(status.has_value()) << status.error().message;
        return folder_ / name;
    }

    /// The parent at another place, under another name, where only being told helps.
    std::filesystem::path move_parent(const std::filesystem::path& to) {
        std::filesystem::create_directories(to.parent_path());
        std::filesystem::rename(parent_, to);
        EXPECT_EQ(open_image(child_, OpenMode::ReadOnly).error().code, ErrorCode::NotFound);
        return to;
    }

    void expect_whole() const {
        const auto links = read_chain(child_);
        ASSERT_TRUE(links.has_value());
        ASSERT_EQ(links->size(), 2u) << links->front().parent_problem.value_or(Error{}).message;
        EXPECT_FALSE((*links)[1].changed_since_child_was_made);
        const auto device = open_image(child_, OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        EXPECT_EQ(read_sectors(**device, 0, kSectors), expected_);
    }

    Error refused(const std::filesystem::path& child, const std::filesystem::path& parent) {
        const Bytes before = TemporaryFolder::read(child);
        const auto change = set_parent(child, parent, {}, {});
        EXPECT_FALSE(change.has_value());
        EXPECT_EQ(TemporaryFolder::read(child), before);
        return change ? Error{} : change.error();
    }

    TemporaryFolder folder_;
    std::filesystem::path parent_;
    std::filesystem::path child_;
    Bytes expected_;
};

TEST_F(SetParent, RecordsWhereTheParentIsNow) {
    const std::uint64_t size = std::filesystem::file_size(child_);
    const auto moved = move_parent(folder_ / "other" / "renamed.img");
    // A child of the child has this time recorded.
    const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1000);
    std::filesystem::last_write_time(child_, long_ago);
    const auto time = std::filesystem::last_write_time(child_);
    const auto change = set_parent(child_, moved, {}, {});
    ASSERT_TRUE(change.has_value()) << change.error().message;
    EXPECT_EQ(change->id_before, change->id_after);
    EXPECT_EQ(std::filesystem::last_write_time(child_), time);
    expect_whole();
    EXPECT_EQ(std::filesystem::file_size(child_), size) << "the new paths take the place of the old ones";
    const Bytes bytes = TemporaryFolder::read(child_);
    EXPECT_EQ(vhd::parse_footer(bytes).data_offset, 512u) << "and the header is where it was";
    EXPECT_EQ(vhd::parent_name(header_of(bytes)), "renamed.img");
    const auto file = open_file(child_, OpenMode::ReadOnly);
    const auto paths = vhd::read_parent_paths(**file, header_of(bytes));
    ASSERT_EQ(paths->size(), 2u);
    EXPECT_EQ((*paths)[0].path, "./other/renamed.img");
    EXPECT_EQ((*paths)[1].path, std::filesystem::canonical(moved).string());
    EXPECT_TRUE(check(child_, {}, {})->clean());
}

TEST_F(SetParent, LongPathsGoBehindWhatIsThere) {
    std::filesystem::path deep = folder_.path();
    for (int i = 0; i < 12; ++i) {
        deep /= std::string(200, 'x');
    }
    const auto moved = move_parent(deep / "parent.vhd");
    ASSERT_TRUE(set_parent(child_, moved, {}, {}));
    expect_whole();
    EXPECT_EQ(std::filesystem::file_size(child_) % 4096, 0u) << "still laid out for sectors of 4 KiB";
    EXPECT_TRUE(check(child_, {}, {})->clean());
    // And back, with the room of the long ones.
    const std::uint64_t size = std::filesystem::file_size(child_);
    std::filesystem::rename(moved, parent_);
    ASSERT_TRUE(set_parent(child_, parent_, {}, {}));
    expect_whole();
    EXPECT_EQ(std::filesystem::file_size(child_), size);
}

TEST_F(SetParent, CorrectsTheRecordedTime) {
    std::filesystem::last_write_time(parent_, std::filesystem::last_write_time(parent_) + std::chrono::hours(5));
    EXPECT_TRUE((*read_chain(child_))[1].changed_since_child_was_made);
    ASSERT_TRUE(set_parent(child_, parent_, {}, {}));
    expect_whole();
}

TEST_F(SetParent, TakesAnotherIdOnlyWhenAskedTo) {
    Bytes copy = build_fixed(kSectors);
    vhd::Footer footer = vhd::parse_footer(std::span(copy).last(512));
    footer.unique_id[0] ^= 0xFF;
    std::ranges::copy(vhd::serialise(footer), copy.end() - 512);
    const auto other = folder_.write("other.vhd", copy);
    const Error error = refused(child_, other);
    EXPECT_EQ(error.code, ErrorCode::ParentMismatch);
    EXPECT_NE(error.message.find("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("5fa1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"), std::string::npos) << error.message;
    const auto change = set_parent(child_, other, {.ignore_id_mismatch = true}, {});
    ASSERT_TRUE(change.has_value()) << change.error().message;
    EXPECT_EQ(change->id_after, footer.unique_id);
    std::filesystem::remove(parent_);
    expect_whole();
    // A raw image has no id at all.
    const auto raw = folder_.write("raw.img", std::span(copy).first(kSectors * 512));
    EXPECT_EQ(refused(child_, raw).code, ErrorCode::ParentMismatch);
    ASSERT_TRUE(set_parent(child_, raw, {.ignore_id_mismatch = true}, {}));
    std::filesystem::remove(other);
    expect_whole();
}

TEST_F(SetParent, RefusesCircles) {
    const auto leaf = make_child("leaf.vhd", child_);
    for (const auto& parent : {child_, leaf}) {
        const Bytes before = TemporaryFolder::read(child_);
        const auto change = set_parent(child_, parent, {.ignore_id_mismatch = true}, {});
        ASSERT_FALSE(change.has_value());
        EXPECT_EQ(change.error().code, ErrorCode::Corrupt) << change.error().message;
        EXPECT_NE(change.error().message.find("name another image"), std::string::npos) << change.error().message;
        EXPECT_EQ(TemporaryFolder::read(child_), before);
    }
    // Under another name it is still the same file, and a broken chain hides no circle.
    std::filesystem::create_hard_link(leaf, folder_ / "link.vhd");
    std::filesystem::remove(parent_);
    EXPECT_EQ(set_parent(child_, folder_ / "link.vhd", {.ignore_id_mismatch = true}, {}).error().code,
              ErrorCode::Corrupt);
}

TEST_F(SetParent, RefusesParentsThatCannotBeOnes) {
    EXPECT_EQ(refused(child_, folder_ / "missing.vhd").code, ErrorCode::NotFound);
    EXPECT_EQ(refused(child_, folder_.write("empty.vhd", Bytes())).code, ErrorCode::NotAnImage);
    const Error larger = refused(child_, folder_.write("larger.vhd", build_fixed(kSectors + 1)));
    EXPECT_EQ(larger.code, ErrorCode::Unsupported);
    EXPECT_NE(larger.message.find("205312 bytes"), std::string::npos) << larger.message;
    const auto orphan = make_child("orphan.vhd", folder_.write("gone.vhd", build_fixed(kSectors)));
    std::filesystem::remove(folder_ / "gone.vhd");
    std::filesystem::remove(folder_ / "larger.vhd");
    std::filesystem::remove(parent_);
    EXPECT_EQ(refused(child_, orphan).code, ErrorCode::NotFound) << "a parent without its own parent";
    const auto user = open_image(folder_.write("used.vhd", build_fixed(kSectors)), OpenMode::ReadWrite);
    EXPECT_EQ(refused(child_, folder_ / "used.vhd").code, ErrorCode::InUse);
}

TEST_F(SetParent, RefusesChildrenThatAreNone) {
    EXPECT_EQ(refused(folder_ / "missing.vhd", parent_).code, ErrorCode::NotFound);
    for (const Bytes& bytes : {build_fixed(kSectors), build_dynamic({}), Bytes(4096, 7), Bytes(100, 7)}) {
        const Error error = refused(folder_.write("none.vhd", bytes), parent_);
        EXPECT_EQ(error.code, ErrorCode::Unsupported);
        EXPECT_NE(error.message.find("not a differencing image"), std::string::npos) << error.message;
    }
    {
        const auto user = open_image(child_, OpenMode::ReadOnly);
        EXPECT_EQ(refused(child_, parent_).code, ErrorCode::InUse);
    }
    Bytes damaged = TemporaryFolder::read(child_);
    damaged[512 + 36] ^= 1;
    EXPECT_NE(refused(folder_.write("damaged.vhd", damaged), parent_).message.find("repair it first"),
              std::string::npos);
    damaged = TemporaryFolder::read(child_);
    damaged[damaged.size() - 500] ^= 1;
    EXPECT_EQ(refused(folder_.write("damaged.vhd", damaged), parent_).code, ErrorCode::Corrupt);
}

class SetParentInMemory : public SetParent, public ::testing::WithParamInterface<const char*> {
  protected:
    /// Children as different programs lay them out.
    Bytes child_bytes() {
        const Bytes bytes = TemporaryFolder::read(child_);
        const std::string kind = GetParam();
        if (kind == "Unaligned") {  // without the padding, as Virtual PC does
            Bytes shorter(bytes.begin(), bytes.end() - 512);
            while (std::all_of(shorter.end() - 512, shorter.end(), [](std::uint8_t byte) { return byte == 0; })) {
                shorter.resize(shorter.size() - 512);
            }
            shorter.insert(shorter.end(), bytes.end() - 512, bytes.end());
            return shorter;
        }
        if (kind == "NoRoom") {  // the room of the paths is counted in sectors
            Bytes changed = bytes;
            vhd::DynamicHeader header = header_of(bytes);
            for (auto& entry : header.parent_locator_entries) {
                entry.platform_data_space /= 512;
            }
            std::ranges::copy(vhd::serialise(header), changed.begin() + 512);
            return changed;
        }
        return bytes;
    }
};

TEST_P(SetParentInMemory, APowerFailureAtAnyMomentLeavesTheOldOrTheNewParent) {
    const auto before = MemoryContents::of(child_bytes());
    const auto old_id = header_of(before->bytes()).parent_unique_id;
    // A copy of the parent's contents with another id, so that old and new can be told apart.
    Bytes other = build_fixed(kSectors);
    vhd::Footer footer = vhd::parse_footer(std::span(other).last(512));
    footer.unique_id[0] ^= 0xFF;
    std::ranges::copy(vhd::serialise(footer), other.end() - 512);
    const NewParent parent = {.child = child_,
                              .parent = folder_ / "a-new-place.vhd",
                              .unique_id = footer.unique_id,
                              .size = kSectors * 512,
                              .time_stamp = 12345};

    const auto work = std::make_shared<MemoryContents>(*before);
    const auto operations = std::make_shared<FileOperations>();
    RecordingFile recorded(work, operations);
    ASSERT_TRUE(set_parent_of(recorded, parent, true));

    const auto inspect_as = [&](const std::shared_ptr<MemoryContents>& image, OpenMode mode) -> std::string {
        std::array<std::uint8_t, 16> found{};
        std::string name;
        const auto device =
            open_image(std::make_unique<MemoryFile>(image), {.mode = mode},
                       [&](File& file, const vhd::Footer&, const vhd::DynamicHeader& header) {
                           found = header.parent_unique_id;
                           const auto paths = vhd::read_parent_paths(file, header);
                           name = paths && paths->size() == 2 ? (*paths)[0].path + vhd::parent_name(header) : "";
                           return open_bytes(found == old_id ? build_fixed(kSectors) : other, OpenMode::ReadOnly);
                       });
        if (!device) {
            return "does not open: " + device.error().message;
        }
        if (found != old_id && found != footer.unique_id) {
            return "has a parent that nobody knows";
        }
        if (name != (found == old_id ? "./parent.vhdparent.vhd" : "./a-new-place.vhda-new-place.vhd")) {
            return "has a wrong path: " + name;
        }
        return read_sectors(**device, 0, kSectors) == expected_ ? "" : "wrong contents";
    };
    const auto report = testing::simulate_crashes(
        *before, *operations, 1, [](const auto&) {},
        [&](const MemoryContents& left) -> std::string {
            for (const OpenMode mode : {OpenMode::ReadOnly, OpenMode::ReadWrite}) {
                if (auto wrong = inspect_as(std::make_shared<MemoryContents>(left), mode); !wrong.empty()) {
                    return wrong;
                }
            }
            const auto copy = std::make_shared<MemoryContents>(left);
            MemoryFile again(copy);
            if (const auto repeated = set_parent_of(again, parent, true); !repeated) {
                return "cannot be repeated: " + repeated.error().message;
            }
            if (auto wrong = inspect_as(copy, OpenMode::ReadWrite); !wrong.empty()) {
                return "after repeating it: " + wrong;
            }
            return header_of(copy->bytes()).parent_unique_id == footer.unique_id ? "" : "the old parent after all";
        });
    EXPECT_EQ(report.wrong, "");
    EXPECT_GT(report.states, 60);
    std::cout << "set-parent of " << GetParam() << ": " << report.states
              << " crash points, lost writes 0, unopenable images 0\n";
}

INSTANTIATE_TEST_SUITE_P(Layouts, SetParentInMemory, ::testing::Values("Aligned", "Unaligned", "NoRoom"),
                         [](const auto& layout) { return std::string(layout.param); });

}  // namespace
}  // namespace vpc::disk
