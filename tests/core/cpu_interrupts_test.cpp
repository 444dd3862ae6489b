// When external interrupts are taken: the interrupt window, shadows, halt, NMI.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint8_t kIrq = 0x50;
constexpr std::uint32_t kDevice = 0xE0000000;  // reading it raises the interrupt

class CpuInterrupts : public testing::Test {
  protected:
    CpuInterrupts() {
        guest.protected_mode();
        guest.start.debug[6] = 0xFFFF0FF0;
        guest.memory.map_mmio("device", kDevice, 0x1000,
                              {.read =
                                   [this](std::uint32_t, unsigned) {
                                       guest.request_interrupt(kIrq);
                                       return std::uint32_t{kData32};
                                   },
                               .write = {}});
    }
    /// With an interrupt pending all the time.
    void run_pending() {
        guest.cpu->set_state(guest.start);
        guest.request_interrupt(kIrq);
        ASSERT_EQ(guest.resume(), CpuExit::Halted);
    }
    void expect_taken_at(std::uint32_t eip) {
        EXPECT_EQ(guest.handler(), kIrq);
        EXPECT_EQ(guest.stacked32(0), eip);
        EXPECT_EQ(guest.state().debug[6], 0xFFFF0FF0u) << "nothing was single-stepped as far as the guest sees";
    }
    Guest guest;
};

TEST_F(CpuInterrupts, OneInstructionRunsAfterSti) {
    guest.code({0xFB, 0x40, 0x40, 0x40, 0xF4});  // STI; INC EAX (3 times); HLT
    run_pending();
    EXPECT_EQ(guest.reg(kEax), 1u);
    expect_taken_at(kCode + 2);
}

TEST_F(CpuInterrupts, HltAfterStiIsLeft) {
    guest.code({0x90, 0xFB, 0xF4});  // NOP; STI; HLT
    run_pending();
    expect_taken_at(kCode + 3);
}

TEST_F(CpuInterrupts, CliAfterStiClosesTheWindow) {
    guest.code({0xFB, 0xFA, 0x40, 0xF4});  // STI; CLI; INC EAX; HLT
    run_pending();
    EXPECT_EQ(guest.handler(), -1);
    EXPECT_EQ(guest.state().eip, kCode + 4);
    EXPECT_EQ(guest.state().debug[6], 0xFFFF0FF0u);
}

TEST_F(CpuInterrupts, SecondStiCastsNoShadow) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({0x8B, 0x1D, 0x00, 0x00, 0x00, 0xE0,  // MOV EBX,[E0000000h]: raises the interrupt
                0xFB, 0x40, 0x40, 0xF4});            // STI; INC EAX (twice); HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), kIrq);
    EXPECT_EQ(guest.stacked32(0), kCode + 6 + guest.reg(kEax) + (guest.reg(kEax) > 0 ? 1 : 0))
        << "state and return address agree";
}

TEST_F(CpuInterrupts, SoftwareInterruptMayBeTheInstructionAfterSti) {
    guest.code({0xFB, 0xCD, 0x40, 0xF4});         // STI; INT 40h; HLT
    guest.store(handler_of(0x40), {0x40, 0xCF});  // INC EAX; IRETD
    run_pending();
    EXPECT_EQ(guest.reg(kEax), 1u);
    expect_taken_at(kCode + 3);
}

TEST_F(CpuInterrupts, LoadingTheStackSegmentShadowsOneInstruction) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({
        0x8E, 0x15, 0x00, 0x00, 0x00, 0xE0,  // MOV SS,[E0000000h]: raises the interrupt
        0xBC, 0x00, 0x68, 0x00, 0x00,        // MOV ESP,6800h
        0x40, 0x40, 0xF4,                    // INC EAX (twice); HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    expect_taken_at(kCode + 11);
    EXPECT_EQ(guest.reg(kEsp), 0x6800u - 12) << "on the new stack";
    EXPECT_EQ(guest.reg(kEax), 0u);
}

TEST_F(CpuInterrupts, PoppingTheStackSegmentShadowsOneInstruction) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.start.general[kEsp] = kDevice;                           // the selector comes from the device
    guest.code({0x17, 0xBC, 0x00, 0x68, 0x00, 0x00, 0x40, 0xF4});  // POP SS; MOV ESP,6800h; INC EAX; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    expect_taken_at(kCode + 6);
    EXPECT_EQ(guest.reg(kEsp), 0x6800u - 12);
}

TEST_F(CpuInterrupts, PopfOpensTheWindowAtOnce) {
    guest.code({0x68, 0x02, 0x02, 0x00, 0x00, 0x9D, 0x40, 0xF4});  // PUSH 202h; POPFD; INC EAX; HLT
    run_pending();
    EXPECT_EQ(guest.reg(kEax), 0u);
    expect_taken_at(kCode + 6);
}

TEST_F(CpuInterrupts, IretOpensTheWindowAtOnce) {
    guest.code({
        0x68, 0x02, 0x02, 0x00, 0x00,              // PUSH 202h
        0x0E, 0x68, 0x11, 0x00, 0x01, 0x00, 0xCF,  // PUSH CS; PUSH 10011h; IRETD
        0x90, 0x90, 0x90, 0x90, 0x90,              //
        0x40, 0xF4,                                // 10011h: INC EAX; HLT
    });
    run_pending();
    EXPECT_EQ(guest.reg(kEax), 0u);
    expect_taken_at(kCode + 0x11);
}

TEST_F(CpuInterrupts, RaisedByMmioIsTakenAtAnExactPlace) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({
        0x40, 0x8B, 0x1D, 0x00, 0x00, 0x00, 0xE0,  // INC EAX; MOV EBX,[E0000000h]
        0x41, 0x41, 0x41, 0x41, 0x41, 0xF4,        // INC ECX (5 times); HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    ASSERT_EQ(guest.handler(), kIrq);
    EXPECT_EQ(guest.reg(kEax), 1u) << "nothing runs twice";
    EXPECT_EQ(guest.reg(kEbx), kData32);
    const std::uint32_t done = guest.reg(kEcx);
    EXPECT_EQ(guest.stacked32(0), kCode + 7 + done + (done == 5 ? 1 : 0));
}

TEST_F(CpuInterrupts, WhoPollsAPortIsStoppedForTheClocksEventsWithoutBeingAsked) {
    VirtualClock::Event event = guest.clock.make_event("chip", [](std::int64_t, Nanoseconds) {});
    guest.clock.resume();
    guest.code({0xB9, 0xFF, 0xFF, 0x00, 0x00, 0xE4, 0x80, 0xE2, 0xFC, 0xF4});  // MOV ECX,FFFFh; IN AL,80h; LOOP; HLT
    event.schedule(guest.host_time + 1);
    ASSERT_EQ(guest.run(), CpuExit::Halted) << "not due";
    ++guest.host_time;
    guest.cpu->set_state(guest.start);
    ASSERT_EQ(guest.cpu->run(), CpuExit::Stopped);
    EXPECT_GT(guest.reg(kEcx), 0xFFFFu - 300);
    guest.clock.run_due();
    EXPECT_EQ(guest.cpu->run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEcx), 0u);
}

TEST_F(CpuInterrupts, HaltEndsWithAnInterrupt) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({0xF4, 0x40, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), -1);
    guest.request_interrupt(kIrq);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    expect_taken_at(kCode + 1);
}

TEST_F(CpuInterrupts, HaltWithInterruptsOffLasts) {
    guest.code({0xF4, 0x40, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    guest.request_interrupt(kIrq);
    EXPECT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 1);
    EXPECT_TRUE(guest.cpu->halted());
}

TEST_F(CpuInterrupts, NonMaskableInterruptIgnoresTheFlagAndEndsHalt) {
    guest.code({0xF4, 0x40, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    guest.cpu->deliver_nmi();
    EXPECT_FALSE(guest.cpu->halted());
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 2);
    EXPECT_EQ(guest.stacked32(0), kCode + 1);
    EXPECT_EQ(guest.reg(kEsp), kStack - 12);
}

TEST_F(CpuInterrupts, WithdrawnRequestIsNotSeen) {
    guest.code({0xFB, 0x40, 0x40, 0xFA, 0xF4});  // STI; INC EAX (twice); CLI; HLT
    guest.cpu->set_state(guest.start);
    guest.cpu->set_interrupt_request(true);
    guest.cpu->set_interrupt_request(false);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 2u);
    EXPECT_EQ(guest.cpu->statistics().external_interrupts, 0u);
}

TEST_F(CpuInterrupts, WindowIsClosedBehindSti) {
    guest.start.eflags |= eflags::kInterrupt;
    guest.start.interrupt_shadow = true;
    guest.cpu->set_state(guest.start);
    EXPECT_FALSE(guest.cpu->can_take_interrupt());
    guest.start.interrupt_shadow = false;
    guest.cpu->set_state(guest.start);
    EXPECT_TRUE(guest.cpu->can_take_interrupt());
}

TEST_F(CpuInterrupts, EveryInterruptOfManyIsDeliveredOnce) {
    // The guest counts what it gets; the handler opens the window again with STI; IRET.
    guest.start.eflags |= eflags::kInterrupt;
    guest.store(handler_of(kIrq), {0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00, 0xCF});  // INC DWORD [B000h]; IRETD
    guest.code({
        0x41, 0x8B, 0x1D, 0x00, 0x00, 0x00, 0xE0,                    // INC ECX; MOV EBX,[E0000000h]
        0x90, 0x90, 0x81, 0xF9, 0xE8, 0x03, 0x00, 0x00, 0x72, 0xEF,  // NOP; NOP; CMP ECX,1000; JB
        0x90, 0xFA, 0xF4,                                            // NOP; CLI; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEcx), 1000u);
    EXPECT_EQ(guest.load32(kData), 1000u);
}

}  // namespace
}  // namespace vpc::test
