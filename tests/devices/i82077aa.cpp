#include "devices/i82077aa.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/devices/floppy_bench.h"

namespace vpc::devices::test {
namespace {

using namespace fdc;

class I82077AATest : public testing::Test {
  protected:
    FloppyBench bench;
    std::shared_ptr<DiskImage> image = bench.insert(0, 1440);
    I82077AA& fdc = bench.fdc;

    static std::uint64_t lba(unsigned c, unsigned h, unsigned r, unsigned heads = 2, unsigned sectors = 18) {
        return (std::uint64_t{c} * heads + h) * sectors + r - 1;
    }
};

// ---- resets and settings -------------------------------------------------------------------------------------------

TEST(I82077AA, AResetEndsWithAnInterruptAndFourStatusesToSense) {
    Bench bench;
    Probe irq;
    auto& io = bench.add<TestExecutor>();
    auto& dma = bench.add_device<I8237A>(bench.ports, bench.memory);
    bench.add_device<I82077AA>(bench.ports, bench.clock, io, dma.channel(2), irq.line(),
                               FloppyBench::Drives{FloppyDriveType::Mb1_44, FloppyDriveType::None});
    EXPECT_EQ(bench.in(0x3F4), 0x00u) << "held in reset";
    bench.out(0x3F2, 0x0C);
    EXPECT_EQ(bench.in(0x3F4), 0x00u);
    bench.run_for(kMillisecond);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(bench.in(0x3F4), 0x80u);
    for (unsigned drive = 0; drive < 4; ++drive) {
        bench.out(0x3F5, 0x08);
        EXPECT_FALSE(irq.level);
        EXPECT_EQ(bench.in(0x3F5), 0xC0u | drive);
        EXPECT_EQ(bench.in(0x3F5), 0x00u);
    }
    bench.out(0x3F5, 0x08);
    EXPECT_EQ(bench.in(0x3F5), 0x80u) << "nothing left to sense";
    EXPECT_EQ(bench.in(0x3F4), 0x80u);
}

TEST_F(I82077AATest, DsrResetsItselfAndPollingCanBeSwitchedOff) {
    bench.command({kConfigure, 0, 0x18, 0});
    bench.command({0x94});
    EXPECT_EQ(bench.result(1), Bytes{0x10}) << "LOCK keeps CONFIGURE's settings over the reset";
    bench.out(0x3F4, 0x80);
    EXPECT_EQ(bench.in(0x3F4), 0x00u);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x3F4), 0x80u);
    EXPECT_FALSE(bench.irq.level);
    bench.command({0x14});
    EXPECT_EQ(bench.result(1), Bytes{0x00});
    bench.out(0x3F4, 0x80);
    bench.run_for(kMillisecond);
    EXPECT_TRUE(bench.irq.level) << "unlocked, the default came back: polling";
}

TEST_F(I82077AATest, DorBit3GatesTheInterrupt) {
    bench.command({kSeek, 0, 3});
    bench.run_for(20 * kMillisecond);
    EXPECT_TRUE(bench.irq.level);
    bench.out(0x3F2, 0x14);
    EXPECT_FALSE(bench.irq.level);
    bench.out(0x3F2, 0x1C);
    EXPECT_TRUE(bench.irq.level);
}

TEST_F(I82077AATest, DumpRegistersShowsTheSettings) {
    bench.command({kSpecify, 0xDF, 0x04});
    bench.command({kConfigure, 0, 0x57, 0x22});
    bench.command({kPerpendicular, 0x8A});
    bench.seek(1, 7);
    bench.command({kDumpRegisters});
    EXPECT_EQ(bench.result(10), (Bytes{0, 7, 0, 0, 0xDF, 0x04, 0, 0x0A, 0x57, 0x22}));
}

TEST_F(I82077AATest, VersionAndInvalidCommands) {
    bench.command({kVersionCommand});
    EXPECT_EQ(bench.result(1), Bytes{0x90});
    for (const unsigned code : {0x00u, 0x01u, 0x18u, 0x1Fu, 0x88u, 0x46u | 0x80u | 0x01u, 0x25u}) {
        bench.command({code});
        if (bench.in(0x3F4) == 0x90) {
            ADD_FAILURE() << code << " waits for parameters";
            continue;
        }
        EXPECT_EQ(bench.result(1), Bytes{0x80}) << code;
    }
}

// ---- mechanics -----------------------------------------------------------------------------------------------------

TEST_F(I82077AATest, SeeksReportTheirEndAndTheBusyDrive) {
    bench.command({kSeek, 0x04, 40});
    EXPECT_EQ(bench.in(0x3F4), 0x81u);
    EXPECT_EQ(bench.seek_result(), (Bytes{0x24, 40}));
    EXPECT_EQ(bench.in(0x3F4), 0x80u);
    EXPECT_EQ(bench.recalibrate(0), (Bytes{0x20, 0}));
    bench.command({0xCF, 0, 5});  // relative, inwards
    EXPECT_EQ(bench.seek_result(), (Bytes{0x20, 5}));
    bench.command({0x8F, 0, 2});
    EXPECT_EQ(bench.seek_result(), (Bytes{0x20, 3}));
}

TEST_F(I82077AATest, TwoSeeksAtOnceAreSensedOneByOne) {
    bench.command({kSeek, 0, 10});
    bench.command({kSeek, 1, 20});
    EXPECT_EQ(bench.in(0x3F4), 0x83u);
    bench.run_for(20 * kMillisecond);
    const unsigned rises = bench.irq.rises;
    bench.command({kSenseInterrupt});
    EXPECT_EQ(bench.result(2), (Bytes{0x20, 10}));
    EXPECT_TRUE(bench.irq.level);
    EXPECT_EQ(bench.irq.rises, rises + 1);
    bench.command({kSenseInterrupt});
    EXPECT_EQ(bench.result(2), (Bytes{0x21, 20}));
    EXPECT_FALSE(bench.irq.level);
}

TEST_F(I82077AATest, RecalibratingNothingFailsAndFarHeadsTakeTwo) {
    EXPECT_EQ(bench.recalibrate(2), (Bytes{0x72, 0}));
    bench.seek(0, 82);
    EXPECT_EQ(bench.recalibrate(0), (Bytes{0x70, 0})) << "79 steps were not enough";
    EXPECT_EQ(bench.recalibrate(0), (Bytes{0x20, 0}));
}

TEST_F(I82077AATest, SenseDriveStatusTellsTrackZeroAndWriteProtection) {
    bench.command({kSenseDriveStatus, 0x04});
    EXPECT_EQ(bench.result(1), Bytes{0x3C});
    bench.seek(0, 1);
    image->read_only = true;
    bench.command({kSenseDriveStatus, 0x00});
    EXPECT_EQ(bench.result(1), Bytes{0x68});
}

TEST_F(I82077AATest, TheChangeLineStaysUpUntilAStepWithADisk) {
    EXPECT_EQ(bench.in(0x3F7), 0x80u) << "since power-on";
    bench.seek(0, 1);
    EXPECT_EQ(bench.in(0x3F7), 0x00u);
    fdc.eject(0);
    EXPECT_EQ(bench.in(0x3F7), 0x80u);
    bench.seek(0, 2);
    EXPECT_EQ(bench.in(0x3F7), 0x80u) << "no disk";
    bench.insert(0, 720);
    EXPECT_EQ(bench.in(0x3F7), 0x80u);
    bench.seek(0, 2);
    EXPECT_EQ(bench.in(0x3F7), 0x80u) << "no step";
    bench.out(0x3F2, 0x0C);
    EXPECT_EQ(bench.in(0x3F7), 0x00u) << "not selected";
    bench.motor(0);
    bench.seek(0, 1);
    EXPECT_EQ(bench.in(0x3F7), 0x00u);
}

// ---- reading -------------------------------------------------------------------------------------------------------

TEST_F(I82077AATest, ReadsUntilTerminalCount) {
    bench.seek(0, 5);
    bench.program_dma(true, 3 * 512);
    EXPECT_EQ(bench.run({0xE6, 4, 5, 1, 4, 2, 18, 0x1B, 0xFF}), (Bytes{0x04, 0, 0, 5, 1, 7, 2}));
    EXPECT_EQ(bench.buffer(3 * 512), FloppyBench::sectors(*image, lba(5, 1, 4), 3));
    EXPECT_EQ(bench.buffer(4 * 512)[3 * 512], 0);
    EXPECT_EQ(fdc.drive(0).statistics.bytes_read, 15u * 512);
}

TEST_F(I82077AATest, MultiTrackGoesOnOnTheOtherHead) {
    bench.program_dma(true, 4 * 512);
    EXPECT_EQ(bench.run({0xE6, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF}), (Bytes{0x00, 0, 0, 0, 1, 3, 2}));
    EXPECT_EQ(bench.buffer(4 * 512), FloppyBench::sectors(*image, lba(0, 0, 17), 4));
    bench.program_dma(true, 36 * 512);
    EXPECT_EQ(bench.run({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x00, 0, 0, 1, 0, 1, 2}));
    EXPECT_EQ(bench.buffer(36 * 512), FloppyBench::sectors(*image, 0, 36));
}

TEST_F(I82077AATest, WithoutTerminalCountTheTrackEnds) {
    bench.program_dma(true, 4 * 512);
    EXPECT_EQ(bench.run({0x66, 0, 0, 0, 17, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2}));
    bench.program_dma(true, 4 * 512);
    EXPECT_EQ(bench.run({0x66, 0, 0, 0, 17, 2, 20, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}))
        << "EOT beyond the track: there is no sector 19";
}

TEST_F(I82077AATest, ATransferWaitsForItsChannelAndGoesOnAfterLoading) {
    bench.program_dma(true, 1024);
    bench.out(0x0A, 0x06);
    bench.command({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x3F4), 0x10u);
    EXPECT_EQ(bench.in(0x08) >> 4, 0x4u) << "DREQ2";
    const auto state = bench.save();

    FloppyBench second;
    second.insert(0, 1440);
    second.load(state);
    EXPECT_EQ(second.save(), state);
    second.out(0x0A, 0x02);
    EXPECT_EQ(second.finish(), (Bytes{0, 0, 0, 0, 0, 3, 2}));
    EXPECT_EQ(second.buffer(1024), FloppyBench::sectors(*image, 0, 2));
}

TEST_F(I82077AATest, AReadInWorkIsSubmittedAgainAfterLoading) {
    bench.io.deferring = true;
    bench.program_dma(true, 1024);
    bench.command({0xE6, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    const auto state = bench.save();
    FloppyBench second;
    second.insert(0, 1440);
    second.load(state);
    EXPECT_EQ(second.finish(), (Bytes{0, 0, 0, 0, 0, 3, 2}));
    EXPECT_EQ(second.buffer(1024), FloppyBench::sectors(*image, 0, 2));
}

TEST_F(I82077AATest, PioGoesThroughTheFifo) {
    bench.command({kSpecify, 0xAF, 0x03});
    bench.command({0x46, 0, 0, 0, 2, 2, 2, 0x1B, 0xFF});
    EXPECT_TRUE(bench.irq.level);
    Bytes bytes;
    while (bench.in(0x3F4) == 0xF0) {
        bytes.push_back(static_cast<std::uint8_t>(bench.in(0x3F5)));
    }
    EXPECT_EQ(bytes, FloppyBench::sectors(*image, 1, 1));
    EXPECT_EQ(bench.finish(), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2})) << "nobody gives a terminal count";

    bench.command({0x45, 0, 0, 0, 3, 2, 3, 0x1B, 0xFF});
    for (const std::uint8_t byte : FloppyBench::pattern(512)) {
        ASSERT_EQ(bench.in(0x3F4), 0xB0u);
        bench.out(0x3F5, byte);
    }
    EXPECT_EQ(bench.finish(), (Bytes{0x40, 0x80, 0, 1, 0, 1, 2}));
    EXPECT_EQ(image->sector(2), FloppyBench::pattern(512));
}

TEST_F(I82077AATest, WhatIsNotThereIsNotFound) {
    bench.program_dma(true, 512);
    EXPECT_EQ(bench.run({0x66, 0, 0, 0, 19, 2, 19, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}));
    EXPECT_EQ(bench.run({0x66, 0, 9, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0x10, 9, 0, 1, 2}));
    EXPECT_EQ(bench.run({0x66, 0, 0xFF, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0x02, 0xFF, 0, 1, 2}));
    EXPECT_EQ(bench.run({0x66, 0, 0, 1, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0, 0, 1, 1, 2}));
    EXPECT_EQ(bench.run({0x66, 0, 0, 0, 1, 3, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x04, 0, 0, 0, 1, 3}));
    EXPECT_EQ(bench.run({0x26, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x01, 0, 0, 0, 1, 2})) << "FM";
    EXPECT_TRUE(image->read_sizes.empty());
}

TEST_F(I82077AATest, TheWrongRateAMissingDiskAndAStandingMotorFindNoMark) {
    bench.rate(FloppyRate::Kbps250);
    EXPECT_EQ(bench.run({0x4A, 0})[1], 0x01);
    bench.rate(FloppyRate::Kbps500);
    EXPECT_EQ(bench.run({0x4A, 0})[0], 0x00);
    bench.out(0x3F2, 0x0C);
    EXPECT_EQ(bench.run({0x4A, 0})[1], 0x01);
    bench.motor(0);
    fdc.eject(0);
    EXPECT_EQ(bench.run({0x4A, 0})[1], 0x01);
    EXPECT_EQ(bench.run({0x4A, 3})[0], 0x43) << "no such drive";
}

TEST_F(I82077AATest, ReadIdNamesThePassingSector) {
    bench.seek(0, 30);
    const Bytes first = bench.run({0x4A, 4});
    EXPECT_EQ(Bytes(first.begin(), first.begin() + 5), (Bytes{0x04, 0, 0, 30, 1}));
    EXPECT_EQ(first[6], 2);
    bench.run_for(100 * kMillisecond);  // half a turn
    const Bytes second = bench.run({0x4A, 4});
    EXPECT_NEAR((second[5] - first[5] + 18) % 18, 9, 1);
}

TEST_F(I82077AATest, ReadTrackStartsAtTheIndexHole) {
    bench.program_dma(true, 2 * 512);
    EXPECT_EQ(bench.run({0x42, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0, 0, 0, 0, 0, 3, 2}));
    EXPECT_EQ(bench.buffer(1024), FloppyBench::sectors(*image, 0, 2));
    bench.program_dma(true, 2 * 512);
    const Bytes other = bench.run({0x42, 0, 0, 0, 5, 2, 18, 0x1B, 0xFF});
    EXPECT_EQ(other[1], 0x04) << "the addresses differ";
    EXPECT_EQ(bench.buffer(1024), FloppyBench::sectors(*image, 0, 2));
}

TEST_F(I82077AATest, DeletedMarksAreNeverFound) {
    bench.program_dma(true, 1024);
    EXPECT_EQ(bench.run({0x4C, 0, 0, 0, 4, 2, 18, 0x1B, 0xFF}), (Bytes{0, 0, 0x40, 0, 0, 5, 2}));
    EXPECT_EQ(bench.buffer(512), FloppyBench::sectors(*image, 3, 1)) << "one sector, with the control mark";
    bench.program_dma(true, 1024);
    EXPECT_EQ(bench.run({0x6C, 0, 0, 0, 4, 2, 18, 0x1B, 0xFF})[0], 0x40) << "skipping finds none";
}

TEST_F(I82077AATest, VerifyReadsAndMovesNothing) {
    EXPECT_EQ(bench.run({0x56, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0, 0, 0, 1, 0, 1, 2}));
    EXPECT_EQ(bench.run({0x56, 0x80, 0, 0, 3, 2, 18, 0x1B, 4}), (Bytes{0, 0, 0, 0, 0, 7, 2}));
    image->bad = {3};
    EXPECT_EQ(bench.run({0x56, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x20, 0x20, 0, 0, 4, 2}));
}

TEST_F(I82077AATest, AHostErrorBecomesADataErrorAtItsSector) {
    image->bad = {2};
    bench.program_dma(true, 5 * 512);
    EXPECT_EQ(bench.run({0x66, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x20, 0x20, 0, 0, 3, 2}));
    EXPECT_EQ(bench.buffer(1024), FloppyBench::sectors(*image, 0, 2)) << "what was good arrived";
    bench.memory.write(FloppyBench::kBuffer, FloppyBench::pattern(5 * 512));
    bench.program_dma(false, 5 * 512);
    EXPECT_EQ(bench.run({0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x20, 0x20, 0, 0, 3, 2}));
}

// ---- writing -------------------------------------------------------------------------------------------------------

TEST_F(I82077AATest, WritesUntilTerminalCountAndFlushesWithTheMotor) {
    bench.memory.write(FloppyBench::kBuffer, FloppyBench::pattern(3 * 512));
    bench.seek(0, 79);
    bench.program_dma(false, 3 * 512);
    EXPECT_EQ(bench.run({0xC5, 0, 79, 0, 17, 2, 18, 0x1B, 0xFF}), (Bytes{0, 0, 0, 79, 1, 2, 2}));
    EXPECT_EQ(FloppyBench::sectors(*image, lba(79, 0, 17), 3), FloppyBench::pattern(3 * 512));
    EXPECT_EQ(image->written.size(), 3u);
    EXPECT_EQ(image->flushes, 0u);
    bench.out(0x3F2, 0x0C);
    EXPECT_EQ(image->flushes, 1u);
    bench.out(0x3F2, 0x1C);
    bench.out(0x3F2, 0x0C);
    EXPECT_EQ(image->flushes, 1u) << "nothing new";
}

TEST_F(I82077AATest, APartOfASectorIsFilledUpWithZeros) {
    bench.memory.write(FloppyBench::kBuffer, Bytes(100, 0xAA));
    bench.program_dma(false, 100);
    EXPECT_EQ(bench.run({0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF})[0], 0);
    Bytes expected(512);
    std::fill_n(expected.begin(), 100, 0xAA);
    EXPECT_EQ(image->sector(0), expected);
}

TEST_F(I82077AATest, AProtectedDiskIsNotWritten) {
    image->read_only = true;
    EXPECT_EQ(bench.run({0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF}), (Bytes{0x40, 0x02, 0, 0, 0, 1, 2}));
    EXPECT_EQ(bench.run({0x4D, 0, 2, 18, 0x54, 0xF6})[1], 0x02);
    EXPECT_TRUE(image->written.empty());
}

TEST_F(I82077AATest, AWriteToADiskThatWasTakenOutFails) {
    bench.program_dma(false, 512);
    bench.out(0x0A, 0x06);
    bench.command({0x45, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    const auto other = bench.insert(0, 1440);
    bench.out(0x0A, 0x02);
    EXPECT_EQ(bench.finish()[1], 0x01);
    EXPECT_TRUE(other->written.empty());
    EXPECT_TRUE(image->written.empty());
}

TEST_F(I82077AATest, FormatsATrack) {
    Bytes ids;
    for (const unsigned sector : {1u, 10u, 2u, 11u, 3u, 12u, 4u, 13u, 5u, 14u, 6u, 15u, 7u, 16u, 8u, 17u, 9u, 18u}) {
        ids.insert(ids.end(), {2, 1, static_cast<std::uint8_t>(sector), 2});
    }
    bench.memory.write(FloppyBench::kBuffer, ids);
    bench.seek(0, 2);
    bench.program_dma(false, ids.size());
    EXPECT_EQ(bench.run({0x4D, 4, 2, 18, 0x54, 0xF6})[0], 0x04);
    EXPECT_EQ(image->written.size(), 18u);
    EXPECT_EQ(FloppyBench::sectors(*image, lba(2, 1, 1), 18), Bytes(18 * 512, 0xF6));
}

TEST_F(I82077AATest, RefusesFormatsThatTheImageCannotHold) {
    bench.memory.write(FloppyBench::kBuffer, Bytes{0, 0, 1, 2, 0, 0, 19, 2});
    bench.program_dma(false, 8);
    EXPECT_EQ(bench.run({0x4D, 0, 2, 2, 0x54, 0xF6}), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}));
    EXPECT_EQ(bench.run({0x4D, 0, 3, 9, 0x54, 0xF6})[1], 0x04);
    EXPECT_TRUE(image->written.empty());
}

TEST_F(I82077AATest, ScansCompareWithTheHostsData) {
    Bytes wanted = FloppyBench::sectors(*image, 2, 1);
    const auto scan = [&](unsigned code) {
        Bytes twice = wanted;
        for (int i = 0; i < 3; ++i) {
            twice.insert(twice.end(), wanted.begin(), wanted.end());
        }
        bench.memory.write(FloppyBench::kBuffer, twice);
        bench.program_dma(false, twice.size());
        return bench.run({code, 0, 0, 0, 1, 2, 4, 0x1B, 1});
    };
    EXPECT_EQ(scan(0x51), (Bytes{0, 0, 0x08, 0, 0, 3, 2}));
    wanted.assign(512, 0xFF);
    EXPECT_EQ(scan(0x51), (Bytes{0, 0, 0x08, 0, 0, 1, 2})) << "FFh goes with everything";
    wanted.assign(512, 0x77);
    EXPECT_EQ(scan(0x51)[2], 0x04);
    EXPECT_EQ(scan(0x59)[2], 0x00) << "low or equal: low";
    EXPECT_EQ(scan(0x5D)[2], 0x04);
}

// ---- formats and drives --------------------------------------------------------------------------------------------

TEST(I82077AAFormats, EveryFormatIsReadToItsLastSector) {
    struct Case {
        FloppyDriveType drive;
        unsigned kilobytes, cylinders, heads, sectors;
        FloppyRate rate;
    };
    for (const Case& each : {Case{FloppyDriveType::Kb360, 160, 40, 1, 8, FloppyRate::Kbps250},
                             Case{FloppyDriveType::Kb360, 180, 40, 1, 9, FloppyRate::Kbps250},
                             Case{FloppyDriveType::Kb360, 320, 40, 2, 8, FloppyRate::Kbps250},
                             Case{FloppyDriveType::Kb360, 360, 40, 2, 9, FloppyRate::Kbps300},
                             Case{FloppyDriveType::Kb720, 720, 80, 2, 9, FloppyRate::Kbps250},
                             Case{FloppyDriveType::Mb1_2, 1200, 80, 2, 15, FloppyRate::Kbps500},
                             Case{FloppyDriveType::Mb1_44, 720, 80, 2, 9, FloppyRate::Kbps250},
                             Case{FloppyDriveType::Mb1_44, 1440, 80, 2, 18, FloppyRate::Kbps500},
                             Case{FloppyDriveType::Mb1_44, 1680, 80, 2, 21, FloppyRate::Kbps500},
                             Case{FloppyDriveType::Mb2_88, 2880, 80, 2, 36, FloppyRate::Kbps1000}}) {
        FloppyBench bench({each.drive, FloppyDriveType::None});
        EXPECT_EQ(floppy_problem(each.drive, each.kilobytes * 2), "");
        const auto image = bench.insert(0, each.kilobytes);
        bench.rate(each.rate);
        bench.seek(0, each.cylinders - 1);
        bench.program_dma(true, 512);
        const unsigned head = each.heads - 1;
        const Bytes result =
            bench.run({0x46, head << 2, each.cylinders - 1, head, each.sectors, 2, each.sectors, 0x1B, 0xFF});
        EXPECT_EQ(result[0] & 0xC0, 0) << each.kilobytes << " KB";
        EXPECT_EQ(bench.buffer(512), image->sector(image->sectors - 1)) << each.kilobytes << " KB";
    }
}

TEST_F(I82077AATest, FortyCylinderDisksInAn80CylinderDriveLieUnderEverySecondStep) {
    const auto other = bench.insert(1, 360);
    bench.motor(1);
    bench.rate(FloppyRate::Kbps300);
    bench.seek(1, 20);
    bench.program_dma(true, 512);
    EXPECT_EQ(bench.run({0x46, 1, 10, 0, 1, 2, 9, 0x1B, 0xFF})[0], 0x01);
    EXPECT_EQ(bench.buffer(512), other->sector(10 * 18));
    bench.seek(1, 21);
    EXPECT_EQ(bench.run({0x46, 1, 10, 0, 1, 2, 9, 0x1B, 0xFF})[1], 0x01) << "between two tracks";
}

TEST_F(I82077AATest, ImpliedSeeksMoveTheHead) {
    bench.command({kConfigure, 0, 0x57, 0});
    bench.program_dma(true, 512);
    EXPECT_EQ(bench.run({0x46, 0, 33, 0, 1, 2, 18, 0x1B, 0xFF})[0], 0x00);
    EXPECT_EQ(bench.buffer(512), image->sector(lba(33, 0, 1)));
}

TEST(FloppyFormats, WhatDoesNotFitIsRefusedWithAReason) {
    EXPECT_NE(floppy_problem(FloppyDriveType::Mb1_44, 2881).find("no floppy disk"), std::string::npos);
    EXPECT_EQ(floppy_problem(FloppyDriveType::Mb1_44, 720),
              "is a 360 KB floppy disk, which does not fit the 1.44 MB drive");
    EXPECT_NE(floppy_problem(FloppyDriveType::Mb1_44, 5760), "");
    EXPECT_NE(floppy_problem(FloppyDriveType::None, 2880), "");
    EXPECT_EQ(floppy_problem(FloppyDriveType::Mb2_88, 1440), "");
    EXPECT_EQ(floppy_problem(FloppyDriveType::Mb1_2, 720), "");
}

TEST_F(I82077AATest, AStateWithAnotherDiskIsRefused) {
    const auto state = bench.save();
    FloppyBench second;
    second.insert(0, 720);
    EXPECT_THROW(second.load(state), StateError);
    second.fdc.eject(0);
    EXPECT_THROW(second.load(state), StateError);
}

TEST_F(I82077AATest, AnOvertakenReadDisturbsNothing) {
    bench.io.deferring = true;
    bench.program_dma(true, 512);
    bench.command({0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF});
    bench.out(0x3F4, 0x80);
    bench.io.run();
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(0x3F4), 0x80u);
    EXPECT_EQ(bench.buffer(1), Bytes{0});
}

// ---- conformance ---------------------------------------------------------------------------------------------------

class FdcWithExecutor : public I82077AA {
  public:
    FdcWithExecutor(Bench& bench, TestExecutor& executor, I8237A& dma)
        : I82077AA(bench.ports, bench.clock, executor, dma.channel(2), Line(),
                   {FloppyDriveType::Mb1_44, FloppyDriveType::Mb1_2}),
          io(executor) {}
    TestExecutor& io;
};

Subject controller(bool deferring) {
    return {.name = deferring ? "I82077AADeferred" : "I82077AA",
            .ports = {{0x3F2, 4}, {0x3F5, 1}, {0x3F5, 1}, {0x3F5, 1}, {0x3F7, 1}, {0x00, 16}},
            .build =
                [deferring](Bench& bench) {
                    auto& io = bench.add<TestExecutor>();
                    io.deferring = deferring;
                    auto& dma = bench.add<I8237A>(bench.ports, bench.memory);
                    auto& fdc = bench.add_device<FdcWithExecutor>(bench, io, dma);
                    bench.devices.insert(bench.devices.begin(), &dma);
                    bench.out(0xD6, 0xC0);
                    bench.out(0xD4, 0x00);
                    for (unsigned drive = 0; drive < 2; ++drive) {
                        auto image = floppy_image(drive == 0 ? 1440 : 1200);
                        image->keeps_writes = false;
                        image->bad = {17};
                        fdc.insert(drive, std::make_shared<MemoryDisk>(image));
                    }
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& fdc = *static_cast<FdcWithExecutor*>(bench.devices[1]);
                    if (random() % 3 == 0) {
                        return fdc.io.run();
                    }
                    // A sensible command now and then, so that transfers happen.
                    constexpr std::array<unsigned, 8> kCommands = {0xE6, 0xC5, 0x46, 0x4D, 0x51, 0x56, 0x42, 0x4C};
                    bench.out(0x3F2, 0x3C);
                    bench.run_for(kMillisecond);
                    while ((bench.in(0x3F4) & 0xC0) == 0xC0) {
                        bench.in(0x3F5);
                    }
                    bench.out(0x3F7, 0);
                    bench.out(0x0B, random() % 2 == 0 ? 0x46u : 0x4Au);
                    bench.out(0x0A, 0x02);
                    const unsigned command = kCommands[random() % kCommands.size()];
                    bench.out(0x3F5, command);
                    if (command == 0x4D) {
                        for (const unsigned byte : {0u, 2u, 18u, 0x54u, 0xF6u}) {
                            bench.out(0x3F5, byte);
                        }
                        return;
                    }
                    const unsigned first = 1 + static_cast<unsigned>(random() % 18);
                    for (const unsigned byte : {0u, 0u, 0u, first, 2u, 18u, 0x1Bu, 1u}) {
                        bench.out(0x3F5, byte);
                    }
                },
            .deterministic = !deferring};
}

INSTANTIATE_TEST_SUITE_P(Floppy, DeviceConformance, testing::Values(controller(false), controller(true)), subject_name);

}  // namespace
}  // namespace vpc::devices::test
