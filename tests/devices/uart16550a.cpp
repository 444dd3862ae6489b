#include "devices/uart16550a.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

class Uart16550ATest : public testing::Test {
  protected:
    void SetUp() override {
        bench.out(0x3FB, 0x03);  // 8N1
        bench.out(0x3FC, 0x08);  // OUT2
    }
    void receive(std::string_view text) {
        for (const char c : text) {
            uart.receive(static_cast<std::uint8_t>(c));
        }
    }

    Bench bench;
    Probe irq;
    std::string sent;
    Uart16550A& uart = bench.add_device<Uart16550A>("COM1", bench.ports, bench.clock, std::uint16_t{0x3F8}, irq.line(),
                                                    [this](std::uint8_t byte) { sent += static_cast<char>(byte); });
};

TEST_F(Uart16550ATest, WrittenBytesLeaveAtOnceAndThrStaysEmpty) {
    bench.out(0x3F8, 'V');
    EXPECT_EQ(bench.in(0x3FD), 0x60u);
    bench.out(0x3F8, 'P');
    EXPECT_EQ(sent, "VP");
}

TEST_F(Uart16550ATest, BytesOnTheWireStayWholeWhateverTheWordLength) {
    bench.out(0x3FB, 0x02);
    bench.out(0x3F8, 0xC1);
    uart.receive(0xC2);
    EXPECT_EQ(sent, "\xC1");
    EXPECT_EQ(bench.in(0x3F8), 0xC2u);
}

TEST_F(Uart16550ATest, LoopBackCutsBytesToTheWordLength) {
    bench.out(0x3FB, 0x02);
    bench.out(0x3FC, 0x10);
    bench.out(0x3F8, 0xC1);
    EXPECT_EQ(bench.in(0x3F8), 0x41u);
}

TEST_F(Uart16550ATest, DivisorHidesBehindDlab) {
    bench.out(0x3FB, 0x83);
    bench.out(0x3F8, 0x01);
    bench.out(0x3F9, 0x02);
    EXPECT_EQ(bench.in(0x3F8), 0x01u);
    EXPECT_EQ(bench.in(0x3F9), 0x02u);
    bench.out(0x3FB, 0x03);
    EXPECT_EQ(bench.in(0x3F9), 0x00u);
    EXPECT_EQ(sent, "");
}

TEST_F(Uart16550ATest, EnablingTheThreInterruptRaisesIt) {
    bench.out(0x3F9, 0x02);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(bench.in(0x3FA), 0x02u);
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(bench.in(0x3FA), 0x01u);
}

TEST_F(Uart16550ATest, EachWriteGivesAnotherThreEdge) {
    bench.out(0x3F9, 0x02);
    bench.in(0x3FA);
    irq.rises = 0;
    bench.out(0x3F8, 'a');
    bench.out(0x3F8, 'b');
    EXPECT_EQ(irq.rises, 2u);
}

TEST_F(Uart16550ATest, ReceivedByteIsReadyAndInterrupts) {
    bench.out(0x3F9, 0x01);
    EXPECT_TRUE(uart.can_receive());
    uart.receive('x');
    EXPECT_FALSE(uart.can_receive());
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(bench.in(0x3FA), 0x04u);
    EXPECT_EQ(bench.in(0x3FD), 0x61u);
    EXPECT_EQ(bench.in(0x3F8), 'x' + 0u);
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(bench.in(0x3FD), 0x60u);
}

TEST_F(Uart16550ATest, WithoutFifoAnOverrunReplacesTheByte) {
    receive("ab");
    EXPECT_EQ(bench.in(0x3FD), 0x63u);
    EXPECT_EQ(bench.in(0x3FD), 0x61u) << "reading clears the error";
    EXPECT_EQ(bench.in(0x3F8), 'b' + 0u);
}

TEST_F(Uart16550ATest, FifoKeepsWhatItHasOnOverrun) {
    bench.out(0x3FA, 0x01);
    EXPECT_EQ(bench.in(0x3FA), 0xC1u);
    EXPECT_EQ(uart.room(), 16u);
    receive("0123456789abcdefX");
    EXPECT_EQ(uart.room(), 0u);
    EXPECT_EQ(bench.in(0x3FD), 0x63u);
    std::string read;
    while ((bench.in(0x3FD) & 1) != 0) {
        read += static_cast<char>(bench.in(0x3F8));
    }
    EXPECT_EQ(read, "0123456789abcdef");
}

TEST_F(Uart16550ATest, FifoInterruptsAtItsTriggerLevel) {
    bench.out(0x3FA, 0x81);  // 8 bytes
    bench.out(0x3F9, 0x01);
    receive("1234567");
    EXPECT_FALSE(irq.level);
    receive("8");
    EXPECT_EQ(bench.in(0x3FA), 0xC4u);
    bench.in(0x3F8);
    EXPECT_FALSE(irq.level);
}

TEST_F(Uart16550ATest, FifoTimesOutAfterFourCharacters) {
    bench.out(0x3FB, 0x83);
    bench.out(0x3F8, 0x01);  // 115200: 10 bits are 86.8 us
    bench.out(0x3F9, 0x00);
    bench.out(0x3FB, 0x03);
    bench.out(0x3FA, 0xC1);
    bench.out(0x3F9, 0x01);
    receive("a");
    bench.run_for(340 * kMicrosecond);
    EXPECT_FALSE(irq.level);
    bench.run_for(10 * kMicrosecond);
    EXPECT_TRUE(irq.level);
    EXPECT_EQ(bench.in(0x3FA), 0xCCu);
    bench.in(0x3F8);
    EXPECT_FALSE(irq.level);
}

TEST_F(Uart16550ATest, FcrClearsTheReceiver) {
    bench.out(0x3FA, 0x01);
    receive("abc");
    bench.out(0x3FA, 0x03);
    EXPECT_EQ(bench.in(0x3FD), 0x60u);
    EXPECT_EQ(uart.room(), 16u);
}

TEST_F(Uart16550ATest, LineStatusOutranksReceivedDataOutranksThre) {
    bench.out(0x3F9, 0x0F);
    receive("ab");
    EXPECT_EQ(bench.in(0x3FA), 0x06u);
    bench.in(0x3FD);
    EXPECT_EQ(bench.in(0x3FA), 0x04u);
    bench.in(0x3F8);
    EXPECT_EQ(bench.in(0x3FA), 0x02u);
    EXPECT_EQ(bench.in(0x3FA), 0x01u);
    uart.set_modem_inputs(0);
    EXPECT_EQ(bench.in(0x3FA), 0x00u);
}

TEST_F(Uart16550ATest, Out2GatesTheInterrupt) {
    bench.out(0x3FC, 0x00);
    bench.out(0x3F9, 0x02);
    EXPECT_FALSE(irq.level);
    EXPECT_EQ(bench.ports.peek(0x3FA, 1), 0x02u);
    bench.out(0x3FC, 0x08);
    EXPECT_TRUE(irq.level);
}

TEST_F(Uart16550ATest, ModemDeltasAreClearedByReading) {
    EXPECT_EQ(bench.in(0x3FE), 0xB0u);
    uart.set_modem_inputs(Uart16550A::kRi | Uart16550A::kDcd);
    EXPECT_EQ(bench.in(0x3FE), 0xC3u) << "the start of a ring is no delta";
    uart.set_modem_inputs(Uart16550A::kDcd);
    EXPECT_EQ(bench.in(0x3FE), 0x84u);
    EXPECT_EQ(bench.in(0x3FE), 0x80u);
}

TEST_F(Uart16550ATest, LoopBackReturnsBytesAndModemOutputs) {
    bench.out(0x3FC, 0x1A);  // loop, OUT2, RTS
    EXPECT_EQ(bench.in(0x3FE) & 0xF0, 0x90u);
    bench.out(0x3F8, 'L');
    EXPECT_EQ(sent, "");
    EXPECT_EQ(bench.in(0x3F8), 'L' + 0u);
    EXPECT_FALSE(uart.can_receive());
    uart.receive('x');
    EXPECT_EQ(bench.in(0x3FD), 0x60u);
}

TEST_F(Uart16550ATest, RoomIsAnnouncedWhenTheGuestReads) {
    std::string queue = "bc";
    uart.on_room([&] {
        if (!queue.empty()) {
            uart.receive(static_cast<std::uint8_t>(queue.front()));
            queue.erase(0, 1);
        }
    });
    bench.out(0x3F9, 0x01);
    receive("a");
    EXPECT_EQ(bench.in(0x3F8), 'a' + 0u);
    EXPECT_EQ(bench.in(0x3F8), 'b' + 0u);
    EXPECT_EQ(bench.in(0x3F8), 'c' + 0u);
    EXPECT_EQ(irq.rises, 3u) << "one edge per byte";
}

TEST_F(Uart16550ATest, ScratchAndModemControlReadBack) {
    bench.out(0x3FF, 0x5A);
    bench.out(0x3FC, 0xFF);
    EXPECT_EQ(bench.in(0x3FF), 0x5Au);
    EXPECT_EQ(bench.in(0x3FC), 0x1Fu);
}

}  // namespace
}  // namespace vpc::devices::test
