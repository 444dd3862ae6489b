// Whatever a guest does to the keyboard controller, keyboard, mouse, pointer, UARTs and parallel port, while a user
// types, points and sends, ends without harm; at any moment the state can be saved and loaded.
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "devices/i8042.h"
#include "devices/parallel_port.h"
#include "devices/ps2_keyboard.h"
#include "devices/ps2_mouse.h"
#include "devices/uart16550a.h"
#include "devices/vmware_backdoor.h"
#include "tests/devices/conformance.h"
#include "tests/fuzz/fuzzed_machine.h"

namespace {

using namespace vpc;
using namespace vpc::devices;
using namespace vpc::devices::test;

class Machine final : public FuzzedMachine {
  public:
    explicit Machine(std::span<const std::uint8_t> input) : FuzzedMachine(input) {
        controller_.connect_keyboard(keyboard_);
        controller_.connect_aux(mouse_);
        uart_.on_room([this] {
            if (uart_.can_receive() && host_bytes_ != 0) {
                --host_bytes_;
                uart_.receive(0x55);
            }
        });
    }

  private:
    std::uint16_t port() {
        static constexpr std::uint16_t kPorts[] = {0x60,  0x64,  0x60,  0x64,  0x3F8, 0x3F9, 0x3FA, 0x3FB,
                                                   0x3FC, 0x3FD, 0x3FE, 0x3FF, 0x378, 0x379, 0x37A, 0x5658};
        return kPorts[next() % std::size(kPorts)];
    }

    void step() override {
        switch (next() % 12) {
            case 0:
            case 1:
                bench_.in(port());
                break;
            case 2:
            case 3:
            case 4: {
                const std::uint16_t where = port();
                bench_.out(where, next());
                break;
            }
            case 5:
                bench_.advance(Nanoseconds{1} << (next() % 32));
                break;
            case 6:
                keyboard_.key(static_cast<Key>(next()), (next() & 1) != 0);
                break;
            case 7:
                mouse_.move(static_cast<std::int32_t>(next32()), static_cast<std::int32_t>(next32()),
                            static_cast<std::int8_t>(next()));
                mouse_.set_buttons(next());
                break;
            case 8:
                host_bytes_ = next();
                uart_.receive(next());
                uart_.set_modem_inputs(next());
                break;
            case 9: {  // a call of the pointer's driver, mostly with what it knows
                static constexpr std::uint32_t kParameters[] = {0x45414552, 0x53424152, 0x4C455252, 0xF5, 1, 4};
                const std::uint8_t choice = next();
                registers_ = {0x564D5868, 38u + choice % 4, 0x5658,
                              choice < 0xF0 ? kParameters[choice / 4 % std::size(kParameters)] : next32()};
                bench_.in(0x5658, 4);
                break;
            }
            case 10:
                backdoor_.move_to(next(), next());
                backdoor_.set_buttons(next());
                backdoor_.turn_wheel(static_cast<std::int32_t>(next32()));
                break;
            default:
                check_state();
                break;
        }
    }

    std::vector<std::uint8_t> save() override { return bench_.save(); }
    void load(const std::vector<std::uint8_t>& state) override { bench_.load(state); }

    Bench bench_;
    unsigned host_bytes_ = 0;
    std::array<std::uint32_t, 4> registers_{};
    I8042& controller_ = bench_.add_device<I8042>(bench_.ports, bench_.clock, Line(), Line(), Line(), Line());
    Ps2Keyboard& keyboard_ = bench_.add_device<Ps2Keyboard>(bench_.clock);
    Ps2Mouse& mouse_ = bench_.add_device<Ps2Mouse>(bench_.clock);
    Uart16550A& uart_ =
        bench_.add_device<Uart16550A>("16550A-1", bench_.ports, bench_.clock, 0x3F8, Line(), [](std::uint8_t) {});
    ParallelPort& printer_port_ = bench_.add_device<ParallelPort>(bench_.ports, bench_.clock, Line(),
                                                                  [](std::uint8_t byte) { return byte != 0; });
    VmwareBackdoor& backdoor_ = bench_.add_device<VmwareBackdoor>(
        bench_.ports,
        VmwareBackdoor::Registers{
            .get = [this](GeneralRegister which) { return registers_[which]; },
            .set = [this](GeneralRegister which, std::uint32_t value) { registers_[which] = value; }},
        [this] { mouse_.wake_driver(); });
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Machine({data, size}).run();
    return 0;
}
