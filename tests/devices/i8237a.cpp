#include "devices/i8237a.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

using Bytes = std::vector<std::uint8_t>;

class I8237ATest : public testing::Test {
  protected:
    Bench bench;
    I8237A& dma = bench.add_device<I8237A>(bench.ports, bench.memory);

    I8237ATest() {
        bench.out(0xD6, 0xC0);  // channel 4: cascade
        bench.out(0xD4, 0x00);  // and unmasked
    }
    /// Programs channel 2; `mode` without the channel's number.
    void program(std::uint8_t mode, std::uint32_t address, unsigned bytes) {
        bench.out(0x0A, 0x06);
        bench.out(0x0C, 0);
        bench.out(0x0B, mode | 2u);
        bench.out(0x04, address & 0xFF);
        bench.out(0x04, address >> 8 & 0xFF);
        bench.out(0x81, address >> 16);
        bench.out(0x05, (bytes - 1) & 0xFF);
        bench.out(0x05, (bytes - 1) >> 8);
        bench.out(0x0A, 0x02);
    }
    Bytes memory(std::uint32_t address, std::size_t count) {
        Bytes bytes(count);
        bench.memory.read(address, bytes);
        return bytes;
    }
    static Bytes pattern(std::size_t count) {
        Bytes bytes(count);
        std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
        return bytes;
    }
    unsigned word(std::uint16_t port) {
        const unsigned low = bench.in(port);
        return low | bench.in(port) << 8;
    }
};

TEST_F(I8237ATest, MovesDeviceDataToMemoryUntilTerminalCount) {
    program(0x44, 0x2'1234, 100);
    const auto outcome = dma.channel(2).to_memory(pattern(150));
    EXPECT_EQ(outcome.bytes, 100u);
    EXPECT_TRUE(outcome.terminal_count);
    EXPECT_EQ(memory(0x2'1234, 100), pattern(100));
    EXPECT_EQ(memory(0x2'1298, 1), Bytes{0});
    EXPECT_EQ(bench.in(0x08), 0x04u) << "status: terminal count of channel 2";
    EXPECT_EQ(bench.in(0x08), 0x00u) << "which reading clears";
    EXPECT_EQ(dma.channel(2).to_memory(pattern(1)).bytes, 0u) << "the channel has masked itself";
    EXPECT_EQ(word(0x04), 0x1298u);
    EXPECT_EQ(word(0x05), 0xFFFFu);
}

TEST_F(I8237ATest, ATransferMayComeInParts) {
    program(0x44, 0x5000, 100);
    EXPECT_EQ(dma.channel(2).to_memory(pattern(60)).bytes, 60u);
    EXPECT_EQ(word(0x05), 39u);
    const auto rest = dma.channel(2).to_memory(pattern(40));
    EXPECT_EQ(rest.bytes, 40u);
    EXPECT_TRUE(rest.terminal_count);
}

TEST_F(I8237ATest, ReadsMemoryForTheDevice) {
    bench.memory.write(0x6000, pattern(20));
    program(0x48, 0x6000, 20);
    Bytes data(20);
    EXPECT_TRUE(dma.channel(2).from_memory(data).terminal_count);
    EXPECT_EQ(data, pattern(20));
}

TEST_F(I8237ATest, VerifyCountsAndLeavesMemoryAlone) {
    program(0x40, 0x5000, 10);
    EXPECT_TRUE(dma.channel(2).to_memory(pattern(10)).terminal_count);
    EXPECT_EQ(memory(0x5000, 10), Bytes(10));
}

TEST_F(I8237ATest, TheWrongDirectionTouchesNothing) {
    program(0x48, 0x5000, 10);
    EXPECT_EQ(dma.channel(2).to_memory(pattern(10)).bytes, 10u);
    EXPECT_EQ(memory(0x5000, 10), Bytes(10));
    program(0x44, 0x5000, 10);
    Bytes data(10);
    dma.channel(2).from_memory(data);
    EXPECT_EQ(data, Bytes(10, 0xFF));
}

TEST_F(I8237ATest, AutoinitialiseStartsOver) {
    program(0x54, 0x5000, 4);
    for (int round = 0; round < 3; ++round) {
        EXPECT_TRUE(dma.channel(2).to_memory(Bytes(4, 7)).terminal_count);
        EXPECT_EQ(word(0x04), 0x5000u);
        EXPECT_EQ(word(0x05), 3u);
    }
}

TEST_F(I8237ATest, AddressesMayCountDown) {
    program(0x64, 0x5003, 4);
    EXPECT_TRUE(dma.channel(2).to_memory(Bytes{1, 2, 3, 4}).terminal_count);
    EXPECT_EQ(memory(0x5000, 4), (Bytes{4, 3, 2, 1}));
}

TEST_F(I8237ATest, AddressesWrapWithinThePage) {
    program(0x44, 0x2'FFFE, 4);
    dma.channel(2).to_memory(Bytes{1, 2, 3, 4});
    EXPECT_EQ(memory(0x2'FFFE, 2), (Bytes{1, 2}));
    EXPECT_EQ(memory(0x2'0000, 2), (Bytes{3, 4}));
    EXPECT_EQ(memory(0x3'0000, 2), (Bytes{0, 0}));
}

TEST_F(I8237ATest, WordChannelsCountWordsAndIgnoreThePagesLowestBit) {
    bench.out(0xD8, 0);
    bench.out(0xD6, 0x45);  // channel 5: single, write
    bench.out(0xC4, 0x00);
    bench.out(0xC4, 0x80);  // word 8000h: byte 1'0000h of the 128 KiB
    bench.out(0x8B, 0x03);  // 2'0000h
    bench.out(0xC6, 9);     // 10 words
    bench.out(0xC6, 0);
    bench.out(0xD4, 0x01);
    EXPECT_EQ(dma.channel(5).to_memory(pattern(3)).bytes, 2u) << "half a word waits";
    const auto outcome = dma.channel(5).to_memory(pattern(40));
    EXPECT_EQ(outcome.bytes, 18u);
    EXPECT_TRUE(outcome.terminal_count);
    EXPECT_EQ(memory(0x3'0000, 2), pattern(2));
    EXPECT_EQ(memory(0x3'0002, 18), pattern(18));
    EXPECT_EQ(bench.in(0xD0), 0x02u);
}

TEST_F(I8237ATest, NothingMovesWhileMaskedDisabledOrWithoutTheCascade) {
    program(0x44, 0x5000, 10);
    const auto moved = [&] { return dma.channel(2).to_memory(pattern(1)).bytes; };
    bench.out(0x0A, 0x06);
    EXPECT_EQ(moved(), 0u);
    bench.out(0x0A, 0x02);
    EXPECT_EQ(moved(), 1u);
    bench.out(0x08, 0x04);
    EXPECT_EQ(moved(), 0u);
    bench.out(0x08, 0x00);
    EXPECT_EQ(moved(), 1u);
    bench.out(0xD4, 0x04);
    EXPECT_EQ(moved(), 0u);
    bench.out(0xD4, 0x00);
    bench.out(0xD6, 0x40);
    EXPECT_EQ(moved(), 0u);
}

TEST_F(I8237ATest, ADeviceHearsWhenItsChannelMayRun) {
    program(0x44, 0x5000, 10);
    bench.out(0x0F, 0x0F);
    unsigned calls = 0;
    dma.channel(2).on_ready([&] { ++calls; });
    bench.out(0x0A, 0x02);
    EXPECT_EQ(calls, 0u) << "it does not want to";
    bench.out(0x0A, 0x06);
    dma.channel(2).set_request(true);
    EXPECT_EQ(calls, 0u);
    EXPECT_EQ(bench.in(0x08), 0x40u);
    bench.out(0x0E, 0);
    EXPECT_EQ(calls, 1u);
}

TEST_F(I8237ATest, MasterClearMasksEverything) {
    program(0x44, 0x5000, 10);
    EXPECT_EQ(bench.in(0x0F), 0x0Bu);
    bench.out(0x04, 0x12);  // flip-flop now points at the upper byte
    bench.out(0x0D, 0);
    EXPECT_EQ(bench.in(0x0F), 0x0Fu);
    bench.out(0x04, 0x34);
    bench.out(0x04, 0x56);
    EXPECT_EQ(word(0x04), 0x5634u);
}

TEST_F(I8237ATest, ASoftwareRequestRunsABlockTransferWithoutADevice) {
    bench.memory.write(0x5000, pattern(12));
    program(0x84, 0x5000, 10);
    bench.out(0x0A, 0x06);  // the mask does not hold it back
    bench.out(0x09, 0x06);
    EXPECT_EQ(memory(0x5000, 11), (Bytes{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 11}));
    EXPECT_EQ(bench.in(0x08), 0x04u) << "through, and no longer requested";
    program(0x44, 0x5000, 10);
    bench.out(0x09, 0x06);
    EXPECT_EQ(bench.in(0x08), 0x40u) << "single mode: not served";
}

TEST_F(I8237ATest, PageRegistersKeepWhatIsWritten) {
    for (std::uint16_t port = 0x80; port < 0x90; ++port) {
        bench.out(port, port);
    }
    for (std::uint16_t port = 0x80; port < 0x90; ++port) {
        EXPECT_EQ(bench.in(port), port);
    }
}

TEST_F(I8237ATest, ATransferGoesOnAfterLoading) {
    program(0x44, 0x5000, 100);
    dma.channel(2).to_memory(pattern(60));
    const auto state = bench.save();
    Bench second;
    auto& other = second.add_device<I8237A>(second.ports, second.memory);
    second.load(state);
    EXPECT_TRUE(other.channel(2).to_memory(pattern(40)).terminal_count);
    Bytes bytes(40);
    second.memory.read(0x5000 + 60, bytes);
    EXPECT_EQ(bytes, pattern(40));
}

Subject controllers() {
    return {.name = "I8237A",
            .ports = {{0x00, 16}, {0xC0, 32}, {0x80, 16}},
            .build = [](Bench& bench) { bench.add_device<I8237A>(bench.ports, bench.memory); },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& dma = static_cast<I8237A&>(*bench.devices[0]);
                    I8237A::Channel& channel = dma.channel(static_cast<unsigned>(random() % 8));
                    std::array<std::uint8_t, 300> data{};
                    data.fill(static_cast<std::uint8_t>(random()));
                    if (random() % 2 == 0) {
                        channel.to_memory(std::span(data).first(random() % 300));
                    } else {
                        channel.from_memory(std::span(data).first(random() % 300));
                    }
                }};
}

INSTANTIATE_TEST_SUITE_P(I8237A, DeviceConformance, testing::Values(controllers()), subject_name);

}  // namespace
}  // namespace vpc::devices::test
