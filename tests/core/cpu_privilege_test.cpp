// SYSENTER, the I/O permission bit map, the time stamp counter, CPUID, debug registers.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kSystemEntry = 0x60000;

// The engine aborts on a running task that is marked busy, or that is none.
TEST(CpuCallGate, LeadsToTheInnerRing) {
    Guest guest;
    guest.protected_mode(3);
    guest.store32(kGdt + kSpare, static_cast<std::uint32_t>(kCode32) << 16 | handler_of(0x60));
    guest.store32(kGdt + kSpare + 4, 0x0000EC00);                        // call gate of DPL 3, no parameters
    guest.code({0x9A, 0x00, 0x00, 0x00, 0x00, kSpare | 3, 0x00, 0xF4});  // CALLF kSpare:0; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x60);
    EXPECT_EQ(guest.stacked32(0), kCode + 7);
    EXPECT_EQ(guest.stacked32(1), kUserCode);
    EXPECT_EQ(guest.stacked32(2), kUserStack);
    EXPECT_EQ(guest.state().tr.attributes, 0x8B);
}

TEST(CpuTaskRegister, RefusesNull) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x31, 0xC0, 0x0F, 0x00, 0xD8, 0xF4});  // XOR EAX,EAX; LTR AX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.stacked32(1), kCode + 2);
}

TEST(CpuSysenter, EntersRing0) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.eflags |= eflags::kInterrupt | eflags::kCarry;
    guest.start.sysenter_cs = kCode32;
    guest.start.sysenter_esp = kStack;
    guest.start.sysenter_eip = kSystemEntry;
    guest.code({0x90, 0x0F, 0x34});  // NOP; SYSENTER
    guest.store(kSystemEntry, {0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.eip, kSystemEntry + 1);
    EXPECT_EQ(state.general[kEsp], kStack);
    EXPECT_EQ(state.cpl, 0);
    EXPECT_EQ(state.segments[kCs].selector, kCode32);
    EXPECT_EQ(state.segments[kSs].selector, kCode32 + 8);
    EXPECT_EQ(state.segments[kCs].limit, 0xFFFFFFFFu);
    EXPECT_EQ(state.eflags & eflags::kInterrupt, 0u);
    EXPECT_NE(state.eflags & eflags::kCarry, 0u);
}

TEST(CpuSysenter, SysexitReturnsToRing3) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.sysenter_cs = kCode32;
    guest.start.sysenter_esp = kStack;
    guest.start.sysenter_eip = kSystemEntry;
    guest.start.general[kEcx] = kUserStack - 0x40;
    guest.start.general[kEdx] = kCode + 2;
    guest.code({0x0F, 0x34, 0xCD, 0x41});     // SYSENTER; INT 41h
    guest.store(kSystemEntry, {0x0F, 0x35});  // SYSEXIT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.stacked32(0), kCode + 4);
    EXPECT_EQ(guest.stacked32(1), kUserCode);
    EXPECT_EQ(guest.stacked32(3), kUserStack - 0x40);
    EXPECT_EQ(guest.stacked32(4), kUserData);
}

TEST(CpuSysenter, WithoutACodeSegmentIsRefused) {
    Guest guest;
    guest.protected_mode(3);
    guest.code({0x90, 0x0F, 0x34});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.stacked32(1), kCode + 1);
}

TEST(CpuSysenter, InRealModeIsRefused) {
    Guest guest;
    guest.real_mode();
    guest.start.sysenter_cs = kCode32;
    guest.code({0x0F, 0x34});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
}

TEST(CpuSysenter, RegistersAreWrittenByWrmsr) {
    Guest guest;
    guest.protected_mode();
    guest.code({
        0x31, 0xD2,                                                              // XOR EDX,EDX
        0xB9, 0x74, 0x01, 0x00, 0x00, 0xB8, 0x08, 0,    0,    0,    0x0F, 0x30,  // WRMSR 174h,8
        0x41, 0xB8, 0x11, 0x22, 0x33, 0x44, 0x0F, 0x30,                          // WRMSR 175h,44332211h
        0x41, 0xB8, 0x55, 0x66, 0x77, 0x88, 0x0F, 0x30, 0x0F, 0x32, 0xF4,        // WRMSR 176h,88776655h; RDMSR; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    const CpuState state = guest.state();
    EXPECT_EQ(state.sysenter_cs, 8u);
    EXPECT_EQ(state.sysenter_esp, 0x44332211u);
    EXPECT_EQ(state.sysenter_eip, 0x88776655u);
    EXPECT_EQ(state.general[kEax], 0x88776655u);
}

// Port 3F7h and its neighbours under the permission bit map of the task.
class CpuPortPermission : public testing::Test {
  protected:
    static constexpr std::uint32_t kMap = kTss + 0x68;
    CpuPortPermission() {
        guest.protected_mode(3);
        allow_task_map();
        claim = guest.ports.claim({.owner = "device", .first = 0x3F0, .count = 16, .widest = 4},
                                  {.read =
                                       [this](std::uint16_t, unsigned) {
                                           ++reads;
                                           return 0x12345678u;
                                       },
                                   .write = {},
                                   .peek = {}});
        guest.start.general[kEdx] = 0x3F7;
    }
    void allow_task_map() {
        guest.start.tr.limit = 0x68 + 0x2000;
        for (std::uint32_t byte = 0; byte < 0x2001; byte += 4) {
            guest.store32(kMap + byte, 0xFFFFFFFF);
        }
    }
    void allow(std::uint16_t port) {
        const std::uint32_t byte = kMap + port / 8;
        guest.store(byte, {static_cast<std::uint8_t>(guest.load8(byte) & ~(1u << port % 8))});
    }
    void expect_allowed() {
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), 0x41);
        EXPECT_EQ(reads, 1);
    }
    void expect_refused() {
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), 13);
        EXPECT_EQ(guest.stacked32(0), 0u);
        EXPECT_EQ(guest.stacked32(1), kCode) << "the fault returns to the IN";
        EXPECT_EQ(reads, 0);
    }
    void byte_read() { guest.code({0xEC, 0xCD, 0x41}); }              // IN AL,DX; INT 41h
    void word_read() { guest.code({0x66, 0xED, 0x90, 0xCD, 0x41}); }  // IN AX,DX; NOP; INT 41h
    void double_word_read() { guest.code({0xED, 0xCD, 0x41}); }       // IN EAX,DX; INT 41h
    int reads = 0;
    Guest guest;
    PortBus::Claim claim;  // behind the guest: its bus must outlive it
};

TEST_F(CpuPortPermission, RefusesByDefault) {
    byte_read();
    expect_refused();
}
TEST_F(CpuPortPermission, AllowsAClearBit) {
    allow(0x3F7);
    byte_read();
    expect_allowed();
}
TEST_F(CpuPortPermission, WordNeedsBothBitsAcrossBytes) {
    allow(0x3F7);
    word_read();
    expect_refused();
    allow(0x3F8);
    expect_allowed();
}
TEST_F(CpuPortPermission, DoubleWordNeedsFourBits) {
    allow(0x3F7);
    allow(0x3F8);
    allow(0x3F9);
    double_word_read();
    expect_refused();
    allow(0x3FA);
    expect_allowed();
}
TEST_F(CpuPortPermission, PortsBehindTheLimitAreRefused) {
    allow(0x3F7);
    byte_read();
    guest.start.tr.limit = 0x68 + 0x3F7 / 8;  // the second byte that is looked at lies behind
    expect_refused();
    guest.start.tr.limit += 1;
    expect_allowed();
}
TEST_F(CpuPortPermission, A16BitTaskHasNone) {
    allow(0x3F7);
    byte_read();
    guest.start.tr.attributes = 0x83;
    guest.store16(kTss + 2, kInnerStack);
    guest.store16(kTss + 4, kData32);
    expect_refused();
}
TEST_F(CpuPortPermission, IoplMakesTheMapUnnecessary) {
    byte_read();
    guest.start.eflags |= eflags::kIopl;
    expect_allowed();
}
TEST_F(CpuPortPermission, Virtual8086ModeAlwaysAsksTheMap) {
    guest.virtual_8086(3);
    allow_task_map();
    guest.start.general[kEdx] = 0x3F7;
    byte_read();
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(1), 0u);
    EXPECT_EQ(reads, 0);
    allow(0x3F7);
    expect_allowed();
}
TEST_F(CpuPortPermission, WritesAreAskedToo) {
    guest.code({0xEE, 0xCD, 0x41});  // OUT DX,AL; INT 41h
    expect_refused();
}
TEST_F(CpuPortPermission, StringReadsAreAskedToo) {
    guest.code({0x6C, 0xCD, 0x41});  // INSB; INT 41h
    guest.start.general[kEdi] = kData;
    expect_refused();
    EXPECT_EQ(guest.reg(kEdi), kData);
}

TEST(CpuTimeStamp, FollowsVirtualTime) {
    Guest guest;
    guest.protected_mode();
    guest.clock.resume();
    guest.host_time = 0x123456789A;
    guest.code({0x0F, 0x31, 0xF4});  // RDTSC; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x3456789Au);
    EXPECT_EQ(guest.reg(kEdx), 0x12u);
    guest.clock.pause();
    guest.host_time += kSecond;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x3456789Au) << "a paused machine's counter stands still";
}

TEST(CpuTimeStamp, IsSetByWrmsrAndReadByRdmsr) {
    Guest guest;
    guest.protected_mode();
    guest.clock.resume();
    guest.host_time = 1000;
    guest.code({
        0xB9, 0x10, 0x00, 0x00, 0x00, 0xBA, 0x07, 0x00, 0x00, 0x00,  // MOV ECX,10h; MOV EDX,7
        0xB8, 0x00, 0x01, 0x00, 0x00, 0x0F, 0x30,                    // MOV EAX,100h; WRMSR
        0x31, 0xC0, 0x31, 0xD2, 0x0F, 0x32, 0xF4,                    // XOR EAX,EAX; XOR EDX,EDX; RDMSR; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x100u);
    EXPECT_EQ(guest.reg(kEdx), 7u);
    guest.host_time += 0x23;
    guest.code({0x0F, 0x31, 0xF4});
    guest.start = guest.state();
    guest.start.eip = kCode;
    guest.start.halted = false;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x123u);
}

TEST(CpuTimeStamp, IsForbiddenToProgramsByTimeStampDisable) {
    Guest guest;
    guest.protected_mode(3);
    guest.start.cr4 = cr4::kTimeStampDisable;
    guest.code({0x90, 0x0F, 0x31, 0xCD, 0x41});  // NOP; RDTSC; INT 41h
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 13);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.stacked32(1), kCode + 1);
    guest.start.cr4 = 0;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
}

TEST(CpuTimeStamp, IsNotForbiddenToRing0) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr4 = cr4::kTimeStampDisable;
    guest.code({0x0F, 0x31, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
}

class CpuModels : public testing::TestWithParam<CpuModel> {};

TEST_P(CpuModels, IdentifyThemselves) {
    const CpuModel& model = GetParam();
    Guest guest(model);
    EXPECT_EQ(guest.reg(kEdx), model.signature) << "after reset";
    guest.protected_mode();
    for (const std::uint32_t leaf : {0u, 1u, 2u, 0x80000000u}) {
        guest.start.general[kEax] = leaf;
        guest.code({0x0F, 0xA2, 0xF4});  // CPUID; HLT
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        const CpuidResult expected = cpuid(model, leaf);
        const CpuState state = guest.state();
        EXPECT_EQ(state.general[kEax], expected.eax) << "leaf " << leaf;
        EXPECT_EQ(state.general[kEbx], expected.ebx) << "leaf " << leaf;
        EXPECT_EQ(state.general[kEcx], expected.ecx) << "leaf " << leaf;
        EXPECT_EQ(state.general[kEdx], expected.edx) << "leaf " << leaf;
    }
    EXPECT_EQ(cpuid(model, 0).eax, model.highest_leaf);
    EXPECT_EQ(cpuid(model, 1).edx, model.features);
}

TEST_P(CpuModels, ExecuteWhatTheyAnnounce) {
    const CpuModel& model = GetParam();
    Guest guest(model);
    guest.protected_mode();
    guest.code({0xF8, 0x0F, 0x43, 0xC8, 0xF4});  // CLC; CMOVNC ECX,EAX; HLT
    guest.start.general[kEax] = 77;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    if ((model.features & feature::kCmov) != 0) {
        EXPECT_EQ(guest.reg(kEcx), 77u);
    } else {
        EXPECT_EQ(guest.handler(), 6);
    }
    // The engine executes SSE on every model, announced or not: only the announced ones are looked at.
    if ((model.features & feature::kSse) != 0) {
        guest.start.cr4 = cr4::kOsFxsave;
        guest.code({0x0F, 0x28, 0xC8, 0xF4});  // MOVAPS XMM1,XMM0; HLT
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.handler(), -1);
    }
}

INSTANTIATE_TEST_SUITE_P(All, CpuModels, testing::ValuesIn(cpu_models().begin(), cpu_models().end()),
                         [](const auto& each) { return std::string(each.param.name); });

TEST(CpuDebugRegisters, BreakpointsKeepTheirValueAndTheHostSurvives) {
    Guest guest;
    guest.protected_mode();
    guest.code({
        0xB8, 0x1D, 0x00, 0x01, 0x00, 0x0F, 0x23, 0xC0,  // MOV EAX,1001Dh; MOV DR0,EAX
        0xB8, 0x00, 0xB0, 0x00, 0x00, 0x0F, 0x23, 0xC8,  // MOV EAX,B000h; MOV DR1,EAX
        0xB8, 0x0A, 0x04, 0xD0, 0x00, 0x0F, 0x23, 0xF8,  // MOV EAX,D0040Ah; MOV DR7,EAX: DR0 execution, DR1 stores
        0x90, 0x90, 0x90, 0x90, 0x90, 0x90,              //
        0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,              // INC DWORD [B000h]
        0x0F, 0x21, 0xFB, 0x0F, 0x21, 0xC1, 0xF4,        // MOV EBX,DR7; MOV ECX,DR0; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 0xD0040Au);
    EXPECT_EQ(guest.reg(kEcx), 0x1001Du);
    EXPECT_EQ(guest.load32(kData), 1u);
    EXPECT_EQ(guest.state().debug[1], kData);
}

TEST(CpuDebugRegisters, PortBreakpointsStopNothingAndLeaveTheFlagsAlone) {
    constexpr std::uint32_t kFlags = 0x55;  // CF, PF, AF, ZF
    Guest guest;
    guest.protected_mode();
    guest.start.general[kEdx] = 1;
    guest.start.general[kEbx] = 0xFFFFFFFF;
    guest.code({
        0xB8, 0x80, 0x00, 0x00, 0x00, 0x0F, 0x23, 0xC0,  // MOV EAX,80h; MOV DR0,EAX
        0xB8, 0x03, 0x04, 0x02, 0x00, 0x0F, 0x23, 0xF8,  // MOV EAX,20403h; MOV DR7,EAX: DR0 input and output
        0x31, 0xC0, 0x9E, 0xEB, 0x00,                    // XOR EAX,EAX; SAHF; JMP
        0x01, 0xDA, 0xE4, 0x80, 0x9C,                    // ADD EDX,EBX; IN AL,80h; PUSHFD
        0x01, 0xDA, 0xE6, 0x80, 0x5E, 0xF4,              // ADD EDX,EBX; OUT 80h,AL; POP ESI; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
    EXPECT_EQ(guest.reg(kEsi) & 0x8D5, kFlags);
    EXPECT_EQ(guest.state().debug[6] & 0xF, 0u);
}

}  // namespace
}  // namespace vpc::test
