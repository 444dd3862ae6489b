// Records every write and barrier of a session, then imagines a power failure after each of them (crash_simulator.h).
// The image must open, for writing too, with every flushed sector in place and no sector holding what was
// never written to it.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>

#include "disk/log.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::BuiltBlock;
using testing::CrashReport;
using testing::DynamicImage;
using testing::FileOperation;
using testing::FileOperations;
using testing::MemoryContents;
using testing::open_contents;
using testing::read_sectors;
using testing::RecordingFile;
using testing::simulate_crashes;
using testing::write_sectors;

constexpr std::uint64_t kSectors = 240;

/// A note: this byte is about to be written to these sectors, or (no sectors) a flush has returned.
struct Event {
    std::uint64_t sector = 0;
    std::uint64_t count = 0;
    std::uint8_t byte = 0;
};

struct Session {
    std::shared_ptr<MemoryContents> before;
    FileOperations operations;
    std::vector<Event> events;
};

/// Writes, flushes and closes at random.
Session record(const DynamicImage& image, std::uint32_t seed) {
    Session session;
    session.before = MemoryContents::of(build_dynamic(image));
    const auto contents = std::make_shared<MemoryContents>(*session.before);
    const auto operations = std::make_shared<FileOperations>();
    std::mt19937 random(seed);
    for (int round = 0; round < 3; ++round) {
        auto device = open_image(std::make_unique<RecordingFile>(contents, operations), OpenMode::ReadWrite);
        EXPECT_TRUE(device.has_value());
        for (int step = 0; step < 14; ++step) {
            Event event;
            if (random() % 4 != 0) {
                event.sector = random() % kSectors;
                event.count = 1 + random() % std::min<std::uint64_t>(12, kSectors - event.sector);
                event.byte = static_cast<std::uint8_t>(random() % 9 == 0 ? 0 : 200 + random() % 56);
                operations->push_back({.kind = FileOperation::Kind::Note, .offset = session.events.size()});
                EXPECT_TRUE(write_sectors(**device, event.sector, event.count, event.byte));
            } else {
                EXPECT_TRUE((*device)->flush());
                operations->push_back({.kind = FileOperation::Kind::Note, .offset = session.events.size()});
            }
            session.events.push_back(event);
        }
    }
    session.operations = *operations;
    return session;
}

/// What each sector may hold: what it held at the last flush, and everything written since.
class Expectation {
  public:
    explicit Expectation(const std::shared_ptr<MemoryContents>& image) : allowed_(kSectors) {
        const auto device = open_contents(image, OpenMode::ReadOnly);
        for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
            allowed_[sector] = {read_sectors(**device, sector, 1)[0]};
        }
    }

    void happened(const Event& event) {
        if (event.count == 0) {
            for (auto& values : allowed_) {
                values = {values.back()};
            }
        }
        for (std::uint64_t sector = event.sector; sector < event.sector + event.count; ++sector) {
            allowed_[sector].push_back(event.byte);
        }
    }

    /// Whether all sectors of the device hold, from their first to their last byte, something they may.
    bool met_by(BlockDevice& device) const {
        const std::vector<std::uint8_t> bytes = read_sectors(device, 0, kSectors);
        if (bytes.empty()) {
            return false;
        }
        for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
            const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(sector * 512);
            const auto& values = allowed_[sector];
            if (std::find(values.begin(), values.end(), *begin) == values.end() ||
                !std::all_of(begin, begin + 512, [begin](std::uint8_t byte) { return byte == *begin; })) {
                return false;
            }
        }
        return true;
    }

  private:
    std::vector<std::vector<std::uint8_t>> allowed_;  // the last one is the current one
};

/// Opens what the failure has left, checks it, works on with it and checks again. A description of what is wrong.
std::string inspect(const MemoryContents& left, const Expectation& expectation) {
    const auto contents = std::make_shared<MemoryContents>(left);
    {
        const auto reading = open_contents(contents, OpenMode::ReadOnly);
        if (!reading) {
            return "does not open: " + reading.error().message;
        }
        if (!expectation.met_by(**reading)) {
            return "wrong contents when opened for reading";
        }
    }
    Expectation after = expectation;
    {
        const auto writing = open_contents(contents, OpenMode::ReadWrite);
        if (!writing) {
            return "does not open for writing: " + writing.error().message;
        }
        if (!expectation.met_by(**writing)) {
            return "wrong contents when opened for writing";
        }
        for (std::uint64_t sector = 5; sector < kSectors; sector += 24) {
            if (!write_sectors(**writing, sector, 1, 77)) {
                return "does not take writes";
            }
            after.happened({.sector = sector, .count = 1, .byte = 77});
        }
        if (!after.met_by(**writing)) {
            return "wrong contents after writing";
        }
    }
    const auto again = open_contents(contents, OpenMode::ReadWrite);
    if (!again || !after.met_by(**again)) {
        return "wrong contents after writing and opening again";
    }
    return "";
}

class PowerFailure : public ::testing::TestWithParam<std::tuple<bool, int, std::uint32_t>> {
  protected:
    // Thousands of images with a footer to put back would each say so.
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
};

TEST_P(PowerFailure, AtAnyMomentLosesNothingThatWasFlushed) {
    const auto [aligned, bitmap, seed] = GetParam();
    DynamicImage image = {.sectors = kSectors, .aligned = aligned};
    for (std::uint32_t block = 1; block < 30; block += 7) {
        image.blocks.push_back({block, static_cast<std::uint8_t>(bitmap)});
    }
    const Session session = record(image, seed);

    Expectation expectation(session.before);
    const CrashReport report = simulate_crashes(
        *session.before, session.operations, seed,
        [&](const FileOperation& note) { expectation.happened(session.events[note.offset]); },
        [&](const MemoryContents& left) { return inspect(left, expectation); });
    EXPECT_EQ(report.wrong, "");
    EXPECT_GT(report.states, 600);
}

INSTANTIATE_TEST_SUITE_P(Sessions, PowerFailure,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(0xFF, 0x93),
                                            ::testing::Values(1u, 2u)));

}  // namespace
}  // namespace vpc::disk
