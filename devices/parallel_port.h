#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc::devices {

/// A standard parallel port (SPP) at 378h: data, status and control, with the PS/2's bidirectional data register. IBM
/// PC/AT Technical Reference, "Parallel Printer Adapter"; IEEE 1284-1994, compatibility mode.
///
/// With a printer at the other end, a byte is printed when STROBE goes active. The printer is busy for 10 us, the
/// second half of which ACK is low; its end raises the interrupt, if enabled, which lasts until the next byte, so that
/// an edge is seen. A printer that could not print shows
/// an error and no paper until it is initialised. Without one, the port's inputs float: busy, no paper, as on an empty
/// connector.
class ParallelPort : public Device {
  public:
    /// What a printer does with a byte: true when it is printed. Must not call back into the port.
    using Printer = std::function<bool(std::uint8_t)>;

    /// An empty `printer`: none is connected. Throws BusConflict.
    ParallelPort(PortBus& ports, VirtualClock& clock, Line irq, Printer printer);

    std::string_view name() const override { return "parallel port"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    /// What the printer is doing with the byte it took.
    enum class Phase : std::uint8_t { Idle, Busy, Acknowledging };

    std::uint8_t read(std::uint16_t offset) const;
    void write(std::uint16_t offset, std::uint8_t value);
    void write_control(std::uint8_t value);
    void next_phase();
    void set_interrupt(bool level);
    std::uint8_t status() const;

    VirtualClock& clock_;
    Line irq_;
    Printer printer_;
    VirtualClock::Event phase_end_;

    std::uint8_t data_ = 0;
    std::uint8_t control_ = 0;
    Phase phase_ = Phase::Idle;
    bool printer_error_ = false;
    bool interrupt_ = false;

    PortBus::Claim ports_;
};

}  // namespace vpc::devices
