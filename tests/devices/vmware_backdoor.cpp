#include "devices/vmware_backdoor.h"

#include <gtest/gtest.h>

#include "devices/ps2_mouse.h"
#include "tests/devices/conformance.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint16_t kPort = 0x5658;
constexpr std::uint32_t kMagic = 0x564D5868;
constexpr std::uint32_t kEnable = 0x45414552;
constexpr std::uint32_t kAbsolute = 0x53424152;
constexpr std::uint32_t kRelative = 0x4C455252;

/// The registers of a CPU that does nothing but these calls.
struct FakeRegisters {
    std::array<std::uint32_t, 8> values{};
    VmwareBackdoor::Registers access() {
        return {.get = [this](GeneralRegister which) { return values[which]; },
                .set = [this](GeneralRegister which, std::uint32_t value) { values[which] = value; }};
    }
};

class VmwareBackdoorTest : public testing::Test {
  protected:
    std::uint32_t call(std::uint32_t command, std::uint32_t parameter) {
        cpu.values = {};
        cpu.values[kEax] = kMagic;
        cpu.values[kEbx] = parameter;
        cpu.values[kEcx] = command;
        cpu.values[kEdx] = kPort;
        cpu.values[kEax] = bench.in(kPort, 4);
        return cpu.values[kEax];
    }
    std::uint32_t status() { return call(40, 0); }
    void use_absolute() {
        call(41, kEnable);
        EXPECT_EQ(call(39, 1), 0x3442554Au);
        call(41, kAbsolute);
        EXPECT_TRUE(door.absolute());
    }
    using Packet = std::array<std::uint32_t, 4>;
    Packet packet() {
        call(39, 4);
        return {cpu.values[kEax], cpu.values[kEbx], cpu.values[kEcx], cpu.values[kEdx]};
    }

    Bench bench;
    FakeRegisters cpu;
    unsigned wakes = 0;
    VmwareBackdoor& door = bench.add_device<VmwareBackdoor>(bench.ports, cpu.access(), [this] { ++wakes; });
};

TEST_F(VmwareBackdoorTest, AnswersItsMagicAndNothingElse) {
    EXPECT_EQ(call(10, 0), 6u);
    EXPECT_EQ(cpu.values[kEbx], kMagic);
    cpu.values = {};
    cpu.values[kEcx] = 10;
    EXPECT_EQ(bench.in(kPort, 4), 0xFFFFFFFFu) << "no magic";
    EXPECT_EQ(cpu.values[kEbx], 0u);
    cpu.values[kEax] = kMagic;
    EXPECT_EQ(bench.in(kPort, 1), 0xFFu);
    EXPECT_EQ(bench.in(kPort, 2), 0xFFFFu);
    EXPECT_EQ(cpu.values[kEbx], 0u);
    EXPECT_EQ(call(99, 0), 0xFFFFFFFFu);
    EXPECT_EQ(cpu.values[kEbx], 0u);
    EXPECT_EQ(bench.ports.peek(kPort, 4), 0xFFFFFFFFu);
}

/// The calls of Linux's driver, in its order.
TEST_F(VmwareBackdoorTest, DriverFindsAndEnablesThePointer) {
    EXPECT_EQ(status() & 0xFFFF0000, 0xFFFF0000u) << "not enabled yet";
    call(41, kEnable);
    EXPECT_EQ(status(), 1u);
    EXPECT_EQ(call(39, 1), 0x3442554Au);
    EXPECT_EQ(status(), 0u);
    EXPECT_FALSE(door.absolute());
    EXPECT_EQ(call(86, 1), 0xFFFFFFFFu) << "restricting the port to the kernel: unknown here, and ignored there";
    call(41, kAbsolute);
    EXPECT_TRUE(door.absolute());
    call(41, kRelative);
    EXPECT_FALSE(door.absolute());
    call(41, kAbsolute);
    call(41, 0xF5);
    EXPECT_FALSE(door.absolute());
    EXPECT_EQ(status(), 0xFFFF0000u);
}

TEST_F(VmwareBackdoorTest, ChangesArePacketsOfFourWords) {
    use_absolute();
    door.move_to(0x1234, 0xFFFF);
    EXPECT_EQ(wakes, 1u);
    door.move_to(0x1234, 0xFFFF);
    EXPECT_EQ(wakes, 1u) << "did not move";
    door.set_buttons(Ps2Mouse::kLeft | Ps2Mouse::kMiddle);
    door.set_buttons(Ps2Mouse::kRight);
    door.turn_wheel(-1);
    EXPECT_EQ(wakes, 4u);
    EXPECT_EQ(status(), 16u);
    EXPECT_EQ(packet(), (Packet{0, 0x1234, 0xFFFF, 0}));
    EXPECT_EQ(packet(), (Packet{0x28, 0x1234, 0xFFFF, 0}));
    EXPECT_EQ(packet(), (Packet{0x10, 0x1234, 0xFFFF, 0}));
    EXPECT_EQ(packet(), (Packet{0x10, 0x1234, 0xFFFF, 0xFFFFFFFF}));
    EXPECT_EQ(status(), 0u);
}

TEST_F(VmwareBackdoorTest, NothingIsQueuedForADriverThatDoesNotWantIt) {
    door.move_to(1, 2);
    door.turn_wheel(1);
    EXPECT_EQ(wakes, 0u);
    call(41, kEnable);
    door.set_buttons(Ps2Mouse::kLeft);
    EXPECT_EQ(status(), 1u);
}

TEST_F(VmwareBackdoorTest, AskingForTooMuchIsAnErrorUntilEnabledAgain) {
    use_absolute();
    EXPECT_EQ(call(39, 4), 0xFFFFFFFFu);
    EXPECT_EQ(status(), 0xFFFF0000u);
    use_absolute();
    EXPECT_EQ(status(), 0u);
    for (const std::uint32_t count : {0u, 5u, 0xFFFFFFFFu}) {
        door.turn_wheel(1);
        door.turn_wheel(1);
        EXPECT_EQ(call(39, count), 0xFFFFFFFFu);
        EXPECT_EQ(status(), 0xFFFF0000u);
        use_absolute();
    }
}

TEST_F(VmwareBackdoorTest, FullQueueEndsWithTheTruth) {
    use_absolute();
    for (std::uint16_t i = 1; i <= 1000; ++i) {
        door.move_to(i, i);
    }
    EXPECT_EQ(status(), 256u);
    Packet last{};
    while (status() != 0) {
        last = packet();
    }
    EXPECT_EQ(last, (Packet{0, 1000, 1000, 0}));
}

TEST_F(VmwareBackdoorTest, SavedWithAFullQueueItGoesOn) {
    use_absolute();
    door.move_to(7, 8);
    door.set_buttons(Ps2Mouse::kLeft);
    call(39, 1);
    const auto saved = bench.save();
    door.reset();
    EXPECT_FALSE(door.absolute());
    bench.load(saved);
    EXPECT_TRUE(door.absolute());
    EXPECT_EQ(status(), 7u);
    EXPECT_EQ(packet(), (Packet{7, 8, 0, 0x20}));
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Vmware, DeviceConformance,
                         testing::Values(Subject{
                             .name = "VmwareBackdoor",
                             .ports = {{kPort, 4}},
                             .build =
                                 [](Bench& bench) {
                                     // A CPU whose registers are mostly right, so that commands are reached.
                                     auto& random = bench.add<std::minstd_rand>(1u);
                                     VmwareBackdoor::Registers registers{
                                         .get = [&random](GeneralRegister which) -> std::uint32_t {
                                             static constexpr std::uint32_t kParameters[] = {kEnable, kAbsolute, 1,
                                                                                             4,       5,         0xF5};
                                             switch (which) {
                                                 case kEax:
                                                     return kMagic;
                                                 case kEcx:
                                                     return 38 + static_cast<std::uint32_t>(random() % 4);
                                                 default:
                                                     return kParameters[random() % std::size(kParameters)];
                                             }
                                         },
                                         .set = [](GeneralRegister, std::uint32_t) {}};
                                     bench.add_device<VmwareBackdoor>(bench.ports, std::move(registers), [] {});
                                 },
                             .stimulate =
                                 [](Bench& bench, std::mt19937& random) {
                                     auto& door = static_cast<VmwareBackdoor&>(*bench.devices[0]);
                                     door.move_to(static_cast<std::uint16_t>(random()),
                                                  static_cast<std::uint16_t>(random()));
                                     door.set_buttons(static_cast<std::uint8_t>(random()));
                                     door.turn_wheel(static_cast<int>(random() % 5) - 2);
                                 },
                             .deterministic = false}),
                         subject_name);

}  // namespace vpc::devices::test
