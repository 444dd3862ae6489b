#include "tasks/stored_pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string_view>

namespace vpc::tasks {
namespace {

std::vector<std::uint8_t> noise(std::size_t pages) {
    std::vector<std::uint8_t> bytes(pages * kPage);
    std::mt19937_64 random(bytes.size());
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
    return bytes;
}

bool is_ordinary(std::span<const std::uint8_t> bytes) {
    const PageWork work = work_of(bytes);
    return work.storing == bytes.size() && work.loading == bytes.size();
}

TEST(StoredPages, AreThoseThatAreNotZero) {
    std::vector<std::uint8_t> ram(8 * kPage);
    ram[1 * kPage] = 1;
    ram[3 * kPage - 1] = 1;  // the last byte of page 2
    ram[6 * kPage + 9] = 1;
    std::vector<PageRun> runs;
    EXPECT_EQ(add_stored_pages(runs, ram, 0, 8), 3U);
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_EQ(runs[0].first, 1U);
    EXPECT_EQ(runs[0].count, 2U);
    EXPECT_EQ(bytes_in(ram, runs[0]).data(), ram.data() + kPage);
    EXPECT_EQ(bytes_in(ram, runs[0]).size(), 2 * kPage);
    EXPECT_EQ(runs[1].first, 6U);
    EXPECT_EQ(runs[1].count, 1U);
}

TEST(StoredPages, RunsGoOnBehindAPieceAndEndAtTheLimit) {
    const std::vector<std::uint8_t> ram((kRunPages + 10) * kPage, 1);
    std::vector<PageRun> runs;
    EXPECT_EQ(add_stored_pages(runs, ram, 0, 100), 100U);
    EXPECT_EQ(add_stored_pages(runs, ram, 100, kRunPages + 10), kRunPages - 90);
    ASSERT_EQ(runs.size(), 2U);
    EXPECT_EQ(runs[0].count, kRunPages);
    EXPECT_EQ(runs[1].first, kRunPages);
    EXPECT_EQ(runs[1].count, 10U);
}

TEST(StoredPages, NoiseIsLessWorkThanWhatCanBeCompressed) {
    for (const std::size_t pages : {std::size_t{1}, std::size_t{3}, kRunPages}) {
        const auto bytes = noise(pages);
        EXPECT_EQ(work_of(bytes).storing, bytes.size() / 4) << pages;
        EXPECT_EQ(work_of(bytes).loading, bytes.size() / 2) << pages;
    }
}

TEST(StoredPages, TextAndCodeAndCountersAreOrdinary) {
    std::vector<std::uint8_t> text;
    constexpr std::string_view kText = "The quick brown fox jumps over the lazy dog; 0123456789 (and 42 more).\n";
    while (text.size() < kPage) {
        text.insert(text.end(), kText.begin(), kText.end());
    }
    EXPECT_TRUE(is_ordinary(std::span(text).first(kPage)));
    // Code: four pages of this program's.
    const auto* code = reinterpret_cast<const std::uint8_t*>(&add_stored_pages);
    EXPECT_TRUE(is_ordinary({code, 4 * kPage}));
    std::vector<std::uint8_t> counters(kPage);
    for (std::size_t i = 0; i < counters.size(); i += 4) {
        counters[i] = static_cast<std::uint8_t>(i / 4);
    }
    EXPECT_TRUE(is_ordinary(counters));
}

}  // namespace
}  // namespace vpc::tasks
