// Exceptions other than page faults: invalid opcodes, coprocessor, single step.
#include <gtest/gtest.h>

#include <vector>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kSingleStep = 1u << 14;  // DR6.BS

TEST(CpuExceptions, InvalidOpcodeReturnsToItself) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x90, 0x0F, 0x0B});  // NOP; UD2
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 6);
    EXPECT_EQ(guest.stacked32(0), kCode + 1);
    EXPECT_EQ(guest.reg(kEsp), kStack - 12) << "no error code";
}

TEST(CpuExceptions, HandlerMaySkipTheInvalidOpcode) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x0F, 0x0B, 0x40, 0x0F, 0x0B, 0x40, 0xF4});      // UD2; INC EAX; UD2; INC EAX; HLT
    guest.store(handler_of(6), {0x83, 0x04, 0x24, 0x02, 0xCF});  // ADD DWORD [ESP],2; IRETD
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 7);
    EXPECT_EQ(guest.reg(kEax), 2u);
    EXPECT_EQ(guest.cpu->statistics().exceptions, 2u);
}

// The engine's translator calls abort() for these.
TEST(CpuExceptions, LockedBitTestOfARegisterIsInvalid) {
    for (const int opcode : {0xAB, 0xB3, 0xBB}) {  // BTS, BTR, BTC
        Guest guest;
        guest.protected_mode();
        guest.code({0x40, 0xF0, 0x0F, static_cast<std::uint8_t>(opcode), 0xD6, 0xF4});  // INC EAX; LOCK BTx ESI,EDX
        ASSERT_EQ(guest.run(), CpuExit::Halted) << std::hex << opcode;
        EXPECT_EQ(guest.handler(), 6);
        EXPECT_EQ(guest.stacked32(0), kCode + 1);
        EXPECT_EQ(guest.reg(kEax), 1u);
    }
}

// Each x87 instruction takes three of the translator's temporaries, of which it has 512 for a block.
TEST(CpuExceptions, BlocksMayBeLong) {
    constexpr std::uint32_t kSums = 500;
    Guest guest;
    guest.protected_mode();
    std::vector<std::uint8_t> code{0xD9, 0xE8, 0xD9, 0xEE};  // FLD1; FLDZ
    for (std::uint32_t i = 0; i < kSums; ++i) {
        code.insert(code.end(), {0xD8, 0xC1});  // FADD ST,ST(1)
    }
    code.insert(code.end(), {0xDB, 0x1D, 0x00, 0xB0, 0x00, 0x00, 0xF4});  // FISTP DWORD [kData]; HLT
    guest.memory.write(kCode, code);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.load32(kData), kSums);
    EXPECT_EQ(guest.state().eip, kCode + code.size());
}

TEST(CpuExceptions, OpenBusHoldsNoInstruction) {
    Guest guest;
    guest.protected_mode();
    guest.code({0xB8, 0x00, 0x00, 0x00, 0xE0, 0xFF, 0xE0});  // MOV EAX,E0000000h; JMP EAX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 6);
    EXPECT_EQ(guest.stacked32(0), 0xE0000000u);
}

TEST(CpuExceptions, CoprocessorIsNotAvailableAfterATaskSwitch) {
    for (const std::uint32_t bit : {cr0::kTaskSwitched, cr0::kEmulation}) {
        Guest guest;
        guest.protected_mode();
        guest.start.cr0 |= bit;
        guest.code({0x90, 0xD9, 0xE8});  // NOP; FLD1
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), 7);
        EXPECT_EQ(guest.stacked32(0), kCode + 1);
    }
}

TEST(CpuExceptions, WaitAsksForTheCoprocessorOnlyWithMonitorCoprocessor) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x9B, 0xF4});  // WAIT; HLT
    guest.start.cr0 |= cr0::kTaskSwitched;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
    guest.start.cr0 |= cr0::kMonitorCoprocessor;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 7);
}

TEST(CpuExceptions, ClearTaskSwitchedEndsThem) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr0 |= cr0::kTaskSwitched;
    guest.code({0xD9, 0xE8, 0xF4});                  // FLD1; HLT
    guest.store(handler_of(7), {0x0F, 0x06, 0xCF});  // CLTS; IRETD
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 3);
    EXPECT_EQ(guest.state().cr0 & cr0::kTaskSwitched, 0u);
    EXPECT_EQ(guest.cpu->statistics().exceptions, 1u);
}

TEST(CpuExceptions, DivideErrorIsAFault) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x31, 0xC9, 0xF7, 0xF1});  // XOR ECX,ECX; DIV ECX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0);
    EXPECT_EQ(guest.stacked32(0), kCode + 2);
}

TEST(CpuExceptions, BreakpointIsATrap) {
    Guest guest;
    guest.protected_mode();
    guest.code({0xCC});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 3);
    EXPECT_EQ(guest.stacked32(0), kCode + 1);
    EXPECT_EQ(guest.cpu->statistics().software_interrupts, 1u);
    EXPECT_EQ(guest.cpu->statistics().exceptions, 0u);
}

// The handler of #DB notes each return address in a list at kData + 4 and counts in kData.
void trace_single_steps(Guest& guest) {
    guest.gate(1, kInterruptGate32, kCode32, 0x60000);
    guest.store(0x60000, {
                             0x53, 0x51,                                // PUSH EBX; PUSH ECX
                             0x8B, 0x5C, 0x24, 0x08,                    // MOV EBX,[ESP+8]
                             0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,        // INC DWORD [B000h]
                             0x8B, 0x0D, 0x00, 0xB0, 0x00, 0x00,        // MOV ECX,[B000h]
                             0x89, 0x1C, 0x8D, 0x00, 0xB0, 0x00, 0x00,  // MOV [B000h+ECX*4],EBX
                             0x59, 0x5B, 0xCF,                          // POP ECX; POP EBX; IRETD
                         });
}

TEST(CpuExceptions, SingleStepTrapsBehindEachInstruction) {
    Guest guest;
    guest.protected_mode();
    trace_single_steps(guest);
    guest.start.debug[6] = 0xFFFF0FF0;
    guest.code({
        0x68, 0x02, 0x01, 0x00, 0x00, 0x9D,  // PUSH 102h; POPFD: sets TF
        0x90, 0x40,                          // NOP; INC EAX
        0x6A, 0x02, 0x9D,                    // PUSH 2; POPFD: clears TF, and is still stepped
        0x90, 0xF4,                          // NOP; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 13);
    ASSERT_EQ(guest.load32(kData), 4u);
    EXPECT_EQ(guest.load32(kData + 4), kCode + 7) << "the instruction behind POPFD runs first";
    EXPECT_EQ(guest.load32(kData + 8), kCode + 8);
    EXPECT_EQ(guest.load32(kData + 12), kCode + 10);
    EXPECT_EQ(guest.load32(kData + 16), kCode + 11);
    EXPECT_NE(guest.state().debug[6] & kSingleStep, 0u);
}

TEST(CpuExceptions, InterruptHandlersAreNotStepped) {
    Guest guest;
    guest.protected_mode();
    trace_single_steps(guest);
    guest.start.eflags = eflags::kAlwaysOne | eflags::kTrap;
    guest.gate(0x40, kTrapGate32, kCode32, 0x61000);
    guest.store(0x61000, {0x90, 0x90, 0x9C, 0x5A, 0xCF});    // NOP; NOP; PUSHFD; POP EDX; IRETD
    guest.code({0xCD, 0x40, 0x90, 0x6A, 0x02, 0x9D, 0xF4});  // INT 40h; NOP; PUSH 2; POPFD; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 7);
    EXPECT_EQ(guest.reg(kEdx) & eflags::kTrap, 0u);
    ASSERT_EQ(guest.load32(kData), 3u);
    EXPECT_EQ(guest.load32(kData + 4), kCode + 3) << "IRET sets TF: the next instruction runs first";
    EXPECT_EQ(guest.load32(kData + 8), kCode + 5);
    EXPECT_EQ(guest.load32(kData + 12), kCode + 6);
}

// 1/0 with the zero-divide exception unmasked, then WAIT.
void divide_by_zero(Guest& guest) {
    guest.store16(kData, 0x037B);
    guest.code({
        0xDB, 0xE3, 0xD9, 0x2D, 0x00, 0xB0, 0x00, 0x00,  // FNINIT; FLDCW [B000h]
        0xD9, 0xE8, 0xD9, 0xEE, 0xDE, 0xF9,              // FLD1; FLDZ; FDIVP
        0x9B, 0xF4,                                      // WAIT; HLT
    });
}

TEST(CpuFloatingPoint, ErrorIsAnExceptionWithNumericError) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr0 |= cr0::kNumericError;
    divide_by_zero(guest);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 16);
    EXPECT_EQ(guest.stacked32(0), kCode + 14) << "met by WAIT";
    EXPECT_EQ(guest.reg(kEsp), kStack - 12);
    EXPECT_EQ(guest.floating_point_errors, 0);
}

TEST(CpuFloatingPoint, ErrorIsReportedOnThePinWithoutNumericError) {
    Guest guest;
    guest.protected_mode();
    divide_by_zero(guest);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
    EXPECT_EQ(guest.floating_point_errors, 1);
}

TEST(CpuFloatingPoint, MaskedErrorIsSilent) {
    Guest guest;
    guest.protected_mode();
    divide_by_zero(guest);
    guest.store16(kData, 0x037F);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.floating_point_errors, 0);
    EXPECT_NE(guest.state().fpu_status & 4, 0) << "ZE is set all the same";
}

}  // namespace
}  // namespace vpc::test
