#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "devices/pci_device.h"

namespace vpc::devices {

class Vga;

/// The display adapter's face on the PCI bus, device 2 on this board: vendor 1234h, device 1111h, the identity of the
/// Bochs/QEMU standard VGA, by which SeaBIOS, SeaVGABIOS and the guests' drivers know it. Base address 0 is the linear
/// frame buffer. The VGA's fixed ports and addresses answer whatever the I/O and memory enables say.
class PciVga : public PciFunction {
  public:
    /// `vga` must outlive it.
    explicit PciVga(Vga& vga);

    std::string_view name() const override { return "PCI VGA"; }
    void serialize(StateStream& stream) override;

  protected:
    void bar_changed(unsigned index, std::optional<std::uint32_t> address) override;

  private:
    Vga& vga_;
};

}  // namespace vpc::devices
