#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "core/line.h"
#include "core/log.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/pci_device.h"

namespace vpc::devices {

/// Function 3 of the 82371AB (PIIX4, data sheet 290562): ACPI power management registers behind PMBASE, the SMBus host
/// controller behind SMBBASE, the APM command ports B2h and B3h, and the general purpose event block at AFE0h, where
/// SeaBIOS's and QEMU's ACPI tables put it.
///
/// This PC has no system management mode. The firmware learns that from DEVACTB, whose APMC_EN bit is set from the
/// start: SeaBIOS then leaves SMM alone. What its SMM handler would do on APM commands F1h and F0h, turning SCI_EN on
/// and off, the chip does itself.
///
/// Of the sleep types only soft off (SLP_TYP 0, which \_S5 in SeaBIOS's DSDT names) is offered; asking for another one
/// is logged and the guest goes on. No device answers on the SMBus.
class Piix4Pm : public PciFunction {
  public:
    static constexpr std::int64_t kTimerFrequency = 3'579'545;  ///< Hz

    /// Which legacy devices the board has. The ACPI tables read it from DEVRESx configuration registers, where a real
    /// board's firmware would have put it.
    struct Present {
        bool parallel = false;
        bool serial1 = true;
        bool serial2 = true;
    };

    /// `sci` is the system control interrupt, IRQ9 on a PC: level-triggered. `power_off` runs when the guest asks for
    /// soft off, inside the guest's write. Throws BusConflict.
    Piix4Pm(PortBus& ports, VirtualClock& clock, Line sci, std::function<void()> power_off, Present present);

    /// The front panel's power button: what it means is the guest's decision.
    void press_power_button();

    std::string_view name() const override { return "PIIX4 PM"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  protected:
    void config_written(unsigned first, unsigned size) override;

  private:
    std::int64_t timer() const;
    bool timer_overflowed() const;
    std::uint16_t pm_status() const;
    std::uint8_t read_pm(unsigned offset) const;
    void write_pm(unsigned offset, std::uint32_t value, unsigned size);
    void write_pm_byte(unsigned offset, std::uint8_t value);
    void write_control(std::uint16_t value);
    std::uint8_t read_smbus(unsigned offset);
    std::uint8_t peek_smbus(unsigned offset) const;
    void write_smbus(unsigned offset, std::uint8_t value);
    std::uint8_t read_gpe(unsigned offset) const;
    void write_gpe(unsigned offset, std::uint8_t value);
    void write_apm_command(std::uint8_t value);
    void place_pm();
    void place_smbus();
    void update();

    PortBus& bus_;
    VirtualClock& clock_;
    std::shared_ptr<spdlog::logger> log_;
    Line sci_;
    std::function<void()> power_off_;
    VirtualClock::Event overflow_;

    std::uint16_t status_ = 0;  // PM1 status without TMROF_STS, which is computed
    std::uint16_t enable_ = 0;
    std::uint16_t control_ = 0;
    std::int64_t overflow_seen_ = 0;  // timer overflows up to the last time TMROF_STS was cleared
    std::uint16_t gpe_status_ = 0;
    std::uint16_t gpe_enable_ = 0;
    std::uint8_t apm_control_ = 0;
    std::uint8_t apm_status_ = 0;
    std::uint8_t sleep_types_logged_ = 0;  // bit n: type n; not part of the state

    static constexpr unsigned kSmbusPorts = 16;
    static constexpr unsigned kSmbusBlock = 32;
    std::array<std::uint8_t, kSmbusPorts> smbus_{};
    std::array<std::uint8_t, kSmbusBlock> smbus_block_{};
    std::uint8_t smbus_block_index_ = 0;

    std::uint32_t pm_base_ = 0;  // where the claims lie; 0: nowhere
    std::uint32_t smbus_base_ = 0;
    PortBus::Claim pm_ports_;
    PortBus::Claim smbus_ports_;
    PortBus::Claim gpe_ports_;
    PortBus::Claim apm_ports_;
};

}  // namespace vpc::devices
