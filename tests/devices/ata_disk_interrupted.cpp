// What happens to the AtaDisk's commands that do not simply run through: errors of the host, work that takes its time,
// resets in the middle, saved states.
#include <random>

#include "tests/devices/ata_disk_fixture.h"

namespace vpc::devices::test {
namespace {

// ---- host errors ---------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, AnUnreadableSectorEndsThePioReadThere) {
    image->bad = {103};
    lba28(0x20, 100, 8);
    EXPECT_EQ(read_bytes(3 * 512), sectors(100, 3));
    expect_error(ata::kUncorrectable);
    EXPECT_EQ(lba_registers(), 103u);
    EXPECT_EQ(reg(2), 5);
    EXPECT_FALSE(bench.irq[0].level);  // the status was read
}

TEST_F(AtaDiskTest, AnUnreadableSectorIsNamedInTheFormOfTheCommand) {
    image->bad = {63 + 4};
    chs(0x20, 0, 1, 1, 10);
    read_bytes(4 * 512);
    expect_error(ata::kUncorrectable);
    EXPECT_EQ(reg(3), 5);
    EXPECT_EQ(reg(6), 0xA1);
    image = bench.add_disk(0, 0, std::uint64_t{1} << 40);
    image->bad = {0x12'3456'789A};
    lba48(0x42, 0x12'3456'7890, 20);
    expect_error(ata::kUncorrectable);
    EXPECT_EQ(reg(3), 0x9A);
    bench.out(0x3F6, 0x80);
    EXPECT_EQ(reg(3), 0x34);
    EXPECT_EQ(reg(4), 0x12);
}

TEST_F(AtaDiskTest, AnUnwritableSectorEndsTheWriteAndSparesTheOthers) {
    image->bad = {202};
    const auto data = pattern(4, 1);
    lba28(0x30, 200, 4);
    write_bytes(data);
    expect_error(ata::kAborted);
    EXPECT_EQ(lba_registers(), 202u);
    EXPECT_EQ(sectors(200, 2), (std::vector<std::uint8_t>{data.begin(), data.begin() + 1024}));
    EXPECT_EQ(image->written.count(203), 0u);
}

TEST_F(AtaDiskTest, ReadOnlyImagesRefuseWrites) {
    image->read_only = true;
    for (const unsigned command : {0x30u, 0xCAu}) {
        lba28(static_cast<std::uint8_t>(command), 0, 1);
        expect_error(ata::kAborted | ata::kWriteProtected);
    }
    lba28(0x20, 0, 1);
    EXPECT_EQ(reg(7), kData);
}

// ---- work in the background ----------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, IsBusyUntilTheWorkIsDone) {
    bench.io.deferring = true;
    lba28(0x20, 3, 1);
    EXPECT_EQ(reg(7), kBusy);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    set(2, 0x77);  // nobody listens
    bench.io.run();
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(reg(7), kData);
    EXPECT_NE(reg(2), 0x77);
    EXPECT_EQ(read_bytes(512), image->sector(3));
}

TEST_F(AtaDiskTest, ACompletionAfterASoftwareResetIsDropped) {
    bench.io.deferring = true;
    lba28(0x20, 3, 1);
    bench.out(0x3F6, 4);
    EXPECT_EQ(alternate(), kBusy);
    bench.io.run();
    EXPECT_EQ(alternate(), kBusy);
    bench.out(0x3F6, 0);
    EXPECT_EQ(alternate(), kIdle);
    EXPECT_EQ(bench.irq[0].rises, 0u);
    lba28(0x20, 4, 1);
    bench.io.run();
    EXPECT_EQ(read_bytes(512), image->sector(4));
}

TEST_F(AtaDiskTest, AnOvertakenCompletionDoesNotEndTheNextCommand) {
    bench.io.deferring = true;
    lba28(0x20, 3, 1);
    bench.out(0x3F6, 4);
    bench.out(0x3F6, 0);
    lba28(0x20, 4, 1);
    bench.io.run_one();
    EXPECT_EQ(alternate(), kBusy);
    bench.io.run_one();
    EXPECT_EQ(read_bytes(512), image->sector(4));
}

TEST_F(AtaDiskTest, WorkMayOutliveTheDisk) {
    bench.io.deferring = true;
    lba28(0x30, 8, 1);
    write_bytes(pattern(1, 4));
    bench.ide.attach(0, 0, nullptr);
    bench.io.run();
    EXPECT_EQ(image->sector(8), pattern(1, 4));
    EXPECT_EQ(bench.irq[0].rises, 0u);
}

TEST_F(AtaDiskTest, SoftwareResetInMidTransferDropsTheBlock) {
    lba28(0x30, 8, 1);
    write_bytes(std::vector<std::uint8_t>(100, 0x55));
    bench.out(0x3F6, 4);
    bench.out(0x3F6, 0);
    write_bytes(std::vector<std::uint8_t>(512, 0x55));
    EXPECT_TRUE(image->written.empty());
    EXPECT_EQ(alternate(), kIdle);
}

// ---- saved states --------------------------------------------------------------------------------------------------

TEST_F(AtaDiskTest, AReadInWorkIsSubmittedAgainAfterLoading) {
    bench.io.deferring = true;
    lba28(0x20, 77, 2);
    save_and_load();
    EXPECT_EQ(alternate(), kBusy);
    bench.io.run();
    EXPECT_EQ(bench.irq[0].rises, 1u);
    EXPECT_EQ(read_bytes(1024), sectors(77, 2));
}

TEST_F(AtaDiskTest, AWriteInWorkIsSubmittedAgainAfterLoading) {
    bench.io.deferring = true;
    lba28(0x30, 77, 1);
    write_bytes(pattern(1, 8));
    const auto state = bench.save();

    IdeBench second;
    second.io.deferring = true;
    const auto other = second.add_disk(0, 0);
    second.load(state);
    second.io.run();
    EXPECT_EQ(other->sector(77), pattern(1, 8));
    EXPECT_EQ(second.irq[0].rises, 1u);
    EXPECT_EQ(second.in(0x1F7), kIdle);
}

TEST_F(AtaDiskTest, ABlockHalfReadGoesOnAfterLoading) {
    lba28(0x20, 500, 3);
    auto bytes = read_bytes(512 + 100);
    save_and_load();
    const auto rest = read_bytes(3 * 512 - 612);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    EXPECT_EQ(bytes, sectors(500, 3));
    EXPECT_EQ(alternate(), kIdle);
}

TEST_F(AtaDiskTest, ABlockHalfWrittenGoesOnAfterLoading) {
    const auto data = pattern(2, 6);
    lba28(0x30, 500, 2);
    write_bytes({data.begin(), data.begin() + 700});
    save_and_load();
    write_bytes({data.begin() + 700, data.end()});
    EXPECT_EQ(alternate(), kIdle);
    EXPECT_EQ(sectors(500, 2), data);
}

TEST_F(AtaDiskTest, IdentifyHalfReadGoesOnAfterLoading) {
    const auto words = identify();
    plain(0xEC);
    read_bytes(54);
    save_and_load();
    EXPECT_EQ(bench.in(0x1F0, 2), words[27]);
}

TEST_F(AtaDiskTest, AStateOfAnotherDiskIsRefusedAndTheDiskStaysUsable) {
    const auto state = bench.save();
    IdeBench second;
    second.add_disk(0, 0, 20000);
    EXPECT_THROW(second.load(state), StateError);
    IdeBench without;
    EXPECT_THROW(without.load(state), StateError);
    second.ide.reset();
    second.enable();
    second.out(0x1F7, 0xEC);
    EXPECT_EQ(second.in(0x1F7), kData);
}

TEST_F(AtaDiskTest, DamagedStatesAreRefusedOrHarmless) {
    bench.io.deferring = true;
    plain(0xC6, 4);
    lba28(0xC5, 100, 40);
    write_bytes(pattern(6, 2));
    const auto good = bench.save();
    std::mt19937 random(1);
    for (unsigned round = 0; round < 400; ++round) {
        auto bad = good;
        for (unsigned i = 0; i <= round % 3; ++i) {
            bad[random() % (round % 2 == 0 ? std::size_t{700} : bad.size())] = static_cast<std::uint8_t>(random());
        }
        IdeBench second;
        second.add_disk(0, 0);
        try {
            second.load(bad);
        } catch (const StateError&) {
        }
        for (unsigned i = 0; i < 8 * 256; ++i) {
            second.out(0x1F0, i, 2);
        }
        second.in(0x1F0, 4);
        second.in(0x1F7);
    }
}

}  // namespace
}  // namespace vpc::devices::test
