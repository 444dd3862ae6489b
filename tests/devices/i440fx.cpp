#include "devices/i440fx.h"

#include <gtest/gtest.h>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

/// A BIOS whose every byte tells its 4 KiB page, counted from the end of the ROM.
std::vector<std::uint8_t> bios_of(std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::uint8_t>((size - 1 - i) / 4096);
    }
    return bytes;
}

class I440FxTest : public testing::Test {
  protected:
    Bench bench;
    std::uint8_t* bios = map_bios(128);
    I440Fx bridge{bench.memory, bios, 128 * 1024};

    std::uint8_t* map_bios(unsigned kib) {
        return bench.memory.map_rom("BIOS", 0 - kib * 1024, bios_of(std::size_t{kib} * 1024));
    }
    unsigned peek(std::uint32_t address) { return bench.memory.read_bus(address, 1); }
    void poke(std::uint32_t address, unsigned value) { bench.memory.write_bus(address, value, 1); }
    std::uint8_t& dram(std::uint32_t address) { return bench.memory.ram()[address]; }
};

TEST_F(I440FxTest, SeaBiosKnowsItByItsIdentity) {
    EXPECT_EQ(bridge.read_config(0x00, 4), 0x12378086u);
    EXPECT_EQ(bridge.read_config(0x08, 4), 0x06000002u);
    EXPECT_EQ(bridge.read_config(0x2C, 4), 0x11001AF4u);
}

TEST_F(I440FxTest, TheBiosShowsAfterResetAndNothingBelowIt) {
    EXPECT_EQ(peek(0xFFFFF), 0u);
    EXPECT_EQ(peek(0xE0000), 31u);
    EXPECT_EQ(peek(0xDFFFF), 0xFFu);
    poke(0xFFFFF, 0x55);
    EXPECT_EQ(peek(0xFFFFF), 0u);
    EXPECT_EQ(dram(0xFFFFF), 0);
}

TEST_F(I440FxTest, OnlyTheLast128KiBOfALargerBiosShow) {
    Bench other;
    std::uint8_t* large = other.memory.map_rom("BIOS", 0xFFFC0000, bios_of(256 * 1024));
    I440Fx with_large(other.memory, large, 256 * 1024);
    EXPECT_EQ(other.memory.read_bus(0xE0000, 1), 31u);
    EXPECT_EQ(other.memory.read_bus(0xFFFFF, 1), 0u);
    EXPECT_EQ(other.memory.read_bus(0xDFFFF, 1), 0xFFu);
}

TEST_F(I440FxTest, ASmallerBiosShowsBelowOneMegabyte) {
    Bench other;
    std::uint8_t* small = other.memory.map_rom("BIOS", 0xFFFF6000, bios_of(40 * 1024));
    I440Fx with_small(other.memory, small, 40 * 1024);
    EXPECT_EQ(other.memory.read_bus(0xF6000, 1), 9u);
    EXPECT_EQ(other.memory.read_bus(0xF5FFF, 1), 0xFFu);
    with_small.write_config(0x59, 0x30, 1);
    other.memory.write_bus(0xF5FFF, 0x12, 1);
    EXPECT_EQ(other.memory.read_bus(0xF5FFF, 1), 0x12u);
}

TEST_F(I440FxTest, TheVgaBiosShowsAtItsPlaceUntilDramCoversIt) {
    Bench other;
    std::uint8_t* system = other.memory.map_rom("BIOS", 0xFFFF0000, bios_of(64 * 1024));
    std::uint8_t* vga = other.memory.map_rom("VGA BIOS", 0xFFFE7000, bios_of(36 * 1024));
    I440Fx with_vga(other.memory, system, 64 * 1024, vga, 36 * 1024);
    EXPECT_EQ(other.memory.read_bus(0xC0000, 1), 8u);
    EXPECT_EQ(other.memory.read_bus(0xC8FFF, 1), 0u);
    EXPECT_EQ(other.memory.read_bus(0xC9000, 1), 0xFFu);
    EXPECT_EQ(other.memory.read_bus(0xF0000, 1), 15u);
    other.memory.write_bus(0xC8000, 0x12, 1);
    EXPECT_EQ(other.memory.read_bus(0xC8000, 1), 0u);
    with_vga.write_config(0x5B, 0x03, 1);  // C8000h-CBFFFh
    other.memory.write_bus(0xC8000, 0x12, 1);
    EXPECT_EQ(other.memory.read_bus(0xC8000, 1), 0x12u);
    EXPECT_EQ(other.memory.read_bus(0xC7000, 1), 1u);
}

TEST_F(I440FxTest, PamDecidesReadsAndWritesApart) {
    dram(0xF1234) = 0x77;
    bridge.write_config(0x59, 0x20, 1);  // writes to DRAM, reads from the ROM: how firmware copies itself
    poke(0xF1234, 0x99);
    EXPECT_EQ(dram(0xF1234), 0x99);
    EXPECT_EQ(peek(0xF1234), 14u);
    bridge.write_config(0x59, 0x10, 1);
    poke(0xF1234, 0x11);
    EXPECT_EQ(peek(0xF1234), 0x99u);
    bridge.write_config(0x59, 0x30, 1);
    poke(0xF1234, 0x11);
    EXPECT_EQ(peek(0xF1234), 0x11u);
}

TEST_F(I440FxTest, EachNibbleHas16KiB) {
    for (unsigned segment = 0; segment < 12; ++segment) {
        const std::uint32_t first = 0xC0000 + segment * 0x4000;
        bridge.write_config(0x5A + segment / 2, segment % 2 == 0 ? 0x03 : 0x30, 1);
        poke(first, 0xA5);
        poke(first + 0x3FFF, 0xA5);
        EXPECT_EQ(peek(first), 0xA5u);
        EXPECT_EQ(peek(first + 0x3FFF), 0xA5u);
        if (first + 0x4000 < 0xF0000) {
            poke(first + 0x4000, 0xA5);
            EXPECT_NE(peek(first + 0x4000), 0xA5u);
        }
        bridge.write_config(0x5A + segment / 2, 0, 1);
    }
}

TEST_F(I440FxTest, DwordWritesReachAllPams) {
    bridge.write_config(0x58, 0x33333000 | bridge.read_config(0x58, 1), 4);
    bridge.write_config(0x5C, 0x33333333, 4);
    for (std::uint32_t address = 0xC0000; address < 0x100000; address += 0x1000) {
        poke(address, 0x5A);
        EXPECT_EQ(peek(address), 0x5Au) << address;
    }
}

TEST_F(I440FxTest, ResetShowsTheBiosAgainAndKeepsDram) {
    bridge.write_config(0x59, 0x30, 1);
    poke(0xF0000, 0x42);
    bridge.reset();
    EXPECT_EQ(peek(0xF0000), 15u);
    EXPECT_EQ(dram(0xF0000), 0x42);
}

TEST_F(I440FxTest, LoadingLaysTheWindowsAgain) {
    bridge.write_config(0x59, 0x30, 1);
    dram(0xF0000) = 0x42;
    StateStream saver = StateStream::saver();
    bridge.serialize(saver);
    bridge.reset();
    StateStream loader = StateStream::loader(saver.bytes());
    bridge.serialize(loader);
    EXPECT_EQ(peek(0xF0000), 0x42u);
}

TEST_F(I440FxTest, SmramBitsAreKept) {
    EXPECT_EQ(bridge.read_config(0x72, 1), 0x02u);
    bridge.write_config(0x72, 0xFF, 1);
    EXPECT_EQ(bridge.read_config(0x72, 1), 0x7Au);
}

}  // namespace
}  // namespace vpc::devices::test
