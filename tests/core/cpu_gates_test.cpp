// Interrupts through the IDT in protected mode: gates, privilege changes, checks and their error codes.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kFlags = eflags::kAlwaysOne | eflags::kInterrupt;
constexpr std::uint32_t kInIdt = 2;
constexpr std::uint32_t kExternal = 1;

struct GateKind {
    std::uint8_t type;
    bool wide;
    bool keeps_interrupts;
};
class CpuGate : public testing::TestWithParam<GateKind> {};

TEST_P(CpuGate, KeepsTheStackAtTheSamePrivilege) {
    Guest guest;
    guest.protected_mode();
    guest.start.eflags = kFlags;
    guest.gate(0x40, GetParam().type, kCode32, handler_of(0x40));
    guest.code({0xCD, 0x40});  // INT 40h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    const auto word = [&](unsigned i) { return GetParam().wide ? guest.stacked32(i) : guest.stacked16(i); };
    EXPECT_EQ(guest.reg(kEsp), kStack - (GetParam().wide ? 12 : 6));
    EXPECT_EQ(word(0), GetParam().wide ? kCode + 2 : (kCode + 2) & 0xFFFF);
    EXPECT_EQ(word(1), kCode32);
    EXPECT_EQ(word(2), kFlags);
    EXPECT_EQ((guest.state().eflags & eflags::kInterrupt) != 0, GetParam().keeps_interrupts);
}

TEST_P(CpuGate, SwitchesToTheInnerStackOfA32BitTask) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.eflags = kFlags;
    guest.gate(0x40, GetParam().type, kCode32, handler_of(0x40), 3);
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    const auto word = [&](unsigned i) { return GetParam().wide ? guest.stacked32(i) : guest.stacked16(i); };
    EXPECT_EQ(guest.reg(kEsp), kInnerStack - (GetParam().wide ? 20 : 10));
    EXPECT_EQ(word(1), kUserCode);
    EXPECT_EQ(word(2), kFlags);
    EXPECT_EQ(word(3), kUserStack);
    EXPECT_EQ(word(4), kUserData);
    const CpuState state = guest.state();
    EXPECT_EQ(state.cpl, 0);
    EXPECT_EQ(state.segments[kSs].selector, kData32);
    EXPECT_EQ(state.segments[kCs].selector, kCode32);
    EXPECT_EQ(state.segments[kDs].selector, kUserData) << "data segments stay";
}

TEST_P(CpuGate, SwitchesToTheInnerStackOfA16BitTask) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.tr.attributes = 0x83;
    guest.store16(kTss + 2, kInnerStack);  // SP0
    guest.store16(kTss + 4, kData32);      // SS0
    guest.gate(0x40, GetParam().type, kCode32, handler_of(0x40), 3);
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.reg(kEsp), kInnerStack - (GetParam().wide ? 20 : 10));
    EXPECT_EQ(guest.state().cpl, 0);
}

TEST_P(CpuGate, IretReturnsToTheOuterRing) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.eflags = kFlags | eflags::kCarry;
    // A 16-bit gate pushes 16 bits of EIP and ESP, so the code must lie below 64 KiB.
    guest.start.eip = 0xE000;
    guest.gate(0x40, GetParam().type, kCode32, 0xF000, 3);
    guest.store(0xE000, {0xCD, 0x40, 0xCD, 0x41});  // INT 40h; INT 41h
    if (GetParam().wide) {
        guest.store(0xF000, {0xF8, 0xCF});  // CLC; IRETD
    } else {
        guest.store(0xF000, {0xF8, 0x66, 0xCF});  // CLC; IRET
    }
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.stacked32(0), 0xE004u);
    EXPECT_EQ(guest.stacked32(1), kUserCode);
    EXPECT_EQ(guest.stacked32(2), kFlags | eflags::kCarry);
    EXPECT_EQ(guest.stacked32(3), kUserStack);
    EXPECT_EQ(guest.stacked32(4), kUserData);
}

INSTANTIATE_TEST_SUITE_P(Kinds, CpuGate,
                         testing::Values(GateKind{kInterruptGate32, true, false}, GateKind{kTrapGate32, true, true},
                                         GateKind{kInterruptGate16, false, false}, GateKind{kTrapGate16, false, true}),
                         [](const auto& each) {
                             return std::string(each.param.keeps_interrupts ? "Trap" : "Interrupt") +
                                    (each.param.wide ? "32" : "16");
                         });

TEST(CpuGates, SixteenBitStackMovesOnlySp) {
    Guest guest;
    guest.protected_mode_16();
    guest.start.general[kEsp] = 0x12340000 | kStack;
    guest.gate(0x40, kTrapGate16, kCode16, 0x100);
    guest.code({0xCD, 0x40});
    guest.store(kCode + 0x100, {0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, 0x101u);
    EXPECT_EQ(guest.reg(kEsp), 0x12340000 | (kStack - 6));
    EXPECT_EQ(guest.stacked16(0), 2);
    EXPECT_EQ(guest.stacked16(1), kCode16);
}

TEST(CpuGates, ConformingHandlerRunsAtTheCallersPrivilege) {
    Guest guest;
    guest.protected_mode(3);
    guest.gate(0x40, kInterruptGate32, kConforming, kData, 3);
    guest.store(kData, {0x0E, 0xCD, 0x41});  // PUSH CS; INT 41h
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.stacked32(1), kConforming | 3u);
    EXPECT_EQ(guest.load32(kUserStack - 16) & 0xFFFF, kConforming | 3u);
    EXPECT_EQ(guest.load32(kUserStack - 12), kCode + 2) << "no stack switch: the frame is on the user's stack";
}

TEST(CpuGates, FaultInASelectorPushesItAsErrorCode) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});  // MOV AX,7F8h; MOV DS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), kBeyondGdt);
    EXPECT_EQ(guest.stacked32(1), kCode + 4);
    EXPECT_EQ(guest.reg(kEsp), kStack - 16);
}

TEST(CpuGates, ErrorCodeFitsA16BitGate) {
    Guest guest;
    guest.protected_mode();
    guest.gate(13, kInterruptGate16, kCode32, handler_of(13));
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.reg(kEsp), kStack - 8);
    EXPECT_EQ(guest.stacked16(0), kBeyondGdt);
}

TEST(CpuGates, LoadingAnAbsentSegmentFaults) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x66, 0xB8, kAbsentData, 0x00, 0x8E, 0xD8});  // MOV AX,58h; MOV DS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 11);
    EXPECT_EQ(guest.stacked32(0), kAbsentData);
}

TEST(CpuGates, LoadingAnAbsentStackFaults) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x66, 0xB8, kAbsentData, 0x00, 0x8E, 0xD0});  // MOV AX,58h; MOV SS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 12);
    EXPECT_EQ(guest.stacked32(0), kAbsentData);
    EXPECT_EQ(guest.stacked32(1), kCode + 4);
}

// A gate to ring 1, whose stack in the TSS is bad, while ring 0 can take the fault.
class CpuInnerStack : public testing::Test {
  protected:
    CpuInnerStack() {
        guest.protected_mode(3);
        guest.gate(0x40, kInterruptGate32, kRing1Code | 1, handler_of(0x40), 3);
        guest.store32(kTss + 0x0C, kData + 0x800);    // ESP1
        guest.store16(kTss + 0x10, kRing1Data | 1);   // SS1
        guest.code({0x90, 0xCD, 0x40});               // NOP; INT 40h
        guest.store(handler_of(0x40), {0xCD, 0x41});  // INT 41h
    }
    void expect_fault(int vector, std::uint32_t error_code) {
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), vector);
        EXPECT_EQ(guest.stacked32(0), error_code);
        EXPECT_EQ(guest.stacked32(1), kCode + 1) << "back to the INT";
        EXPECT_EQ(guest.stacked32(2), kUserCode);
    }
    Guest guest;
};

TEST_F(CpuInnerStack, OfRing1IsUsed) {
    guest.gate(0x41, kInterruptGate32, kCode32, handler_of(0x41), 1);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.stacked32(1), kRing1Code | 1u);
    EXPECT_EQ(guest.stacked32(4), kRing1Data | 1u);
    EXPECT_EQ(guest.load32(kData + 0x800 - 20), kCode + 3);
}
TEST_F(CpuInnerStack, NullIsAnInvalidTss) {
    guest.store16(kTss + 0x10, 1);
    expect_fault(10, 0);
}
TEST_F(CpuInnerStack, OfAnotherPrivilegeIsAnInvalidTss) {
    guest.store16(kTss + 0x10, kData32);
    expect_fault(10, kData32);
}
TEST_F(CpuInnerStack, BeyondTheGdtIsAnInvalidTss) {
    guest.store16(kTss + 0x10, kBeyondGdt | 1);
    expect_fault(10, kBeyondGdt);
}
TEST_F(CpuInnerStack, OfACodeSegmentIsAnInvalidTss) {
    guest.store16(kTss + 0x10, kRing1Code | 1);
    expect_fault(10, kRing1Code);
}
TEST_F(CpuInnerStack, AbsentIsAStackFault) {
    guest.descriptor(kRing1Data, 0, 0xFFFFF, 0xC033);
    expect_fault(12, kRing1Data);
}
TEST_F(CpuInnerStack, TooSmallIsAStackFaultWithItsSelector) {
    guest.descriptor(kRing1Data, 0, 0xFFF, 0x40B3);  // 4 KiB, ESP1 far outside
    expect_fault(12, kRing1Data);
}
TEST_F(CpuInnerStack, BeyondTheLimitOfTheTssIsAnInvalidTss) {
    guest.start.tr.limit = 0x10;  // SS1 sticks out; SS0 at 8 does not
    expect_fault(10, kTssSelector);
}

struct FaultingInterrupt {
    const char* name;
    std::vector<std::uint8_t> bytes;
    unsigned vector;
};
class CpuGatePrivilege : public testing::TestWithParam<FaultingInterrupt> {};

TEST_P(CpuGatePrivilege, SoftwareInterruptNeedsTheGatesPrivilege) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.eflags = eflags::kAlwaysOne | 0x800;  // OF, for INTO
    guest.memory.write(kCode, GetParam().bytes);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), GetParam().vector * 8 + kInIdt);
    EXPECT_EQ(guest.stacked32(1), kCode) << "the fault returns to the instruction itself";
}

TEST_P(CpuGatePrivilege, SoftwareInterruptPassesWithTheGatesPrivilege) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.eflags = eflags::kAlwaysOne | 0x800;
    guest.gate(GetParam().vector, kInterruptGate32, kCode32, handler_of(GetParam().vector), 3);
    guest.memory.write(kCode, GetParam().bytes);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), static_cast<int>(GetParam().vector));
    EXPECT_EQ(guest.stacked32(0), kCode + GetParam().bytes.size());
}

INSTANTIATE_TEST_SUITE_P(Forms, CpuGatePrivilege,
                         testing::Values(FaultingInterrupt{"Int", {0xCD, 0x40}, 0x40},
                                         FaultingInterrupt{"Int13WithoutErrorCode", {0xCD, 0x0D}, 13},
                                         FaultingInterrupt{"Int3", {0xCC}, 3},
                                         FaultingInterrupt{"Int3InTwoBytes", {0xCD, 0x03}, 3},
                                         FaultingInterrupt{"Int4InTwoBytes", {0xCD, 0x04}, 4},
                                         FaultingInterrupt{"Into", {0xCE}, 4}),
                         [](const auto& each) { return each.param.name; });

TEST(CpuGates, ExceptionsAndHardwareInterruptsIgnoreTheGatesPrivilege) {
    Guest guest;
    guest.protected_mode(3);
    guest.code({0x0F, 0x0B});  // UD2
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 6);

    guest.start.eflags = kFlags;
    guest.code({0xEB, 0xFE});
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x50);
    EXPECT_EQ(guest.stacked32(1), kUserCode);
}

// INT 40h at CPL 0 through a gate that is wrong in one way each.
class CpuBadGate : public testing::Test {
  protected:
    CpuBadGate() {
        guest.protected_mode();
        guest.code({0x90, 0xCD, 0x40});  // NOP; INT 40h
    }
    void expect_fault(int vector, std::uint32_t error_code) {
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), vector);
        EXPECT_EQ(guest.stacked32(0), error_code);
        EXPECT_EQ(guest.stacked32(1), kCode + 1);
        EXPECT_EQ(guest.cpu->statistics().double_faults, 0u);
    }
    Guest guest;
};

TEST_F(CpuBadGate, BeyondTheIdtLimit) {
    guest.start.idtr.limit = 0x40 * 8 + 6;
    expect_fault(13, 0x40 * 8 + kInIdt);
}
TEST_F(CpuBadGate, Absent) {
    guest.gate(0x40, kInterruptGate32 & 0x7F, kCode32, handler_of(0x40));
    expect_fault(11, 0x40 * 8 + kInIdt);
}
TEST_F(CpuBadGate, OfTheWrongType) {
    guest.gate(0x40, 0x8C, kCode32, handler_of(0x40));  // call gate
    expect_fault(13, 0x40 * 8 + kInIdt);
}
TEST_F(CpuBadGate, ThatIsACodeDescriptor) {
    guest.gate(0x40, 0x9E, kCode32, handler_of(0x40));
    expect_fault(13, 0x40 * 8 + kInIdt);
}
TEST_F(CpuBadGate, WithANullSelector) {
    guest.gate(0x40, kInterruptGate32, 3, handler_of(0x40));
    expect_fault(13, 0);
}
TEST_F(CpuBadGate, IntoData) {
    guest.gate(0x40, kInterruptGate32, kData32, handler_of(0x40));
    expect_fault(13, kData32);
}
TEST_F(CpuBadGate, BeyondTheGdt) {
    guest.gate(0x40, kInterruptGate32, kBeyondGdt, handler_of(0x40));
    expect_fault(13, kBeyondGdt);
}
TEST_F(CpuBadGate, IntoAnLdtThatIsNotLoaded) {
    guest.gate(0x40, kInterruptGate32, kCode32 | 4, handler_of(0x40));
    expect_fault(13, kCode32 | 4);
}
TEST_F(CpuBadGate, IntoAnOuterRing) {
    guest.gate(0x40, kInterruptGate32, kUserCode, handler_of(0x40));
    expect_fault(13, kUserCode & ~3u);
}
TEST_F(CpuBadGate, IntoAbsentCode) {
    guest.gate(0x40, kInterruptGate32, kAbsentCode, handler_of(0x40));
    expect_fault(11, kAbsentCode);
}
TEST_F(CpuBadGate, BeyondTheLimitOfTheCode) {
    guest.descriptor(kSpare, 0, 0x7FFF, 0x409B);
    guest.gate(0x40, kInterruptGate32, kSpare, handler_of(0x40));
    expect_fault(13, 0);
}

TEST_F(CpuBadGate, MetByAHardwareInterruptSetsTheExternalBit) {
    guest.start.eflags = kFlags;
    guest.gate(0x50, kInterruptGate32 & 0x7F, kCode32, handler_of(0x50));
    guest.code({0xEB, 0xFE});
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 11);
    EXPECT_EQ(guest.stacked32(0), 0x50 * 8 + kInIdt + kExternal);
}

TEST_F(CpuBadGate, MetByAnExceptionSetsTheExternalBit) {
    guest.gate(6, kInterruptGate32 & 0x7F, kCode32, handler_of(6));
    guest.code({0x0F, 0x0B});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 11);
    EXPECT_EQ(guest.stacked32(0), 6 * 8 + kInIdt + kExternal);
    EXPECT_EQ(guest.stacked32(1), kCode);
}

TEST(CpuGates, HandlerInTheLocalDescriptorTable) {
    Guest guest;
    guest.protected_mode();
    guest.start.ldtr = {.selector = kSpare, .base = kGdt, .limit = 0x17, .attributes = 0x82};
    guest.gate(0x40, kInterruptGate32, kCode32 | 4, handler_of(0x40));
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.state().segments[kCs].selector, kCode32 | 4);
}

TEST(CpuGates, DeliveryClearsNestedTaskAndTrapFlags) {
    Guest guest;
    guest.protected_mode();
    guest.start.eflags = kFlags | eflags::kNestedTask;
    guest.gate(0x40, kTrapGate32, kCode32, handler_of(0x40));
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.stacked32(2), kFlags | eflags::kNestedTask);
    EXPECT_EQ(guest.state().eflags & (eflags::kNestedTask | eflags::kTrap), 0u);
}

}  // namespace
}  // namespace vpc::test
