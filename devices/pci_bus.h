#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "core/device.h"
#include "core/port_bus.h"
#include "devices/pci_device.h"

namespace vpc::devices {

/// PCI bus 0 and the host bridge's configuration mechanism #1 (PCI Local Bus Specification 2.1, 3.7.4): CONFIG_ADDRESS
/// at CF8h, CONFIG_DATA at CFCh-CFFh. Behind byte accesses to CF9h lies the PIIX's Reset Control Register, which the
/// mechanism leaves free.
///
/// CONFIG_ADDRESS answers 32-bit accesses only; anything narrower at CF8h-CFBh goes on to the ISA bus, where only CF9h
/// has an owner.
class PciBus : public Device {
  public:
    static constexpr unsigned kDevices = 32;
    static constexpr unsigned kFunctions = 8;

    // The Reset Control Register.
    static constexpr std::uint8_t kSystemReset = 0x02;  ///< SRST: the reset is a hard one
    static constexpr std::uint8_t kResetCpu = 0x04;     ///< RCPU: its rising edge resets

    /// Told of pins: `device` is 0-31, `pin` 0-3 for INTA#-INTD#, and the level is asserted while any of the device's
    /// functions asserts that pin.
    using InterruptRouter = std::function<void(unsigned device, unsigned pin, bool asserted)>;

    /// `reset_control_write` runs at each rising edge of RCPU with the value written; kSystemReset in it tells a hard
    /// reset from a soft one. It may reset this bus and everything on it at once. Throws BusConflict.
    PciBus(PortBus& ports, std::function<void(std::uint8_t value)> reset_control_write);

    /// Puts a function in its place; it must live as long as the bus is used. Throws BusConflict when the place is
    /// taken or does not exist.
    void attach(unsigned device, unsigned function, PciFunction& card);
    /// At most one; the PCI-to-ISA bridge. It hears at once of the pins that are asserted.
    void set_interrupt_router(InterruptRouter router);

    std::string_view name() const override { return "PCI bus"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    friend class PciFunction;

    void interrupt_changed(unsigned device);
    PciFunction* addressed() const;
    std::uint32_t read(unsigned offset, unsigned size) const;
    void write(unsigned offset, std::uint32_t value, unsigned size);
    void write_reset_control(std::uint8_t value);

    std::function<void(std::uint8_t value)> reset_control_write_;
    std::array<PciFunction*, std::size_t{kDevices} * kFunctions> functions_{};
    std::array<std::uint8_t, kDevices> pins_{};  // bit n: INTA# + n is asserted
    InterruptRouter router_;
    std::uint32_t address_ = 0;
    std::uint8_t reset_control_ = 0;
    PortBus::Claim ports_;
};

}  // namespace vpc::devices
