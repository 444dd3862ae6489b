#include "devices/piix4_ide.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint16_t kCommand = IdeBench::kBusMaster;
constexpr std::uint16_t kStatus = IdeBench::kBusMaster + 2;
constexpr std::uint16_t kTable = IdeBench::kBusMaster + 4;
constexpr std::uint32_t kDescriptors = 0x1000;
constexpr std::uint32_t kBuffer = 0x10000;
constexpr std::uint32_t kLast = 0x80000000;
constexpr std::uint8_t kIdle = 0x50;
constexpr std::uint8_t kWaiting = 0x58;

class Piix4IdeTest : public testing::Test {
  protected:
    IdeBench bench;
    std::shared_ptr<DiskImage> image = bench.add_disk(0, 0, 200000);

    struct Region {
        std::uint32_t address;
        std::uint32_t length;
    };
    void table(const std::vector<Region>& regions, std::uint32_t at = kDescriptors) {
        for (const Region& region : regions) {
            bench.memory.write_bus(at, region.address, 4);
            bench.memory.write_bus(at + 4, region.length, 4);
            at += 8;
        }
    }
    void command(std::uint8_t code, std::uint32_t lba, unsigned count) {
        bench.out(0x1F6, 0xE0 | lba >> 24);
        bench.out(0x1F2, count);
        bench.out(0x1F3, lba & 0xFF);
        bench.out(0x1F4, lba >> 8 & 0xFF);
        bench.out(0x1F5, lba >> 16 & 0xFF);
        bench.out(0x1F7, code);
    }
    void command48(std::uint8_t code, std::uint32_t lba, unsigned count) {
        bench.out(0x1F2, count >> 8);
        bench.out(0x1F3, lba >> 24);
        bench.out(0x1F4, 0);
        bench.out(0x1F5, 0);
        command(code, lba & 0xFFFFFF, count & 0xFF);
    }
    void start(bool to_memory) {
        bench.out(kTable, kDescriptors, 4);
        bench.out(kStatus, 0x06);
        bench.out(kCommand, to_memory ? 0x09 : 0x01);
    }
    void stop() { bench.out(kCommand, 0); }
    unsigned status() { return bench.in(kStatus); }
    unsigned drive_status() { return bench.in(0x3F6); }
    std::vector<std::uint8_t> memory(std::uint32_t address, std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        bench.memory.read(address, bytes);
        return bytes;
    }
    std::vector<std::uint8_t> sectors(std::uint64_t first, unsigned count) { return image->contents(first, count); }
    std::vector<std::uint8_t> fill(std::uint32_t address, std::size_t size) {
        std::vector<std::uint8_t> bytes(size);
        std::iota(bytes.begin(), bytes.end(), std::uint8_t{3});
        bench.memory.write(address, bytes);
        return bytes;
    }
};

// ---- the function --------------------------------------------------------------------------------------------------

TEST_F(Piix4IdeTest, IsAPiix4WithBusMaster) {
    EXPECT_EQ(bench.ide.read_config(0, 4), 0x71118086u);
    EXPECT_EQ(bench.ide.read_config(0x09, 1), 0x80u);
    EXPECT_EQ(bench.ide.read_config(0x0A, 2), 0x0101u);
    EXPECT_EQ(bench.ide.read_config(0x3D, 1), 0u);
    bench.config(0x20, 0xFFFFFFFF);
    EXPECT_EQ(bench.ide.read_config(0x20, 4), 0xFFFFFFF1u);
}

TEST_F(Piix4IdeTest, ChannelsAnswerWhenTheyAreEnabled) {
    EXPECT_EQ(bench.in(0x1F7), kIdle);
    bench.config(0x40, 0x80000000);
    EXPECT_EQ(bench.in(0x1F7), 0xFFu);
    EXPECT_EQ(bench.in(0x3F6), 0xFFu);
    EXPECT_EQ(bench.in(0x1F0, 4), 0xFFFFFFFFu);
    EXPECT_EQ(bench.in(0x177), 0x7Fu);
    bench.out(0x1F7, 0xEC);
    bench.config(0x40, 0x80008000);
    EXPECT_EQ(bench.in(0x1F7), kIdle);
    bench.config(0x04, 0);
    EXPECT_EQ(bench.in(0x1F7), 0xFFu);
    EXPECT_EQ(bench.ports.owner(kCommand), "");
}

TEST_F(Piix4IdeTest, BusMasterRegistersKeepWhatTheyShould) {
    bench.out(kTable, 0x12345677, 4);
    EXPECT_EQ(bench.in(kTable, 4), 0x12345674u);
    bench.out(kStatus, 0x60);
    EXPECT_EQ(status(), 0x60u);
    bench.out(kCommand + 8, 0x08);
    EXPECT_EQ(bench.in(kCommand, 4), 0x00600000u);
    EXPECT_EQ(bench.in(kCommand + 8), 0x08u);
}

// ---- what the host has in its memory -------------------------------------------------------------------------------

TEST_F(Piix4IdeTest, ReadDmaNeedsNoExecutorWhereTheHostNeedNotWait) {
    bench.io.deferring = true;
    bench.io.says_idle = true;
    table({{kBuffer, 0}, {kBuffer + 0x10000, 0}, {kBuffer + 0x20000, kLast | 1024}});
    command48(0x25, 1000, 258);
    EXPECT_EQ(drive_status(), kWaiting);
    start(true);
    EXPECT_EQ(bench.io.pending(), 0u);
    EXPECT_EQ(memory(kBuffer, 258 * 512), sectors(1000, 258));
    EXPECT_EQ(status(), 0x04u);
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(bench.ide.statistics(0, 0).bytes_read, 258u * 512);
}

TEST_F(Piix4IdeTest, ReadDmaThatHasToWaitGoesToTheExecutor) {
    bench.io.deferring = true;
    table({{kBuffer, kLast | 1024}});
    for (const bool idle : {true, false}) {
        SCOPED_TRACE(idle);
        bench.io.says_idle = idle;
        image->in_memory = !idle;
        start(true);
        command(0xC8, idle ? 100 : 200, 2);
        EXPECT_EQ(bench.io.pending(), 1u);
        EXPECT_EQ(drive_status(), 0x80u);
        bench.io.run();
        EXPECT_EQ(memory(kBuffer, 1024), sectors(idle ? 100 : 200, 2));
        stop();
    }
    EXPECT_EQ(bench.ide.statistics(0, 0).bytes_read, 2048u);
}

TEST_F(Piix4IdeTest, AReadErrorIsTheExecutorsToFind) {
    bench.io.says_idle = true;
    image->bad = {102};
    table({{kBuffer, kLast | 2048}});
    start(true);
    command(0xC8, 100, 4);
    EXPECT_EQ(memory(kBuffer, 1024), sectors(100, 2));
    EXPECT_EQ(bench.in(0x1F7), 0x51u);
    EXPECT_EQ(bench.in(0x1F1), ata::kUncorrectable);
    EXPECT_EQ(bench.in(0x1F3), 102u);
}

TEST_F(Piix4IdeTest, PioAlwaysTakesItsTime) {
    bench.io.deferring = true;
    bench.io.says_idle = true;
    command(0x20, 100, 1);
    EXPECT_EQ(bench.io.pending(), 1u);
    EXPECT_EQ(drive_status(), 0x80u);
    EXPECT_EQ(bench.irq[0].rises, 0u);
}

// ---- good transfers ------------------------------------------------------------------------------------------------

TEST_F(Piix4IdeTest, ReadDmaFillsTheRegionsInOrder) {
    table({{kBuffer, 1024}, {kBuffer + 0x8000, kLast | 1024}});
    start(true);
    EXPECT_EQ(status(), 0x01u);
    command(0xC8, 100, 4);
    EXPECT_EQ(memory(kBuffer, 1024), sectors(100, 2));
    EXPECT_EQ(memory(kBuffer + 0x8000, 1024), sectors(102, 2));
    EXPECT_EQ(status(), 0x04u);  // done, and not active any more
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(bench.in(0x1F7), kIdle);
    stop();
    EXPECT_EQ(status(), 0x04u);
    bench.out(kStatus, 0x04);
    EXPECT_EQ(status(), 0u);
}

TEST_F(Piix4IdeTest, CommandMayComeBeforeTheStart) {
    table({{kBuffer, kLast | 512}});
    command(0xC8, 7, 1);
    EXPECT_EQ(drive_status(), kWaiting);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    start(true);
    EXPECT_EQ(memory(kBuffer, 512), sectors(7, 1));
    EXPECT_EQ(status(), 0x04u);
}

TEST_F(Piix4IdeTest, WriteDmaGathersTheRegions) {
    const auto data = fill(kBuffer, 2048);
    table({{kBuffer, 100}, {kBuffer + 100, 1000}, {kBuffer + 1100, kLast | 948}});
    command(0xCA, 50, 4);
    start(false);
    EXPECT_EQ(status(), 0x04u);
    EXPECT_EQ(sectors(50, 4), data);
    EXPECT_EQ(bench.ide.statistics(0, 0).bytes_written, 2048u);
}

TEST_F(Piix4IdeTest, ALengthOfZeroIs64KiB) {
    table({{kBuffer, 0}, {kBuffer + 0x10000, kLast}});
    command(0xC8, 300, 0);  // 256 sectors
    start(true);
    EXPECT_EQ(memory(kBuffer, 0x20000), sectors(300, 256));
    EXPECT_EQ(status(), 0x04u);
}

TEST_F(Piix4IdeTest, ExtendedDmaMovesManyPieces) {
    table({{kBuffer, 0}, {kBuffer + 0x10000, 0}, {kBuffer + 0x20000, 0}, {kBuffer + 0x30000, kLast}});
    command48(0x25, 1000, 512);
    start(true);
    EXPECT_EQ(memory(kBuffer, 0x40000), sectors(1000, 512));
    EXPECT_EQ(image->read_sizes, (std::vector<std::uint64_t>{256, 256}));
    stop();
    const auto data = fill(kBuffer, 0x40000);
    command48(0x35, 2000, 512);
    start(false);
    EXPECT_EQ(sectors(2000, 512), data);
    EXPECT_EQ(bench.irq[0].rises, 2u);
}

TEST_F(Piix4IdeTest, TheLargestTransferEnds) {
    // 65536 sectors over and over into one buffer: a table of 512 regions of 64 KiB.
    table(std::vector<Region>(512, {kBuffer, 0}), 0x80000);
    bench.out(kTable, 0x80000, 4);
    bench.out(kCommand, 0x09);
    command48(0x25, 0, 0);
    EXPECT_EQ(bench.ide.statistics(0, 0).bytes_read, 65536u * 512);
    EXPECT_EQ(memory(kBuffer, 512), sectors(65536 - 128, 1));
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(status(), 0x05u);  // the table had no end
}

TEST_F(Piix4IdeTest, ATableLongerThanTheTransferStaysActive) {
    table({{kBuffer, kLast | 4096}});
    start(true);
    command(0xC8, 0, 1);
    EXPECT_EQ(status(), 0x05u);
    stop();
    EXPECT_EQ(status(), 0x04u);
}

TEST_F(Piix4IdeTest, DmaReachesTheSecondChannel) {
    const auto other = bench.add_disk(1, 0);
    table({{kBuffer, kLast | 512}});
    bench.out(kTable + 8, kDescriptors, 4);
    bench.out(kCommand + 8, 0x09);
    bench.out(0x176, 0xE0);
    bench.out(0x172, 1);
    bench.out(0x173, 9);
    bench.out(0x177, 0xC8);
    EXPECT_EQ(memory(kBuffer, 512), other->sector(9));
    EXPECT_EQ(bench.irq[1].rises, 1u);
    EXPECT_EQ(bench.in(kStatus + 8), 0x04u);
    EXPECT_EQ(status(), 0u);
}

TEST_F(Piix4IdeTest, PioInterruptsAreSeenInTheStatusToo) {
    command(0x20, 0, 1);
    EXPECT_EQ(status(), 0x04u);
}

// ---- hostile tables ------------------------------------------------------------------------------------------------

TEST_F(Piix4IdeTest, ATableShorterThanTheTransferLeavesTheDriveWaiting) {
    table({{kBuffer, kLast | 512}});
    start(true);
    command(0xC8, 10, 2);
    EXPECT_EQ(status(), 0x00u);  // neither active nor interrupted
    EXPECT_EQ(drive_status(), kWaiting);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    stop();
    table({{kBuffer + 512, kLast | 512}});  // a driver that knows better goes on
    start(true);
    EXPECT_EQ(memory(kBuffer, 1024), sectors(10, 2));
    EXPECT_EQ(status(), 0x04u);
}

TEST_F(Piix4IdeTest, ATableOutsideMemoryIsAnError) {
    for (const std::uint32_t address : {0x100000u, 0xFFFFFFFCu, 0x9FFFCu, 0xA0000u}) {
        bench.out(kTable, address, 4);
        bench.out(kCommand, 0x09);
        command(0xC8, 10, 1);
        EXPECT_EQ(status(), 0x02u) << std::hex << address;
        EXPECT_EQ(drive_status(), kWaiting);
        stop();
        bench.out(kStatus, 0x02);
        bench.out(0x3F6, 0x04);
        bench.out(0x3F6, 0x00);
    }
    EXPECT_EQ(bench.irq[0].rises, 0u);
}

TEST_F(Piix4IdeTest, ARegionWithoutOwnerIsAnError) {
    for (const bool to_memory : {true, false}) {
        table({{0xD0000000, kLast | 512}});
        start(to_memory);
        command(to_memory ? 0xC8 : 0xCA, 10, 1);
        EXPECT_EQ(status(), 0x02u);
        EXPECT_TRUE(image->written.empty());
        bench.out(0x3F6, 0x04);
        bench.out(0x3F6, 0x00);
        stop();
    }
}

TEST_F(Piix4IdeTest, ARegionMayLieInAChipsMemory) {
    std::map<std::uint32_t, std::uint32_t> seen;
    bench.memory.map_mmio(
        "display", 0xE0000000, 0x1000,
        {.read = [](std::uint32_t offset, unsigned) { return offset & 0xFF; },
         .write = [&](std::uint32_t offset, std::uint32_t value, unsigned) { seen[offset] = value; }});
    table({{0xE0000100, kLast | 512}});
    start(true);
    command(0xC8, 0x31, 1);
    EXPECT_EQ(status(), 0x04u);
    EXPECT_EQ(seen.size(), 512u);
    EXPECT_EQ(seen[0x100], 0x31u);
    stop();
    start(false);
    command(0xCA, 5, 1);
    EXPECT_EQ(image->sector(5)[3], 3);
}

TEST_F(Piix4IdeTest, ARegionAcrossTheTopOfMemoryIsAnError) {
    table({{0xFFFFFF00, kLast | 1024}});
    start(true);
    command(0xC8, 0, 2);
    EXPECT_EQ(status() & 0x03, 0x02u);
}

TEST_F(Piix4IdeTest, ATableWithoutEndIsReadOnlyAsFarAsNeeded) {
    for (std::uint32_t at = 0; at < 0x9F000; at += 8) {  // memory full of two-byte regions
        table({{kBuffer & ~1u, 2}}, at);
    }
    start(true);
    command(0xC8, 0, 64);
    EXPECT_EQ(status() & 0x04, 0x04u);
}

// ---- interruptions -------------------------------------------------------------------------------------------------

TEST_F(Piix4IdeTest, NothingMovesWithoutBusMasterEnable) {
    bench.config(0x04, 0x0001);
    table({{kBuffer, kLast | 512}});
    start(true);
    command(0xC8, 3, 1);
    EXPECT_EQ(status(), 0x01u);
    EXPECT_EQ(memory(kBuffer, 512), std::vector<std::uint8_t>(512, 0));
    bench.config(0x04, 0x0005);
    EXPECT_EQ(memory(kBuffer, 512), sectors(3, 1));
    EXPECT_EQ(status(), 0x04u);
}

TEST_F(Piix4IdeTest, SoftwareResetInMidTransferWritesNothingMore) {
    bench.io.deferring = true;
    table({{kBuffer, kLast | 512}});
    start(true);
    command(0xC8, 3, 1);
    bench.out(0x3F6, 0x04);
    bench.out(0x3F6, 0x00);
    bench.io.run();
    EXPECT_EQ(memory(kBuffer, 512), std::vector<std::uint8_t>(512, 0));
    EXPECT_EQ(status(), 0x01u);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    EXPECT_EQ(drive_status(), kIdle);
}

TEST_F(Piix4IdeTest, AReadErrorDeliversWhatWasGoodAndInterrupts) {
    image->bad = {102};
    table({{kBuffer, kLast | 2048}});
    start(true);
    command(0xC8, 100, 4);
    EXPECT_EQ(memory(kBuffer, 1024), sectors(100, 2));
    EXPECT_EQ(memory(kBuffer + 1024, 512), std::vector<std::uint8_t>(512, 0));
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(bench.in(0x1F7), 0x51u);
    EXPECT_EQ(bench.in(0x1F1), ata::kUncorrectable);
    EXPECT_EQ(bench.in(0x1F3), 102u);
}

TEST_F(Piix4IdeTest, AWriteErrorInterrupts) {
    image->bad = {102};
    table({{kBuffer, kLast | 2048}});
    start(false);
    command(0xCA, 100, 4);
    EXPECT_EQ(bench.in(0x1F7), 0x51u);
    EXPECT_EQ(bench.in(0x1F1), ata::kAborted);
    EXPECT_EQ(bench.in(0x1F3), 102u);
}

TEST_F(Piix4IdeTest, ATransferInWorkGoesOnAfterLoading) {
    bench.io.deferring = true;
    table({{kBuffer, 0}, {kBuffer + 0x10000, 0}, {kBuffer + 0x20000, kLast | 1024}});
    command48(0x25, 1000, 258);
    start(true);
    bench.io.run_one();
    EXPECT_EQ(drive_status(), 0x80u);
    const auto state = bench.save();

    IdeBench second;
    second.io.deferring = true;
    second.attach(0, 0, std::make_shared<DiskImage>(200000));
    std::copy_n(bench.memory.ram(), bench.memory.ram_size(), second.memory.ram());
    second.load(state);
    EXPECT_EQ(second.save(), state);
    second.io.run();
    std::vector<std::uint8_t> bytes(258 * 512);
    second.memory.read(kBuffer, bytes);
    EXPECT_EQ(bytes, sectors(1000, 258));
    EXPECT_EQ(second.in(kStatus), 0x04u);
    EXPECT_TRUE(second.irq[0].level);
}

TEST_F(Piix4IdeTest, LoadingDrivesTheLineWithoutANewInterrupt) {
    table({{kBuffer, kLast | 512}});
    start(true);
    command(0xC8, 3, 1);
    bench.out(kStatus, 0x04);
    const auto state = bench.save();
    bench.ide.reset();
    EXPECT_FALSE(bench.irq[0].level);
    bench.load(state);
    EXPECT_TRUE(bench.irq[0].level);
    EXPECT_EQ(status(), 0x00u);
}

// ---- conformance ---------------------------------------------------------------------------------------------------

/// Lets the stimulus find the executor.
class IdeWithExecutor : public Piix4Ide {
  public:
    IdeWithExecutor(Bench& bench, TestExecutor& executor)
        : Piix4Ide(bench.ports, bench.memory, bench.clock, executor, {}), io(executor) {}
    TestExecutor& io;
};

Subject ide(bool deferring) {
    return {.name = deferring ? "Piix4IdeDeferred" : "Piix4Ide",
            .ports = {{0x1F0, 8}, {0x1F7, 1}, {0x3F6, 1}, {0x170, 8}, {IdeBench::kBusMaster, 16}, {0xCFC, 4}},
            .build =
                [deferring](Bench& bench) {
                    auto& io = bench.add<TestExecutor>();
                    io.deferring = deferring;
                    auto& bus = bench.add_device<PciBus>(bench.ports, nullptr);
                    auto& ide = bench.add_device<IdeWithExecutor>(bench, io);
                    bus.attach(1, 1, ide);
                    for (unsigned i = 0; i < 3; ++i) {
                        auto image = std::make_shared<DiskImage>(1000);
                        image->keeps_writes = false;
                        image->bad = {17};
                        ide.attach(i / 2, i % 2, std::make_unique<AtaDisk>(std::make_unique<MemoryDisk>(image)));
                    }
                    ide.write_config(0x40, 0x80008000, 4);
                    ide.write_config(0x20, IdeBench::kBusMaster, 4);
                    ide.write_config(0x04, 0x0005, 2);
                    bench.out(0xCF8, 0x80000000 | 1 << 11 | 1 << 8 | 0x48, 4);
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    if (random() % 2 == 0) {
                        static_cast<IdeWithExecutor*>(bench.devices[1])->io.run();
                        return;
                    }
                    // A sensible command now and then, so that transfers happen.
                    constexpr std::array<std::uint8_t, 9> kCommands = {0x20, 0x30, 0xC8, 0xCA, 0xC6,
                                                                       0xE7, 0x42, 0xEC, 0xE2};
                    const auto base = static_cast<std::uint16_t>(random() % 2 == 0 ? 0x1F0 : 0x170);
                    for (std::uint16_t reg = 2; reg < 6; ++reg) {
                        bench.out(static_cast<std::uint16_t>(base + reg),
                                  static_cast<std::uint32_t>(reg < 4 ? random() % 20 : 0));
                    }
                    bench.out(static_cast<std::uint16_t>(base + 6), 0xE0);
                    bench.out(static_cast<std::uint16_t>(base + 7), kCommands[random() % kCommands.size()]);
                },
            .deterministic = !deferring};
}

INSTANTIATE_TEST_SUITE_P(Ide, DeviceConformance, testing::Values(ide(false), ide(true)), subject_name);

}  // namespace
}  // namespace vpc::devices::test
