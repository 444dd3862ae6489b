// Guests of random code, in every mode: whatever they do, the processor survives and still computes.
//
// Each mode runs a fixed number of programs; VPC_RANDOM_SECONDS=60 runs each for that long, VPC_RANDOM_SEED=N starts at
// another program, and VPC_RANDOM_TRACE=1 names each program before it runs, for one that takes the process along.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "guest.h"
#include "random_program.h"

namespace vpc::test {
namespace {

constexpr int kPrograms = 100;
constexpr Nanoseconds kPatience = 3 * kMillisecond;
constexpr std::uint32_t kDeviceMemory = 0xE0000000;
constexpr std::uint32_t kRom = 0xFFFF0000;

struct Mode {
    const char* name;
    void (*prepare)(Guest& guest);
};
std::ostream& operator<<(std::ostream& out, const Mode& mode) {
    return out << mode.name;
}

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// A guest whose ports and addresses do everything that a chip may do to the processor in the middle of an instruction.
class RandomGuest {
  public:
    explicit RandomGuest(std::uint64_t seed) : program_(seed) {
        const auto misbehave = [this](std::uint32_t value) {
            switch (program_.below(8)) {
                case 0:
                    guest.cpu->set_interrupt_request(true);
                    interrupt_ = true;
                    break;
                case 1:
                    guest.cpu->request_stop();
                    break;
                case 2:
                    guest.cpu->set_a20((value & 1) != 0);
                    break;
                case 3: {  // DMA, now and then over the code that runs
                    const std::vector<std::uint8_t> data = program_.code(64);
                    guest.memory.write(kCode + (value & 0xFF), data);
                    break;
                }
                case 4:  // a chipset that moves its windows
                    guest.memory.set_window(0xC0000, 0x4000,
                                            {.read = (value & 1) != 0 ? guest.memory.ram() + 0xC0000 : rom_,
                                             .write = (value & 2) != 0 ? guest.memory.ram() + 0xC0000 : nullptr});
                    break;
                default:
                    break;
            }
        };
        claim_ = guest.ports.claim(
            {.owner = "random", .first = 0, .count = 0x8000, .widest = 4},
            {.read =
                 [this, misbehave](std::uint16_t, unsigned) {
                     const std::uint32_t value = program_.value();
                     misbehave(value);
                     return value;
                 },
             .write = [misbehave](std::uint16_t, std::uint32_t value, unsigned) { misbehave(value); }});
        guest.memory.map_mmio(
            "random", kDeviceMemory, 0x10000,
            {.read =
                 [this, misbehave](std::uint32_t, unsigned) {
                     const std::uint32_t value = program_.value();
                     misbehave(value);
                     return value;
                 },
             .write = [misbehave](std::uint32_t, std::uint32_t value, unsigned) { misbehave(value); }});
        rom_ = guest.memory.map_rom("ROM", kRom, program_.code(0x10000));
    }

    /// A new program with new registers and, some of the time, handlers that are as random as itself.
    void prepare(const Mode& mode, std::uint64_t seed) {
        program_ = RandomProgram(seed);
        guest.start = CpuState::after_reset(0);
        mode.prepare(guest);
        guest.memory.write(kCode, program_.code(512));
        for (unsigned vector = 0; vector < 256; ++vector) {
            guest.store(handler_of(vector), {0xF4});
        }
        if (program_.chance(50)) {
            guest.memory.write(kHandlers, program_.code(0x1000));
        }
        for (std::uint32_t i = program_.below(3); i > 0; --i) {  // a table entry or two, of nonsense
            guest.store32(kGdt + program_.below(kSpare), program_.value());
            guest.store32(kIdt + program_.below(256 * 8 - 4), program_.value());
            guest.store32(kTss + program_.below(0x68), program_.value());
            guest.store32(kTaskTss + program_.below(0x68), program_.value());
            guest.set_page_entry(program_.below(0x20000), program_.value());
        }
        for (unsigned i = 0; i < 8; ++i) {
            if (i != kEsp || program_.chance(10)) {
                guest.start.general[i] = program_.value();
            }
        }
        guest.start.eflags |= program_.value() & 0x254FD5 & (program_.chance(20) ? ~0u : ~(eflags::kTrap | 0x4000u));
        for (auto& byte : guest.start.st[0]) {
            byte = static_cast<std::uint8_t>(program_.below(256));
        }
    }

    /// What ended the program; Stopped: its time was over.
    CpuExit run() {
        guest.cpu->set_state(guest.start);
        const Nanoseconds deadline = VirtualClock::steady_host_time() + kPatience;
        watchdog_.arm(deadline);
        CpuExit exit = CpuExit::Stopped;
        bool over = false;
        while (!over) {
            if (interrupt_ && guest.cpu->can_take_interrupt()) {
                interrupt_ = false;
                guest.cpu->set_interrupt_request(false);
                guest.cpu->deliver_interrupt(static_cast<std::uint8_t>(program_.below(256)));
            } else if (exit == CpuExit::Halted) {
                guest.cpu->deliver_nmi();
            }
            exit = guest.cpu->run();
            over = exit == CpuExit::Shutdown || exit == CpuExit::Failed ||
                   (exit == CpuExit::Halted && program_.chance(30)) || VirtualClock::steady_host_time() > deadline;
        }
        watchdog_.disarm();
        guest.cpu->set_interrupt_request(false);
        interrupt_ = false;
        return exit;
    }

    Guest guest;

  private:
    RandomProgram program_;
    PortBus::Claim claim_;
    std::uint8_t* rom_ = nullptr;
    bool interrupt_ = false;
    Kicker watchdog_{[this] { guest.cpu->request_stop(); }};
};

/// What was left behind is a state a processor can be in, and one that can be saved and restored.
void expect_sane(Guest& guest) {
    const CpuState state = guest.cpu->state();
    EXPECT_NE(state.eflags & eflags::kAlwaysOne, 0u);
    EXPECT_LE(state.cpl, 3);
    if ((state.cr0 & cr0::kProtectionEnable) != 0 && (state.eflags & eflags::kVirtual8086) != 0) {
        EXPECT_EQ(state.cpl, 3);
    }
    guest.cpu->set_state(state);
    const CpuState again = guest.cpu->state();
    EXPECT_EQ(again.eflags, state.eflags);
    EXPECT_EQ(again.segments, state.segments);
    EXPECT_TRUE(again == state);
}

/// A guest that behaves: sums 1 to 1000, stores through the stack, takes an interrupt.
void expect_computes(Guest& guest) {
    guest.cpu->reset();
    guest.start = CpuState::after_reset(0);
    guest.protected_mode();
    guest.gate(0x41, kInterruptGate32, kCode32, handler_of(0x41));
    guest.store(handler_of(0x41), {0x40, 0xCF});  // INC EAX; IRETD
    guest.code({
        0x31, 0xC0, 0xB9, 0xE8, 0x03, 0x00, 0x00,  // XOR EAX,EAX; MOV ECX,1000
        0x01, 0xC8, 0xE2, 0xFC,                    // ADD EAX,ECX; LOOP
        0x50, 0x5B, 0xCD, 0x41, 0xF4,              // PUSH EAX; POP EBX; INT 41h; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 500501u);
    EXPECT_EQ(guest.reg(kEbx), 500500u);
    EXPECT_EQ(guest.state().eip, kCode + 16);
}

class CpuRandomCode : public testing::TestWithParam<Mode> {};

TEST_P(CpuRandomCode, LeavesTheProcessorAlive) {
    const std::uint64_t seconds = number_from_environment("VPC_RANDOM_SECONDS", 0);
    const bool trace = std::getenv("VPC_RANDOM_TRACE") != nullptr;
    std::uint64_t seed = number_from_environment("VPC_RANDOM_SEED", 1);
    const Nanoseconds end = VirtualClock::steady_host_time() + static_cast<Nanoseconds>(seconds) * kSecond;
    RandomGuest random(seed);
    std::array<int, 4> exits{};
    int programs = 0;
    for (; !HasFailure() && (programs < kPrograms || VirtualClock::steady_host_time() < end); ++programs, ++seed) {
        SCOPED_TRACE(testing::Message() << GetParam().name << ", program " << seed);
        if (trace) {
            std::fprintf(stderr, "%s %llu\n", GetParam().name, static_cast<unsigned long long>(seed));
        }
        random.prepare(GetParam(), seed);
        const CpuExit exit = random.run();
        ++exits[static_cast<std::size_t>(exit)];
        ASSERT_NE(exit, CpuExit::Failed) << random.guest.cpu->failure();
        expect_sane(random.guest);
        if (programs % 16 == 0) {
            expect_computes(random.guest);
        }
    }
    std::printf("%d programs: %d ran on, %d halted, %d shut down; %llu exceptions\n", programs, exits[0], exits[1],
                exits[2], static_cast<unsigned long long>(random.guest.cpu->statistics().exceptions));
}

INSTANTIATE_TEST_SUITE_P(Modes, CpuRandomCode,
                         testing::Values(Mode{"Real", [](Guest& guest) { guest.real_mode(); }},
                                         Mode{"Protected16", [](Guest& guest) { guest.protected_mode_16(); }},
                                         Mode{"Protected32", [](Guest& guest) { guest.protected_mode(); }},
                                         Mode{"User", [](Guest& guest) { guest.protected_mode(3); }},
                                         Mode{"Virtual8086", [](Guest& guest) { guest.virtual_8086(3); }},
                                         Mode{"Virtual8086Iopl0", [](Guest& guest) { guest.virtual_8086(0); }},
                                         Mode{"Paging",
                                              [](Guest& guest) {
                                                  guest.protected_mode();
                                                  guest.paging();
                                                  guest.task32();
                                                  guest.task16();
                                              }},
                                         Mode{"PagingUser",
                                              [](Guest& guest) {
                                                  guest.protected_mode(3);
                                                  guest.paging();
                                                  guest.task32();
                                                  guest.gate(0x43, kTaskGate, kTaskSelector, 0, 3);
                                              }},
                                         Mode{"PagingVirtual8086",
                                              [](Guest& guest) {
                                                  guest.virtual_8086(3);
                                                  guest.paging();
                                              }}),
                         [](const testing::TestParamInfo<Mode>& mode) { return std::string(mode.param.name); });

}  // namespace
}  // namespace vpc::test
