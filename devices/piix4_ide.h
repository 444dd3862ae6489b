#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/io_executor.h"
#include "core/line.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "devices/ata_channel.h"
#include "devices/pci_device.h"
#include "devices/piix4_bus_master.h"

namespace vpc::devices {

/// Function 1 of the 82371AB (PIIX4, data sheet 290562): two ATA channels in compatibility mode (1F0h/3F6h with IRQ14,
/// 170h/376h with IRQ15) and their bus masters behind BAR 4.
///
/// A channel's ports answer when the command register's I/O enable and the channel's decode enable (IDETIM bit 15) are
/// both set, which the firmware does. The timing registers are kept; nothing depends on them.
class Piix4Ide : public PciFunction {
  public:
    static constexpr unsigned kChannels = 2;
    static constexpr unsigned kUnits = 2;

    /// `interrupts` are IRQ14 and IRQ15. Everything given outlives the chip. Throws BusConflict.
    Piix4Ide(PortBus& ports, PhysicalMemory& memory, VirtualClock& clock, IoExecutor& io,
             std::array<Line, kChannels> interrupts);

    /// Puts a device on a cable: channel 0 is the primary one, unit 0 the master. A board does it before power-on.
    void attach(unsigned channel, unsigned unit, std::unique_ptr<AtaDevice> device);
    /// Null when nothing is attached there.
    const AtaDevice* device(unsigned channel, unsigned unit) const { return channels_[channel]->device(unit); }
    /// Zeros when nothing is attached there.
    DriveStatistics statistics(unsigned channel, unsigned unit) const;

    std::string_view name() const override { return "PIIX4 IDE"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  protected:
    void config_written(unsigned first, unsigned size) override;
    void bar_changed(unsigned index, std::optional<std::uint32_t> address) override;

  private:
    std::unique_ptr<AtaChannel> make_channel(unsigned index, VirtualClock& clock, IoExecutor& io);
    std::uint32_t read_bus_master(unsigned offset, unsigned size) const;
    void write_bus_master(unsigned offset, std::uint32_t value, unsigned size);
    void start_waiting(unsigned channel);

    PortBus& ports_;
    std::array<Line, kChannels> interrupts_;
    std::array<Piix4BusMaster, kChannels> masters_;
    std::array<std::unique_ptr<AtaChannel>, kChannels> channels_;
    PortBus::Claim master_ports_;
};

}  // namespace vpc::devices
