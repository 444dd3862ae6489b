#include "core/port_bus.h"

#include <gtest/gtest.h>

#include <tuple>

namespace vpc::test {
namespace {

using Access = std::tuple<std::uint16_t, std::uint32_t, unsigned>;  // offset, value, size

/// Answers reads with A0h + offset in each byte and notes everything.
struct Recorder {
    std::vector<Access> reads;
    std::vector<Access> writes;
    PortHandlers handlers() {
        return {.read =
                    [this](std::uint16_t offset, unsigned size) {
                        reads.emplace_back(offset, 0, size);
                        std::uint32_t value = 0;
                        for (unsigned i = 0; i < size; ++i) {
                            value |= (0xA0u + offset + i) << (8 * i);
                        }
                        return value;
                    },
                .write = [this](std::uint16_t offset, std::uint32_t value,
                                unsigned size) { writes.emplace_back(offset, value, size); },
                .peek = [](std::uint16_t offset, unsigned) { return 0x50u + offset; }};
    }
};

TEST(PortBus, OwnerSeesOffsetsFromItsFirstPort) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "8254", .first = 0x40, .count = 4}, chip.handlers());
    EXPECT_EQ(bus.read(0x42, 1), 0xA2u);
    bus.write(0x43, 0x36, 1);
    EXPECT_EQ(chip.writes, (std::vector<Access>{{3, 0x36, 1}}));
    EXPECT_EQ(bus.owner(0x43), "8254");
    EXPECT_EQ(bus.owner(0x44), "");
}

TEST(PortBus, ConflictNamesBothOwnersAndThePort) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "8254", .first = 0x40, .count = 4}, chip.handlers());
    try {
        (void)bus.claim({.owner = "newcomer", .first = 0x43, .count = 2}, chip.handlers());
        FAIL() << "the overlap was not noticed";
    } catch (const BusConflict& conflict) {
        const std::string text = conflict.what();
        EXPECT_NE(text.find("8254"), std::string::npos) << text;
        EXPECT_NE(text.find("newcomer"), std::string::npos) << text;
        EXPECT_NE(text.find("0043h"), std::string::npos) << text;
    }
    EXPECT_EQ(bus.owner(0x44), "") << "a refused claim takes nothing";
}

TEST(PortBus, TryClaimLeavesPortsToTheFirstOwner) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "first", .first = 0x40, .count = 4}, chip.handlers());
    const auto second = bus.try_claim({.owner = "second", .first = 0x43, .count = 2}, chip.handlers());
    EXPECT_FALSE(second);
    EXPECT_EQ(bus.owner(0x43), "first");
    const auto third = bus.try_claim({.owner = "third", .first = 0x44, .count = 1}, chip.handlers());
    EXPECT_TRUE(third);
}

TEST(PortBus, PortsThatDoNotExistCannotBeClaimed) {
    PortBus bus;
    EXPECT_THROW((void)bus.claim({.owner = "x", .first = 0xFFFF, .count = 2}, {}), BusConflict);
    EXPECT_THROW((void)bus.claim({.owner = "x", .first = 0, .count = 0}, {}), BusConflict);
    EXPECT_TRUE(bus.claim({.owner = "x", .first = 0, .count = 65536}, {}));
}

TEST(PortBus, WideAccessToANarrowChipIsCutIntoBytes) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "chip", .first = 0x70, .count = 2, .widest = 1}, chip.handlers());
    EXPECT_EQ(bus.read(0x70, 2), 0xA1A0u);
    bus.write(0x70, 0x1234, 2);
    EXPECT_EQ(chip.writes, (std::vector<Access>{{0, 0x34, 1}, {1, 0x12, 1}}));
}

TEST(PortBus, WideAccessToAWideChipArrivesWhole) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "chip", .first = 0xCF8, .count = 8, .widest = 4}, chip.handlers());
    bus.write(0xCF8, 0x80000000, 4);
    EXPECT_EQ(chip.writes, (std::vector<Access>{{0, 0x80000000, 4}}));
    EXPECT_EQ(bus.read(0xCFA, 2), 0xA3A2u);
    EXPECT_EQ(chip.reads, (std::vector<Access>{{2, 0, 2}}));
}

TEST(PortBus, AccessAcrossTheEndOfARangeReachesTheNeighbour) {
    PortBus bus;
    Recorder low;
    Recorder high;
    const auto a = bus.claim({.owner = "low", .first = 0x1F0, .count = 2, .widest = 2}, low.handlers());
    const auto b = bus.claim({.owner = "high", .first = 0x1F2, .count = 2, .widest = 2}, high.handlers());
    EXPECT_EQ(bus.read(0x1F1, 2), 0xA0A1u);
    EXPECT_EQ(low.reads, (std::vector<Access>{{1, 0, 1}}));
    EXPECT_EQ(high.reads, (std::vector<Access>{{0, 0, 1}}));
}

TEST(PortBus, ValuesAreCutToTheSizeOfTheAccess) {
    PortBus bus;
    std::uint32_t written = 0;
    const auto claim = bus.claim({.owner = "chip", .first = 0x80, .count = 4, .widest = 4},
                                 {.read = [](std::uint16_t, unsigned) { return 0xFFFFFFFFu; },
                                  .write = [&](std::uint16_t, std::uint32_t value, unsigned) { written = value; },
                                  .peek = {}});
    EXPECT_EQ(bus.read(0x80, 1), 0xFFu);
    EXPECT_EQ(bus.read(0x80, 2), 0xFFFFu);
    bus.write(0x80, 0x12345678, 2);
    EXPECT_EQ(written, 0x5678u);
}

TEST(PortBus, OpenBusReadsOnesAndIsCounted) {
    PortBus bus;
    EXPECT_EQ(bus.read(0x300, 1), 0xFFu);
    EXPECT_EQ(bus.read(0x300, 4), 0xFFFFFFFFu);
    EXPECT_EQ(bus.unowned_reads(), 5u);
    bus.write(0x300, 0, 2);
    EXPECT_EQ(bus.unowned_writes(), 2u);
    EXPECT_EQ(bus.peek(0x300, 2), 0xFFFFu);
    EXPECT_EQ(bus.unowned_reads(), 5u) << "a debugger's look is not counted";
}

TEST(PortBus, AccessAtTheLastPortWrapsToTheFirst) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "chip", .first = 0, .count = 1}, chip.handlers());
    EXPECT_EQ(bus.read(0xFFFF, 2), 0xA0FFu);
}

TEST(PortBus, PeekHasNoSideEffects) {
    PortBus bus;
    Recorder chip;
    const auto claim = bus.claim({.owner = "chip", .first = 0x60, .count = 2}, chip.handlers());
    EXPECT_EQ(bus.peek(0x61, 1), 0x51u);
    EXPECT_TRUE(chip.reads.empty());
}

TEST(PortBus, ReleasedPortsAreFreeAgain) {
    PortBus bus;
    Recorder chip;
    { const auto claim = bus.claim({.owner = "gone", .first = 0x60, .count = 1}, chip.handlers()); }
    EXPECT_EQ(bus.owner(0x60), "");
    EXPECT_EQ(bus.read(0x60, 1), 0xFFu);
    auto claim = bus.claim({.owner = "next", .first = 0x60, .count = 1}, chip.handlers());
    PortBus::Claim moved = std::move(claim);
    EXPECT_EQ(bus.owner(0x60), "next") << "moving a claim keeps it";
    moved.release();
    EXPECT_EQ(bus.owner(0x60), "");
    moved.release();
    EXPECT_FALSE(moved);
}

TEST(PortBus, AssigningAClaimReleasesTheOldOne) {
    PortBus bus;
    auto claim = bus.claim({.owner = "old", .first = 0x60, .count = 1}, {});
    claim = bus.claim({.owner = "new", .first = 0x70, .count = 1}, {});
    EXPECT_EQ(bus.owner(0x60), "");
    EXPECT_EQ(bus.owner(0x70), "new");
}

}  // namespace
}  // namespace vpc::test
