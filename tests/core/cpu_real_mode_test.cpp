// Interrupts and exceptions in real mode.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kFlags = eflags::kAlwaysOne | eflags::kInterrupt;

TEST(CpuRealMode, SoftwareInterruptPushesFlagsAndReturnAddress) {
    Guest guest;
    guest.real_mode();
    guest.start.eflags = kFlags;
    guest.code({0xCD, 0x21});  // INT 21h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x21);
    EXPECT_EQ(guest.reg(kEsp), kStack - 6);
    EXPECT_EQ(guest.stacked16(0), 2);
    EXPECT_EQ(guest.stacked16(1), 0x1000);
    EXPECT_EQ(guest.stacked16(2), kFlags);
    EXPECT_EQ(guest.state().eflags & eflags::kInterrupt, 0u);
    EXPECT_EQ(guest.state().segments[kCs].selector, 0);
}

TEST(CpuRealMode, IretReturnsBehindTheInterrupt) {
    Guest guest;
    guest.real_mode();
    guest.start.eflags = kFlags | eflags::kCarry;
    guest.code({0xCD, 0x21, 0xF4});               // INT 21h; HLT
    guest.store(handler_of(0x21), {0xF8, 0xCF});  // CLC; IRET
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eip, 3u);
    EXPECT_EQ(state.segments[kCs].selector, 0x1000);
    EXPECT_EQ(state.segments[kCs].base, kCode);
    EXPECT_EQ(state.general[kEsp], kStack);
    EXPECT_EQ(state.eflags, kFlags | eflags::kCarry);
}

TEST(CpuRealMode, HardwareInterruptReturnsToTheInterruptedInstruction) {
    Guest guest;
    guest.real_mode();
    guest.start.eflags = kFlags;
    guest.code({0xEB, 0xFE});  // JMP $
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x08);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x08);
    EXPECT_EQ(guest.stacked16(0), 0);
    EXPECT_EQ(guest.stacked16(1), 0x1000);
    EXPECT_EQ(guest.stacked16(2), kFlags);
    EXPECT_EQ(guest.cpu->statistics().external_interrupts, 1u);
}

TEST(CpuRealMode, HardwareInterruptWaitsForTheInterruptFlag) {
    Guest guest;
    guest.real_mode();
    guest.code({0x90, 0xF4});  // NOP; HLT
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x08);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
    EXPECT_EQ(guest.state().eip, 2u);
}

TEST(CpuRealMode, StackWrapsAtZeroAndKeepsTheUpperHalfOfEsp) {
    Guest guest;
    guest.real_mode();
    guest.start.segments[kSs] = {.selector = 0x3000, .base = 0x30000, .limit = 0xFFFF, .attributes = 0x93};
    guest.start.general[kEsp] = 0x12340000;
    guest.code({0xCD, 0x21});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x21);
    EXPECT_EQ(guest.reg(kEsp), 0x1234FFFA);
    EXPECT_EQ(guest.load16(0x3FFFE), eflags::kAlwaysOne);
    EXPECT_EQ(guest.load16(0x3FFFC), 0x1000);
    EXPECT_EQ(guest.load16(0x3FFFA), 2);
}

TEST(CpuRealMode, StackPointerOfOneWraps) {
    Guest guest;
    guest.real_mode();
    guest.start.segments[kSs] = {.selector = 0x3000, .base = 0x30000, .limit = 0xFFFF, .attributes = 0x93};
    guest.start.general[kEsp] = 1;
    guest.code({0xCD, 0x21});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x21);
    EXPECT_EQ(guest.reg(kEsp), 0xFFFBu);
}

TEST(CpuRealMode, InterruptTableMovesWithIdtr) {
    Guest guest;
    guest.real_mode();
    guest.store32(kData, 0x00000000);
    guest.store16(kData, 0x3FF);  // limit, base kData + 100h
    guest.store32(kData + 2, kData + 0x100);
    guest.store32(kData + 0x100 + 0x21 * 4, handler_of(0x77));
    guest.code({0x0F, 0x01, 0x1E, 0x00, 0xB0,  // LIDT [B000h]
                0xCD, 0x21});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x77);
}

TEST(CpuRealMode, InterruptBeyondTheTableIsAGeneralProtectionFault) {
    Guest guest;
    guest.real_mode();
    guest.start.idtr.limit = 0x21 * 4 + 2;
    guest.code({0x90, 0xCD, 0x21});  // NOP; INT 21h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked16(0), 1) << "a fault returns to the INT itself";
    EXPECT_EQ(guest.reg(kEsp), kStack - 6) << "real mode pushes no error codes";
}

TEST(CpuRealMode, EmptyInterruptTableShutsTheProcessorDown) {
    Guest guest;
    guest.real_mode();
    guest.start.idtr.limit = 0;
    guest.code({0xCD, 0x21});
    EXPECT_EQ(guest.run(), CpuExit::Shutdown);
}

TEST(CpuRealMode, DivideErrorReturnsToTheDivision) {
    Guest guest;
    guest.real_mode();
    guest.code({0x90, 0x31, 0xC9, 0xF7, 0xF1});  // NOP; XOR CX,CX; DIV CX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0);
    EXPECT_EQ(guest.stacked16(0), 3);
}

TEST(CpuRealMode, BreakpointAndOverflowReturnBehindThemselves) {
    Guest guest;
    guest.real_mode();
    guest.code({0x90, 0xCC});  // NOP; INT3
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 3);
    EXPECT_EQ(guest.stacked16(0), 2);

    guest.code({0xB0, 0x7F, 0x04, 0x01, 0xCE});  // MOV AL,7Fh; ADD AL,1; INTO
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 4);
    EXPECT_EQ(guest.stacked16(0), 5);
}

TEST(CpuRealMode, IntoWithoutOverflowDoesNothing) {
    Guest guest;
    guest.real_mode();
    guest.code({0x30, 0xC0, 0xCE, 0xF4});  // XOR AL,AL; INTO; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, 4u);
    EXPECT_EQ(guest.handler(), -1);
}

TEST(CpuRealMode, BoundOutsideItsLimitsFaults) {
    Guest guest;
    guest.real_mode();
    guest.store32(kData, 0x00200010);                        // 10h to 20h
    guest.code({0xB8, 0x21, 0x00, 0x62, 0x06, 0x00, 0xB0});  // MOV AX,21h; BOUND AX,[B000h]
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 5);
    EXPECT_EQ(guest.stacked16(0), 3);
}

TEST(CpuRealMode, UnrealModeKeepsTheBigLimitOfTheDataSegment) {
    Guest guest;
    guest.protected_mode();
    const CpuState tables = guest.start;
    guest.start = CpuState::after_reset(0);
    guest.real_mode();
    guest.start.gdtr = tables.gdtr;
    guest.store32(0x200000, 0xCAFEF00D);
    guest.code({
        0x0F, 0x20, 0xC0,                          // MOV EAX,CR0
        0x0C, 0x01, 0x0F, 0x22, 0xC0,              // OR AL,1; MOV CR0,EAX
        0xBB, 0x10, 0x00, 0x8E, 0xDB,              // MOV BX,10h; MOV DS,BX
        0x24, 0xFE, 0x0F, 0x22, 0xC0,              // AND AL,FEh; MOV CR0,EAX
        0x31, 0xDB, 0x8E, 0xDB,                    // XOR BX,BX; MOV DS,BX
        0x67, 0x66, 0xA1, 0x00, 0x00, 0x20, 0x00,  // MOV EAX,[DWORD 200000h]
        0xCD, 0x21,                                // INT 21h: real mode works as ever
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x21);
    EXPECT_EQ(guest.reg(kEax), 0xCAFEF00Du);
    EXPECT_EQ(guest.state().segments[kDs].limit, 0xFFFFFFFFu);
    EXPECT_EQ(guest.stacked16(1), 0x1000);
}

}  // namespace
}  // namespace vpc::test
