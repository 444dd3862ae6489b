#pragma once
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "disk/volume/free_space.h"

namespace vpc::disk::testing {

struct FreeRuns {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> runs;
    FreeSpaceReport report;
};

/// What find_free_space() hands out, checked for its order.
inline FreeRuns free_runs(BlockDevice& disk) {
    FreeRuns result;
    auto report = find_free_space(
        disk, [&](std::uint64_t sector, std::uint64_t count) { result.runs.emplace_back(sector, count); });
    EXPECT_TRUE(report.has_value()) << report.error().message;
    std::uint64_t end = 0;
    for (const auto& [sector, count] : result.runs) {
        EXPECT_GE(sector, end) << "ascending";
        EXPECT_GT(count, 0u);
        end = sector + count;
    }
    EXPECT_LE(end, disk.sectors());
    if (report) {
        result.report = std::move(*report);
    }
    return result;
}

}  // namespace vpc::disk::testing
