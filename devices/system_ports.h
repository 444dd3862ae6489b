#pragma once
#include <cstdint>
#include <functional>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc::devices {

class I8254;

/// The PC's two system control ports: B at 61h (timer 2's gate and output, speaker data, refresh toggle) and A at 92h
/// (A20, fast reset). They are in the 82371AB's data sheet (290562) among the NMI and the X-bus registers.
class SystemControlPorts : public Device {
  public:
    /// `timer` must outlive the ports. `a20` follows port 92h bit 1 (low after reset; the board ORs it with the
    /// 8042's). `cpu_reset` is called when port 92h bit 0 rises, and may reset the whole board at once.
    /// Throws BusConflict.
    SystemControlPorts(PortBus& ports, VirtualClock& clock, I8254& timer, Line a20, std::function<void()> cpu_reset);

    /// Port 61h bit 1: timer 2's output reaches the speaker.
    bool speaker_data() const;

    std::string_view name() const override { return "system control ports"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    std::uint8_t read_port_b() const;
    void write_port_b(std::uint8_t value);
    void write_port_a(std::uint8_t value);

    VirtualClock& clock_;
    I8254& timer_;
    Line a20_;
    std::function<void()> cpu_reset_;
    std::uint8_t port_b_ = 0;  // bits 3-0
    std::uint8_t port_a_ = 0;  // bits 1-0

    PortBus::Claim port_b_claim_;
    PortBus::Claim port_a_claim_;
};

}  // namespace vpc::devices
