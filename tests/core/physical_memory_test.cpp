#include "core/physical_memory.h"

#include <gtest/gtest.h>

#include <array>
#include <tuple>

namespace vpc::test {
namespace {

constexpr std::uint64_t kMegabyte = 1 << 20;

struct Observer : MemoryObserver {
    struct Range {
        std::uint64_t first;
        std::uint64_t size;
        std::uint8_t* read;
        std::uint8_t* write;
    };
    std::vector<Range> ranges;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> written;
    void range_changed(std::uint64_t first, std::uint64_t size, std::uint8_t* read, std::uint8_t* write) override {
        ranges.push_back({first, size, read, write});
    }
    void memory_written(std::uint64_t first, std::uint64_t size) override { written.emplace_back(first, size); }
    void take_written_pages(std::uint64_t first, std::vector<bool>& pages) override {
        asked.emplace_back(first, pages.size());
        pages.back() = true;
    }
    std::vector<std::pair<std::uint64_t, std::size_t>> asked;
};

std::vector<std::uint8_t> read_all(PhysicalMemory& memory, std::uint64_t address, std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    memory.read(address, bytes);
    return bytes;
}

TEST(PhysicalMemory, RamKeepsWhatIsWritten) {
    PhysicalMemory memory(4 * kMegabyte);
    const std::vector<std::uint8_t> bytes{1, 2, 3, 4, 5};
    memory.write(0x1FFE, bytes);
    EXPECT_EQ(read_all(memory, 0x1FFE, 5), bytes);
    EXPECT_EQ(memory.ram()[0x1FFF], 2);
    EXPECT_EQ(memory.read_bus(0x1FFF, 4), 0x05040302u);
    EXPECT_EQ(*memory.ram_pointer(0x1FFE), 1);
}

TEST(PhysicalMemory, IsaHoleAndBeyondAreOpenBus) {
    PhysicalMemory memory(4 * kMegabyte);
    EXPECT_EQ(memory.ram_pointer(0xA0000), nullptr);
    EXPECT_EQ(memory.read_bus(0xA0000, 4), 0xFFFFFFFFu);
    EXPECT_EQ(memory.read_bus(0xE0000000, 2), 0xFFFFu);
    EXPECT_EQ(memory.unowned_reads(), 2u);
    memory.write_bus(0xE0000000, 0, 1);
    EXPECT_EQ(memory.unowned_writes(), 1u);
    EXPECT_EQ(read_all(memory, 4 * kMegabyte - 2, 4), (std::vector<std::uint8_t>{0, 0, 0xFF, 0xFF}));
}

TEST(PhysicalMemory, RomIgnoresWritesAndIsPaddedWithOnes) {
    PhysicalMemory memory(kMegabyte);
    const std::array<std::uint8_t, 3> contents{7, 8, 9};
    std::uint8_t* host = memory.map_rom("BIOS", 0xFFFFF000, contents);
    EXPECT_EQ(host[1], 8);
    memory.write(0xFFFFF001, std::array<std::uint8_t, 1>{0x55});
    memory.write_bus(0xFFFFF002, 0x55, 1);
    EXPECT_EQ(read_all(memory, 0xFFFFF000, 4), (std::vector<std::uint8_t>{7, 8, 9, 0xFF}));
    EXPECT_EQ(memory.write_pointer(0xFFFFF000), nullptr);
    EXPECT_EQ(memory.read_pointer(0xFFFFF001), host + 1);
}

TEST(PhysicalMemory, OverlapNamesBothOwners) {
    PhysicalMemory memory(kMegabyte);
    memory.map_mmio("first", 0xE0000000, 0x2000, {});
    try {
        memory.map_mmio("second", 0xE0001000, 0x1000, {});
        FAIL() << "the overlap was not noticed";
    } catch (const BusConflict& conflict) {
        const std::string text = conflict.what();
        EXPECT_NE(text.find("first"), std::string::npos) << text;
        EXPECT_NE(text.find("second"), std::string::npos) << text;
    }
    EXPECT_THROW(memory.map_mmio("on RAM", 0x1000, 0x1000, {}), BusConflict);
    EXPECT_THROW(memory.map_mmio("odd", 0xE0010100, 0x1000, {}), BusConflict);
    memory.map_mmio("frame buffer", 0xA0000, 0x20000, {});
}

TEST(PhysicalMemory, UnmappedRangeIsFreeAgain) {
    PhysicalMemory memory(kMegabyte);
    memory.map_mmio("chip", 0xE0000000, 0x1000, {.read = [](std::uint32_t, unsigned) { return 1u; }, .write = {}});
    EXPECT_EQ(memory.read_bus(0xE0000000, 1), 1u);
    memory.unmap(0xE0000000);
    EXPECT_EQ(memory.read_bus(0xE0000000, 1), 0xFFu);
    memory.map_mmio("next", 0xE0000000, 0x1000, {});
    memory.unmap(0xE1000000);  // nothing there
}

using Access = std::tuple<std::uint32_t, std::uint32_t, unsigned>;

struct Chip {
    std::vector<Access> accesses;
    MmioHandlers handlers() {
        return {.read =
                    [this](std::uint32_t offset, unsigned size) {
                        accesses.emplace_back(offset, 0, size);
                        return 0x44332211u + offset;
                    },
                .write = [this](std::uint32_t offset, std::uint32_t value,
                                unsigned size) { accesses.emplace_back(offset, value, size); }};
    }
};

TEST(PhysicalMemory, AlignedAccessesReachTheChipWhole) {
    PhysicalMemory memory(kMegabyte);
    Chip chip;
    memory.map_mmio("chip", 0xE0000000, 0x1000, chip.handlers());
    EXPECT_EQ(memory.read_bus(0xE0000004, 4), 0x44332215u);
    EXPECT_EQ(memory.read_bus(0xE0000002, 2), 0x2213u);
    memory.write_bus(0xE0000008, 0xAABBCCDD, 2);
    EXPECT_EQ(chip.accesses, (std::vector<Access>{{4, 0, 4}, {2, 0, 2}, {8, 0xCCDD, 2}}));
}

TEST(PhysicalMemory, UnalignedAccessesAreCutIntoBytes) {
    PhysicalMemory memory(kMegabyte);
    Chip chip;
    memory.map_mmio("chip", 0xE0000000, 0x1000, chip.handlers());
    EXPECT_EQ(memory.read_bus(0xE0000001, 2), 0x1312u);
    memory.write_bus(0xE0000003, 0xAABBCCDD, 4);
    EXPECT_EQ(chip.accesses,
              (std::vector<Access>{{1, 0, 1}, {2, 0, 1}, {3, 0xDD, 1}, {4, 0xCC, 1}, {5, 0xBB, 1}, {6, 0xAA, 1}}));
}

TEST(PhysicalMemory, BusMastersReachChipsByteByByte) {
    PhysicalMemory memory(kMegabyte);
    Chip chip;
    memory.map_mmio("chip", 0xE0000000, 0x1000, chip.handlers());
    EXPECT_EQ(read_all(memory, 0xE0000FFF, 2), (std::vector<std::uint8_t>{0x10, 0xFF}));
    memory.write(0xE0000010, std::array<std::uint8_t, 2>{5, 6});
    EXPECT_EQ(chip.accesses, (std::vector<Access>{{0xFFF, 0, 1}, {0x10, 5, 1}, {0x11, 6, 1}}));
}

TEST(PhysicalMemory, WindowsReadAndWriteDifferentMemory) {
    PhysicalMemory memory(kMegabyte);
    std::vector<std::uint8_t> rom(0x4000, 0x77);
    std::uint8_t* ram = memory.ram() + 0xC0000;
    EXPECT_EQ(memory.read_bus(0xC0000, 1), 0xFFu) << "closed at first";
    memory.set_window(0xC0000, 0x4000, {.read = rom.data(), .write = ram});
    memory.write_bus(0xC2001, 0x55, 1);
    EXPECT_EQ(memory.read_bus(0xC2001, 1), 0x77u);
    EXPECT_EQ(ram[0x2001], 0x55);
    memory.set_window(0xC0000, 0x4000, {.read = ram, .write = nullptr});
    memory.write_bus(0xC2001, 0x66, 1);
    EXPECT_EQ(memory.read_bus(0xC2001, 1), 0x55u);
    EXPECT_EQ(memory.read_bus(0xC4000, 1), 0xFFu) << "the neighbour is untouched";
}

TEST(PhysicalMemory, WindowsLieBetweenC0000AndOneMegabyte) {
    PhysicalMemory memory(kMegabyte);
    EXPECT_THROW(memory.set_window(0xBF000, 0x1000, {}), std::logic_error);
    EXPECT_THROW(memory.set_window(0xFF000, 0x2000, {}), std::logic_error);
    EXPECT_THROW(memory.set_window(0xC0800, 0x1000, {}), std::logic_error);
}

TEST(PhysicalMemory, ObserverIsToldOfTheMapAndItsChanges) {
    PhysicalMemory memory(2 * kMegabyte);
    Observer observer;
    memory.set_observer(&observer);
    ASSERT_EQ(observer.ranges.size(), 3u) << "low RAM, the windows as one range, high RAM";
    EXPECT_EQ(observer.ranges[0].first, 0u);
    EXPECT_EQ(observer.ranges[0].size, 0xA0000u);
    EXPECT_EQ(observer.ranges[0].read, memory.ram());
    EXPECT_EQ(observer.ranges[0].write, memory.ram());
    EXPECT_EQ(observer.ranges[1].first, 0xC0000u);
    EXPECT_EQ(observer.ranges[1].size, 0x40000u);
    EXPECT_EQ(observer.ranges[1].write, nullptr);
    EXPECT_EQ(observer.ranges[2].first, kMegabyte);

    observer.ranges.clear();
    std::uint8_t* ram = memory.ram() + 0xE0000;
    memory.set_window(0xE0000, 0x10000, {.read = ram, .write = ram});
    memory.map_mmio("chip", 0xE0000000, 0x1000, {});
    memory.unmap(0xE0000000);
    ASSERT_EQ(observer.ranges.size(), 3u);
    EXPECT_EQ(observer.ranges[0].first, 0xE0000u);
    EXPECT_EQ(observer.ranges[0].size, 0x10000u);
    EXPECT_EQ(observer.ranges[0].write, ram);
    EXPECT_EQ(observer.ranges[1].read, nullptr);
    EXPECT_EQ(observer.ranges[2].first, 0xE0000000u);

    memory.set_observer(nullptr);
    memory.set_window(0xE0000, 0x10000, {});
    EXPECT_EQ(observer.ranges.size(), 3u);
}

TEST(PhysicalMemory, ObserverIsToldOfStoresByOthers) {
    PhysicalMemory memory(kMegabyte);
    Observer observer;
    memory.set_observer(&observer);
    memory.write(0x1234, std::array<std::uint8_t, 3>{1, 2, 3});
    memory.write_bus(0x2000, 1, 4);                         // the CPU's own
    memory.write(0xD0000, std::array<std::uint8_t, 1>{1});  // goes nowhere
    EXPECT_EQ(observer.written, (std::vector<std::pair<std::uint64_t, std::uint64_t>>{{0x1234, 3}}));
}

TEST(PhysicalMemory, ChipsMemoryTellsWhichPagesWereWritten) {
    alignas(4096) static std::array<std::uint8_t, 0x4000> chip;
    PhysicalMemory memory(kMegabyte);
    ASSERT_TRUE(memory.try_map_ram("chip", 0xE0000000, chip.size(), chip.data()));
    memory.write(0xE0000FFF, std::array<std::uint8_t, 2>{1, 2});  // as a bus master does, over a page's end
    memory.write_bus(0xE0003000, 7, 1);
    EXPECT_EQ(chip[0x1000], 2);
    const auto take = [&](std::uint32_t first, std::size_t count) {
        std::vector<bool> pages(count);
        memory.take_written_pages(first, pages);
        return pages;
    };
    EXPECT_EQ(take(0xE0001000, 2), (std::vector<bool>{true, false}));
    EXPECT_EQ(take(0xE0000000, 4), (std::vector<bool>{true, false, false, true}));
    EXPECT_EQ(take(0xE0000000, 4), (std::vector<bool>{false, false, false, false}));
    Observer observer;
    memory.set_observer(&observer);
    EXPECT_EQ(take(0xE0002000, 2), (std::vector<bool>{false, true})) << "the CPU's stores are added";
    EXPECT_EQ(observer.asked, (std::vector<std::pair<std::uint64_t, std::size_t>>{{0xE0002000, 2}}));
    EXPECT_THROW(take(0xE0002000, 3), std::logic_error);
    EXPECT_THROW(take(0x1000, 1), std::logic_error);
    memory.set_observer(nullptr);
    memory.unmap(0xE0000000);
    EXPECT_EQ(memory.read_bus(0xE0001000, 1), 0xFFu);
}

TEST(PhysicalMemory, ChipsMemoryYieldsToWhoeverWasThereFirst) {
    alignas(4096) static std::array<std::uint8_t, 0x2000> chip;
    PhysicalMemory memory(2 * kMegabyte);
    EXPECT_FALSE(memory.try_map_ram("chip", 0x1FF000, 0x2000, chip.data()));
    EXPECT_FALSE(memory.try_map_ram("chip", 0xFFFFF000, 0x2000, chip.data()));
    EXPECT_FALSE(memory.try_map_ram("chip", 0xE0000800, 0x2000, chip.data()));
    EXPECT_TRUE(memory.try_map_ram("chip", 0x200000, 0x2000, chip.data()));
    EXPECT_FALSE(memory.try_map_ram("other", 0x201000, 0x2000, chip.data()));
}

}  // namespace
}  // namespace vpc::test
