#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/ata_device.h"

namespace vpc::devices {

/// One ATA cable with up to two devices (ATA/ATAPI-6, clauses 7 and 9): the command block (eight ports), the control
/// block's one port, device selection, software reset and the INTRQ wire. Task file writes reach both devices, reads
/// come from the selected one.
///
/// Who answers for an absent device: device 0 stands in for an absent device 1 with its own registers and a status of
/// 00h, as ATA demands of it; for an absent device 0, and on an empty cable, nobody drives the bus. It then reads 7Fh:
/// pulled up but for DD7, whose pull-down keeps BSY from hanging the firmware.
class AtaChannel : private AtaHost {
  public:
    struct Wiring {
        std::string name;  ///< "PIIX4 IDE primary"
        std::uint16_t command_port = 0;
        std::uint16_t control_port = 0;
        std::function<void(bool)> interrupt;  ///< INTRQ as the host adapter sees it
        std::function<std::size_t(std::span<std::uint8_t> data, bool to_memory)> dma;
    };

    /// Throws BusConflict. `clock`, `io` and what the wiring refers to outlive the channel.
    AtaChannel(PortBus& ports, VirtualClock& clock, IoExecutor& io, Wiring wiring);

    /// Replaces what was there. `unit` is 0 or 1. The device starts as after power-on.
    void attach(unsigned unit, std::unique_ptr<AtaDevice> device);
    /// Null when nothing is attached.
    const AtaDevice* device(unsigned unit) const { return devices_[unit].get(); }

    /// Whether the host adapter decodes the ports; off, they read as all ones. Off at the start.
    void set_decoding(bool decoding) { decoding_ = decoding; }
    /// The bus master was started.
    void dma_started();
    void reset();
    /// Fields of the channel and its devices, for the host adapter's section. After loading the adapter drives its
    /// line from interrupt_level() and then calls resume(), or reset() when the load was refused.
    void serialize(StateStream& stream);
    void resume();
    bool interrupt_level() const { return interrupt_level_; }

  private:
    void interrupt_changed() override;
    IoExecutor& io() override { return io_; }
    std::size_t transfer_dma(std::span<std::uint8_t> data, bool to_memory) override {
        return wiring_.dma(data, to_memory);
    }
    bool has_peer(unsigned unit) const override { return devices_[1 - unit] != nullptr; }
    Nanoseconds now() const override { return clock_.now(); }
    void set_alarm(unsigned unit, std::optional<Nanoseconds> when) override;

    AtaDevice* selected() const { return devices_[selected_].get(); }
    std::uint8_t read_register(unsigned reg) const;
    std::uint8_t status() const;
    std::uint32_t read(unsigned offset, unsigned size);
    std::uint32_t peek(unsigned offset, unsigned size) const;
    void write(unsigned offset, std::uint32_t value, unsigned size);
    void write_register(unsigned reg, std::uint8_t value);
    void write_command(std::uint8_t command);
    void write_control(std::uint8_t value);
    void diagnose_all();

    VirtualClock& clock_;
    IoExecutor& io_;
    Wiring wiring_;
    std::array<VirtualClock::Event, 2> alarms_;
    std::array<std::unique_ptr<AtaDevice>, 2> devices_;
    unsigned selected_ = 0;
    std::uint8_t control_ = 0;
    bool decoding_ = false;
    bool interrupt_level_ = false;
    PortBus::Claim command_ports_;
    PortBus::Claim control_ports_;
};

}  // namespace vpc::devices
