// Task gates.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kFlags = eflags::kAlwaysOne | eflags::kInterrupt;
constexpr std::uint32_t kTypeByte = 5;  // of a descriptor

class CpuTasks : public testing::Test {
  protected:
    CpuTasks() {
        guest.protected_mode();
        guest.task32();
        guest.task16();
        guest.gate(0x40, kTaskGate, kTaskSelector, 0);
        guest.start.eflags = kFlags;
        guest.code({0xCD, 0x40, 0xF4});  // INT 40h; HLT
    }
    std::uint8_t type_of(std::uint16_t selector) { return guest.load8(kGdt + selector + kTypeByte); }
    Guest guest;
};

TEST_F(CpuTasks, GateSwitchesToA32BitTask) {
    guest.start.general[kEax] = 0x11223344;
    guest.start.general[kEdi] = 0x55667788;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eip, kTaskCode + 1);
    EXPECT_EQ(state.tr.selector, kTaskSelector);
    EXPECT_EQ(state.tr.base, kTaskTss);
    EXPECT_EQ(state.general[kEsp], kTaskStack);
    EXPECT_EQ(state.general[kEdi], 0xABCD0007u);
    EXPECT_EQ(state.eflags, eflags::kAlwaysOne | eflags::kNestedTask);
    EXPECT_NE(state.cr0 & cr0::kTaskSwitched, 0u);
    EXPECT_EQ(guest.load16(kTaskTss), kTssSelector) << "back link";
    EXPECT_EQ(type_of(kTaskSelector), 0x8B) << "the new task is busy";
    EXPECT_EQ(type_of(kTssSelector), 0x8B) << "the old one stays busy";
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode + 2);
    EXPECT_EQ(guest.load32(kTss + 0x24), kFlags);
    EXPECT_EQ(guest.load32(kTss + 0x28), 0x11223344u);
    EXPECT_EQ(guest.load32(kTss + 0x38), kStack);
    EXPECT_EQ(guest.load32(kTss + 0x44), 0x55667788u);
    EXPECT_EQ(guest.load16(kTss + 0x4C), kCode32);
    EXPECT_EQ(guest.load16(kTss + 0x54), kData32);
}

TEST_F(CpuTasks, GateSwitchesToA16BitTask) {
    guest.gate(0x40, kTaskGate, kTask16Selector, 0);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eip, kTaskCode + 1);
    EXPECT_EQ(state.tr.selector, kTask16Selector);
    EXPECT_EQ(state.segments[kCs].selector, kCode16);
    EXPECT_EQ(state.segments[kSs].selector, kData16);
    EXPECT_EQ(state.general[kEsp] & 0xFFFF, kTaskStack);
    EXPECT_EQ(state.general[kEcx] & 0xFFFF, 0xCD01u);
    EXPECT_NE(state.eflags & eflags::kNestedTask, 0u);
    EXPECT_EQ(guest.load16(kTask16Tss), kTssSelector);
    EXPECT_EQ(type_of(kTask16Selector), 0x83);
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode + 2);
}

TEST_F(CpuTasks, SixteenBitTaskIsSavedInItsOwnFormat) {
    guest.protected_mode_16();
    guest.start.tr = {.selector = kTask16Selector, .base = kTask16Tss, .limit = 0x2B, .attributes = 0x83};
    guest.start.general[kEbx] = 0x12345678;
    guest.start.eflags = kFlags;
    guest.gate(0x40, kTaskGate, kTaskSelector, 0);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kTaskCode + 1);
    EXPECT_EQ(guest.load16(kTask16Tss + 0x0E), 2);
    EXPECT_EQ(guest.load16(kTask16Tss + 0x10), kFlags);
    EXPECT_EQ(guest.load16(kTask16Tss + 0x18), 0x5678);
    EXPECT_EQ(guest.load16(kTask16Tss + 0x24), kCode16);
    EXPECT_EQ(guest.load16(kTaskTss), kTask16Selector);
}

TEST_F(CpuTasks, ErrorCodeIsPushedOnTheStackOfA32BitTask) {
    guest.gate(13, kTaskGate, kTaskSelector, 0);
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});  // MOV AX,7F8h; MOV DS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEsp), kTaskStack - 4);
    EXPECT_EQ(guest.stacked32(0), kBeyondGdt);
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode + 4) << "the faulting instruction";
}

TEST_F(CpuTasks, ErrorCodeIsPushedOnTheStackOfA16BitTask) {
    guest.gate(13, kTaskGate, kTask16Selector, 0);
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEsp) & 0xFFFF, kTaskStack - 2);
    EXPECT_EQ(guest.stacked16(0), kBeyondGdt);
}

TEST_F(CpuTasks, IretReturnsToTheOldTask) {
    guest.start.general[kEbp] = 0x13579BDF;
    guest.store(kTaskCode, {0xCF});  // IRETD
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eip, kCode + 3);
    EXPECT_EQ(state.tr.selector, kTssSelector);
    EXPECT_EQ(state.general[kEbp], 0x13579BDFu);
    EXPECT_EQ(state.general[kEsp], kStack);
    EXPECT_EQ(state.eflags, kFlags);
    EXPECT_EQ(type_of(kTaskSelector), 0x89) << "the left task is available again";
    EXPECT_EQ(type_of(kTssSelector), 0x8B);
    EXPECT_EQ(guest.load32(kTaskTss + 0x20), kTaskCode + 1) << "it goes on behind its IRET";
}

TEST_F(CpuTasks, TaskIsEnteredFromTheOuterRing) {
    guest.protected_mode(3);
    guest.task32();
    guest.gate(0x40, kTaskGate, kTaskSelector, 0, 3);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().cpl, 0);
    EXPECT_EQ(guest.load16(kTss + 0x4C), kUserCode);
    EXPECT_EQ(guest.load32(kTss + 0x38), kUserStack);
}

TEST_F(CpuTasks, HardwareInterruptSwitchesTasks) {
    guest.code({0xEB, 0xFE});
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x40);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.state().tr.selector, kTaskSelector);
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode);
}

TEST_F(CpuTasks, TaskInVirtual8086ModeIsEntered) {
    guest.task32(eflags::kAlwaysOne | eflags::kVirtual8086 | eflags::kIopl);
    guest.store16(kTaskTss + 0x4C, 0x0C00);  // CS
    guest.store16(kTaskTss + 0x54, 0x2000);  // DS
    guest.store32(kTaskTss + 0x20, 0);
    guest.store32(kTaskTss + 4, kInnerStack);
    guest.store16(kTaskTss + 8, kData32);
    guest.store(kTaskCode, {0x8C, 0xD8, 0xCD, 0x41});  // MOV AX,DS; INT 41h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.reg(kEax) & 0xFFFF, 0x2000u);
    EXPECT_EQ(guest.stacked32(0), 4u);
    EXPECT_EQ(guest.stacked32(1), 0x0C00u);
    EXPECT_NE(guest.stacked32(2) & eflags::kVirtual8086, 0u);
    EXPECT_EQ(guest.stacked32(6), 0x2000u);
}

TEST_F(CpuTasks, SixteenBitTaskLeavesVirtual8086Mode) {
    guest.virtual_8086(3);
    guest.task16();
    guest.gate(0x40, kTaskGate, kTask16Selector, 0, 3);
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eflags & eflags::kVirtual8086, 0u);
    EXPECT_EQ(state.cpl, 0);
    EXPECT_EQ(state.eip, kTaskCode + 1);
    EXPECT_EQ(state.segments[kCs].selector, kCode16);
    EXPECT_EQ(state.segments[kCs].base, 0u);
    EXPECT_NE(guest.load32(kTss + 0x24) & eflags::kVirtual8086, 0u) << "the old task keeps VM";
}

TEST_F(CpuTasks, NewPageDirectoryIsUsed) {
    guest.paging();
    guest.task32();
    constexpr std::uint32_t kOtherDirectory = 0x24000;
    constexpr std::uint32_t kOtherTable = 0x25000;
    for (std::uint32_t page = 0; page < 1024; ++page) {
        guest.store32(kOtherTable + 4 * page, page << 12 | 7);
    }
    guest.store32(kOtherTable + 4 * (kTaskCode >> 12), 0x30000 | 7);  // the task's code lies elsewhere
    guest.store32(kOtherDirectory, kOtherTable | 7);
    guest.store32(kTaskTss + 0x1C, kOtherDirectory);
    guest.store(0x30000 + (kTaskCode & 0xFFF), {0x90, 0x90, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().cr3, kOtherDirectory);
    EXPECT_EQ(guest.state().eip, kTaskCode + 3);
}

// Gates to task segments that cannot be entered: nothing changes but the fault.
class CpuBadTask : public CpuTasks {
  protected:
    void expect_fault(int vector, std::uint32_t error_code) {
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), vector);
        EXPECT_EQ(guest.stacked32(0), error_code);
        EXPECT_EQ(guest.stacked32(1), kCode);
        EXPECT_EQ(guest.state().tr.selector, kTssSelector);
    }
};

TEST_F(CpuBadTask, InTheLocalTable) {
    guest.gate(0x40, kTaskGate, kTaskSelector | 4, 0);
    expect_fault(13, kTaskSelector | 4);
}
TEST_F(CpuBadTask, ThatIsNull) {
    guest.gate(0x40, kTaskGate, 0, 0);
    expect_fault(13, 0);
}
TEST_F(CpuBadTask, BeyondTheGdt) {
    guest.gate(0x40, kTaskGate, kBeyondGdt, 0);
    expect_fault(13, kBeyondGdt);
}
TEST_F(CpuBadTask, ThatIsBusy) {
    guest.descriptor(kTaskSelector, kTaskTss, 0x67, 0x8B);
    expect_fault(13, kTaskSelector);
}
TEST_F(CpuBadTask, ThatIsNoTask) {
    guest.gate(0x40, kTaskGate, kData32, 0);
    expect_fault(13, kData32);
}
TEST_F(CpuBadTask, ThatIsAbsent) {
    guest.descriptor(kTaskSelector, kTaskTss, 0x67, 0x09);
    expect_fault(11, kTaskSelector);
}
TEST_F(CpuBadTask, ThatIsTooSmall) {
    guest.descriptor(kTaskSelector, kTaskTss, 0x66, 0x89);
    expect_fault(10, kTaskSelector);
}
TEST_F(CpuBadTask, SixteenBitThatIsTooSmall) {
    guest.descriptor(kTask16Selector, kTask16Tss, 0x2A, 0x81);
    guest.gate(0x40, kTaskGate, kTask16Selector, 0);
    expect_fault(10, kTask16Selector);
}

// What is wrong inside the new TSS is found in the new task; another task handles it.
class CpuBadTaskContents : public CpuTasks {
  protected:
    void expect_fault(unsigned vector, std::uint16_t error_code) {
        guest.gate(vector, kTaskGate, kTask16Selector, 0);
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.state().tr.selector, kTask16Selector);
        EXPECT_EQ(guest.stacked16(0), error_code);
        EXPECT_EQ(guest.load16(kTask16Tss), kTaskSelector) << "the fault belongs to the new task";
        EXPECT_EQ(guest.load32(kTaskTss + 0x20), kTaskCode);
    }
};

TEST_F(CpuBadTaskContents, CodeSegmentOfAnotherPrivilege) {
    guest.store16(kTaskTss + 0x4C, kCode32 | 3);
    expect_fault(10, kCode32);
}
TEST_F(CpuBadTaskContents, DataAsCodeSegment) {
    guest.store16(kTaskTss + 0x4C, kData32);
    expect_fault(10, kData32);
}
TEST_F(CpuBadTaskContents, AbsentCodeSegment) {
    guest.store16(kTaskTss + 0x4C, kAbsentCode);
    expect_fault(11, kAbsentCode);
}
TEST_F(CpuBadTaskContents, NullStackSegment) {
    guest.store16(kTaskTss + 0x50, 0);
    expect_fault(10, 0);
}
TEST_F(CpuBadTaskContents, AbsentStackSegment) {
    guest.store16(kTaskTss + 0x50, kAbsentData);
    expect_fault(12, kAbsentData);
}
TEST_F(CpuBadTaskContents, DataSegmentBeyondTheGdt) {
    guest.store16(kTaskTss + 0x54, kBeyondGdt);
    expect_fault(10, kBeyondGdt);
}
TEST_F(CpuBadTaskContents, AbsentDataSegment) {
    guest.store16(kTaskTss + 0x54, kAbsentData);
    expect_fault(11, kAbsentData);
}
TEST_F(CpuBadTaskContents, LocalTableThatIsNone) {
    guest.store16(kTaskTss + 0x60, kData32);
    expect_fault(10, kData32);
}

}  // namespace
}  // namespace vpc::test
