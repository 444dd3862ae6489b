#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "core/line.h"
#include "devices/pci_bus.h"
#include "devices/pci_device.h"

namespace vpc::devices {

/// Function 0 of the 82371AB (PIIX4, data sheet 290562): the PCI-to-ISA bridge. What it does here is route the PCI
/// interrupt pins: PIRQRC A-D (60h-63h) each choose one ISA interrupt or none. The bridge's other registers are kept
/// for the software that programs them; the ISA devices they speak of are chips of their own.
///
/// The board's slots are wired as on 440FX and 440BX boards and as SeaBIOS's and QEMU's tables say: pin p (0-3) of
/// device d goes to PIRQ (p + d - 1) mod 4.
class Piix4Isa : public PciFunction {
  public:
    static constexpr unsigned kInterrupts = 16;

    /// `interrupts[n]` is ISA interrupt n; level-triggered, high while any PIRQ routed to it is asserted. The board
    /// joins them with the ISA chips' own lines. Becomes the bus's interrupt router.
    Piix4Isa(PciBus& bus, std::array<Line, kInterrupts> interrupts);

    std::string_view name() const override { return "PIIX4 ISA"; }
    void serialize(StateStream& stream) override;

  protected:
    void config_written(unsigned first, unsigned size) override;

  private:
    static constexpr unsigned kPirqs = 4;

    void pin_changed(unsigned device, unsigned pin, bool asserted);
    void drive_interrupts();

    std::array<Line, kInterrupts> interrupts_;
    // Bit d: device d asserts the pin that is wired to this PIRQ. Each device has one such pin.
    std::array<std::uint32_t, kPirqs> asserted_{};
};

}  // namespace vpc::devices
