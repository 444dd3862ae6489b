// What happens on an engine that does not prove one of the overrides: the fallbacks must do the same, only slower.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/unicorn/engine_probe.h"
#include "delivery_cases.h"

namespace vpc::test {
namespace {

using unicorn::EngineFacts;

struct Fallback {
    const char* name;
    void (*take_away)(EngineFacts& facts);
};
std::ostream& operator<<(std::ostream& out, const Fallback& fallback) {
    return out << fallback.name;
}

class CpuFallback : public testing::TestWithParam<Fallback> {
  protected:
    static EngineFacts facts() {
        EngineFacts less = *unicorn::engine_facts();
        GetParam().take_away(less);
        less.repeated_strings &= less.layout.tlb.known() && less.exact_stops && less.self_modifying_code;
        return less;
    }
    Guest guest{facts()};
};

TEST_P(CpuFallback, DeliversAlike) {
    for (const DeliveryCase& which : delivery::kCases) {
        SCOPED_TRACE(which.name);
        Guest usual;
        Guest without(facts());
        for (Guest* each : {&usual, &without}) {
            prepare(*each, which);
            if (which.hardware_interrupt) {
                each->cpu->set_state(each->start);
                each->cpu->deliver_interrupt(kHardwareVector);
            } else {
                ASSERT_EQ(each->run(), CpuExit::Halted);
            }
        }
        EXPECT_TRUE(usual.state() == without.state());
        EXPECT_TRUE(std::equal(usual.memory.ram(), usual.memory.ram() + kMemory, without.memory.ram()));
    }
}

TEST_P(CpuFallback, StopsAreExact) {
    PortBus::Claim claim =
        guest.ports.claim({.owner = "stop", .first = 0x80, .count = 1},
                          {.write = [this](std::uint16_t, std::uint32_t, unsigned) { guest.cpu->request_stop(); }});
    guest.protected_mode();
    guest.code({
        0x31, 0xC9,                                // XOR ECX,ECX
        0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,        // INC DWORD [kData]
        0xE6, 0x80,                                // OUT 80h,AL: asks for a stop
        0xFF, 0x05, 0x04, 0xB0, 0x00, 0x00,        // INC DWORD [kData+4]
        0xFF, 0x05, 0x08, 0xB0, 0x00, 0x00,        // INC DWORD [kData+8]
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xE5, 0xF4,  // INC ECX; CMP ECX,100; JB; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    for (const std::uint32_t at : {kData, kData + 4, kData + 8}) {
        EXPECT_EQ(guest.load32(at), 100u);
    }
}

TEST_P(CpuFallback, EndlessLoopsAreStoppedByAnotherThread) {
    guest.protected_mode();
    guest.code({0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,  // INC DWORD [kData]
                0xFF, 0x05, 0x04, 0xB0, 0x00, 0x00,  // INC DWORD [kData+4]
                0xEB, 0xF2});                        // JMP to the start
    guest.cpu->set_state(guest.start);
    Kicker kicker([this] { guest.cpu->request_stop(); });
    for (int i = 0; i < 20; ++i) {
        kicker.arm(VirtualClock::steady_host_time() + kMillisecond);
        EXPECT_EQ(guest.cpu->run(), CpuExit::Stopped);
        kicker.disarm();
    }
    const std::uint32_t behind = guest.state().eip == kCode + 6 ? 1 : 0;
    EXPECT_GT(guest.load32(kData), 0u);
    EXPECT_EQ(guest.load32(kData), guest.load32(kData + 4) + behind);
}

TEST_P(CpuFallback, InterruptsWaitForTheirWindow) {
    guest.protected_mode();
    guest.code({0x31, 0xC9, 0x41, 0x81, 0xF9, 0x00, 0x00, 0x01, 0x00, 0x72, 0xF7,  // count to 65536, IF clear
                0xFB, 0x90, 0xEB, 0xFD});                                          // STI; NOP; JMP to the NOP
    guest.cpu->set_state(guest.start);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x50);
    EXPECT_EQ(guest.reg(kEcx), 65536u);
}

TEST_P(CpuFallback, SelfModifyingCodeRunsAsWritten) {
    guest.protected_mode();
    guest.store(kData, {0xB0, 0x00, 0xC3});  // MOV AL,imm8; RET
    guest.code({
        0x31, 0xC9, 0x31, 0xDB,                    // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0x0D, 0x01, 0xB0, 0x00, 0x00,        // MOV [kData+1],CL
        0xFF, 0x05, 0x00, 0xB1, 0x00, 0x00,        // INC DWORD [kData+100h]
        0xE8, 0xEB, 0xAF, 0xFF, 0xFF,              // CALL kData
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,              // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xE4, 0xF4,  // INC ECX; CMP ECX,100; JB; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 4950u);
    const std::uint8_t patch[] = {0x77};
    guest.memory.write(kData + 1, patch);  // DMA into translated code
    guest.code({0xE8, 0xFB, 0xAF, 0xFF, 0xFF, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x77u);
}

/// Accesses over page borders, to many times the pages that the engine's TLB first has room for.
TEST_P(CpuFallback, AddsToManyPages) {
    constexpr std::uint32_t kCount = 20000;
    constexpr std::uint32_t kFirst = 0x200FFE;
    constexpr std::uint32_t kPages = 0x3FF000;
    guest.protected_mode();
    guest.code({
        0xB8, 0x39, 0x30, 0x00, 0x00, 0xB9, 0x20, 0x4E, 0x00, 0x00,  // MOV EAX,12345; MOV ECX,20000
        0x31, 0xD2,                                                  // XOR EDX,EDX
        0x69, 0xC0, 0x6D, 0x4E, 0xC6, 0x41,                          // 1000Ch: IMUL EAX,EAX,1103515245
        0x05, 0x39, 0x30, 0x00, 0x00,                                // ADD EAX,12345
        0x89, 0xC3, 0xC1, 0xEB, 0x09,                                // MOV EBX,EAX; SHR EBX,9
        0x81, 0xE3, 0x00, 0xF0, 0x3F, 0x00,                          // AND EBX,3FF000h
        0x01, 0x83, 0xFE, 0x0F, 0x20, 0x00,                          // ADD [EBX+200FFEh],EAX
        0x33, 0x93, 0xFE, 0x1F, 0x20, 0x00,                          // XOR EDX,[EBX+201FFEh]
        0x49, 0x75, 0xDB, 0xF4,                                      // DEC ECX; JNZ 1000Ch; HLT
    });
    std::vector<std::uint32_t> words(kPages / 0x1000 + 2);
    std::uint32_t random = 12345;
    std::uint32_t read = 0;
    for (std::uint32_t i = 0; i < kCount; ++i) {
        random = random * 1103515245 + 12345;
        const std::uint32_t page = (random >> 9 & kPages) / 0x1000;
        words[page] += random;
        read ^= words[page + 1];
    }
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEdx), read);
    for (std::uint32_t page = 0; page < words.size(); ++page) {
        ASSERT_EQ(guest.load32(kFirst + page * 0x1000), words[page]) << page;
    }
}

INSTANTIATE_TEST_SUITE_P(
    Without, CpuFallback,
    testing::Values(Fallback{"TlbLookUps", [](EngineFacts& facts) { facts.layout.tlb = {}; }},
                    Fallback{"ExactStops", [](EngineFacts& facts) { facts.exact_stops = false; }},
                    Fallback{"SelfModifyingCode", [](EngineFacts& facts) { facts.self_modifying_code = false; }},
                    Fallback{"DirectState",
                             [](EngineFacts& facts) {
                                 facts.direct_state = false;
                                 facts.layout.tlb = {};  // found in the live state only
                             }},
                    Fallback{"RepeatedStrings", [](EngineFacts& facts) { facts.repeated_strings = false; }},
                    Fallback{"GrowingTlb", [](EngineFacts& facts) { facts.growing_tlb = false; }},
                    Fallback{"InterruptWindow", [](EngineFacts& facts) { facts.interrupt_window = false; }},
                    Fallback{"AnyOverride",
                             [](EngineFacts& facts) {
                                 facts.exact_stops = facts.self_modifying_code = facts.direct_state = false;
                                 facts.layout.tlb = {};
                                 facts.port_permission = facts.virtual_time_stamp = facts.interrupt_window = false;
                             }}),
    [](const testing::TestParamInfo<Fallback>& fallback) { return std::string(fallback.param.name); });

}  // namespace
}  // namespace vpc::test
