#include "devices/pci_vga.h"

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

}  // namespace

PciVga::PciVga()
    : PciFunction({.vendor = 0x1234,
                   .device = 0x1111,
                   .revision = 2,
                   .class_code = 0x030000,
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100}) {
    define_register(pci::kCommand, 2, 0, pci::kCommandIo | pci::kCommandMemory);
}

void PciVga::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] { serialize_config(stream); });
}

}  // namespace vpc::devices
