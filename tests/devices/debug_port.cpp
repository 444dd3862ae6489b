#include "devices/debug_port.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

TEST(DebugPortTest, BytesReachTheSinkAndReadsGiveTheConstant) {
    Bench bench;
    std::string text;
    bench.add_device<DebugPort>(bench.ports, std::uint16_t{0x402}, std::uint8_t{0xE9},
                                [&](std::uint8_t byte) { text += static_cast<char>(byte); });
    bench.out(0x402, 'O');
    bench.out(0x402, 'K');
    EXPECT_EQ(text, "OK");
    EXPECT_EQ(bench.in(0x402), 0xE9u);
    EXPECT_EQ(bench.ports.peek(0x402, 1), 0xE9u);
}

TEST(DebugPortTest, TwoPortsHaveDifferentNames) {
    Bench bench;
    auto& first = bench.add_device<DebugPort>(bench.ports, std::uint16_t{0xE9}, std::uint8_t{0xE9}, nullptr);
    auto& second = bench.add_device<DebugPort>(bench.ports, std::uint16_t{0x402}, std::uint8_t{0xE9}, nullptr);
    EXPECT_NE(first.name(), second.name());
    bench.out(0xE9, 'x');  // a missing sink swallows it
}

}  // namespace
}  // namespace vpc::devices::test
