#include "devices/parallel_port.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint16_t kData = 0x378;
constexpr std::uint16_t kStatus = 0x379;
constexpr std::uint16_t kControl = 0x37A;

class ParallelPortTest : public testing::Test {
  protected:
    void strobe(char character, std::uint8_t control = 0x0C) {
        bench.out(kData, static_cast<std::uint8_t>(character));
        bench.out(kControl, control | 1u);
        bench.out(kControl, control);
    }
    Bench bench;
    Probe irq;
    std::string paper;
    bool works = true;
    ParallelPort& port =
        bench.add_device<ParallelPort>(bench.ports, bench.clock, irq.line(), [this](std::uint8_t byte) {
            if (works) {
                paper += static_cast<char>(byte);
            }
            return works;
        });
};

TEST_F(ParallelPortTest, RegistersReadBack) {
    bench.out(kData, 0xA5);
    EXPECT_EQ(bench.in(kData), 0xA5u);
    bench.out(kControl, 0xFF);
    EXPECT_EQ(bench.in(kControl), 0xFFu);
    EXPECT_EQ(bench.in(kData), 0xFFu) << "an input nobody drives";
    bench.out(kControl, 0x00);
    EXPECT_EQ(bench.in(kControl), 0xC0u);
    EXPECT_EQ(bench.in(kData), 0xA5u);
    bench.out(kStatus, 0x00);
    EXPECT_EQ(bench.in(kStatus), 0xDFu) << "ready, selected, no error";
    EXPECT_EQ(bench.in(0x37B), 0xFFu) << "no EPP";
}

TEST_F(ParallelPortTest, PrintsAByteAtEachStrobe) {
    bench.out(kControl, 0x0C);
    for (const char character : std::string("Hello")) {
        EXPECT_EQ(bench.in(kStatus)&0x80, 0x80u);
        strobe(character);
        bench.run_for(20 * kMicrosecond);
    }
    EXPECT_EQ(paper, "Hello");
    bench.out(kControl, 0x0D);
    bench.run_for(20 * kMicrosecond);
    bench.out(kControl, 0x0D);
    EXPECT_EQ(paper, "Helloo") << "held down it is one strobe";
}

TEST_F(ParallelPortTest, BusyThenAcknowledge) {
    strobe('x');
    EXPECT_EQ(bench.in(kStatus), 0x5Fu);
    strobe('y');
    EXPECT_EQ(paper, "x") << "a busy printer takes nothing";
    bench.run_for(5 * kMicrosecond);
    EXPECT_EQ(bench.in(kStatus), 0x1Fu);
    bench.run_for(5 * kMicrosecond);
    EXPECT_EQ(bench.in(kStatus), 0xDFu);
    EXPECT_EQ(irq.rises, 0u);
}

TEST_F(ParallelPortTest, InterruptComesAtTheEndOfAcknowledge) {
    strobe('x', 0x1C);
    bench.run_for(9 * kMicrosecond);
    EXPECT_EQ(irq.rises, 0u);
    bench.run_for(kMicrosecond);
    EXPECT_EQ(irq.rises, 1u);
    strobe('y', 0x1C);
    EXPECT_FALSE(irq.level);
    bench.run_for(10 * kMicrosecond);
    EXPECT_EQ(irq.rises, 2u);
    bench.out(kControl, 0x0C);
    EXPECT_FALSE(irq.level);
}

TEST_F(ParallelPortTest, PrinterThatFailsSaysSoUntilInitialised) {
    bench.out(kControl, 0x0C);
    works = false;
    strobe('x');
    EXPECT_EQ(bench.in(kStatus), 0x77u) << "busy, no paper, error";
    works = true;
    strobe('y');
    EXPECT_EQ(paper, "");
    bench.out(kControl, 0x08);
    bench.out(kControl, 0x0C);
    EXPECT_EQ(bench.in(kStatus), 0xDFu);
    strobe('z');
    EXPECT_EQ(paper, "z");
}

TEST_F(ParallelPortTest, SavedBusyItFinishesAfterLoading) {
    strobe('x', 0x1C);
    bench.run_for(3 * kMicrosecond);
    Bench second;
    Probe second_irq;
    second.add_device<ParallelPort>(second.ports, second.clock, second_irq.line(), [](std::uint8_t) { return true; });
    second.load(bench.save());
    EXPECT_EQ(second.in(kStatus), 0x5Fu);
    second.run_for(7 * kMicrosecond);
    EXPECT_EQ(second_irq.rises, 1u);
    Bench third;
    Probe third_irq;
    third.add_device<ParallelPort>(third.ports, third.clock, third_irq.line(), [](std::uint8_t) { return true; });
    third.load(second.save());
    EXPECT_TRUE(third_irq.level);
}

TEST(ParallelPort, WithoutAPrinterNothingIsReady) {
    Bench bench;
    Probe irq;
    bench.add_device<ParallelPort>(bench.ports, bench.clock, irq.line(), ParallelPort::Printer());
    EXPECT_EQ(bench.in(kStatus), 0x7Fu);
    bench.out(kControl, 0x1D);
    bench.run_for(kMillisecond);
    EXPECT_EQ(bench.in(kStatus), 0x7Fu);
    EXPECT_EQ(irq.rises, 0u);
}

TEST(GamePort, IsAbsentAsOpenBus) {
    Bench bench;
    bench.add_device<ParallelPort>(bench.ports, bench.clock, Line(), ParallelPort::Printer());
    bench.out(0x201, 0);
    EXPECT_EQ(bench.in(0x201), 0xFFu);
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Parallel, DeviceConformance,
                         testing::Values(Subject{.name = "ParallelPort",
                                                 .ports = {{kData, 3}},
                                                 .build =
                                                     [](Bench& bench) {
                                                         bench.add_device<ParallelPort>(
                                                             bench.ports, bench.clock, Line(),
                                                             [](std::uint8_t byte) { return byte != 0x55; });
                                                     }}),
                         subject_name);

}  // namespace vpc::devices::test
