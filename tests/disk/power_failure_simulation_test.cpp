// Whether the crash simulation (crash_simulator.h) sees what it is there for: a session of a differencing disk in which
// all is well, and the same with one fault on purpose, each of which has to be found.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "disk/log.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_child;
using testing::build_fixed;
using testing::built_byte;
using testing::FileOperation;
using testing::FileOperations;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_bytes;
using testing::read_sectors;
using testing::RecordingFile;
using Kind = FileOperation::Kind;

constexpr std::uint64_t kSectors = 64;
/// In a block that is missing: three sectors, then a fourth.
constexpr std::uint64_t kFirst = 16;
constexpr std::uint64_t kSecond = 21;
constexpr std::uint8_t kNew = 0xEE;

/// Notes of the session: from then on a sector may have its new byte, and from then on it must.
enum Moment : std::uint64_t { kFirstBegins, kFirstIsFlushed, kSecondBegins, kSecondIsFlushed };

class CrashSimulation : public ::testing::Test {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        const auto work = std::make_shared<MemoryContents>(*before_);
        const auto operations = std::make_shared<FileOperations>();
        const auto note = [&](Moment moment) { operations->push_back({.kind = Kind::Note, .offset = moment}); };
        {
            const auto disk = open_child(std::make_unique<RecordingFile>(work, operations), OpenMode::ReadWrite);
            ASSERT_TRUE(disk.has_value()) << disk.error().message;
            note(kFirstBegins);
            ASSERT_TRUE(testing::write_sectors(**disk, kFirst, 3, kNew));
            ASSERT_TRUE((*disk)->flush());
            note(kFirstIsFlushed);
            note(kSecondBegins);
            ASSERT_TRUE(testing::write_sectors(**disk, kSecond, 1, kNew));
            ASSERT_TRUE((*disk)->flush());
            note(kSecondIsFlushed);
        }
        session_ = *operations;
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    static Result<std::unique_ptr<BlockDevice>> open_child(std::unique_ptr<File> file, OpenMode mode) {
        return open_image(std::move(file), mode, *open_bytes(build_fixed(kSectors), OpenMode::ReadOnly));
    }

    /// What the simulation says of a session; nothing if all is well.
    std::string simulate(const FileOperations& operations) const {
        std::vector<bool> happened(4);
        return testing::simulate_crashes(
                   *before_, operations, 1, [&](const FileOperation& note) { happened[note.offset] = true; },
                   [&](const MemoryContents& left) { return inspect(left, happened); })
            .wrong;
    }

    static std::string inspect(const MemoryContents& left, const std::vector<bool>& happened) {
        const auto copy = std::make_shared<MemoryContents>(left);
        for (const OpenMode mode : {OpenMode::ReadOnly, OpenMode::ReadWrite}) {
            const auto disk = open_child(std::make_unique<MemoryFile>(copy), mode);
            if (!disk) {
                return "does not open: " + disk.error().message;
            }
            for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
                const bool first = sector >= kFirst && sector < kFirst + 3;
                const bool second = sector == kSecond;
                const bool may_be_new = (first && happened[kFirstBegins]) || (second && happened[kSecondBegins]);
                const bool must_be_new = (first && happened[kFirstIsFlushed]) || (second && happened[kSecondIsFlushed]);
                const auto found = read_sectors(**disk, sector, 1);
                if (!(may_be_new && found == testing::filled_sectors(1, kNew)) &&
                    !(!must_be_new && found == testing::filled_sectors(1, built_byte(sector)))) {
                    return "sector " + std::to_string(sector) + " holds something else";
                }
            }
        }
        return "";
    }

    static bool is_barrier(const FileOperation& operation) {
        return operation.kind == Kind::Sync || operation.kind == Kind::SyncLast;
    }

    /// The one before the file is cut to its size: without it a footer may be missing, which whoever opens the image
    /// puts back (open_image.h). No contents depend on it.
    std::size_t last_barrier() const {
        std::size_t last = 0;
        for (std::size_t i = 0; i < session_.size(); ++i) {
            last = is_barrier(session_[i]) ? i : last;
        }
        return last;
    }

    const std::shared_ptr<MemoryContents> before_ = MemoryContents::of(build_child({.sectors = kSectors}));
    FileOperations session_;
};

TEST_F(CrashSimulation, FindsNothingWhereNothingIsWrong) {
    EXPECT_EQ(simulate(session_), "");
}

TEST_F(CrashSimulation, FindsEachBarrierThatIsLeftOut) {
    int barriers = 0;
    for (std::size_t i = 0; i < session_.size(); ++i) {
        if (is_barrier(session_[i])) {
            FileOperations operations = session_;
            operations.erase(operations.begin() + static_cast<std::ptrdiff_t>(i));
            EXPECT_EQ(simulate(operations).empty(), i == last_barrier()) << "without operation " << i;
            ++barriers;
        }
    }
    // Room for the block; data, table entry; data, bitmap; the footer behind the last block.
    EXPECT_EQ(barriers, 6);
}

TEST_F(CrashSimulation, FindsEachBarrierThatComesOneWriteTooEarly) {
    int barriers = 0;
    for (std::size_t i = 1; i < session_.size(); ++i) {
        if (is_barrier(session_[i]) && session_[i - 1].kind == Kind::Write) {
            FileOperations operations = session_;
            std::swap(operations[i - 1], operations[i]);
            EXPECT_EQ(simulate(operations).empty(), i == last_barrier()) << "operation " << i << " too early";
            ++barriers;
        }
    }
    EXPECT_EQ(barriers, 6);
}

TEST_F(CrashSimulation, FindsATableEntryOrABitmapBeforeItsData) {
    const auto is_write = [](const FileOperation& operation) { return operation.kind == Kind::Write; };
    int exchanged = 0;
    for (auto sync = session_.begin(); sync != session_.end(); ++sync) {
        if (!is_barrier(*sync)) {
            continue;
        }
        const auto before = std::find_if_not(std::make_reverse_iterator(sync), session_.rend(), is_write).base();
        const auto after = std::find_if_not(sync + 1, session_.end(), is_write);
        if (before == sync || after == sync + 1) {
            continue;  // nothing is kept in order here but what the test notes
        }
        FileOperations operations(session_.begin(), before);
        operations.insert(operations.end(), sync + 1, after);
        operations.push_back(*sync);
        operations.insert(operations.end(), before, sync);
        operations.insert(operations.end(), after, session_.end());
        EXPECT_NE(simulate(operations), "") << "around operation " << sync - session_.begin();
        ++exchanged;
    }
    // Footer and block, data and table entry, data and bitmap.
    EXPECT_EQ(exchanged, 3);
}

}  // namespace
}  // namespace vpc::disk
