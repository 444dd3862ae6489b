#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc::devices {

/// Motorola MC146818 real-time clock (its data sheet names the registers) with the 256 bytes of CMOS RAM of a PIIX4
/// (82371AB data sheet 290562, "Real time clock registers"): ports 70h-71h reach cells 00h-7Fh, ports 72h-73h cells
/// 80h-FFh. Cell 32h holds the century, as in every PC.
///
/// The time of day is asked for once, when the chip is built, and then runs on the virtual clock. Flags are worked out
/// when somebody looks; an event is pending only while an enabled interrupt has not been raised yet, so an idle clock
/// costs nothing. Periodic interrupts that the guest did not acknowledge in time are lost, as in the chip.
///
/// Dates outside the years 0-9999 and impossible values (minute 77) are clamped when the clock starts from them.
class Mc146818 : public Device {
  public:
    /// `unix_time` gives the guest's wall clock as seconds since 1970 (add the zone's offset for local time). `irq8`
    /// is the IRQ pin, active high here. `nmi_mask` hears of changes of port 70h bit 7 (true: NMI masked).
    /// Throws BusConflict.
    Mc146818(PortBus& ports, VirtualClock& clock, std::function<std::int64_t()> unix_time, Line irq8,
             std::function<void(bool)> nmi_mask = {});

    /// A cell as the guest would read it now, without side effects.
    std::uint8_t peek_cell(std::uint8_t index) const;
    /// Stores a cell as a write of the guest would: cells 00h-0Dh are the clock's registers.
    void set_cell(std::uint8_t index, std::uint8_t value);

    std::string_view name() const override { return "MC146818"; }
    /// The reset pin: interrupts off. Time and RAM are on the battery.
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    static constexpr unsigned kClockCells = 10;  // 00h-09h: time, alarm and date

    std::uint8_t read_cell(std::uint8_t index);
    void write_index(std::uint8_t value);
    void write_register_a(std::uint8_t value);
    void write_register_b(std::uint8_t value);

    bool running() const;
    bool divider_held() const;
    std::int64_t second_at(Nanoseconds time) const;
    std::int64_t face() const;
    bool update_in_progress() const;
    std::uint8_t register_a() const;
    std::uint8_t flags() const;

    std::uint8_t encode(int value) const;
    int decode(std::uint8_t value) const;
    std::uint8_t encode_hour(int hour) const;
    int decode_hour(std::uint8_t value) const;
    std::array<std::uint8_t, kClockCells + 1> face_cells(std::int64_t seconds) const;
    bool is_time_cell(std::uint8_t index) const;
    void stop_face();
    void start_face();
    std::int64_t next_alarm(std::int64_t after) const;

    std::int64_t period_ticks() const;
    std::int64_t periodic_count(Nanoseconds time) const;
    void catch_up();
    void update_interrupt();

    VirtualClock& clock_;
    Line irq8_;
    std::function<void(bool)> nmi_mask_;
    VirtualClock::Event event_;

    std::array<std::uint8_t, 256> cells_{};  // 00h-0Dh: only while the clock stands still, and the alarm
    std::uint8_t index_ = 0;
    std::uint8_t extended_index_ = 0x80;
    bool nmi_masked_ = false;
    std::uint8_t a_ = 0x26;            // without UIP
    std::uint8_t b_ = 0x02;            // 24-hour, BCD
    std::uint8_t c_ = 0;               // PF, AF, UF seen so far; IRQF is computed
    std::int64_t base_seconds_ = 0;    // the face at virtual time base_time_
    Nanoseconds base_time_ = 0;        // also the zero of the divider chain
    Nanoseconds checked_ = 0;          // c_ is right up to here
    std::uint8_t weekday_offset_ = 0;  // the guest's weekday minus the calendar's

    PortBus::Claim ports_;
    PortBus::Claim extended_ports_;
};

}  // namespace vpc::devices
