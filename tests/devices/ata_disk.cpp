#include "devices/ata_disk.h"

#include <numeric>

#include "tests/devices/ata_disk_fixture.h"

namespace vpc::devices::test {
namespace {

// ---- identification ------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, IdentifyNamesTheDiskAndItsSize) {
    const auto words = identify();
    EXPECT_EQ(words[0], 0x0040);
    EXPECT_EQ(words[1], 4);
    EXPECT_EQ(words[3], 16);
    EXPECT_EQ(words[6], 63);
    EXPECT_EQ(text(words, 27, 20), "VPC Hard Disk                           ");
    EXPECT_EQ(text(words, 10, 10), "VPC-0               ");
    EXPECT_EQ(words[60] | words[61] << 16, 10000);
    EXPECT_EQ(words[100], 10000);
    EXPECT_EQ(words[53] & 7, 7);
    EXPECT_NE(words[83] & 0x0400, 0);  // LBA48
    EXPECT_EQ(words[88] & 0xFF, 0x3F);
    EXPECT_EQ(alternate(), kIdle);
}

TEST_F(AtaDiskTest, IdentifyBytesAddUpToZero) {
    plain(0xEC);
    const auto bytes = read_bytes(512, 4);
    EXPECT_EQ(bytes[510], 0xA5);
    EXPECT_EQ(std::accumulate(bytes.begin(), bytes.end(), 0) & 0xFF, 0);
}

TEST_F(AtaDiskTest, IdentifyShowsTheImagesIdAsSerialNumber) {
    for (unsigned i = 0; i < 16; ++i) {
        image->id[i] = static_cast<std::uint8_t>(0xA0 + i);
    }
    EXPECT_EQ(text(identify(), 10, 10), "A6A7A8A9AAABACADAEAF");
}

TEST_F(AtaDiskTest, LargeDisksShowTheLargestGeometryAndBothSizes) {
    image = bench.add_disk(0, 0, std::uint64_t{1} << 30);
    image->geometry = {.cylinders = 65535, .heads = 16, .sectors_per_track = 255};
    bench.ide.reset();
    bench.enable();
    const auto words = identify();
    EXPECT_EQ(words[1], 16383);
    EXPECT_EQ(words[3], 16);
    EXPECT_EQ(words[6], 63);
    EXPECT_EQ(words[60] | words[61] << 16, 0x0FFFFFFF);
    EXPECT_EQ(words[100] | words[101] << 16, 1 << 30);
}

TEST_F(AtaDiskTest, AnImageWithoutGeometryStillHasOne) {
    image->geometry = {};
    image->sectors = 20;
    bench.attach(0, 0, image);
    const auto words = identify();
    EXPECT_GE(words[1], 1);
    EXPECT_LE(words[1] * words[3] * words[6], 20);
    chs(0x20, 0, 0, 1, 1);
    EXPECT_EQ(reg(7), kData);
}

TEST_F(AtaDiskTest, ALoneMasterSaysThatItAnswersForTheSlave) {
    EXPECT_EQ(identify()[93] & 0xDF61, 0x4041);  // the test that SeaBIOS makes
    bench.add_disk(0, 1);
    EXPECT_EQ(identify()[93] & 0xDF61, 0x4021);
}

TEST_F(AtaDiskTest, PacketCommandsAreAborted) {
    for (const unsigned command : {0xA0u, 0xA1u, 0x08u, 0x00u, 0x50u, 0xB0u, 0xF9u}) {
        plain(static_cast<std::uint8_t>(command));
        expect_error(ata::kAborted);
    }
}

// ---- PIO -----------------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, ReadSectorsInterruptsForEachSectorAndEndsReady) {
    lba28(0x20, 1000, 3);
    for (unsigned i = 0; i < 3; ++i) {
        EXPECT_EQ(bench.irq[0].rises, i + 1);
        EXPECT_EQ(reg(7), kData);
        EXPECT_FALSE(bench.irq[0].level);
        EXPECT_EQ(read_bytes(512), image->sector(1000 + i));
    }
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(bench.irq[0].rises, 3u);
    EXPECT_EQ(lba_registers(), 1002u);
    EXPECT_EQ(reg(2), 0);
}

TEST_F(AtaDiskTest, ACountOfZeroMeans256AndIsReadAhead) {
    lba28(0x20, 5, 0);
    EXPECT_EQ(image->read_sizes, std::vector<std::uint64_t>{256});
    EXPECT_EQ(read_bytes(256 * 512, 4), sectors(5, 256));
    EXPECT_EQ(alternate(), kIdle);
}

TEST_F(AtaDiskTest, DataPortTakesMixedWidths) {
    lba28(0x20, 0x01020304, 1);
    expect_error(ata::kIdNotFound);
    lba28(0x20, 0x304, 1);
    EXPECT_EQ(bench.in(0x1F0, 2), 0x0304u);
    EXPECT_EQ(bench.in(0x1F0, 4), 0x00000000u);
    EXPECT_EQ(bench.in(0x1F0, 2), 0u);
    EXPECT_EQ(bench.in(0x1F0, 1), 0x04u);  // takes the word
    EXPECT_EQ(bench.in(0x1F0, 2), 0u);
    read_bytes(498);
    EXPECT_EQ(alternate(), kData);
    EXPECT_EQ(bench.in(0x1F0, 4), 0xFFFF0000u);  // only a word was left
    EXPECT_EQ(alternate(), kIdle);
    EXPECT_EQ(bench.in(0x1F0, 2), 0xFFFFu);
}

TEST_F(AtaDiskTest, ReadMultipleMovesBlocks) {
    lba28(0xC4, 7, 20);
    expect_error(ata::kAborted);  // no block size yet
    plain(0xC6, 16);
    EXPECT_EQ(reg(7), kIdle);
    const unsigned before = bench.irq[0].rises;
    lba28(0xC4, 7, 20);
    EXPECT_EQ(reg(7), kData);
    EXPECT_EQ(read_bytes(16 * 512), sectors(7, 16));
    EXPECT_EQ(bench.irq[0].rises, before + 2);
    EXPECT_EQ(reg(7), kData);
    EXPECT_EQ(read_bytes(4 * 512), sectors(23, 4));
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(bench.irq[0].rises, before + 2);
    EXPECT_EQ(identify()[59], 0x0110);
}

TEST_F(AtaDiskTest, SetMultipleTakesPowersOfTwoUpToSixteen) {
    for (const unsigned count : {3u, 17u, 32u, 255u}) {
        plain(0xC6, count);
        expect_error(ata::kAborted);
    }
    plain(0xC6, 8);
    EXPECT_EQ(reg(7), kIdle);
}

TEST_F(AtaDiskTest, WriteSectorsAsksForEachSectorAndInterruptsBehindIt) {
    const auto data = pattern(2, 1);
    lba28(0x30, 20, 2);
    EXPECT_EQ(alternate(), kData);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    write_bytes({data.begin(), data.begin() + 512});
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(reg(7), kData);
    write_bytes({data.begin() + 512, data.end()});
    EXPECT_EQ(bench.irq[0].rises, 2u);
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(sectors(20, 2), data);
    EXPECT_EQ(image->write_sizes, std::vector<std::uint64_t>{2});
}

TEST_F(AtaDiskTest, WriteMultipleMovesBlocks) {
    plain(0xC6, 4);
    const auto data = pattern(6, 9);
    lba28(0xC5, 100, 6);
    write_bytes({data.begin(), data.begin() + 4 * 512});
    EXPECT_EQ(alternate(), kData);
    write_bytes({data.begin() + 4 * 512, data.end()});
    EXPECT_EQ(alternate(), kIdle);
    EXPECT_EQ(sectors(100, 6), data);
}

TEST_F(AtaDiskTest, ExtendedCommandsUseBothHalvesOfTheTaskFile) {
    image = bench.add_disk(0, 0, std::uint64_t{1} << 40);
    lba48(0x24, 0x12'3456'789A, 2);
    EXPECT_EQ(read_bytes(1024), sectors(0x12'3456'789A, 2));
    EXPECT_EQ(alternate(), kIdle);
    const auto data = pattern(1, 3);
    lba48(0x34, 0xFF'0000'0001, 1);
    write_bytes(data);
    EXPECT_EQ(image->sector(0xFF'0000'0001), data);
}

TEST_F(AtaDiskTest, HighOrderBitShowsThePreviousContents) {
    lba48(0x42, 0x12'3456'789A, 0x0201);  // beyond the end: nothing moves
    EXPECT_EQ(reg(3), 0x9A);
    bench.out(0x3F6, 0x80);
    EXPECT_EQ(reg(3), 0x34);
    EXPECT_EQ(reg(2), 0x02);
    EXPECT_EQ(reg(4), 0x12);
    set(1, 0);  // any write to the command block takes HOB back
    EXPECT_EQ(reg(2), 0x01);
}

TEST_F(AtaDiskTest, ExtendedReadsGoInPiecesOf256Sectors) {
    lba48(0x24, 1, 600);
    EXPECT_EQ(read_bytes(600 * 512, 4), sectors(1, 600));
    EXPECT_EQ(image->read_sizes, (std::vector<std::uint64_t>{256, 256, 88}));
    EXPECT_EQ(alternate(), kIdle);
}

TEST_F(AtaDiskTest, ExtendedWritesGoInPiecesOf256Sectors) {
    const auto data = pattern(300, 5);
    lba48(0x34, 50, 300);
    write_bytes(data);
    EXPECT_EQ(alternate(), kIdle);
    EXPECT_EQ(sectors(50, 300), data);
    EXPECT_EQ(image->write_sizes, (std::vector<std::uint64_t>{256, 44}));
}

// ---- addresses -----------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, CylinderHeadSectorCountsInTheDefaultTranslation) {
    chs(0x20, 2, 3, 4, 1);
    EXPECT_EQ(read_bytes(512), image->sector((2 * 16 + 3) * 63 + 3));
    chs(0x20, 0, 0, 63, 2);  // over the end of the track
    EXPECT_EQ(read_bytes(1024), sectors(62, 2));
    EXPECT_EQ(reg(3), 1);
    EXPECT_EQ(reg(6), 0xA1);
}

TEST_F(AtaDiskTest, CylinderHeadSectorOutsideTheTranslationIsNotFound) {
    const unsigned places[][3] = {{0, 0, 0}, {0, 0, 64}, {4, 0, 1}, {0xFFFF, 15, 63}};
    for (const auto& place : places) {
        chs(0x20, place[0], place[1], place[2], 1);
        expect_error(ata::kIdNotFound);
    }
    chs(0x20, 3, 15, 63, 1);
    EXPECT_EQ(reg(7), kData);
}

TEST_F(AtaDiskTest, InitializeDeviceParametersChangesTheTranslation) {
    set(6, 0xA0 | 7);  // eight heads
    set(2, 32);
    set(7, 0x91);
    EXPECT_EQ(reg(7), kIdle);
    chs(0x20, 5, 7, 32, 1);
    EXPECT_EQ(read_bytes(512), image->sector((5 * 8 + 7) * 32 + 31));
    chs(0x20, 5, 8, 1, 1);
    expect_error(ata::kIdNotFound);
    const auto words = identify();
    EXPECT_EQ(words[54], 10000 / 256);
    EXPECT_EQ(words[55], 8);
    EXPECT_EQ(words[56], 32);
    EXPECT_EQ(words[57] | words[58] << 16, 10000 / 256 * 256);
    EXPECT_EQ(words[3], 16);  // the default stays
}

TEST_F(AtaDiskTest, InitializeDeviceParametersWithoutSectorsIsAborted) {
    plain(0x91, 0);
    expect_error(ata::kAborted);
    chs(0x20, 0, 0, 1, 1);
    EXPECT_EQ(reg(7), kData);
}

TEST_F(AtaDiskTest, TheLastSectorIsReadableAndTheNextIsNot) {
    lba28(0x20, 9999, 1);
    EXPECT_EQ(read_bytes(512), image->sector(9999));
    lba28(0x20, 9999, 2);
    expect_error(ata::kIdNotFound);
    EXPECT_EQ(lba_registers(), 10000u);
    lba48(0x24, 0xFFFF'FFFF'FFFF, 0);
    expect_error(ata::kIdNotFound);
    lba28(0xCA, 0x0FFFFFFF, 0);
    expect_error(ata::kIdNotFound);
}

TEST_F(AtaDiskTest, NativeMaximumIsTheLastSector) {
    plain(0xF8);
    EXPECT_EQ(lba_registers(), 9999u);
    image = bench.add_disk(0, 0, 0x12'0000'0000);
    plain(0xF8);
    EXPECT_EQ(lba_registers(), 0x0FFFFFFEu);
    plain(0x27);
    EXPECT_EQ(reg(3) | reg(4) << 8 | reg(5) << 16, 0xFFFFFF);
    bench.out(0x3F6, 0x80);
    EXPECT_EQ(reg(3) | reg(4) << 8 | reg(5) << 16, 0x0011FF);
}

TEST_F(AtaDiskTest, SeekChecksTheAddress) {
    lba28(0x70, 9999, 0);
    EXPECT_EQ(reg(7), kIdle);
    lba28(0x70, 10000, 0);
    expect_error(ata::kIdNotFound);
    plain(0x10);
    EXPECT_EQ(reg(7), kIdle);
}

// ---- other commands ------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, SetFeaturesSelectsTransferModes) {
    plain(0xEF, 0x22, 0x03);  // multiword DMA 2
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(identify()[63], 0x0407);
    plain(0xEF, 0x44, 0x03);  // Ultra DMA 4
    const auto words = identify();
    EXPECT_EQ(words[63], 0x0007);
    EXPECT_EQ(words[88], 0x103F);
    for (const unsigned mode : {0x46u, 0x23u, 0x10u, 0x0Du, 0xFFu}) {
        plain(0xEF, mode, 0x03);
        expect_error(ata::kAborted);
    }
    plain(0xEF, 0, 0x99);
    expect_error(ata::kAborted);
}

TEST_F(AtaDiskTest, FlushCacheReachesTheImage) {
    plain(0xE7);
    plain(0xEA);
    EXPECT_EQ(reg(7), kIdle);
    EXPECT_EQ(image->flushes, 2u);
    image->flush_fails = true;
    plain(0xE7);
    expect_error(ata::kAborted);
}

TEST_F(AtaDiskTest, WithoutWriteCacheEachWriteIsFlushed) {
    lba28(0x30, 0, 1);
    write_bytes(pattern(1, 0));
    EXPECT_EQ(image->flushes, 0u);
    plain(0xEF, 0, 0x82);
    EXPECT_EQ(image->flushes, 1u);  // what was in it
    EXPECT_EQ(identify()[85] & 0x20, 0);
    lba28(0x30, 0, 1);
    write_bytes(pattern(1, 0));
    EXPECT_EQ(image->flushes, 2u);
    plain(0xEF, 0, 0x02);
    EXPECT_NE(identify()[85] & 0x20, 0);
}

TEST_F(AtaDiskTest, PowerModesCanBeAskedFor) {
    const auto mode = [&] {
        plain(0xE5);
        return reg(2);
    };
    EXPECT_EQ(mode(), 0xFF);
    plain(0xE1);
    EXPECT_EQ(mode(), 0x80);
    plain(0xE0);
    EXPECT_EQ(mode(), 0x00);
    EXPECT_EQ(image->flushes, 1u);
    lba28(0x40, 0, 1);
    EXPECT_EQ(mode(), 0xFF);
}

TEST_F(AtaDiskTest, WhatIsNotAnnouncedIsRefused) {
    struct Feature {
        unsigned word;
        unsigned bit;
        std::vector<std::pair<std::uint8_t, std::uint8_t>> commands;  // and features registers
    };
    const std::vector<Feature> features = {
        {84, 0, {{0xB0, 0xD5}, {0xB0, 0xD6}}},                                        // SMART's logs
        {84, 1, {{0xB0, 0xD4}}},                                                      // and self-tests
        {82, 1, {{0xF1, 0}, {0xF2, 0}, {0xF3, 0}, {0xF4, 0}, {0xF5, 0}, {0xF6, 0}}},  // security
        {82, 10, {{0xF9, 0}, {0xF9, 1}, {0x37, 0}}},                                  // host protected area
        {83, 0, {{0x92, 1}, {0x92, 7}}},                                              // DOWNLOAD MICROCODE
        {83, 1, {{0xC7, 0}, {0xCC, 0}}},                                              // queued DMA
        {83, 3, {{0xEF, 0x05}, {0xEF, 0x85}}},                                        // advanced power management
        {83, 5, {{0xEF, 0x06}, {0xEF, 0x07}}},                                        // power-up in standby
        {83, 9, {{0xEF, 0x42}, {0xEF, 0xC2}}},                                        // automatic acoustic management
        {83, 11, {{0xB1, 0xC0}, {0xB1, 0xC2}}},                                       // device configuration overlay
        {84, 5, {{0x2F, 0}, {0x3F, 0}}},                                              // general purpose logging
    };
    const auto words = identify();
    for (const Feature& feature : features) {
        EXPECT_EQ(words[feature.word] >> feature.bit & 1, 0) << "word " << feature.word << " bit " << feature.bit;
        for (const auto& [command, subcommand] : feature.commands) {
            SCOPED_TRACE(testing::Message() << "command " << unsigned{command} << " features " << unsigned{subcommand});
            bench.out(0x1F4, 0x4F);  // the key of SMART
            bench.out(0x1F5, 0xC2);
            plain(command, 0, subcommand);
            expect_error(ata::kAborted);
        }
    }
}

TEST_F(AtaDiskTest, ASleepingDiskWakesWithAReset) {
    plain(0xE6);
    const unsigned before = bench.irq[0].rises;
    reg(7);
    plain(0xE5, 0x33);
    EXPECT_EQ(reg(2), 0x33);
    EXPECT_EQ(bench.irq[0].rises, before);
    bench.out(0x3F6, 4);
    bench.out(0x3F6, 0);
    plain(0xE5);
    EXPECT_EQ(reg(2), 0xFF);
}

TEST_F(AtaDiskTest, StatisticsCountBytes) {
    lba28(0x20, 0, 3);
    read_bytes(3 * 512);
    lba28(0x30, 0, 2);
    write_bytes(pattern(2, 0));
    const DriveStatistics statistics = bench.ide.statistics(0, 0);
    EXPECT_EQ(statistics.bytes_read, 3u * 512);
    EXPECT_EQ(statistics.bytes_written, 2u * 512);
    EXPECT_EQ(bench.ide.statistics(1, 1).bytes_read, 0u);
}

}  // namespace
}  // namespace vpc::devices::test
