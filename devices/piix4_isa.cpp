#include "devices/piix4_isa.h"

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

constexpr unsigned kPirqRouteControlA = 0x60;  // PIRQRC[A:D]
constexpr std::uint8_t kRouteDisabled = 0x80;
constexpr std::uint8_t kRouteInterrupt = 0x0F;
constexpr unsigned kRoutable = 0xDEF8;  // 3-7, 9-12, 14, 15; the other numbers are reserved

}  // namespace

Piix4Isa::Piix4Isa(PciBus& bus, std::array<Line, kInterrupts> interrupts)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x7110,
                   .revision = 2,
                   .class_code = 0x060100,
                   .multifunction = true,
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100}),
      interrupts_(std::move(interrupts)) {
    define_register(pci::kCommand, 2, pci::kCommandIo | pci::kCommandMemory | pci::kCommandBusMaster, 0x0108);
    define_register(pci::kStatus, 2, pci::kStatusMediumDevsel | pci::kStatusFastBackToBack, 0, 0x7800);
    define_register(0x4C, 1, 0x4D, 0xFF);      // IORT
    define_register(0x4E, 2, 0x0003, 0x07FF);  // XBCS
    for (unsigned i = 0; i < kPirqs; ++i) {
        define_register(kPirqRouteControlA + i, 1, kRouteDisabled, kRouteDisabled | kRouteInterrupt);
    }
    define_register(0x64, 1, 0x10, 0xFF);      // SERIRQC
    define_register(0x69, 1, 0x02, 0xFE);      // TOM
    define_register(0x6A, 2, 0, 0x8080);       // MSTAT
    define_register(0x76, 2, 0x0404, 0x8F8F);  // MBDMA0, MBDMA1
    define_register(0x80, 1, 0, 0x7F);         // APICBASE
    define_register(0x82, 1, 0, 0x0F);         // DLC
    define_register(0x90, 2, 0, 0xFFFF);       // PDMACFG
    define_register(0x92, 4, 0, 0xFFC0FFC0);   // DDMABP
    define_register(0xB0, 4, 0, 0xFFFFFFFF);   // GENCFG
    define_register(0xCB, 1, 0x21, 0x3D);      // RTCCFG
    bus.set_interrupt_router(
        [this](unsigned device, unsigned pin, bool asserted) { pin_changed(device, pin, asserted); });
}

void Piix4Isa::pin_changed(unsigned device, unsigned pin, bool asserted) {
    const unsigned pirq = (pin + device + 3) & 3;  // device 0 wraps to D
    const std::uint32_t bit = std::uint32_t{1} << device;
    asserted_[pirq] = asserted ? asserted_[pirq] | bit : asserted_[pirq] & ~bit;
    drive_interrupts();
}

void Piix4Isa::drive_interrupts() {
    unsigned levels = 0;
    for (unsigned i = 0; i < kPirqs; ++i) {
        const std::uint8_t route = config8(kPirqRouteControlA + i);
        if (asserted_[i] != 0 && (route & kRouteDisabled) == 0) {
            levels |= 1u << (route & kRouteInterrupt);
        }
    }
    levels &= kRoutable;
    for (unsigned i = 0; i < kInterrupts; ++i) {
        interrupts_[i].set((levels & 1u << i) != 0);
    }
}

void Piix4Isa::config_written(unsigned first, unsigned size) {
    if (first < kPirqRouteControlA + kPirqs && first + size > kPirqRouteControlA) {
        drive_interrupts();
    }
}

void Piix4Isa::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] { serialize_config(stream); });
}

}  // namespace vpc::devices
