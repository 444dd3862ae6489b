// Whatever a guest does to the chips of a PC's board that are no drive, display or input device, while interrupt and
// DMA requests come and go, ends without harm; at any moment the state can be saved and loaded. They are the
// interrupt controllers, timer, clock, DMA controllers, system control ports, PCI bus, bridges, power management,
// firmware configuration and debug port.
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

#include "devices/debug_port.h"
#include "devices/fw_cfg.h"
#include "devices/i440fx.h"
#include "devices/i8237a.h"
#include "devices/i8254.h"
#include "devices/i8259a.h"
#include "devices/mc146818.h"
#include "devices/pci_bus.h"
#include "devices/piix4_isa.h"
#include "devices/piix4_pm.h"
#include "devices/system_ports.h"
#include "tests/devices/conformance.h"
#include "tests/fuzz/fuzzed_machine.h"

namespace {

using namespace vpc;
using namespace vpc::devices;
using namespace vpc::devices::test;

constexpr std::size_t kRom = 256 * 1024;
constexpr std::size_t kVgaRom = 32 * 1024;

class Machine final : public FuzzedMachine {
  public:
    explicit Machine(std::span<const std::uint8_t> input) : FuzzedMachine(input) {
        pci_.attach(0, 0, host_bridge_);
        pci_.attach(1, 0, isa_bridge_);
        pci_.attach(1, 3, power_management_);
        firmware_.add_file("etc/some-file", std::vector<std::uint8_t>(100, 0xA5));
    }

  private:
    void set_irq(unsigned irq, bool level) { irq < 8 ? master_.set_irq(irq, level) : slave_.set_irq(irq - 8, level); }
    I440Fx& add_host_bridge() {
        constexpr std::uint32_t kRomBase = 0xFFFC'0000;
        const std::vector<std::uint8_t> rom(kRom, 0x5A);
        std::uint8_t* bios = bench_.memory.map_rom("system BIOS", kRomBase, rom);
        std::uint8_t* vga_bios = bench_.memory.map_rom("VGA BIOS", kRomBase - kVgaRom, std::span(rom).first(kVgaRom));
        return bench_.add_device<I440Fx>(bench_.memory, bios, kRom, vga_bios, kVgaRom);
    }
    Piix4Isa& add_isa_bridge() {
        std::array<Line, Piix4Isa::kInterrupts> routed;
        for (unsigned irq = 0; irq < routed.size(); ++irq) {
            routed[irq] = Line([this, irq](bool level) { set_irq(irq, level); });
        }
        return bench_.add_device<Piix4Isa>(pci_, std::move(routed));
    }

    std::uint16_t port() {
        static constexpr std::uint16_t kPorts[] = {
            0x20, 0x21,   0xA0,   0xA1,   0x4D0,  0x4D1,  0x40,   0x41,   0x42,   0x43,   0x61,   0x92,   0x70,
            0x71, 0x72,   0x73,   0xCF8,  0xCF9,  0xCFC,  0xCFD,  0xCFE,  0xCFF,  0x510,  0x511,  0x514,  0x518,
            0xB2, 0xB3,   0xE9,   0x08,   0x0A,   0x0B,   0x0C,   0x0D,   0x0F,   0xD0,   0xD4,   0xD6,   0xD8,
            0xDA, 0xB000, 0xB002, 0xB004, 0xB008, 0xB100, 0xB102, 0xB103, 0xB104, 0xB105, 0xB107, 0xAFE0, 0xAFE2};
        const std::uint8_t choice = next();
        if (choice < std::size(kPorts)) {
            return kPorts[choice];
        }
        return choice < 0xE0          ? choice & 0x0F
               : (choice & 0x10) != 0 ? 0xC0 + (choice & 0x0F) * 2
                                      : 0x80 + (choice & 0x0F);
    }
    unsigned size() { return 1u << next() % 3; }
    void configure(std::uint32_t device, unsigned reg, std::uint32_t value, unsigned bytes) {
        bench_.out(0xCF8, 0x8000'0000 | device << 8 | (reg & 0xFC), 4);
        bench_.out(static_cast<std::uint16_t>(0xCFC + (reg & 3)), value, bytes);
    }

    void step() override {
        switch (next() % 12) {
            case 0:
            case 1: {
                const std::uint16_t where = port();
                bench_.in(where, size());
                break;
            }
            case 2:
            case 3:
            case 4: {
                const std::uint16_t where = port();
                const unsigned bytes = size();
                bench_.out(where, bytes == 4 ? next32() : next() * 0x0101u, bytes);
                break;
            }
            case 5:
                bench_.advance(Nanoseconds{1} << (next() % 40));
                break;
            case 6: {
                const std::uint8_t which = next();
                set_irq(which % 16, (which & 0x80) != 0);
                break;
            }
            case 7:
                master_.acknowledge();
                break;
            case 8:
                transfer();
                break;
            case 9: {  // a register of one of the functions; those that place ports lie in 40h-9Fh
                static constexpr std::uint32_t kFunctions[] = {0x00, 0x08, 0x0B, 0x10};
                const std::uint32_t function = kFunctions[next() % std::size(kFunctions)];
                const unsigned reg = next();
                const unsigned bytes = size();
                configure(function, reg & ~(bytes - 1), next32(), bytes);
                break;
            }
            case 10:
                if (next() == 0) {
                    for (Device* chip : bench_.devices) {
                        chip->reset();
                    }
                } else {
                    configure(0x0B, 0x40, 0xB001, 4);  // PMBASE and SMBBASE, where port() knows them
                    configure(0x0B, 0x90, 0xB101, 4);
                    configure(0x0B, 0x80, 1, 1);
                    configure(0x0B, 0xD2, 1, 1);
                    configure(0x0B, 0x04, 1, 2);
                }
                break;
            default:
                check_state();
                break;
        }
    }
    void transfer() {
        static constexpr unsigned kChannels[] = {0, 1, 2, 3, 5, 6, 7};
        const std::uint8_t which = next();
        I8237A::Channel& channel = dma_.channel(kChannels[which % std::size(kChannels)]);
        channel.set_request((which & 0x80) != 0);
        std::vector<std::uint8_t> data(next() * 16u);
        if ((which & 0x40) != 0) {
            channel.to_memory(data);
        } else {
            channel.from_memory(data);
        }
    }

    std::vector<std::uint8_t> save() override { return bench_.save(); }
    void load(const std::vector<std::uint8_t>& state) override { bench_.load(state); }

    Bench bench_;
    I8259A& slave_ = bench_.add_device<I8259A>("8259A-slave", bench_.ports, 0xA0, 0x4D1, 0xDE,
                                               Line([this](bool level) { master_.set_irq(2, level); }));
    I8259A& master_ = bench_.add_device<I8259A>(
        "8259A-master", bench_.ports, 0x20, 0x4D0, 0xF8, Line(), [this] { return slave_.acknowledge(); }, 2);
    I8254& timer_ =
        bench_.add_device<I8254>(bench_.ports, bench_.clock, Line([this](bool level) { set_irq(0, level); }));
    Mc146818& cmos_ = bench_.add_device<Mc146818>(
        bench_.ports, bench_.clock, [] { return std::int64_t{1'000'000'000}; },
        Line([this](bool level) { set_irq(8, level); }));
    I8237A& dma_ = bench_.add_device<I8237A>(bench_.ports, bench_.memory);
    SystemControlPorts& system_ports_ =
        bench_.add_device<SystemControlPorts>(bench_.ports, bench_.clock, timer_, Line(), [] {});
    PciBus& pci_ = bench_.add_device<PciBus>(bench_.ports, [](std::uint8_t) {});
    I440Fx& host_bridge_ = add_host_bridge();
    Piix4Isa& isa_bridge_ = add_isa_bridge();
    Piix4Pm& power_management_ = bench_.add_device<Piix4Pm>(
        bench_.ports, bench_.clock, Line([this](bool level) { set_irq(9, level); }), [] {}, Piix4Pm::Present{});
    FwCfg& firmware_ = bench_.add_device<FwCfg>(bench_.ports, bench_.memory);
    DebugPort& debug_port_ = bench_.add_device<DebugPort>(bench_.ports, 0xE9, 0xE9, [](std::uint8_t) {});
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Machine({data, size}).run();
    return 0;
}
