#include "devices/piix4_isa.h"

#include <gtest/gtest.h>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class Source : public PciFunction {
  public:
    explicit Source(std::uint8_t pin)
        : PciFunction({.vendor = 1, .device = 1, .class_code = 0xFF0000, .interrupt_pin = pin}) {}
    using PciFunction::set_interrupt;
    std::string_view name() const override { return "source"; }
    void serialize(StateStream& stream) override {
        stream.section(name(), 1, [&] { serialize_config(stream); });
    }
};

class Piix4IsaTest : public testing::Test {
  protected:
    Bench bench;
    std::array<Probe, 16> irq;
    PciBus bus{bench.ports, nullptr};
    Piix4Isa isa{bus, lines()};

    std::array<Line, 16> lines() {
        std::array<Line, 16> result;
        for (unsigned i = 0; i < 16; ++i) {
            result[i] = irq[i].line();
        }
        return result;
    }
    unsigned asserted() const {
        unsigned levels = 0;
        for (unsigned i = 0; i < 16; ++i) {
            levels |= irq[i].level ? 1u << i : 0;
        }
        return levels;
    }
};

TEST_F(Piix4IsaTest, IsAPiix4WithSeveralFunctions) {
    EXPECT_EQ(isa.read_config(0, 4), 0x71108086u);
    EXPECT_EQ(isa.read_config(0x0A, 2), 0x0601u);
    EXPECT_EQ(isa.read_config(0x0E, 1), 0x80u);
}

TEST_F(Piix4IsaTest, NothingIsRoutedAfterReset) {
    EXPECT_EQ(isa.read_config(0x60, 4), 0x80808080u);
    Source source(1);
    bus.attach(1, 3, source);
    source.set_interrupt(true);
    EXPECT_EQ(asserted(), 0u);
}

TEST_F(Piix4IsaTest, PinsAreSwizzledByDevice) {
    isa.write_config(0x60, 0x0B0A0907, 4);  // A: 7, B: 9, C: 10, D: 11
    constexpr unsigned kExpected[4] = {1u << 7, 1u << 9, 1u << 10, 1u << 11};
    std::vector<std::unique_ptr<Source>> sources;
    for (unsigned device = 0; device < 6; ++device) {
        for (unsigned pin = 0; pin < 4; ++pin) {
            sources.push_back(std::make_unique<Source>(static_cast<std::uint8_t>(pin + 1)));
            bus.attach(device, pin, *sources.back());
            sources.back()->set_interrupt(true);
            EXPECT_EQ(asserted(), kExpected[(pin + device + 3) % 4]) << device << "." << pin;
            sources.back()->set_interrupt(false);
            EXPECT_EQ(asserted(), 0u);
        }
    }
}

TEST_F(Piix4IsaTest, SharedInterruptsStayUntilTheLastSourceIsQuiet) {
    isa.write_config(0x60, 0x0B0B0A0A, 4);  // as SeaBIOS sets it
    Source first(1);
    Source second(1);
    bus.attach(1, 0, first);
    bus.attach(5, 0, second);
    first.set_interrupt(true);
    second.set_interrupt(true);
    first.set_interrupt(false);
    EXPECT_EQ(asserted(), 1u << 10);
    second.set_interrupt(false);
    EXPECT_EQ(asserted(), 0u);
    EXPECT_EQ(irq[10].rises, 1u);
}

TEST_F(Piix4IsaTest, RoutingMovesAnAssertedInterrupt) {
    Source source(1);
    bus.attach(1, 0, source);
    source.set_interrupt(true);
    isa.write_config(0x60, 5, 1);
    EXPECT_EQ(asserted(), 1u << 5);
    isa.write_config(0x60, 15, 1);
    EXPECT_EQ(asserted(), 1u << 15);
    for (const unsigned reserved : {0u, 1u, 2u, 8u, 13u, 0x85u}) {
        isa.write_config(0x60, reserved, 1);
        EXPECT_EQ(asserted(), 0u) << reserved;
    }
}

TEST_F(Piix4IsaTest, LoadingDrivesTheLinesAgainInAnyOrder) {
    Source source(1);
    bus.attach(1, 0, source);
    source.set_interrupt(true);
    isa.write_config(0x60, 5, 1);
    StateStream saver = StateStream::saver();
    source.serialize(saver);
    isa.serialize(saver);
    source.reset();
    isa.reset();
    EXPECT_EQ(asserted(), 0u);
    StateStream loader = StateStream::loader(saver.bytes());
    source.serialize(loader);
    isa.serialize(loader);
    EXPECT_EQ(asserted(), 1u << 5);
}

}  // namespace
}  // namespace vpc::devices::test
