// Faults met while an exception is delivered.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint8_t kAbsentGate = kInterruptGate32 & 0x7F;
constexpr unsigned kDoubleFault = 8;

class CpuDoubleFault : public testing::Test {
  protected:
    CpuDoubleFault() {
        guest.protected_mode();
        guest.task32();
    }
    void make_absent(unsigned vector) { guest.gate(vector, kAbsentGate, kCode32, 0); }
    Guest guest;
};

struct First {
    const char* name;
    unsigned vector;
    std::vector<std::uint8_t> code;  // raises it
};

class CpuContributory : public CpuDoubleFault, public testing::WithParamInterface<First> {};

TEST_P(CpuContributory, FollowedByAnotherOneIsADoubleFault) {
    make_absent(GetParam().vector);  // its delivery raises #NP
    guest.memory.write(kCode, GetParam().code);
    if (GetParam().vector == 11) {
        make_absent(11);
    }
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), static_cast<int>(kDoubleFault));
    EXPECT_EQ(guest.stacked32(0), 0u) << "the error code of #DF";
    EXPECT_EQ(guest.cpu->statistics().double_faults, 1u);
}

INSTANTIATE_TEST_SUITE_P(
    Exceptions, CpuContributory,
    testing::Values(First{"Divide", 0, {0x31, 0xC9, 0xF7, 0xF1}},                        // XOR ECX,ECX; DIV ECX
                    First{"SegmentNotPresent", 11, {0x66, 0xB8, 0x58, 0, 0x8E, 0xD8}},   // MOV DS,absent
                    First{"Stack", 12, {0x66, 0xB8, 0x58, 0, 0x8E, 0xD0}},               // MOV SS,absent
                    First{"GeneralProtection", 13, {0x66, 0xB8, 0xF8, 7, 0x8E, 0xD8}}),  // MOV DS,7F8h
    [](const auto& each) { return each.param.name; });

class CpuBenign : public CpuDoubleFault, public testing::WithParamInterface<First> {};

TEST_P(CpuBenign, FollowedByAFaultIsHandledSerially) {
    make_absent(GetParam().vector);
    guest.memory.write(kCode, GetParam().code);
    guest.store32(kData, 1);
    guest.store32(kData + 4, 2);
    if (GetParam().vector == 7) {
        guest.start.cr0 |= cr0::kTaskSwitched;
    }
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 11);
    EXPECT_EQ(guest.stacked32(0) & ~1u, GetParam().vector * 8 + 2);
    EXPECT_EQ(guest.cpu->statistics().double_faults, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Exceptions, CpuBenign,
    testing::Values(First{"InvalidOpcode", 6, {0x0F, 0x0B}}, First{"DeviceNotAvailable", 7, {0xD9, 0xE8}},  // FLD1
                    First{"Bound", 5, {0x31, 0xC0, 0x62, 0x05, 0x00, 0xB0, 0, 0}},  // BOUND EAX,[B000h]
                    First{"SoftwareInterrupt13", 13, {0xCD, 0x0D}}, First{"Breakpoint", 3, {0xCC}}),
    [](const auto& each) { return each.param.name; });

TEST_F(CpuDoubleFault, HardwareInterruptFollowedByAFaultIsHandledSerially) {
    guest.start.eflags |= eflags::kInterrupt;
    make_absent(0x50);
    guest.code({0xEB, 0xFE});
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 11);
    EXPECT_EQ(guest.cpu->statistics().double_faults, 0u);
}

TEST_F(CpuDoubleFault, PageFaultFollowedByAContributoryFault) {
    guest.paging();
    guest.set_page_entry(0x50000, 0);
    make_absent(14);
    guest.code({0xA1, 0x04, 0x00, 0x05, 0x00});  // MOV EAX,[50004h]
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), static_cast<int>(kDoubleFault));
    EXPECT_EQ(guest.state().cr2, 0x50004u);
    EXPECT_EQ(guest.stacked32(1), kCode);
}

TEST_F(CpuDoubleFault, PageFaultOnTheStackGoesThroughATaskGate) {
    guest.paging();
    guest.task32();
    guest.gate(kDoubleFault, kTaskGate, kTaskSelector, 0);
    guest.set_page_entry(0x50000, 0);
    guest.start.general[kEsp] = 0x51000;
    guest.code({0x90, 0xCD, 0x40});  // NOP; INT 40h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.tr.selector, kTaskSelector);
    EXPECT_EQ(state.cr2, 0x50FFCu);
    EXPECT_EQ(guest.reg(kEsp), kTaskStack - 4);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode + 1);
    EXPECT_EQ(guest.load32(kTss + 0x38), 0x51000u) << "the stack pointer of the interrupted code";
    EXPECT_EQ(guest.cpu->statistics().double_faults, 1u);
}

TEST_F(CpuDoubleFault, ContributoryFaultFollowedByAPageFaultIsHandledSerially) {
    // The gate of #GP lies on a page that is absent, the one of #PF on the next.
    constexpr std::uint32_t kTable = 0x52000 - 14 * 8;
    guest.paging();
    for (std::uint32_t vector = 14; vector < 16; ++vector) {
        guest.store32(kTable + 8 * vector, guest.load32(kIdt + 8 * vector));
        guest.store32(kTable + 8 * vector + 4, guest.load32(kIdt + 8 * vector + 4));
    }
    guest.set_page_entry(0x51000, 0);
    guest.start.idtr.base = kTable;
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});  // MOV AX,7F8h; MOV DS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 14);
    EXPECT_EQ(guest.state().cr2, kTable + 13 * 8);
    EXPECT_EQ(guest.cpu->statistics().double_faults, 0u);
}

TEST_F(CpuDoubleFault, StackFaultOfADeliveryIsADoubleFault) {
    guest.descriptor(kSpare, 0, 0xFFF, 0x4093);
    guest.gate(kDoubleFault, kTaskGate, kTaskSelector, 0);
    guest.start.segments[kSs] = {.selector = kSpare, .base = 0, .limit = 0xFFF, .attributes = 0x4093};
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});  // MOV AX,7F8h; MOV DS,AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().tr.selector, kTaskSelector);
    EXPECT_EQ(guest.load32(kTss + 0x20), kCode + 4);
}

TEST_F(CpuDoubleFault, ThirdFaultShutsTheProcessorDown) {
    make_absent(13);
    make_absent(kDoubleFault);
    guest.code({0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
    EXPECT_EQ(guest.run(), CpuExit::Shutdown);
    EXPECT_EQ(guest.cpu->statistics().shutdowns, 1u);
}

TEST_F(CpuDoubleFault, EmptyInterruptTableShutsTheProcessorDown) {
    guest.start.idtr.limit = 0;
    for (const std::vector<std::uint8_t>& code : {std::vector<std::uint8_t>{0x0F, 0x0B}, {0xCD, 0x40}, {0xCC}}) {
        guest.memory.write(kCode, code);
        EXPECT_EQ(guest.run(), CpuExit::Shutdown);
    }
}

TEST_F(CpuDoubleFault, ResetEndsAShutdown) {
    guest.start.idtr.limit = 0;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Shutdown);
    guest.cpu->reset();
    EXPECT_EQ(guest.state(), CpuState::after_reset(default_cpu_model().signature));
    guest.start.idtr.limit = 0x7FF;
    guest.code({0xF4});
    EXPECT_EQ(guest.run(), CpuExit::Halted);
}

}  // namespace
}  // namespace vpc::test
