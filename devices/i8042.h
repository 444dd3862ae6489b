#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/log.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/ps2_device.h"

namespace vpc::devices {

/// Intel 8042 with the PC's PS/2 keyboard controller firmware (IBM PS/2 Hardware Interface Technical Reference,
/// "Keyboard and Auxiliary Device Controller"): ports 60h and 64h, a keyboard port and an aux port.
///
/// Commands take effect at once, so the input buffer never shows full; answers appear 20 us later and device bytes
/// 100 us after the output buffer was emptied. There is one output buffer and one answer waiting for it, as in the
/// chip: a command that answers before the last answer was read replaces it. A byte for a port with nothing connected
/// is answered with FEh and the time-out bit.
class I8042 : public Device {
  public:
    /// `irq1` and `irq12` are high while a byte of the keyboard, or the aux device, waits in the output buffer and
    /// its interrupt is enabled. `a20` follows output port bit 1 (high after reset). `cpu_reset` gets a pulse when the
    /// guest pulls output port bit 0 low; its receiver may reset the whole board, this chip included, at once.
    /// Throws BusConflict.
    I8042(PortBus& ports, VirtualClock& clock, Line irq1, Line irq12, Line a20, Line cpu_reset);

    /// The devices must live as long as the controller is used.
    void connect_keyboard(Ps2Device& device);
    void connect_aux(Ps2Device& device);

    std::string_view name() const override { return "8042"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    /// Who the byte in the output buffer, or the waiting answer, is from.
    enum class Source : std::uint8_t { Controller, Keyboard, Aux };

    std::uint8_t read_data();
    std::uint8_t status() const;
    void write_data(std::uint8_t value);
    void write_command(std::uint8_t command);
    void answer(std::uint8_t value, Source source = Source::Controller, bool time_out = false);
    void send(Ps2Device* device, Source source, std::uint8_t value);
    void write_output_port(std::uint8_t value);
    std::uint8_t output_port() const;
    void fill_buffer(std::uint8_t value, Source source, bool time_out);
    void deliver();
    void schedule_delivery(Nanoseconds delay);
    void device_ready();
    bool keyboard_waits() const;
    bool aux_waits() const;
    void update_interrupts();

    VirtualClock& clock_;
    std::shared_ptr<spdlog::logger> log_;
    Line irq1_;
    Line irq12_;
    Line a20_;
    Line cpu_reset_;
    Ps2Device* keyboard_ = nullptr;
    Ps2Device* aux_ = nullptr;
    VirtualClock::Event delivery_;

    std::array<std::uint8_t, 32> ram_{};  // byte 0 is the command byte
    std::uint8_t output_port_ = 0;        // without the two interrupt bits
    std::uint8_t pending_command_ = 0;    // waits for its parameter at port 60h; 0: none
    bool last_write_was_command_ = false;
    bool self_test_passed_ = false;
    bool buffer_full_ = false;
    bool buffer_time_out_ = false;
    std::uint8_t buffer_ = 0;
    Source buffer_source_ = Source::Controller;
    bool answer_waits_ = false;
    bool answer_time_out_ = false;
    std::uint8_t answer_ = 0;
    Source answer_source_ = Source::Controller;
    bool break_prefix_ = false;  // translation has swallowed F0h

    PortBus::Claim data_port_;
    PortBus::Claim command_port_;
};

}  // namespace vpc::devices
