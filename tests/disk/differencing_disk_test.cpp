// Differencing VHDs over parents in memory: what is read from where, what is stored, and power failures.
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "disk/log.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_child;
using testing::build_dynamic;
using testing::build_fixed;
using testing::built_byte;
using testing::filled_sectors;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_bytes;
using testing::read_sectors;
using testing::write_sectors;

constexpr std::uint64_t kSectors = 240;

Result<std::unique_ptr<BlockDevice>> open_child(std::unique_ptr<File> file, OpenMode mode,
                                                const std::vector<std::uint8_t>& parent) {
    auto opened = open_bytes(parent, OpenMode::ReadOnly);
    return opened ? open_image(std::move(file), mode, std::move(*opened)) : std::move(opened);
}

TEST(DifferencingDisk, TakesFromTheParentWhatItDoesNotHold) {
    // Sectors of a fixed parent hold built_byte(), too: another byte tells the child's from the parent's.
    auto bytes = build_child({.sectors = kSectors, .blocks = {{2, 0x93}}});
    const auto slot = std::size_t{vhd::load_big_endian<std::uint32_t>(bytes, 1536 + 8)} * 512;
    std::fill_n(bytes.begin() + static_cast<std::ptrdiff_t>(slot) + 512, 4096, std::uint8_t{0xFE});
    const auto child =
        open_child(std::make_unique<MemoryFile>(MemoryContents::of(bytes)), OpenMode::ReadOnly, build_fixed(200));
    ASSERT_TRUE(child.has_value()) << child.error().message;
    for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
        const bool own = sector / 8 == 2 && (0x93 & 0x80 >> sector % 8) != 0;
        const std::uint8_t expected = own ? 0xFE : sector < 200 ? built_byte(sector) : 0;
        EXPECT_EQ(read_sectors(**child, sector, 1), filled_sectors(1, expected)) << sector;
    }
    const auto all = read_sectors(**child, 0, kSectors);
    ASSERT_EQ(all.size(), kSectors * 512);
    EXPECT_EQ(all[199 * 512], built_byte(199));
    EXPECT_EQ(all[200 * 512], 0) << "beyond the end of the parent";
}

TEST(DifferencingDisk, KnowsWhichImageHoldsASector) {
    const auto child = open_child(
        std::make_unique<MemoryFile>(MemoryContents::of(build_child({.sectors = 64, .blocks = {{1, 0xF0}}}))),
        OpenMode::ReadOnly, build_dynamic({.sectors = 40, .blocks = {{0}, {1}}}));
    ASSERT_TRUE(child.has_value());
    const auto check = [&](std::uint64_t sector, std::uint64_t limit, std::uint64_t sectors, bool data,
                           unsigned depth) {
        const auto run = (*child)->extent(sector, limit);
        ASSERT_TRUE(run.has_value());
        EXPECT_EQ(run->sectors, sectors) << sector;
        EXPECT_EQ(run->data, data) << sector;
        if (data) {
            EXPECT_EQ(run->depth, depth) << sector;
        }
    };
    check(0, 64, 8, true, 1);
    check(8, 56, 4, true, 0);
    check(12, 52, 4, true, 1);
    check(16, 48, 24, false, 0);
    check(40, 24, 24, false, 0);
}

TEST(DifferencingDisk, StoresZerosWhereTheParentHasDataAndOnlyThere) {
    const auto contents = MemoryContents::of(build_child({.sectors = 64}));
    const auto parent = build_dynamic({.sectors = 64, .blocks = {{1}}});
    const std::uint64_t size = contents->size;
    {
        const auto child = open_child(std::make_unique<MemoryFile>(contents), OpenMode::ReadWrite, parent);
        ASSERT_TRUE(child.has_value());
        EXPECT_TRUE(write_sectors(**child, 16, 48, 0));
        EXPECT_TRUE((*child)->flush());
        EXPECT_EQ(contents->size, size) << "nothing to hide there";
        EXPECT_TRUE(write_sectors(**child, 10, 2, 0));
        EXPECT_EQ(read_sectors(**child, 10, 2), filled_sectors(2, 0));
        EXPECT_EQ(read_sectors(**child, 9, 1), filled_sectors(1, built_byte(9)));
    }
    const auto again = open_child(std::make_unique<MemoryFile>(contents), OpenMode::ReadOnly, parent);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(read_sectors(**again, 10, 2), filled_sectors(2, 0));
    EXPECT_EQ(read_sectors(**again, 12, 1), filled_sectors(1, built_byte(12)));
}

TEST(DifferencingDisk, RefusesAParentThatIsNotItsOwnAndToBeWithoutOne) {
    auto stranger = build_fixed(64);
    vhd::Footer footer = testing::make_footer(64, vhd::DiskType::Fixed);
    footer.unique_id[15] = 0;
    const auto footer_bytes = vhd::serialise(footer);
    std::copy(footer_bytes.begin(), footer_bytes.end(), stranger.end() - 512);
    const auto bytes = MemoryContents::of(build_child({.sectors = 64}));
    const auto wrong = open_child(std::make_unique<MemoryFile>(bytes), OpenMode::ReadOnly, stranger);
    ASSERT_FALSE(wrong.has_value());
    EXPECT_EQ(wrong.error().code, ErrorCode::ParentMismatch);
    EXPECT_NE(wrong.error().message.find("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"), std::string::npos);
    EXPECT_NE(wrong.error().message.find("a0a1a2a3-a4a5-a6a7-a8a9-aaabacadae00"), std::string::npos);
    const auto alone = open_image(std::make_unique<MemoryFile>(bytes), OpenMode::ReadOnly);
    ASSERT_FALSE(alone.has_value());
    EXPECT_EQ(alone.error().code, ErrorCode::Unsupported);
}

class DifferencingPowerFailure : public ::testing::TestWithParam<std::tuple<bool, std::uint32_t>> {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
};

TEST_P(DifferencingPowerFailure, LosesNeitherFlushedWritesNorTheParentsData) {
    const auto [aligned, seed] = GetParam();
    const auto parent = build_fixed(kSectors);
    const auto contents = MemoryContents::of(build_child(
        {.sectors = kSectors, .aligned = aligned, .blocks = {{3, 0x93}, {11, 0x0F}}, .unwritten_byte = 0xEE}));
    const MemoryContents before = *contents;
    const auto operations = std::make_shared<testing::FileOperations>();
    // What a sector may hold; the last value is the current one.
    std::vector<std::vector<std::uint8_t>> allowed(kSectors);
    struct Event {
        std::uint64_t sector = 0;
        std::uint64_t count = 0;
        std::uint8_t byte = 0;
    };
    std::vector<Event> events;
    std::mt19937 random(seed);
    for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
        allowed[sector] = {built_byte(sector)};
    }
    for (int round = 0; round < 3; ++round) {
        const auto child =
            open_child(std::make_unique<testing::RecordingFile>(contents, operations), OpenMode::ReadWrite, parent);
        ASSERT_TRUE(child.has_value()) << child.error().message;
        for (int step = 0; step < 14; ++step) {
            Event event;
            if (random() % 4 != 0) {
                event.sector = random() % kSectors;
                event.count = 1 + random() % std::min<std::uint64_t>(12, kSectors - event.sector);
                event.byte = static_cast<std::uint8_t>(random() % 5 == 0 ? 0 : 201 + random() % 55);
                operations->push_back({.kind = testing::FileOperation::Kind::Note, .offset = events.size()});
                ASSERT_TRUE(write_sectors(**child, event.sector, event.count, event.byte));
            } else {
                ASSERT_TRUE((*child)->flush());
                operations->push_back({.kind = testing::FileOperation::Kind::Note, .offset = events.size()});
            }
            events.push_back(event);
        }
    }
    int lost = 0;
    int unopenable = 0;
    const auto report = testing::simulate_crashes(
        before, *operations, seed,
        [&](const testing::FileOperation& note) {
            const Event& event = events[note.offset];
            for (auto& values : allowed) {
                if (event.count == 0) {
                    values = {values.back()};
                }
            }
            for (std::uint64_t sector = event.sector; sector < event.sector + event.count; ++sector) {
                allowed[sector].push_back(event.byte);
            }
        },
        [&](const MemoryContents& left) -> std::string {
            const auto copy = std::make_shared<MemoryContents>(left);
            for (const OpenMode mode : {OpenMode::ReadOnly, OpenMode::ReadWrite, OpenMode::ReadOnly}) {
                const auto child = open_child(std::make_unique<MemoryFile>(copy), mode, parent);
                if (!child) {
                    ++unopenable;
                    return "does not open: " + child.error().message;
                }
                for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
                    const auto bytes = read_sectors(**child, sector, 1);
                    const auto& values = allowed[sector];
                    if (bytes.empty() || std::find(values.begin(), values.end(), bytes[0]) == values.end() ||
                        bytes != filled_sectors(1, bytes[0])) {
                        ++lost;
                        return "wrong contents of sector " + std::to_string(sector);
                    }
                }
            }
            return "";
        });
    EXPECT_EQ(report.wrong, "");
    EXPECT_GT(report.states, 600);
    std::cout << "differencing writes: " << report.states << " crash points, lost writes " << lost
              << ", unopenable images " << unopenable << "\n";
}

INSTANTIATE_TEST_SUITE_P(Sessions, DifferencingPowerFailure,
                         ::testing::Combine(::testing::Bool(), ::testing::Values(1u, 2u, 3u)));

}  // namespace
}  // namespace vpc::disk
