// Whole PCs whose system BIOS is hostile: it does random things to every port and device address, as fast as it can, or
// is no program at all. Whatever it does, the machine stays alive and its state can be saved and loaded.
//
// A fixed number of machines; VPC_RANDOM_SECONDS=60 goes on for that long, VPC_RANDOM_SEED=N starts at another one, and
// VPC_RANDOM_TRACE=1 names each before it runs, for one that takes the process along.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "devices/board.h"
#include "tests/devices/hostile_bios.h"
#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

constexpr int kMachines = 12;
constexpr Nanoseconds kRunTime = 60 * kMillisecond;

std::vector<std::uint8_t> save(Board& board) {
    StateStream stream = StateStream::saver();
    for (Device* chip : board.chips()) {
        chip->serialize(stream);
    }
    return stream.bytes();
}

TEST(BoardRandom, SurvivesHostileFirmware) {
    std::uint64_t seed = number_from_environment("VPC_RANDOM_SEED", 1);
    const std::uint64_t seconds = number_from_environment("VPC_RANDOM_SECONDS", 0);
    const bool trace = std::getenv("VPC_RANDOM_TRACE") != nullptr;
    const Nanoseconds end = VirtualClock::steady_host_time() + static_cast<Nanoseconds>(seconds) * kSecond;
    std::uint64_t accesses = 0;
    for (int machines = 0; !HasFailure() && (machines < kMachines || VirtualClock::steady_host_time() < end);
         ++machines, ++seed) {
        SCOPED_TRACE(testing::Message() << "machine " << seed);
        if (trace) {
            std::fprintf(stderr, "machine %llu\n", static_cast<unsigned long long>(seed));
        }
        HostileBios bios(seed);
        BoardConfiguration configuration{.memory = 4, .bios = bios.image()};
        configuration.unix_time = [] { return std::int64_t{1'000'000'000}; };
        const auto image = std::make_shared<DiskImage>(4 * 16 * 63);
        image->bad = {7, 100};
        configuration.disks[0] = std::make_unique<MemoryDisk>(image);
        auto made = Board::make(std::move(configuration));
        ASSERT_TRUE(made) << made.error();
        Board& board = **made;
        Kicker stop([&board] { board.quit(); });
        stop.arm(VirtualClock::steady_host_time() + kRunTime);
        const Board::End how = board.run();
        stop.disarm();
        EXPECT_NE(how, Board::End::Failed) << board.failure();
        const CpuStatistics& statistics = board.cpu().statistics();
        accesses += statistics.port_reads + statistics.port_writes + statistics.memory_mapped_accesses;

        const std::vector<std::uint8_t> saved = save(board);
        StateStream loader = StateStream::loader(saved);
        for (Device* chip : board.chips()) {
            EXPECT_NO_THROW(chip->serialize(loader)) << chip->name();
        }
        EXPECT_EQ(save(board), saved);
        board.reset();
    }
    std::printf("%llu accesses\n", static_cast<unsigned long long>(accesses));
    EXPECT_GT(accesses, 10'000u);
}

}  // namespace
}  // namespace vpc::devices::test
