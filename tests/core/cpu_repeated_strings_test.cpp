// REP MOVS and REP STOS by whole pages do what the engine does element by element.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <random>
#include <tuple>
#include <vector>

#include "core/unicorn/engine_probe.h"
#include "core/unicorn/repeated_strings.h"
#include "guest.h"

namespace vpc::test {
namespace {

using unicorn::decode_repeated_string;
using unicorn::EngineFacts;
using unicorn::RepeatedString;

constexpr std::uint32_t kField = 0x40000;  // what the instructions move about in
constexpr std::uint32_t kFieldSize = 0x20000;
constexpr std::uint32_t kDevice = 0xA0000;  // right behind the RAM below
constexpr std::uint32_t kDeviceSize = 0x2000;

EngineFacts element_by_element() {
    EngineFacts facts = *unicorn::engine_facts();
    facts.repeated_strings = false;
    return facts;
}

/// A machine with a device that remembers what was done to it.
struct Machine {
    explicit Machine(const EngineFacts& facts) : guest(facts) {
        guest.memory.map_mmio("device", kDevice, kDeviceSize,
                              {.read =
                                   [this](std::uint32_t address, unsigned size) {
                                       accesses.emplace_back('r', address, size, 0);
                                       return address * 0x01010101u;
                                   },
                               .write = [this](std::uint32_t address, std::uint32_t value,
                                               unsigned size) { accesses.emplace_back('w', address, size, value); }});
    }

    std::vector<std::tuple<char, std::uint32_t, unsigned, std::uint32_t>> accesses;
    Guest guest;
};

struct Mode {
    const char* name;
    void (*prepare)(Guest& guest);
    bool code32;
};
std::ostream& operator<<(std::ostream& out, const Mode& mode) {
    return out << mode.name;
}

/// One instruction of random form, registers and surroundings.
class Scene {
  public:
    explicit Scene(std::uint32_t seed) : random_(seed) {}

    void prepare(Machine& machine, const Mode& mode) {
        Guest& guest = machine.guest;
        mode.prepare(guest);
        for (std::uint32_t i = 0; i < kFieldSize; i += 4) {
            guest.store32(kField + i, static_cast<std::uint32_t>(random_()));
        }
        const bool wide = mode.code32 != code(guest);
        const std::uint32_t to = place();
        const std::uint32_t from = chance(40) ? to + below(64) - 32 : place();
        aim(guest, kEs, kEdi, to, wide);
        aim(guest, segment_, kEsi, from, wide);
        guest.start.general[kEcx] = chance(10) ? below(3) : chance(50) ? below(64) : below(9000);
        if (!wide) {
            for (const unsigned each : {kEcx, kEsi, kEdi}) {
                guest.start.general[each] |= static_cast<std::uint32_t>(random_()) << 16;
            }
        }
        guest.start.general[kEax] = static_cast<std::uint32_t>(random_());
        if ((guest.start.cr0 & cr0::kPaging) != 0) {
            for (std::uint32_t page = kField; page < kField + kFieldSize; page += 0x1000) {
                const std::uint32_t elsewhere = chance(15) ? kField + (below(kFieldSize) & ~0xFFFu) : page;
                guest.set_page_entry(page, elsewhere | (chance(10) ? 0 : chance(10) ? 5 : 7));
            }
        }
    }

  private:
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_()) % bound; }
    bool chance(unsigned percent) { return below(100) < percent; }

    /// Often near a page's border, sometimes at the device.
    std::uint32_t place() {
        if (chance(8)) {
            return kDevice + 0x1000 + below(16);
        }
        const std::uint32_t middle = kField + kFieldSize / 4 + below(kFieldSize / 2);
        return chance(60) ? (middle & ~0xFFFu) + below(9) - 4 : middle;
    }

    /// Stores the instruction; true if its address size is not the mode's.
    bool code(Guest& guest) {
        std::vector<std::uint8_t> bytes;
        if (chance(40)) {
            bytes.push_back(0xFD);  // STD
        }
        std::vector<std::uint8_t> prefixes{static_cast<std::uint8_t>(chance(80) ? 0xF3 : 0xF2)};
        if (chance(30)) {
            prefixes.push_back(0x66);
        }
        const bool other_address = chance(30);
        if (other_address) {
            prefixes.push_back(0x67);
        }
        segment_ = kDs;
        if (chance(40)) {
            static constexpr std::array<std::uint8_t, 6> kPrefixes = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65};
            segment_ = std::array{kEs, kCs, kSs, kDs, kFs, kGs}[below(6)];
            prefixes.push_back(kPrefixes[segment_]);
        }
        std::shuffle(prefixes.begin(), prefixes.end(), random_);
        std::copy(prefixes.begin(), prefixes.end(), std::back_inserter(bytes));
        bytes.push_back(std::array<std::uint8_t, 4>{0xA4, 0xA5, 0xAA, 0xAB}[below(4)]);
        bytes.insert(bytes.end(), {0x0F, 0x94, 0xC0, 0xF4});  // SETE AL: the flags are whole; HLT
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            guest.store(kCode + static_cast<std::uint32_t>(i), {bytes[i]});
        }
        guest.start.eflags |= chance(50) ? 0x40u : 0u;  // ZF
        return other_address;
    }

    /// Offset and base that give the linear address. Code and stack stay where they are.
    void aim(Guest& guest, unsigned segment, unsigned index, std::uint32_t linear, bool wide) {
        SegmentRegister& aimed = guest.start.segments[segment];
        if (segment != kCs && segment != kSs && (!wide || chance(50))) {
            const std::uint32_t offset = wide ? below(linear) : chance(20) ? 0xFFF0 + below(16) : below(0x10000);
            aimed.base = linear - offset;
        }
        guest.start.general[index] = linear - aimed.base;
    }

    std::mt19937 random_;
    unsigned segment_ = kDs;
};

class CpuRepeatedStrings : public testing::TestWithParam<Mode> {
  protected:
    void SetUp() override {
        if (!unicorn::engine_facts()->repeated_strings) {
            GTEST_SKIP() << "this engine does them itself";
        }
    }
};

TEST_P(CpuRepeatedStrings, DoesAsTheEngine) {
    Machine whole(*unicorn::engine_facts());
    Machine elements(element_by_element());
    int faults = 0;
    int devices = 0;
    for (std::uint32_t seed = 0; seed < 250 && !HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << GetParam().name << ", scene " << seed);
        for (Machine* each : {&whole, &elements}) {
            each->accesses.clear();
            each->guest.start = CpuState::after_reset(0);
            Scene(seed).prepare(*each, GetParam());
            ASSERT_EQ(each->guest.run(), CpuExit::Halted);
        }
        const CpuState state = whole.guest.state();
        const CpuState expected = elements.guest.state();
        EXPECT_EQ(state.general, expected.general);
        EXPECT_EQ(state.eflags, expected.eflags);
        EXPECT_EQ(state.eip, expected.eip);
        EXPECT_EQ(state.cr2, expected.cr2);
        EXPECT_TRUE(state == expected);
        EXPECT_EQ(std::memcmp(whole.guest.memory.ram(), elements.guest.memory.ram(), kDevice), 0);
        EXPECT_EQ(whole.accesses, elements.accesses);
        faults += whole.guest.handler() == 14 ? 1 : 0;
        devices += whole.accesses.empty() ? 0 : 1;
    }
    EXPECT_GT(devices, 5);
    EXPECT_EQ(faults > 10, std::strncmp(GetParam().name, "Paging", 6) == 0) << faults;
}

INSTANTIATE_TEST_SUITE_P(Modes, CpuRepeatedStrings,
                         testing::Values(Mode{"Real", [](Guest& guest) { guest.real_mode(); }, false},
                                         Mode{"Protected16", [](Guest& guest) { guest.protected_mode_16(); }, false},
                                         Mode{"Protected32", [](Guest& guest) { guest.protected_mode(); }, true},
                                         Mode{"Virtual8086", [](Guest& guest) { guest.virtual_8086(3); }, false},
                                         Mode{"Paging",
                                              [](Guest& guest) {
                                                  guest.protected_mode();
                                                  guest.paging();
                                                  guest.start.cr0 |= cr0::kWriteProtect;
                                              },
                                              true},
                                         Mode{"PagingUser",
                                              [](Guest& guest) {
                                                  guest.protected_mode(3);
                                                  guest.paging();
                                              },
                                              true}),
                         [](const auto& each) { return each.param.name; });

TEST(CpuRepeatedString, OverwritesTheCodeBehindIt) {
    Guest guest;
    guest.protected_mode();
    guest.start.general[kEax] = 0x40;  // INC EAX
    guest.start.general[kEcx] = 6;
    guest.start.general[kEdi] = kCode + 2;
    guest.code({0xF3, 0xAA, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0xF4});  // REP STOSB; six NOP; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x46u);
}

TEST(CpuRepeatedString, OverwritesItselfAndGoesOnAsWhatItIsThen) {
    Guest guest;
    guest.protected_mode();
    guest.start.eflags |= eflags::kDirection;
    guest.start.general[kEax] = 0x90;
    guest.start.general[kEcx] = 100;
    guest.start.general[kEdi] = kCode + 9;
    // REP STOSB downwards, over the HLTs, then over itself: what is left of the count stays.
    guest.code({0x90, 0x90, 0x90, 0x90, 0xF3, 0xAA, 0x90, 0x90, 0xF4, 0xF4, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kCode + 11);
    EXPECT_EQ(guest.reg(kEcx), 95u);
    EXPECT_EQ(guest.load8(kCode + 4), 0xF3);
    EXPECT_EQ(guest.load8(kCode + 5), 0x90);
}

TEST(CpuRepeatedString, AnInterruptFindsItBetweenTwoElements) {
    Guest guest;
    guest.protected_mode();
    guest.gate(0x55, kInterruptGate32, kCode32, 0x60000);
    guest.store(0x60000, {0xF4});
    guest.start.eflags |= eflags::kInterrupt;
    guest.start.general[kEcx] = 0x4000;
    guest.start.general[kEdi] = kDevice - 0x2000;
    int stores = 0;
    guest.memory.map_mmio("device", kDevice, kDeviceSize, {.write = [&](std::uint32_t, std::uint32_t, unsigned) {
                              if (++stores == 3) {
                                  guest.request_interrupt(0x55);
                              }
                          }});
    guest.code({0xF3, 0xAA, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, 0x60001u);
    EXPECT_EQ(stores, 3);
    EXPECT_EQ(guest.reg(kEcx), 0x4000u - 0x2003u);
    EXPECT_EQ(guest.reg(kEdi), kDevice + 3);
    EXPECT_EQ(guest.stacked32(0), kCode) << "it goes on after IRET";
}

TEST(CpuRepeatedString, SingleStepTrapsAfterEveryElement) {
    Guest guest;
    guest.protected_mode();
    guest.gate(1, kInterruptGate32, kCode32, 0x60000);
    guest.store(0x60000, {0x43, 0xCF});  // INC EBX; IRETD
    guest.start.eflags |= eflags::kTrap;
    guest.start.general[kEbx] = 0;
    guest.start.general[kEcx] = 5;
    guest.start.general[kEdi] = kField;
    guest.code({0xF3, 0xAA, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEcx), 0u);
    EXPECT_GE(guest.reg(kEbx), 5u);
}

TEST(CpuRepeatedString, TimeStampCounterIsStillRead) {
    Guest guest;
    guest.clock.resume();
    guest.host_time = 0x12345678;
    guest.protected_mode();
    guest.code({0xF3, 0x0F, 0x31, 0x2E, 0x0F, 0x31, 0xF4});  // RDTSC with prefixes that mean nothing
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x12345678u);
    EXPECT_EQ(guest.reg(kEdx), 0u);
}

TEST(RepeatedString, IsRecognisedInEveryForm) {
    const auto decode = [](std::initializer_list<std::uint8_t> bytes, bool code32) {
        return decode_repeated_string({bytes.begin(), bytes.size()}, code32);
    };
    EXPECT_EQ(decode({0xF3, 0xA4, 0x90}, true),
              (RepeatedString{.move = true, .size = 1, .wide = true, .segment = kDs, .length = 2}));
    EXPECT_EQ(decode({0x66, 0xF2, 0xAB}, true), (RepeatedString{.size = 2, .wide = true, .length = 3}));
    EXPECT_EQ(decode({0x65, 0x67, 0x66, 0xF3, 0xA5}, false),
              (RepeatedString{.move = true, .size = 4, .wide = true, .segment = kGs, .length = 5}));
    EXPECT_FALSE(decode({0xA4}, true)) << "not repeated";
    EXPECT_FALSE(decode({0xF3, 0xA6}, true)) << "CMPS";
    EXPECT_FALSE(decode({0xF3}, true)) << "not all there";
    EXPECT_FALSE(decode({0xF3, 0xF3, 0xA4}, true)) << "a prefix twice is left to the engine";
    EXPECT_FALSE(decode({0xF0, 0xF3, 0xA4}, true)) << "LOCK is #UD";
    EXPECT_FALSE(decode({0xF3, 0x0F, 0x31}, true)) << "RDTSC";
}

}  // namespace
}  // namespace vpc::test
