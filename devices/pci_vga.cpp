#include "devices/pci_vga.h"

#include "core/state_stream.h"
#include "devices/vga/vga.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 2;
constexpr unsigned kFrameBufferBar = 0;

}  // namespace

PciVga::PciVga(Vga& vga)
    : PciFunction({.vendor = 0x1234,
                   .device = 0x1111,
                   .class_code = 0x030000,
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100}),
      vga_(vga) {
    define_register(pci::kCommand, 2, 0, pci::kCommandIo | pci::kCommandMemory);
    define_bar(kFrameBufferBar, BarKind::PrefetchableMemory, Vga::kFrameBufferSize);
}

void PciVga::bar_changed(unsigned index, std::optional<std::uint32_t> address) {
    if (index == kFrameBufferBar) {
        vga_.place_frame_buffer(address);
    }
}

void PciVga::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] { serialize_config(stream); });
}

}  // namespace vpc::devices
