#include "tests/devices/conformance.h"

#include <algorithm>

#include "devices/debug_port.h"
#include "devices/fw_cfg.h"
#include "devices/i8042.h"
#include "devices/i8254.h"
#include "devices/i8259a.h"
#include "devices/mc146818.h"
#include "devices/ps2_keyboard.h"
#include "devices/ps2_mouse.h"
#include "devices/system_ports.h"
#include "devices/uart16550a.h"

namespace vpc::devices::test {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(DeviceConformance);

TEST_P(DeviceConformance, ResettingTwiceIsAsGoodAsOnce) {
    const auto bench = make_bench();
    hammer(*bench, 500);
    const auto reset = [&] {
        for (Device* device : bench->devices) {
            device->reset();
        }
        return bench->save_devices();
    };
    const auto once = reset();
    EXPECT_EQ(once, reset());
}

TEST_P(DeviceConformance, FreshStateSurvivesSaveAndLoad) {
    const auto saved = make_bench()->save();
    const auto second = make_bench();
    second->load(saved);
    EXPECT_EQ(saved, second->save());
}

TEST_P(DeviceConformance, StateInMidOperationSurvivesSaveAndLoad) {
    const auto bench = make_bench();
    for (int round = 0; round < 100; ++round) {
        hammer(*bench, 1 + random() % 64);
        const auto saved = bench->save();
        const auto second = make_bench();
        second->load(saved);
        ASSERT_EQ(saved, second->save()) << "round " << round;
    }
}

TEST_P(DeviceConformance, LoadingOverAnotherStateLeavesNothingOfIt) {
    const auto bench = make_bench();
    hammer(*bench, 300);
    const auto saved = bench->save();
    hammer(*bench, 300);
    bench->load(saved);
    EXPECT_EQ(saved, bench->save());
}

TEST_P(DeviceConformance, LoadedDeviceGoesOnAsTheSavedOneDoes) {
    if (!GetParam().deterministic) {
        GTEST_SKIP() << "depends on more than its state";
    }
    const auto bench = make_bench();
    for (int round = 0; round < 20; ++round) {
        hammer(*bench, 200);
        const auto second = make_bench();
        std::copy_n(bench->memory.ram(), bench->memory.ram_size(), second->memory.ram());
        second->load(bench->save());
        std::mt19937 same = random;
        const auto reads = test::hammer(*bench, GetParam(), random, 200);
        ASSERT_EQ(reads, test::hammer(*second, GetParam(), same, 200)) << "round " << round;
        ASSERT_EQ(bench->save(), second->save()) << "round " << round;
    }
}

TEST_P(DeviceConformance, AnotherVersionIsRefused) {
    const auto bench = make_bench();
    auto saved = bench->save_devices();
    const std::size_t version = sizeof(std::uint32_t) + bench->devices.front()->name().size();
    ++saved[version];
    EXPECT_THROW(make_bench()->load_devices(saved), StateError);
}

TEST_P(DeviceConformance, TruncatedStateIsRefused) {
    const auto bench = make_bench();
    hammer(*bench, 100);
    const auto saved = bench->save_devices();
    const auto second = make_bench();
    const std::size_t step = 1 + saved.size() / 500;
    for (std::size_t size = 0; size < saved.size(); size += step) {
        EXPECT_THROW(second->load_devices(std::span(saved).first(size)), StateError) << size << " bytes";
    }
}

TEST_P(DeviceConformance, DamagedStateIsRefusedOrHarmless) {
    const auto bench = make_bench();
    for (int round = 0; round < 200; ++round) {
        hammer(*bench, 20);
        auto saved = bench->save_devices();
        for (unsigned i = 0; i < 4; ++i) {
            saved[random() % saved.size()] = static_cast<std::uint8_t>(random());
        }
        try {
            bench->load_devices(saved);
        } catch (const StateError&) {  // refused, and still a working chip
        }
    }
    hammer(*bench, 1000);
}

TEST_P(DeviceConformance, PeekingChangesNothing) {
    const auto bench = make_bench();
    for (int round = 0; round < 50; ++round) {
        hammer(*bench, 20);
        const auto before = bench->save();
        for (const Subject::Ports range : GetParam().ports) {
            for (unsigned i = 0; i < range.count; ++i) {
                bench->ports.peek(static_cast<std::uint16_t>(range.first + i), 1);
            }
        }
        ASSERT_EQ(before, bench->save()) << "round " << round;
    }
}

TEST_P(DeviceConformance, RandomAccessesDoNoHarm) {
    const auto bench = make_bench();
    hammer(*bench, 100'000);
    for (Device* device : bench->devices) {
        device->reset();
    }
    const auto saved = bench->save();
    bench->load(saved);
    EXPECT_EQ(saved, bench->save());
}

namespace {

constexpr std::int64_t kMay2007 = 1'178'000'000;

Subject pic_pair() {
    return {.name = "I8259A",
            .ports = {{0x20, 2}, {0xA0, 2}, {0x4D0, 2}},
            .build =
                [](Bench& bench) {
                    auto& cascade = bench.add<std::function<void(bool)>>();
                    auto& slave =
                        bench.add_device<I8259A>("8259A-slave", bench.ports, std::uint16_t{0xA0}, std::uint16_t{0x4D1},
                                                 std::uint8_t{0xDE}, Line([&cascade](bool level) { cascade(level); }));
                    auto& master = bench.add_device<I8259A>(
                        "8259A-master", bench.ports, std::uint16_t{0x20}, std::uint16_t{0x4D0}, std::uint8_t{0xF8},
                        Line(), [&slave] { return slave.acknowledge(); }, 2);
                    cascade = [&master](bool level) { master.set_irq(2, level); };
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& slave = static_cast<I8259A&>(*bench.devices[0]);
                    auto& master = static_cast<I8259A&>(*bench.devices[1]);
                    const auto input = static_cast<unsigned>(random() % 8);
                    const bool level = random() % 2 != 0;
                    switch (random() % 3) {
                        case 0:
                            slave.set_irq(input, level);
                            break;
                        case 1:
                            if (input != 2) {
                                master.set_irq(input, level);
                            }
                            break;
                        default:
                            master.acknowledge();
                            break;
                    }
                }};
}

Subject pit() {
    return {.name = "I8254",
            .ports = {{0x40, 4}},
            .build = [](Bench& bench) { bench.add_device<I8254>(bench.ports, bench.clock, Line()); },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& timer = static_cast<I8254&>(*bench.devices[0]);
                    const auto counter = static_cast<unsigned>(random() % 3);
                    timer.set_gate(counter, random() % 2 != 0);
                }};
}

/// The timer's interrupt arrives at the controller: edges in time, not just registers, must survive a save.
Subject pit_into_pic() {
    return {.name = "I8254IntoI8259A",
            .ports = {{0x40, 4}, {0x20, 2}},
            .build =
                [](Bench& bench) {
                    auto& pic = bench.add_device<I8259A>("8259A-master", bench.ports, std::uint16_t{0x20},
                                                         std::uint16_t{0x4D0}, std::uint8_t{0xF8}, Line());
                    bench.add_device<I8254>(bench.ports, bench.clock, pic.input(0));
                },
            .stimulate = [](Bench& bench, std::mt19937&) { static_cast<I8259A&>(*bench.devices[0]).acknowledge(); }};
}

Subject rtc() {
    return {.name = "Mc146818", .ports = {{0x70, 4}}, .build = [](Bench& bench) {
                bench.add_device<Mc146818>(
                    bench.ports, bench.clock, [] { return kMay2007; }, Line());
            }};
}

Subject keyboard_controller() {
    return {.name = "I8042",
            .ports = {{0x60, 1}, {0x64, 1}},
            .build =
                [](Bench& bench) {
                    auto& keyboard = bench.add_device<Ps2Keyboard>(bench.clock);
                    auto& controller =
                        bench.add_device<I8042>(bench.ports, bench.clock, Line(), Line(), Line(), Line());
                    controller.connect_keyboard(keyboard);
                    controller.connect_aux(bench.add_device<Ps2Mouse>(bench.clock));
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& mouse = static_cast<Ps2Mouse&>(*bench.devices[2]);
                    switch (random() % 4) {
                        case 0:
                            mouse.move(static_cast<int>(random()), static_cast<int>(random() % 9) - 4);
                            return;
                        case 1:
                            mouse.move(0, 0, static_cast<int>(random() % 5) - 2);
                            return;
                        case 2:
                            mouse.set_buttons(static_cast<std::uint8_t>(random()));
                            return;
                        default:
                            break;
                    }
                    const auto key = static_cast<Key>(random() % 256);
                    const bool pressed = random() % 2 != 0;
                    static_cast<Ps2Keyboard&>(*bench.devices[0]).key(key, pressed);
                }};
}

Subject uart() {
    return {.name = "Uart16550A",
            .ports = {{0x3F8, 8}},
            .build =
                [](Bench& bench) {
                    bench.add_device<Uart16550A>("COM1", bench.ports, bench.clock, std::uint16_t{0x3F8}, Line(),
                                                 [](std::uint8_t) {});
                },
            .stimulate =
                [](Bench& bench, std::mt19937& random) {
                    auto& chip = static_cast<Uart16550A&>(*bench.devices[0]);
                    const auto value = static_cast<std::uint8_t>(random());
                    random() % 4 == 0 ? chip.set_modem_inputs(value) : chip.receive(value);
                }};
}

Subject system_control() {
    return {.name = "SystemControlPorts", .ports = {{0x61, 1}, {0x92, 1}, {0x42, 2}}, .build = [](Bench& bench) {
                auto& timer = bench.add_device<I8254>(bench.ports, bench.clock, Line());
                bench.add_device<SystemControlPorts>(bench.ports, bench.clock, timer, Line(), [] {});
            }};
}

Subject firmware_configuration() {
    return {.name = "FwCfg", .ports = {{0x510, 12}}, .build = [](Bench& bench) {
                auto& device = bench.add_device<FwCfg>(bench.ports, bench.memory);
                device.add_file("etc/test", {1, 2, 3});
            }};
}

Subject debug_port() {
    return {.name = "DebugPort", .ports = {{0xE9, 1}}, .build = [](Bench& bench) {
                bench.add_device<DebugPort>(bench.ports, std::uint16_t{0xE9}, std::uint8_t{0xE9}, [](std::uint8_t) {});
            }};
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Chips, DeviceConformance,
                         testing::Values(pic_pair(), pit(), pit_into_pic(), rtc(), keyboard_controller(), uart(),
                                         system_control(), firmware_configuration(), debug_port()),
                         subject_name);

}  // namespace vpc::devices::test
