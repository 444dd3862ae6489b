// Our delivery of exceptions and interrupts against the engine's own: from the same memory and state, both must end
// with the same memory and state.
//
// Left out is where the engine (QEMU 5.0) departs from the Intel SDM, which ours follows: an absent inner stack segment
// is #SS, not #TS; a handler for virtual-8086 mode outside ring 0 is #GP, not #TS; and in 16-bit task state segments
// the selectors lie two bytes apart, not four.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "delivery_cases.h"
#include "engine_reference.h"

namespace vpc::test {
namespace {

std::string describe(const SegmentRegister& segment) {
    return testing::PrintToString(segment.selector) + ":" + testing::PrintToString(segment.base) + "+" +
           testing::PrintToString(segment.limit) + "/" + testing::PrintToString(segment.attributes);
}

class CpuDeliveryReference : public testing::TestWithParam<DeliveryCase> {};

TEST_P(CpuDeliveryReference, EndsWithTheSameStateAndMemory) {
    Guest ours;
    Guest theirs;
    prepare(ours, GetParam());
    prepare(theirs, GetParam());
    EngineReference engine(theirs);
    if (!engine.usable()) {
        GTEST_SKIP() << "this engine does not export its delivery";
    }
    CpuState mine;
    CpuState reference;
    if (GetParam().hardware_interrupt) {
        ours.cpu->set_state(ours.start);
        ours.cpu->deliver_interrupt(kHardwareVector);
        mine = ours.state();
        reference = engine.interrupt(theirs.start, kHardwareVector);
    } else {
        ASSERT_EQ(ours.run(), CpuExit::Halted);
        mine = ours.state();
        reference = engine.run(theirs.start);
    }
    EXPECT_NE(mine.eip, ours.start.eip) << "nothing happened";
    EXPECT_EQ(mine.general, reference.general);
    EXPECT_EQ(mine.eip, reference.eip);
    EXPECT_EQ(mine.eflags, reference.eflags) << std::hex << mine.eflags << ' ' << reference.eflags;
    for (unsigned i = 0; i < 6; ++i) {
        EXPECT_EQ(mine.segments[i], reference.segments[i])
            << "segment register " << i << ": " << describe(mine.segments[i]) << " and "
            << describe(reference.segments[i]);
    }
    EXPECT_EQ(mine.tr, reference.tr) << describe(mine.tr) << " and " << describe(reference.tr);
    EXPECT_EQ(mine.ldtr.selector, reference.ldtr.selector);
    EXPECT_EQ(mine.cr0, reference.cr0);
    EXPECT_EQ(mine.cr2, reference.cr2);
    EXPECT_EQ(mine.cr3, reference.cr3);
    EXPECT_EQ(mine.cpl, reference.cpl);
    const std::uint8_t* a = ours.memory.ram();
    const std::uint8_t* b = theirs.memory.ram();
    const auto [first, second] = std::mismatch(a, a + kMemory, b);
    EXPECT_EQ(first, a + kMemory) << "memory differs at " << std::hex << first - a << ": " << +*first << " and "
                                  << +*second;
}

INSTANTIATE_TEST_SUITE_P(Cases, CpuDeliveryReference, testing::ValuesIn(delivery::kCases),
                         [](const testing::TestParamInfo<DeliveryCase>& which) {
                             return std::string(which.param.name);
                         });

}  // namespace
}  // namespace vpc::test
