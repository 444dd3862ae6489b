#include "devices/atapi_cdrom.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr unsigned kBlocks = 1000;

class AtapiCdromTest : public testing::Test {
  protected:
    IdeBench bench;
    std::shared_ptr<DiskImage> image = std::make_shared<DiskImage>(kBlocks * 4);
    AtapiCdrom& drive = attach(bench, image);

    static AtapiCdrom& attach(IdeBench& bench, const std::shared_ptr<DiskImage>& image) {
        auto owned = std::make_unique<AtapiCdrom>(image ? std::make_shared<MemoryDisk>(image) : nullptr);
        AtapiCdrom& drive = *owned;
        bench.ide.attach(1, 0, std::move(owned));
        return drive;
    }
    std::uint8_t reg(unsigned offset) {
        return static_cast<std::uint8_t>(bench.in(static_cast<std::uint16_t>(0x170 + offset)));
    }
    void set(unsigned offset, unsigned value) { bench.out(static_cast<std::uint16_t>(0x170 + offset), value); }
    void send(Bytes packet, unsigned limit = 0xFFFE, unsigned features = 0) {
        packet.resize(12);
        set(1, features);
        set(4, limit & 0xFF);
        set(5, limit >> 8);
        set(7, 0xA0);
        ASSERT_EQ(reg(7), 0x48);
        ASSERT_EQ(reg(2) & 7, 1) << "interrupt reason: a command is wanted";
        for (std::size_t i = 0; i < 12; i += 2) {
            bench.out(0x170, packet[i] | unsigned{packet[i + 1]} << 8, 2);
        }
    }
    /// Everything the drive offers, and the sizes of its blocks.
    Bytes take(std::vector<std::size_t>* blocks = nullptr) {
        Bytes data;
        while ((bench.in(0x376) & 0x88) == 0x08) {
            EXPECT_EQ(reg(2) & 7, 2);
            EXPECT_TRUE(bench.irq[1].level);
            const std::size_t count = reg(4) | unsigned{reg(5)} << 8;
            reg(7);
            for (std::size_t i = 0; i < count; i += 2) {
                const std::uint32_t word = bench.in(0x170, 2);
                data.push_back(static_cast<std::uint8_t>(word));
                if (i + 1 < count) {
                    data.push_back(static_cast<std::uint8_t>(word >> 8));
                }
            }
            if (blocks != nullptr) {
                blocks->push_back(count);
            }
        }
        return data;
    }
    Bytes ask(const Bytes& packet) {
        send(packet);
        const Bytes data = take();
        EXPECT_EQ(reg(2) & 7, 3);
        EXPECT_EQ(reg(7) & 0x89, 0) << "packet command " << unsigned{packet[0]};
        return data;
    }
    /// Key, ASC and ASCQ of a command that fails.
    Bytes refused(const Bytes& packet) {
        send(packet);
        EXPECT_EQ(reg(2) & 7, 3);
        EXPECT_EQ(reg(7), 0x51);
        EXPECT_EQ(reg(1) & 0x0F, 4);
        const unsigned key = reg(1) >> 4;
        const Bytes sense = ask({0x03, 0, 0, 0, 18});
        EXPECT_EQ(sense[2], key);
        return {sense[2], sense[12], sense[13]};
    }
    void past_power_on() { EXPECT_EQ(refused({0x00}), (Bytes{6, 0x29, 0})); }
    Bytes sectors(unsigned block, unsigned count) {
        Bytes bytes;
        for (unsigned i = 4 * block; i < 4 * (block + count); ++i) {
            const auto sector = image->sector(i);
            bytes.insert(bytes.end(), sector.begin(), sector.end());
        }
        return bytes;
    }
};

// ---- ATA side ------------------------------------------------------------------------------------------------------

TEST_F(AtapiCdromTest, ResetLeavesThePacketSignature) {
    EXPECT_EQ(reg(7), 0x00) << "not ready before its first packet";
    EXPECT_EQ(reg(2), 1);
    EXPECT_EQ(reg(3), 1);
    EXPECT_EQ(reg(4), 0x14);
    EXPECT_EQ(reg(5), 0xEB);
    EXPECT_EQ(reg(1), 1);
    set(6, 0x10);
    for (unsigned offset = 1; offset < 8; ++offset) {
        EXPECT_EQ(reg(offset), 0) << "the absent slave has nothing of its master's, register " << offset;
    }
}

TEST_F(AtapiCdromTest, IdentifyDeviceSendsDriversAway) {
    for (const unsigned command : {0xECu, 0x20u}) {
        set(4, 0);
        set(7, command);
        EXPECT_EQ(bench.in(0x376), 0x51u);
        EXPECT_EQ(reg(1), 4);
        EXPECT_EQ(reg(4), 0x14);
        EXPECT_EQ(reg(5), 0xEB);
    }
}

TEST_F(AtapiCdromTest, IdentifyPacketDevice) {
    set(1, 3);
    set(2, 0x21);  // multiword DMA 1
    set(7, 0xEF);
    set(7, 0xA1);
    EXPECT_EQ(reg(7), 0x58);
    std::array<std::uint16_t, 256> words{};
    for (std::uint16_t& word : words) {
        word = static_cast<std::uint16_t>(bench.in(0x170, 2));
    }
    EXPECT_EQ(words[0], 0x85C0);
    EXPECT_EQ(words[27], 'V' << 8 | 'P');
    EXPECT_EQ(words[63], 0x0207);
    EXPECT_EQ(words[88], 0x0007);
    EXPECT_EQ(reg(7), 0x50);
}

TEST_F(AtapiCdromTest, DeviceResetWorksWhileBusy) {
    past_power_on();
    bench.io.deferring = true;
    send({0x28, 0, 0, 0, 0, 5, 0, 0, 2});
    EXPECT_EQ(bench.in(0x376), 0x80u);
    set(7, 0x08);
    EXPECT_EQ(bench.in(0x376), 0x00u);
    EXPECT_EQ(reg(5), 0xEB);
    bench.io.run();
    EXPECT_EQ(bench.in(0x376), 0x00u) << "the overtaken read disturbs nothing";
}

TEST_F(AtapiCdromTest, UnknownCommandsAndFeaturesAreAborted) {
    set(7, 0xC8);
    EXPECT_EQ(reg(7), 0x51);
    set(1, 0x02);
    set(7, 0xEF);
    EXPECT_EQ(reg(7), 0x51);
    set(1, 0x02);  // overlap
    set(7, 0xA0);
    EXPECT_EQ(reg(7), 0x51);
}

// ---- reading -------------------------------------------------------------------------------------------------------

TEST_F(AtapiCdromTest, ReadsInBlocksOfTheGuestsLimit) {
    past_power_on();
    std::vector<std::size_t> blocks;
    send({0x28, 0, 0, 0, 0, 100, 0, 0, 5}, 4096 + 100);
    EXPECT_EQ(take(&blocks), sectors(100, 5));
    EXPECT_EQ(blocks, (std::vector<std::size_t>{4096, 4096, 2048}));
    EXPECT_EQ(reg(7), 0x50);
    send({0xA8, 0, 0, 0, 0, 200, 0, 0, 0, 70}, 0);  // more than a piece
    EXPECT_EQ(take(), sectors(200, 70));
    send({0x28, 0, 0, 0, 0, 7, 0, 0, 1}, 300);
    blocks.clear();
    EXPECT_EQ(take(&blocks), sectors(7, 1));
    EXPECT_EQ(blocks.front(), 300u);
    EXPECT_EQ(drive.statistics().bytes_read, 76u * 2048);
}

TEST_F(AtapiCdromTest, ReadsThroughTheBusMaster) {
    past_power_on();
    constexpr std::uint32_t kTable = 0x8000;
    constexpr std::uint32_t kBuffer = 0x2'0000;
    const std::array<std::uint32_t, 4> descriptors{kBuffer, 0x10000 - 2048, kBuffer + 0x10000, 0x80000000u | 0x8000};
    Bytes bytes(sizeof descriptors);
    std::memcpy(bytes.data(), descriptors.data(), bytes.size());
    bench.memory.write(kTable, bytes);
    bench.out(IdeBench::kBusMaster + 12, kTable, 4);
    send({0x28, 0, 0, 0, 0, 10, 0, 0, 40}, 0, 1);
    EXPECT_EQ(bench.in(0x376) & 0x88, 0x08u) << "waits for the bus master";
    bench.out(IdeBench::kBusMaster + 8, 9);
    EXPECT_EQ(reg(2) & 7, 3);
    EXPECT_EQ(reg(7), 0x50);
    constexpr std::size_t kFirst = 0x10000 - 2048;
    Bytes moved(kFirst + std::size_t{9} * 2048);
    bench.memory.read(kBuffer, std::span(moved).first(kFirst));
    bench.memory.read(kBuffer + 0x10000, std::span(moved).subspan(kFirst));
    EXPECT_EQ(moved, sectors(10, 40));
}

TEST_F(AtapiCdromTest, ReadCdDeliversThePartsAskedFor) {
    past_power_on();
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 3, 0, 0, 2, 0x10}), sectors(3, 2));
    EXPECT_EQ(ask({0xBE, 0x08, 0, 0, 0, 3, 0, 0, 1, 0x10}), sectors(3, 1));
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0x00}), Bytes{});
    Bytes whole;
    for (const unsigned lba : {3u, 4u}) {
        const auto frame = cd_frame::build(lba, sectors(lba, 1));
        whole.insert(whole.end(), frame.begin(), frame.end());
    }
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 3, 0, 0, 2, 0xF8}), whole);
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0x20}), (Bytes{0, 2, 3, 1})) << "the header";
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0x40}), Bytes{}) << "mode 1 has no subheaders";
    EXPECT_EQ(ask({0xBE, 0, 0, 0, 0, 0, 0, 0, 100, 0xF8}).size(), 235200u) << "in several pieces";
    EXPECT_EQ(refused({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0x90}), (Bytes{5, 0x24, 0})) << "sync and user data, no header";
    EXPECT_EQ(refused({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0xFA}), (Bytes{5, 0x24, 0})) << "C2 errors";
    EXPECT_EQ(refused({0xBE, 0, 0, 0, 0, 3, 0, 0, 1, 0x10, 1}), (Bytes{5, 0x24, 0})) << "subchannels";
    EXPECT_EQ(refused({0xBE, 0, 0, 0, 3, 0xE8, 0, 0, 1, 0xF8}), (Bytes{5, 0x21, 0}));
    EXPECT_EQ(refused({0xBE, 0x04, 0, 0, 0, 3, 0, 0, 1, 0x10}), (Bytes{5, 0x64, 0})) << "audio";
}

TEST_F(AtapiCdromTest, ErrorsAreSensed) {
    past_power_on();
    EXPECT_EQ(refused({0x28, 0, 0, 0, 3, 0xE8, 0, 0, 1}), (Bytes{5, 0x21, 0})) << "block 1000";
    EXPECT_EQ(refused({0x28, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 2}), (Bytes{5, 0x21, 0}));
    EXPECT_EQ(refused({0x2A}), (Bytes{5, 0x20, 0}));
    image->bad = {42};
    EXPECT_EQ(refused({0x28, 0, 0, 0, 0, 10, 0, 0, 1}), (Bytes{3, 0x11, 0}));
    EXPECT_EQ(ask({0x03, 0, 0, 0, 18})[2], 0) << "sensed once";
}

// ---- information ---------------------------------------------------------------------------------------------------

TEST_F(AtapiCdromTest, InquiryAndRequestSenseComeBeforeTheUnitAttention) {
    const Bytes inquiry = ask({0x12, 0, 0, 0, 36});
    EXPECT_EQ(inquiry.size(), 36u);
    EXPECT_EQ(inquiry[0], 5);
    EXPECT_EQ(inquiry[1], 0x80);
    EXPECT_EQ(std::string(inquiry.begin() + 8, inquiry.begin() + 11), "VPC");
    EXPECT_EQ(ask({0x12, 0, 0, 0, 5}).size(), 5u);
    const Bytes sense = ask({0x03, 0, 0, 0, 18});
    EXPECT_EQ(sense[2], 6);
    EXPECT_EQ(sense[12], 0x29);
    EXPECT_EQ(ask({0x00}), Bytes{});
}

TEST_F(AtapiCdromTest, CapacityAndTocDescribeTheDisc) {
    past_power_on();
    EXPECT_EQ(ask({0x25}), (Bytes{0, 0, 3, 0xE7, 0, 0, 8, 0}));
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0, 100}),
              (Bytes{0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0, 0, 0x14, 0xAA, 0, 0, 0, 3, 0xE8}));
    // 1150 frames: 15 seconds and 25 frames.
    EXPECT_EQ(ask({0x43, 2, 0, 0, 0, 0, 0xAA, 0, 100}), (Bytes{0, 10, 1, 1, 0, 0x14, 0xAA, 0, 0, 0, 15, 25}));
    EXPECT_EQ(ask({0x43, 0, 1, 0, 0, 0, 0, 0, 100}), (Bytes{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}));
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0, 100, 0x40}), (Bytes{0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 0, 0}));
    const Bytes full = ask({0x43, 0, 2, 0, 0, 0, 0, 0, 100});
    ASSERT_EQ(full.size(), 4u + 4 * 11);
    EXPECT_EQ(Bytes(full.begin() + 26, full.begin() + 37), (Bytes{1, 0x14, 0, 0xA2, 0, 0, 0, 0, 0, 15, 25}));
    EXPECT_EQ(ask({0x43, 0, 0, 0, 0, 0, 0, 0, 4}), (Bytes{0, 18, 1, 1})) << "cut to what was asked";
    EXPECT_EQ(refused({0x43, 0, 0, 0, 0, 0, 2, 0, 100}), (Bytes{5, 0x24, 0})) << "no track 2";
    EXPECT_EQ(refused({0x43, 0, 5, 0, 0, 0, 0, 0, 100}), (Bytes{5, 0x24, 0}));
}

TEST_F(AtapiCdromTest, OtherInformation) {
    past_power_on();
    EXPECT_EQ(ask({0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8}), Bytes(8));
    const Bytes disc = ask({0x51, 0, 0, 0, 0, 0, 0, 0, 34});
    EXPECT_EQ(disc.size(), 34u);
    EXPECT_EQ(disc[2], 0x0E);
    EXPECT_EQ(ask({0x42, 0, 0x40, 1, 0, 0, 0, 0, 16}), (Bytes{0, 0x15, 0, 12, 1, 0x14, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0}));
    const Bytes mode = ask({0x5A, 0, 0x2A, 0, 0, 0, 0, 0, 200});
    EXPECT_EQ(mode.size(), 28u);
    EXPECT_EQ(mode[1], 26);
    EXPECT_EQ(mode[8], 0x2A);
    EXPECT_EQ(mode[14], 0x29);
    EXPECT_EQ(refused({0x5A, 0, 0x0E, 0, 0, 0, 0, 0, 200}), (Bytes{5, 0x24, 0}));
    const Bytes features = ask({0x46, 0, 0, 0, 0, 0, 0, 0, 200});
    EXPECT_EQ(features[3], features.size() - 4);
    EXPECT_EQ(features[7], 8) << "the current profile: CD-ROM";
    EXPECT_EQ(ask({0x46, 2, 0, 0x10, 0, 0, 0, 0, 200}).size(), 8u + 12);
    EXPECT_EQ(ask({0x2B, 0, 0, 0, 0, 9}), Bytes{});
    EXPECT_EQ(refused({0x2B, 0, 0, 0, 9, 9}), (Bytes{5, 0x21, 0}));
}

// ---- changing discs ------------------------------------------------------------------------------------------------

TEST_F(AtapiCdromTest, AnEmptyDriveSaysSoAndANewDiscIsAnnounced) {
    past_power_on();
    EXPECT_TRUE(drive.eject());
    EXPECT_EQ(refused({0x00}), (Bytes{6, 0x28, 0}));
    EXPECT_EQ(refused({0x00}), (Bytes{2, 0x3A, 1}));
    EXPECT_EQ(refused({0x25}), (Bytes{2, 0x3A, 1}));
    EXPECT_EQ(ask({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 3, 0, 0, 0})) << "media removal";
    auto other = std::make_shared<DiskImage>(40);
    EXPECT_TRUE(drive.insert(std::make_shared<MemoryDisk>(other)));
    EXPECT_EQ(ask({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 2, 2, 0, 0})) << "new media";
    EXPECT_EQ(ask({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 0, 2, 0, 0}));
    EXPECT_EQ(refused({0x28, 0, 0, 0, 0, 0, 0, 0, 1}), (Bytes{6, 0x28, 0}));
    EXPECT_EQ(ask({0x25}), (Bytes{0, 0, 0, 9, 0, 0, 8, 0}));
}

TEST_F(AtapiCdromTest, ALockedTrayStaysShut) {
    past_power_on();
    ask({0x1E, 0, 0, 0, 1});
    EXPECT_FALSE(drive.eject());
    EXPECT_FALSE(drive.insert(std::make_shared<MemoryDisk>(image)));
    EXPECT_EQ(ask({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8})[4], 1) << "somebody asks for the disc";
    EXPECT_EQ(refused({0x1B, 0, 0, 0, 2}), (Bytes{5, 0x53, 2}));
    ask({0x1E, 0, 0, 0, 0});
    EXPECT_TRUE(drive.eject());
}

TEST_F(AtapiCdromTest, TheGuestOpensAndClosesTheTray) {
    past_power_on();
    ask({0x1B, 0, 0, 0, 2});
    EXPECT_EQ(refused({0x00}), (Bytes{2, 0x3A, 2}));
    EXPECT_EQ(ask({0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8})[1], 0x10);
    EXPECT_EQ(ask({0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}), (Bytes{0, 6, 4, 0x10, 3, 1, 0, 0}));
    ask({0x1B, 0, 0, 0, 3});
    EXPECT_EQ(refused({0x00}), (Bytes{6, 0x28, 0}));
    EXPECT_EQ(ask({0x00}), Bytes{});
}

TEST_F(AtapiCdromTest, ADiscTakenOutInMidReadIsReadToTheEnd) {
    past_power_on();
    bench.io.deferring = true;
    send({0x28, 0, 0, 0, 0, 5, 0, 0, 1});
    drive.eject();
    bench.io.run();
    EXPECT_EQ(take(), sectors(5, 1));
}

TEST(CdImages, AreMadeOfBlocks) {
    EXPECT_EQ(cd_problem(4000), "");
    EXPECT_NE(cd_problem(4001), "");
}

// ---- saved states --------------------------------------------------------------------------------------------------

TEST_F(AtapiCdromTest, ATransferGoesOnAfterLoading) {
    past_power_on();
    send({0x28, 0, 0, 0, 0, 100, 0, 0, 40}, 2048);
    Bytes data;
    for (unsigned i = 0; i < 1000; i += 2) {
        const std::uint32_t word = bench.in(0x170, 2);
        data.push_back(static_cast<std::uint8_t>(word));
        data.push_back(static_cast<std::uint8_t>(word >> 8));
    }
    const auto state = bench.save();
    IdeBench second;
    attach(second, image);
    second.load(state);
    EXPECT_EQ(second.save(), state);
    while ((second.in(0x376) & 0x88) == 0x08) {
        const std::uint32_t word = second.in(0x170, 2);
        data.push_back(static_cast<std::uint8_t>(word));
        data.push_back(static_cast<std::uint8_t>(word >> 8));
    }
    EXPECT_EQ(data, sectors(100, 40));

    IdeBench third;
    attach(third, std::make_shared<DiskImage>(8));
    EXPECT_THROW(third.load(state), StateError) << "another disc";
}

TEST_F(AtapiCdromTest, AReadInWorkIsSubmittedAgainAfterLoading) {
    past_power_on();
    bench.io.deferring = true;
    send({0x28, 0, 0, 0, 0, 100, 0, 0, 2});
    const auto state = bench.save();
    IdeBench second;
    second.io.deferring = true;
    attach(second, image);
    second.load(state);
    EXPECT_EQ(second.save(), state);
    second.io.run();
    EXPECT_EQ(second.in(0x376), 0x58u);
}

// ---- conformance ---------------------------------------------------------------------------------------------------

class IdeWithCdrom : public Piix4Ide {
  public:
    IdeWithCdrom(Bench& bench, TestExecutor& executor)
        : Piix4Ide(bench.ports, bench.memory, bench.clock, executor, {}), io(executor) {}
    TestExecutor& io;
};

Subject cdrom(bool deferring) {
    return {.name = deferring ? "AtapiCdromDeferred" : "AtapiCdrom",
            .ports = {{0x1F0, 8}, {0x1F0, 1}, {0x1F7, 1}, {0x3F6, 1}, {IdeBench::kBusMaster, 8}},
            .build =
                [deferring](Bench& bench) {
                    auto& io = bench.add<TestExecutor>();
                    io.deferring = deferring;
                    auto& bus = bench.add_device<PciBus>(bench.ports, nullptr);
                    auto& ide = bench.add_device<IdeWithCdrom>(bench, io);
                    bus.attach(1, 1, ide);
                    auto image = std::make_shared<DiskImage>(400);
                    image->bad = {17};
                    ide.attach(0, 0, std::make_unique<AtapiCdrom>(std::make_shared<MemoryDisk>(image)));
                    ide.write_config(0x40, 0x80008000, 4);
                    ide.write_config(0x20, IdeBench::kBusMaster, 4);
                    ide.write_config(0x04, 0x0005, 2);
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    if (random() % 3 == 0) {
                        static_cast<IdeWithCdrom*>(bench.devices[1])->io.run();
                        return;
                    }
                    // A sensible packet now and then, so that transfers happen.
                    constexpr std::array<std::uint8_t, 16> kCommands = {0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x28,
                                                                        0x28, 0x43, 0x46, 0x4A, 0x5A, 0xA8, 0xBE, 0x42};
                    bench.out(0x1F6, 0xA0);
                    bench.out(0x1F1, random() % 4 == 0 ? 1u : 0u);
                    bench.out(0x1F5, static_cast<std::uint32_t>(random() % 16));
                    bench.out(0x1F7, 0xA0);
                    std::array<std::uint8_t, 12> packet{};
                    packet[0] = kCommands[random() % kCommands.size()];
                    for (const std::size_t i : {1u, 2u, 4u, 5u, 8u, 9u}) {
                        packet[i] = static_cast<std::uint8_t>(random() % 4 == 0 ? random() : random() % 20);
                    }
                    for (std::size_t i = 0; i < 12; i += 2) {
                        bench.out(0x1F0, packet[i] | unsigned{packet[i + 1]} << 8, 2);
                    }
                },
            .deterministic = !deferring};
}

INSTANTIATE_TEST_SUITE_P(Cdrom, DeviceConformance, testing::Values(cdrom(false), cdrom(true)), subject_name);

}  // namespace
}  // namespace vpc::devices::test
