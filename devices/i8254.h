#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc::devices {

/// Intel 8254 programmable interval timer (data sheet 231164), ports 40h-43h, at the PC's 1,193,182 Hz.
///
/// Nothing counts: every value is computed from the virtual clock when it is looked at. Only OUT0, which drives IRQ0,
/// has an event: one per rising edge, placed at the exact clock tick counted from the time the counter was loaded, so
/// that the interrupt's period never drifts. Between two edges the wire stays high; each edge is a short low and a
/// rise. `output` and the status byte report the true wave.
///
/// A late host delivers the edges it missed one after another, at least a quarter of a period (and 20 us) apart, so
/// that the guest can take each one and keep its time of day. What is more than a second late is dropped.
class I8254 : public Device {
  public:
    static constexpr std::int64_t kFrequency = 1'193'182;  ///< Hz
    static constexpr unsigned kCounters = 3;

    /// Throws BusConflict.
    I8254(PortBus& ports, VirtualClock& clock, Line out0);

    /// Drives a GATE pin; counter is 0-2. Gates 0 and 1 are tied high in a PC, gate 2 is port 61h bit 0.
    void set_gate(unsigned counter, bool level);
    /// The OUT pin, now.
    bool output(unsigned counter) const;
    /// How many clock ticks a full cycle of the counter takes (1-65536); 0 before a count was written. For sound.
    std::int64_t period(unsigned counter) const;

    std::string_view name() const override { return "8254"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    /// Times are in ticks of the input clock since virtual time 0.
    struct Counter {
        std::uint8_t mode = 0;    // 0-5
        std::uint8_t access = 3;  // 1: low byte, 2: high byte, 3: low then high
        bool bcd = false;
        bool gate = true;
        bool counting = false;        // a count was written since the control word
        bool stopped = false;         // by the gate, or by half a count in mode 0
        bool triggered = false;       // modes 1 and 5: by a rising gate
        bool reload_pending = false;  // modes 2 and 3: `written` becomes `count` at `reload_at`
        bool write_high = false;      // the next byte written is the high one
        bool read_high = false;
        bool count_latched = false;
        bool status_latched = false;
        std::uint8_t low_byte = 0;  // first half of a count being written
        std::uint8_t status_latch = 0;
        std::uint16_t count_latch = 0;
        std::int64_t written = 65536;  // the count register, decoded: 1-65536
        std::int64_t count = 65536;    // what the counting element was loaded with
        std::int64_t start = 0;        // when it was loaded
        std::int64_t elapsed = 0;      // while stopped: ticks counted so far
        std::int64_t reload_at = 0;
    };

    std::int64_t now_ticks() const;
    static std::int64_t elapsed(const Counter& counter, std::int64_t tick);
    static std::int64_t high_ticks(std::int64_t count);
    static void apply_reload(Counter& counter);
    static Counter at(Counter counter, std::int64_t tick);
    static bool out(const Counter& counter, std::int64_t tick);
    static bool null_count(const Counter& counter, std::int64_t tick);
    static std::uint16_t value(const Counter& counter, std::int64_t tick);
    static std::uint8_t status(const Counter& counter, std::int64_t tick);
    static std::optional<std::int64_t> next_rise(const Counter& counter, std::int64_t after);
    static void latch_count(Counter& counter, std::int64_t tick);

    std::uint8_t read(unsigned index);
    std::uint8_t peek(unsigned index) const;
    void write_control(std::uint8_t value);
    void read_back(std::uint8_t value);
    void write_count(unsigned index, std::uint8_t value);
    void load(Counter& counter, std::uint16_t raw, std::int64_t tick);

    bool wire_level(std::int64_t tick) const;
    void counter0_changed(std::int64_t tick);
    void rising_edge(std::int64_t scheduled_tick);

    VirtualClock& clock_;
    Line out0_;
    std::array<Counter, kCounters> counters_;
    VirtualClock::Event edge_;
    PortBus::Claim ports_;
};

}  // namespace vpc::devices
