// Taking the processor's state out and putting it back, and stops.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/state_stream.h"
#include "guest.h"

namespace vpc::test {
namespace {

void expect_identity(Guest& guest) {
    const CpuState before = guest.state();
    guest.cpu->set_state(before);
    EXPECT_EQ(guest.state(), before);
}

TEST(CpuStateRoundTrip, AfterReset) {
    Guest guest;
    EXPECT_EQ(guest.state(), CpuState::after_reset(default_cpu_model().signature));
    expect_identity(guest);
}

TEST(CpuStateRoundTrip, EveryFieldIsKept) {
    Guest guest;
    guest.protected_mode(3);
    CpuState& state = guest.start;
    state.general = {1, 2, 3, 4, 5, 6, 7, 0x80000008};
    state.eflags = 0x00243CD7 & ~eflags::kResume;  // ID AC IOPL NT? OF DF IF and the arithmetic flags
    state.segments[kGs] = {.selector = 0x23, .base = 0x12345678, .limit = 0x0FFF, .attributes = 0x40F3};
    state.ldtr = {.selector = kSpare, .base = 0x23456789, .limit = 0x1F, .attributes = 0x82};
    state.cr2 = 0xDEADBEEF;
    state.cr3 = 0x5000;
    state.cr4 = cr4::kPageSizeExtension | cr4::kOsFxsave;
    state.debug = {0x10, 0x20, 0x30, 0x40, 0, 0, 0xFFFF0FF0, 0x400};
    state.interrupt_shadow = true;
    state.a20 = false;
    state.sysenter_cs = 8;
    state.sysenter_esp = 0x1111;
    state.sysenter_eip = 0x2222;
    state.time_stamp_offset = 0x123456789ABCDEF0;
    state.mxcsr = 0x1F00;
    for (std::size_t i = 0; i < 8; ++i) {
        state.xmm[i].fill(static_cast<std::uint8_t>(0xA0 + i));
    }
    guest.cpu->set_state(state);
    EXPECT_EQ(guest.state(), state);
    expect_identity(guest);
}

TEST(CpuStateRoundTrip, HaltedProcessorStaysHalted) {
    Guest guest;
    guest.protected_mode();
    guest.code({0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    expect_identity(guest);
    EXPECT_TRUE(guest.state().halted);
    EXPECT_EQ(guest.cpu->run(), CpuExit::Halted);
}

TEST(CpuStateRoundTrip, FloatingPointStackInUse) {
    Guest guest;
    guest.protected_mode();
    guest.code({
        0xDB, 0xE3, 0xD9, 0xE8, 0xD9, 0xEB, 0xD9, 0xEE,  // FNINIT; FLD1; FLDPI; FLDZ
        0xF4,                                            // HLT
        0xD8, 0xC1, 0xDD, 0x1D, 0x00, 0xB0, 0x00, 0x00,  // FADD ST,ST1; FSTP QWORD [B000h]
        0xDD, 0xD8, 0xDD, 0x1D, 0x08, 0xB0, 0x00, 0x00,  // FSTP ST; FSTP QWORD [B008h]
        0xF4,                                            //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    expect_identity(guest);
    CpuState saved = guest.state();
    EXPECT_EQ(saved.fpu_status >> 11 & 7, 5) << "TOP";
    EXPECT_EQ(saved.st[1][9], 0x40) << "the exponent of pi, in stack order";
    saved.halted = false;

    Guest other;
    other.protected_mode();
    other.memory.write(kCode, {guest.memory.ram() + kCode, 64});
    other.start = saved;
    ASSERT_EQ(other.run(), CpuExit::Halted);
    EXPECT_EQ(other.load32(kData + 4), 0x400921FBu) << "pi";
    EXPECT_EQ(other.load32(kData + 12), 0x3FF00000u) << "1";
    EXPECT_EQ(other.state().fpu_tags, 0xFFFF) << "everything was popped";
}

TEST(CpuStateRoundTrip, VectorRegistersInUse) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr4 = cr4::kOsFxsave;
    for (std::uint32_t i = 0; i < 4; ++i) {
        guest.store32(kData + 4 * i, 0x3F800000 + i);
    }
    guest.code({0x0F, 0x10, 0x2D, 0x00, 0xB0, 0x00, 0x00, 0xF4});  // MOVUPS XMM5,[B000h]; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().xmm[5][4], 1);
    EXPECT_EQ(guest.state().xmm[5][3], 0x3F);
    expect_identity(guest);
}

TEST(CpuStateRoundTrip, InTheMiddleOfVirtual8086Mode) {
    Guest guest;
    guest.virtual_8086(3);
    guest.start.eflags |= eflags::kInterrupt;
    guest.code({0x40, 0xEB, 0xFD});  // INC AX; JMP
    guest.cpu->set_state(guest.start);
    std::atomic<bool> done = false;
    std::thread stopper([&] {
        while (!done) {
            guest.cpu->request_stop();
            std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
    });
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(guest.cpu->run(), CpuExit::Stopped);
        expect_identity(guest);
    }
    done = true;
    stopper.join();
    EXPECT_NE(guest.state().eflags & eflags::kVirtual8086, 0u);
    EXPECT_EQ(guest.state().cpl, 3);
    guest.request_interrupt(0x50);
    ASSERT_EQ(guest.resume(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x50);
    EXPECT_EQ(guest.stacked32(1), 0x1000u);
}

TEST(CpuStateRoundTrip, MovesToAnotherProcessorInMidLoop) {
    // Sums 1 to 200000, moving between two processors over one memory image at every stop.
    Guest guest;
    guest.protected_mode();
    guest.code({
        0x41, 0x01, 0xC8, 0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,  // INC ECX; ADD EAX,ECX; INC DWORD [B000h]
        0x81, 0xF9, 0x40, 0x0D, 0x03, 0x00, 0x72, 0xEF, 0xF4,  // CMP ECX,200000; JB; HLT
    });
    guest.cpu->set_state(guest.start);
    std::atomic<bool> done = false;
    std::thread stopper([&] {
        while (!done) {
            guest.cpu->request_stop();
            std::this_thread::yield();
        }
    });
    const Nanoseconds deadline = VirtualClock::steady_host_time() + 20 * kSecond;
    CpuExit exit = CpuExit::Stopped;
    while (exit == CpuExit::Stopped && VirtualClock::steady_host_time() < deadline) {
        exit = guest.cpu->run();
        const CpuState state = guest.state();
        guest.cpu->set_state(state);
    }
    done = true;
    stopper.join();
    ASSERT_EQ(exit, CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEcx), 200000u);
    EXPECT_EQ(guest.reg(kEax), static_cast<std::uint32_t>(200000ull * 200001 / 2));
    EXPECT_EQ(guest.load32(kData), 200000u) << "a stop neither skips nor repeats anything";
}

TEST(CpuStateRoundTrip, SavedStateIsLoadedFromBytes) {
    Guest guest;
    guest.protected_mode(3);
    guest.code({0xCD, 0x41});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    CpuState state = guest.state();
    StateStream saver = StateStream::saver();
    state.serialize(saver);
    CpuState loaded;
    StateStream loader = StateStream::loader(saver.bytes());
    loaded.serialize(loader);
    EXPECT_EQ(loaded, state);
}

TEST(CpuStateRoundTrip, ImpossiblePrivilegeIsRefused) {
    CpuState state;
    state.cpl = 4;
    StateStream saver = StateStream::saver();
    EXPECT_THROW(state.serialize(saver), StateError);
}

TEST(CpuStops, EndlessLoopIsStoppedFromAnotherThread) {
    Guest guest;
    guest.protected_mode();
    guest.code({0xEB, 0xFE});  // JMP $
    guest.cpu->set_state(guest.start);
    for (int i = 0; i < 200; ++i) {
        std::atomic<bool> done = false;
        std::thread stopper([&] {
            while (!done) {  // one request can be lost while the engine starts
                guest.cpu->request_stop();
                std::this_thread::yield();
            }
        });
        EXPECT_EQ(guest.cpu->run(), CpuExit::Stopped);
        done = true;
        stopper.join();
    }
    EXPECT_EQ(guest.state().eip, kCode);
}

TEST(CpuStops, RequestBeforeTheRunEndsItAtOnce) {
    Guest guest;
    guest.protected_mode();
    guest.code({0x40, 0xF4});
    guest.cpu->set_state(guest.start);
    guest.cpu->request_stop();
    EXPECT_EQ(guest.cpu->run(), CpuExit::Stopped);
    EXPECT_EQ(guest.reg(kEax), 0u);
    EXPECT_EQ(guest.cpu->run(), CpuExit::Halted) << "a request counts once";
    EXPECT_EQ(guest.reg(kEax), 1u);
}

TEST(CpuStops, RequestFromAPortIsExact) {
    Guest guest;
    guest.protected_mode();
    const auto claim = guest.ports.claim(
        {.owner = "stop", .first = 0x80, .count = 1},
        {.read = {}, .write = [&](std::uint16_t, std::uint32_t, unsigned) { guest.cpu->request_stop(); }, .peek = {}});
    guest.code({
        0x40, 0xE6, 0x80, 0x43, 0xE6, 0x80, 0x41,  // INC EAX; OUT 80h,AL; INC EBX; OUT 80h,AL; INC ECX
        0x83, 0xF9, 0x64, 0x72, 0xF4, 0xF4,        // CMP ECX,100; JB; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 100u);
    EXPECT_EQ(guest.reg(kEbx), 100u);
    EXPECT_EQ(guest.reg(kEcx), 100u);
}

TEST(CpuStops, TwoProcessorsOnTwoThreadsDoNotDisturbEachOther) {
    const auto count = [](std::uint32_t* result) {
        Guest guest;
        guest.protected_mode();
        guest.code({0x41, 0xFF, 0x05, 0x00, 0xB0, 0x00, 0x00,                // INC ECX; INC DWORD [B000h]
                    0x81, 0xF9, 0x00, 0x00, 0x10, 0x00, 0x72, 0xF1, 0xF4});  // CMP ECX,100000h; JB; HLT
        guest.run();
        *result = guest.load32(kData);
    };
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    std::thread one(count, &first);
    std::thread two(count, &second);
    one.join();
    two.join();
    EXPECT_EQ(first, 0x100000u);
    EXPECT_EQ(second, 0x100000u);
}

TEST(CpuEngine, NamesItselfAndItsOverrides) {
    const auto info = cpu_engine_info();
    ASSERT_TRUE(info.has_value()) << info.error();
    EXPECT_NE(info->name.find("Unicorn"), std::string::npos);
    EXPECT_NE(info->overrides.find("exact stops"), std::string::npos);
    EXPECT_NE(info->overrides.find("self-modifying code"), std::string::npos);
}

}  // namespace
}  // namespace vpc::test
