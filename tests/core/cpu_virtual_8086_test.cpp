// Leaving and entering virtual-8086 mode.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kIopl3 = 3u << eflags::kIoplShift;

void expect_nine_words(Guest& guest, unsigned skip, std::uint32_t eip) {
    EXPECT_EQ(guest.stacked32(skip + 0), eip);
    EXPECT_EQ(guest.stacked32(skip + 1), 0x1000u);
    EXPECT_EQ(guest.stacked32(skip + 2), guest.start.eflags);
    EXPECT_EQ(guest.stacked32(skip + 3), 0x1000u);
    EXPECT_EQ(guest.stacked32(skip + 4), 0x900u);
    EXPECT_EQ(guest.stacked32(skip + 5), 0x1111u);
    EXPECT_EQ(guest.stacked32(skip + 6), 0x2222u);
    EXPECT_EQ(guest.stacked32(skip + 7), 0x3333u);
    EXPECT_EQ(guest.stacked32(skip + 8), 0x4444u);
    const CpuState state = guest.state();
    EXPECT_EQ(state.general[kEsp], kInnerStack - 36 - 4 * skip);
    EXPECT_EQ(state.cpl, 0);
    EXPECT_EQ(state.eflags & eflags::kVirtual8086, 0u);
    EXPECT_EQ(state.segments[kSs].selector, kData32);
    for (const unsigned index : {kEs, kDs, kFs, kGs}) {
        EXPECT_EQ(state.segments[index].selector, 0) << "segment register " << index;
    }
}

TEST(CpuVirtual8086, InterruptWithIopl3GoesToTheMonitor) {
    Guest guest;
    guest.virtual_8086(3);
    guest.code({0xCD, 0x41});  // INT 41h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    expect_nine_words(guest, 0, 2);
}

TEST(CpuVirtual8086, InterruptWithLowerIoplIsRefused) {
    Guest guest;
    guest.virtual_8086(2);
    guest.code({0x90, 0xCD, 0x41});  // NOP; INT 41h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), 0u);
    expect_nine_words(guest, 1, 1);
}

TEST(CpuVirtual8086, InterruptNeedsTheGatesPrivilege) {
    Guest guest;
    guest.virtual_8086(3);
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), 0x40u * 8 + 2);
    expect_nine_words(guest, 1, 0);
}

TEST(CpuVirtual8086, BreakpointIgnoresIopl) {
    Guest guest;
    guest.virtual_8086(0);
    guest.gate(3, kInterruptGate32, kCode32, handler_of(3), 3);
    guest.code({0xCC});  // INT3
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 3);
    expect_nine_words(guest, 0, 1);
}

TEST(CpuVirtual8086, ExceptionGoesToTheMonitor) {
    Guest guest;
    guest.virtual_8086(0);
    guest.code({0x90, 0x0F, 0x0B});  // NOP; UD2
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 6);
    expect_nine_words(guest, 0, 1);
}

TEST(CpuVirtual8086, HardwareInterruptGoesToTheMonitor) {
    Guest guest;
    guest.virtual_8086(0);
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({0xEB, 0xFE});  // JMP $
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x50);
    expect_nine_words(guest, 0, 0);
}

TEST(CpuVirtual8086, SixteenBitGatePushesNineShortWords) {
    Guest guest;
    guest.virtual_8086(3);
    guest.gate(0x41, kInterruptGate16, kCode32, handler_of(0x41), 3);
    guest.code({0xCD, 0x41});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.reg(kEsp), kInnerStack - 18);
    EXPECT_EQ(guest.stacked16(0), 2);
    EXPECT_EQ(guest.stacked16(2), eflags::kAlwaysOne | kIopl3);
    EXPECT_EQ(guest.stacked16(5), 0x1111);
    EXPECT_EQ(guest.stacked16(8), 0x4444);
}

TEST(CpuVirtual8086, HandlerMustRunInRing0) {
    Guest guest;
    guest.virtual_8086(3);
    guest.gate(0x41, kInterruptGate32, kRing1Code | 1, handler_of(0x41), 3);
    guest.code({0xCD, 0x41});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), kRing1Code);
    expect_nine_words(guest, 1, 0);
}

TEST(CpuVirtual8086, ConformingHandlerIsRefused) {
    Guest guest;
    guest.virtual_8086(3);
    guest.gate(0x41, kInterruptGate32, kConforming, handler_of(0x41), 3);
    guest.code({0xCD, 0x41});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), kConforming);
}

TEST(CpuVirtual8086, IretReturnsIntoIt) {
    Guest guest;
    guest.virtual_8086(3);
    guest.gate(0x42, kInterruptGate32, kCode32, handler_of(0x42), 3);
    guest.code({0xCD, 0x41, 0x8C, 0xD8, 0xCD, 0x42});  // INT 41h; MOV AX,DS; INT 42h
    guest.store(handler_of(0x41), {0xCF});             // IRETD
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x42);
    EXPECT_EQ(guest.reg(kEax) & 0xFFFF, 0x2222u);
    expect_nine_words(guest, 0, 6);
}

TEST(CpuVirtual8086, SensitiveInstructionsNeedIopl3) {
    for (const int opcode : {0xFA, 0xFB, 0x9C, 0x9D, 0xCF}) {  // CLI, STI, PUSHF, POPF, IRET
        Guest guest;
        guest.virtual_8086(2);
        guest.code({static_cast<std::uint8_t>(opcode)});
        ASSERT_EQ(guest.run(), CpuExit::Halted) << std::hex << opcode;
        EXPECT_EQ(guest.handler(), 13) << std::hex << opcode;
        EXPECT_EQ(guest.stacked32(0), 0u);
        EXPECT_EQ(guest.stacked32(1), 0u);
    }
}

TEST(CpuVirtual8086, HltIsPrivileged) {
    Guest guest;
    guest.virtual_8086(3);
    guest.code({0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    expect_nine_words(guest, 1, 0);
}

}  // namespace
}  // namespace vpc::test
