#pragma once
#include <string_view>

#include "devices/pci_device.h"

namespace vpc::devices {

/// The display adapter's face on the PCI bus, device 2 on this board: vendor 1234h, device 1111h, the identity of the
/// Bochs/QEMU standard VGA, by which SeaBIOS, SeaVGABIOS and the guests' drivers know it. It decodes the fixed VGA
/// ports and addresses only, so it has no base addresses; the I/O and memory enables are kept but switch nothing.
class PciVga : public PciFunction {
  public:
    PciVga();

    std::string_view name() const override { return "PCI VGA"; }
    void serialize(StateStream& stream) override;
};

}  // namespace vpc::devices
