#include "devices/pci_bus.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "devices/pci_vga.h"
#include "devices/vga/vga.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

/// A function with one of everything.
class TestCard : public PciFunction {
  public:
    explicit TestCard(std::uint8_t pin = 1)
        : PciFunction(
              {.vendor = 0x1111, .device = 0x2222, .revision = 3, .class_code = 0x123456, .interrupt_pin = pin}) {
        define_register(pci::kCommand, 2, 0, pci::kCommandIo | pci::kCommandMemory | pci::kCommandBusMaster);
        define_bar(0, BarKind::Io, 16);
        define_bar(1, BarKind::Memory, 0x10000);
        define_bar(2, BarKind::PrefetchableMemory, 0x1000000);
        define_bar(kRomBar, BarKind::ExpansionRom, 0x8000);
        define_register(0x40, 2, 0x1234, 0x00FF, 0x8000);
    }
    using PciFunction::set_interrupt;
    std::string_view name() const override { return "test card"; }
    void serialize(StateStream& stream) override {
        stream.section(name(), 1, [&] { serialize_config(stream); });
    }
    std::map<unsigned, std::optional<std::uint32_t>> bars;

  protected:
    void bar_changed(unsigned index, std::optional<std::uint32_t> address) override { bars[index] = address; }
};

class PciBusTest : public testing::Test {
  protected:
    Bench bench;
    std::vector<std::uint8_t> resets;
    PciBus bus{bench.ports, [this](std::uint8_t value) { resets.push_back(value); }};
    TestCard card;

    PciBusTest() { bus.attach(3, 2, card); }
    void address(unsigned reg, unsigned device = 3, unsigned function = 2, unsigned on_bus = 0) {
        bench.out(0xCF8, 0x80000000 | on_bus << 16 | device << 11 | function << 8 | (reg & 0xFC), 4);
    }
    std::uint32_t read(unsigned reg, unsigned size = 4) {
        address(reg);
        return bench.in(static_cast<std::uint16_t>(0xCFC + (reg & 3)), size);
    }
    void write(unsigned reg, std::uint32_t value, unsigned size = 4) {
        address(reg);
        bench.out(static_cast<std::uint16_t>(0xCFC + (reg & 3)), value, size);
    }
};

TEST_F(PciBusTest, ConfigAddressIsADwordRegister) {
    bench.out(0xCF8, 0x80000000, 4);
    EXPECT_EQ(bench.in(0xCF8, 4), 0x80000000u);
    bench.out(0xCFB, 0x01);  // how Linux begins its probe
    bench.out(0xCF8, 0x55, 2);
    EXPECT_EQ(bench.in(0xCF8, 4), 0x80000000u);
    EXPECT_EQ(bench.in(0xCFB), 0xFFu);
    bench.out(0xCF8, 0xFFFFFFFF, 4);
    EXPECT_EQ(bench.in(0xCF8, 4), 0x80FFFFFCu);
}

TEST_F(PciBusTest, DataPortReadsAnyWidth) {
    EXPECT_EQ(read(0), 0x22221111u);
    EXPECT_EQ(read(2, 2), 0x2222u);
    EXPECT_EQ(read(1, 1), 0x11u);
    EXPECT_EQ(read(8), 0x12345603u);
    EXPECT_EQ(read(0x3D, 1), 1u);
}

TEST_F(PciBusTest, AbsentFunctionsAndDisabledAddressesReadAsOnes) {
    address(0, 3, 1);
    EXPECT_EQ(bench.in(0xCFC, 4), 0xFFFFFFFFu);
    address(0, 3, 2, 1);
    EXPECT_EQ(bench.in(0xCFC, 4), 0xFFFFFFFFu);
    bench.out(0xCF8, 3 << 11 | 2 << 8, 4);
    EXPECT_EQ(bench.in(0xCFC, 2), 0xFFFFu);
}

TEST_F(PciBusTest, OnlyWritableBitsChange) {
    write(0, 0);
    EXPECT_EQ(read(0), 0x22221111u);
    write(0x40, 0xFFFF, 2);
    EXPECT_EQ(read(0x40, 2), 0x12FFu);
    write(0x41, 0, 1);
    EXPECT_EQ(read(0x40, 2), 0x12FFu);
    write(0x3C, 11, 1);
    EXPECT_EQ(read(0x3C, 1), 11u);
    card.reset();
    EXPECT_EQ(read(0x40, 2), 0x1234u);
}

TEST_F(PciBusTest, BaseAddressesTellTheirSizes) {
    for (const unsigned reg : {0x10u, 0x14u, 0x18u, 0x1Cu, 0x30u}) {
        write(reg, 0xFFFFFFFF);
    }
    EXPECT_EQ(read(0x10), 0xFFFFFFF1u);
    EXPECT_EQ(read(0x14), 0xFFFF0000u);
    EXPECT_EQ(read(0x18), 0xFF000008u);
    EXPECT_EQ(read(0x1C), 0u);
    EXPECT_EQ(read(0x30), 0xFFFF8001u);
}

TEST_F(PciBusTest, MappingsFollowTheEnables) {
    write(0x10, 0xC000);
    write(0x14, 0xE0000000);
    write(0x30, 0xE1000000);
    EXPECT_TRUE(card.bars.empty());
    write(0x04, 0x0001, 2);
    EXPECT_EQ(card.bars[0], 0xC000u);
    EXPECT_EQ(card.bars.count(1), 0u);
    write(0x04, 0x0003, 2);
    EXPECT_EQ(card.bars[1], 0xE0000000u);
    EXPECT_EQ(card.bars.count(6), 0u);  // a ROM has an enable of its own
    write(0x30, 0xE1000001);
    EXPECT_EQ(card.bars[6], 0xE1000000u);
    write(0x04, 0, 2);
    EXPECT_EQ(card.bars[0], std::nullopt);
    EXPECT_EQ(card.bars[6], std::nullopt);
}

TEST_F(PciBusTest, SizingWhileEnabledUnmaps) {
    write(0x10, 0xC000);
    write(0x14, 0xE0000000);
    write(0x04, 0x0003, 2);
    write(0x10, 0xFFFFFFFF);
    write(0x14, 0xFFFFFFFF);
    EXPECT_EQ(card.bars[0], std::nullopt);
    EXPECT_EQ(card.bars[1], std::nullopt);
    write(0x10, 0xD000);
    EXPECT_EQ(card.bars[0], 0xD000u);
}

TEST_F(PciBusTest, ResetAndLoadMoveTheMappings) {
    write(0x10, 0xC000);
    write(0x04, 0x0001, 2);
    StateStream saver = StateStream::saver();
    card.serialize(saver);
    card.reset();
    EXPECT_EQ(card.bars[0], std::nullopt);
    StateStream loader = StateStream::loader(saver.bytes());
    card.serialize(loader);
    EXPECT_EQ(card.bars[0], 0xC000u);
}

TEST_F(PciBusTest, PinsOfOneDeviceAreJoined) {
    TestCard second(1);
    TestCard third(2);
    bus.attach(3, 0, second);
    bus.attach(3, 7, third);
    std::vector<std::tuple<unsigned, unsigned, bool>> heard;
    bus.set_interrupt_router(
        [&](unsigned device, unsigned pin, bool level) { heard.emplace_back(device, pin, level); });
    card.set_interrupt(true);
    second.set_interrupt(true);
    card.set_interrupt(false);
    third.set_interrupt(true);
    second.set_interrupt(false);
    const std::vector<std::tuple<unsigned, unsigned, bool>> expected = {{3, 0, true}, {3, 1, true}, {3, 0, false}};
    EXPECT_EQ(heard, expected);
}

TEST_F(PciBusTest, RisingResetCpuResetsOnce) {
    bench.out(0xCF9, 0x02);
    EXPECT_TRUE(resets.empty());
    bench.out(0xCF9, 0x06);
    bench.out(0xCF9, 0x06);
    EXPECT_EQ(resets, std::vector<std::uint8_t>{0x06});
    EXPECT_EQ(bench.in(0xCF9), 0x06u);
    bus.reset();
    bench.out(0xCF9, 0x04);
    EXPECT_EQ(resets.size(), 2u);
}

TEST_F(PciBusTest, ATakenPlaceIsAWiringMistake) {
    TestCard other;
    EXPECT_THROW(bus.attach(3, 2, other), BusConflict);
    EXPECT_THROW(bus.attach(32, 0, other), BusConflict);
    EXPECT_THROW(bus.attach(0, 8, other), BusConflict);
}

TEST_F(PciBusTest, DisplayIsAVgaAdapter) {
    Vga& adapter = bench.add<Vga>(bench.ports, bench.memory, bench.clock);
    PciVga& vga = bench.add<PciVga>(adapter);
    bus.attach(2, 0, vga);
    address(0, 2, 0);
    EXPECT_EQ(bench.in(0xCFC, 4), 0x11111234u);
    address(8, 2, 0);
    EXPECT_EQ(bench.in(0xCFC, 4) >> 8, 0x030000u);
    address(4, 2, 0);
    bench.out(0xCFC, 0xFFFF, 2);
    EXPECT_EQ(bench.in(0xCFC, 2), 3u);

    address(0x10, 2, 0);
    bench.out(0xCFC, 0xFFFFFFFF, 4);
    EXPECT_EQ(bench.in(0xCFC, 4), 0xFF000008u) << "16 MiB, prefetchable";
    bench.out(0xCFC, 0xE1000000, 4);
    bench.memory.write_bus(0xE1000000, 0x55, 1);
    EXPECT_EQ(bench.memory.read_bus(0xE1000000, 1), 0x55u);
    bench.out(0xCFC, 0xE2000000, 4);
    EXPECT_EQ(bench.memory.read_bus(0xE1000000, 1), 0xFFu);
    EXPECT_EQ(bench.memory.read_bus(0xE2000000, 1), 0x55u);
    address(4, 2, 0);
    bench.out(0xCFC, 0, 2);
    EXPECT_EQ(bench.memory.read_bus(0xE2000000, 1), 0xFFu);
}

Subject pci() {
    return {.name = "PciBus", .ports = {{0xCF8, 8}, {0xCFC, 4}}, .build = [](Bench& bench) {
                auto& bus = bench.add_device<PciBus>(bench.ports, nullptr);
                bus.attach(0, 0, bench.add_device<TestCard>());
                bench.out(0xCF8, 0x80000000, 4);
            }};
}

INSTANTIATE_TEST_SUITE_P(Pci, DeviceConformance, testing::Values(pci()), subject_name);

}  // namespace
}  // namespace vpc::devices::test
