#include "devices/system_ports.h"

#include <utility>

#include "core/state_stream.h"
#include "devices/i8254.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

// Port 61h.
constexpr std::uint8_t kTimer2Gate = 0x01;
constexpr std::uint8_t kSpeakerData = 0x02;
constexpr std::uint8_t kPortBWritable = 0x0F;
constexpr std::uint8_t kRefreshToggle = 0x10;
constexpr std::uint8_t kTimer2Output = 0x20;

// Port 92h.
constexpr std::uint8_t kFastReset = 0x01;
constexpr std::uint8_t kA20 = 0x02;

constexpr unsigned kTimer2 = 2;
constexpr Nanoseconds kRefreshPeriod = 15'085;  // 18 ticks of the 8254

}  // namespace

SystemControlPorts::SystemControlPorts(PortBus& ports, VirtualClock& clock, I8254& timer, Line a20,
                                       std::function<void()> cpu_reset)
    : clock_(clock), timer_(timer), a20_(std::move(a20)), cpu_reset_(std::move(cpu_reset)) {
    port_b_claim_ = ports.claim({.owner = "system control port B", .first = 0x61, .count = 1},
                                {.read = [this](std::uint16_t, unsigned) { return read_port_b(); },
                                 .write = [this](std::uint16_t, std::uint32_t value,
                                                 unsigned) { write_port_b(static_cast<std::uint8_t>(value)); },
                                 .peek = [this](std::uint16_t, unsigned) { return read_port_b(); }});
    port_a_claim_ = ports.claim({.owner = "system control port A", .first = 0x92, .count = 1},
                                {.read = [this](std::uint16_t, unsigned) { return port_a_; },
                                 .write = [this](std::uint16_t, std::uint32_t value,
                                                 unsigned) { write_port_a(static_cast<std::uint8_t>(value)); },
                                 .peek = [this](std::uint16_t, unsigned) { return port_a_; }});
}

bool SystemControlPorts::speaker_data() const {
    return (port_b_ & kSpeakerData) != 0;
}

void SystemControlPorts::reset() {
    write_port_b(0);
    port_a_ = 0;
    a20_.set(false);
}

std::uint8_t SystemControlPorts::read_port_b() const {
    const bool refresh = clock_.now() / kRefreshPeriod % 2 != 0;
    return static_cast<std::uint8_t>(port_b_ | (refresh ? kRefreshToggle : 0) |
                                     (timer_.output(kTimer2) ? kTimer2Output : 0));
}

void SystemControlPorts::write_port_b(std::uint8_t value) {
    port_b_ = value & kPortBWritable;
    timer_.set_gate(kTimer2, (port_b_ & kTimer2Gate) != 0);
}

void SystemControlPorts::write_port_a(std::uint8_t value) {
    const bool reset_rises = (value & ~port_a_ & kFastReset) != 0;
    port_a_ = value & (kFastReset | kA20);
    a20_.set((port_a_ & kA20) != 0);
    if (reset_rises && cpu_reset_) {
        cpu_reset_();
    }
}

void SystemControlPorts::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(port_b_);
        stream.field(port_a_);
        if (stream.loading()) {
            port_b_ &= kPortBWritable;
            port_a_ &= kFastReset | kA20;
        }
    });
    if (stream.loading()) {
        a20_.set((port_a_ & kA20) != 0);  // the gate's level is in the timer's own state
    }
}

}  // namespace vpc::devices
