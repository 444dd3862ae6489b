// Instructions that the engine gets wrong and the overrides put right.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

/// ADD FFh + FFh sets SF, AF, CF and clears the others, CMPXCHG8B of the zeros at kData comes next; then PUSHFD.
std::uint32_t flags_behind_compare_and_exchange(bool equal, bool locked) {
    Guest guest;
    guest.protected_mode();
    guest.store32(kData, equal ? 0xFEu : 1u);
    guest.code({
        0x31, 0xD2, 0x6A, 0x02, 0x9D, 0xB8, 0xFF, 0x00, 0x00, 0x00,  // XOR EDX,EDX; PUSH 2; POPFD; MOV EAX,FFh
        0x04, 0xFF, 0x90,                                            // ADD AL,FFh; NOP: EAX is FEh
    });
    guest.store(kCode + 12, {static_cast<std::uint8_t>(locked ? 0xF0 : 0x90)});
    guest.store(kCode + 13, {0x0F, 0xC7, 0x0D, 0x00, 0xB0, 0x00, 0x00, 0x9C, 0xF4});  // CMPXCHG8B [B000h]; PUSHFD; HLT
    EXPECT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), equal ? 0xFEu : 1u);
    return guest.stacked32(0);
}

TEST(CpuInstructions, CompareAndExchange8BytesChangesNoFlagButZero) {
    constexpr std::uint32_t kSignAuxiliaryCarry = 0x93;
    constexpr std::uint32_t kZero = 0x40;
    for (const bool locked : {false, true}) {
        EXPECT_EQ(flags_behind_compare_and_exchange(false, locked), kSignAuxiliaryCarry);
        EXPECT_EQ(flags_behind_compare_and_exchange(true, locked), kSignAuxiliaryCarry | kZero);
    }
}

TEST(CpuInstructions, LoopsThatRunOutLeaveTheFlagsAlone) {
    using Prefixed = std::array<std::uint8_t, 5>;
    for (const Prefixed& loop : {Prefixed{0x90, 0x90, 0x90, 0xE0, 0x00}, Prefixed{0x90, 0x90, 0x90, 0xE1, 0x00},
                                 Prefixed{0x2E, 0x66, 0x67, 0xE0, 0x00}, Prefixed{0x90, 0x67, 0xF3, 0xE1, 0x00}}) {
        for (const std::uint32_t flags : {0u, eflags::kArithmetic}) {
            Guest guest;
            guest.protected_mode();
            guest.start.eflags = eflags::kAlwaysOne | flags;
            guest.store(kData, {0x01});
            guest.code({
                0xB8, 0xFF, 0x00, 0xFE, 0xFF, 0xB9, 0x01, 0x00, 0x00, 0x00,  // MOV EAX,FFFE00FFh; MOV ECX,1
                0x00, 0x05, 0x00, 0xB0, 0x00, 0x00,                          // ADD [B000h],AL
            });
            guest.store(kCode + 16, {loop[0], loop[1], loop[2], loop[3], loop[4], 0x0F, 0x0B});  // …; UD2
            guest.gate(6, kInterruptGate32, kCode32, handler_of(6));
            guest.store(handler_of(6), {0xF4});
            ASSERT_EQ(guest.run(), CpuExit::Halted);
            constexpr std::uint32_t kZeroAuxiliaryParityCarry = 0x55;
            EXPECT_EQ(guest.stacked32(2) & ~eflags::kResume, eflags::kAlwaysOne | kZeroAuxiliaryParityCarry);
            EXPECT_EQ(guest.state().eflags, eflags::kAlwaysOne | kZeroAuxiliaryParityCarry);
            EXPECT_EQ(guest.state().cpl, 0);
        }
    }
}

TEST(CpuInstructions, CompareAndExchange8BytesFaultsAtItself) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.set_page_entry(kData, 0);
    guest.code({0xB0, 0xFF, 0x04, 0xFF, 0x0F, 0xC7, 0x0D, 0x00, 0xB0, 0x00, 0x00, 0xF4});  // … CMPXCHG8B [B000h]
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 14);
    EXPECT_EQ(guest.stacked32(1), kCode + 4);
    EXPECT_EQ(guest.stacked32(3) & 0xD5, 0x91u);  // SF, AF and CF of ADD FFh + FFh
}

}  // namespace
}  // namespace vpc::test
