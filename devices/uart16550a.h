#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc::devices {

/// National 16550A serial port (PC16550D data sheet, National Semiconductor 1995) at `base` to base + 7, clocked with
/// 1.8432 MHz.
///
/// The transmitter is as fast as the guest: a byte written to THR leaves at once, THRE and TEMT never fall, and the
/// THRE interrupt follows immediately. The divisor only sets how long the receiver's FIFO time-out is. A byte from the
/// host is in the receiver at once too; the host asks `room` first and queues the rest itself.
///
/// The IRQ pin is gated by OUT2, as on a PC's serial card, also in loop-back mode.
class Uart16550A : public Device {
  public:
    /// MSR bits of the four modem inputs.
    enum ModemInput : std::uint8_t { kCts = 0x10, kDsr = 0x20, kRi = 0x40, kDcd = 0x80 };

    /// `transmit` gets each byte that leaves, whole: the word length counts in loop-back mode only, so that a guest
    /// which never set it (5 bits after reset) is understood. It must not call back into the chip.
    /// Throws BusConflict.
    Uart16550A(std::string name, PortBus& ports, VirtualClock& clock, std::uint16_t base, Line irq,
               std::function<void(std::uint8_t)> transmit);

    bool can_receive() const { return room() != 0; }
    /// How many bytes the receiver takes now without an overrun; 0 in loop-back mode, where it is off the wire.
    std::size_t room() const;
    /// A byte from the wire. Without room it is lost with an overrun error; in loop-back mode it is lost silently.
    void receive(std::uint8_t byte);
    /// Called when the guest made room, from within its register access; may call receive.
    void on_room(std::function<void()> callback) { on_room_ = std::move(callback); }
    /// The modem inputs, a sum of ModemInput. After construction CTS, DSR and DCD are on: somebody listens.
    void set_modem_inputs(std::uint8_t inputs);

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    static constexpr std::size_t kFifoSize = 16;

    std::uint8_t read(std::uint16_t offset);
    std::uint8_t peek(std::uint16_t offset) const;
    void write(std::uint16_t offset, std::uint8_t value);
    void write_thr(std::uint8_t value);
    void write_ier(std::uint8_t value);
    void write_fcr(std::uint8_t value);
    void write_mcr(std::uint8_t value);
    std::uint8_t read_rbr();
    std::uint8_t line_status() const;
    std::uint8_t modem_levels() const;
    void modem_changed(std::uint8_t before);
    void clear_receiver();
    void take_in(std::uint8_t byte);
    void room_made();

    bool divisor_access() const;
    bool fifo_enabled() const;
    bool loop_back() const;
    std::size_t capacity() const { return fifo_enabled() ? kFifoSize : 1; }
    unsigned trigger_level() const;
    std::uint8_t word_mask() const;
    Nanoseconds time_out() const;
    std::uint8_t interrupt_id() const;
    void update_interrupt();

    std::string name_;
    VirtualClock& clock_;
    Line irq_;
    std::function<void(std::uint8_t)> transmit_;
    std::function<void()> on_room_;
    VirtualClock::Event fifo_time_out_;

    std::array<std::uint8_t, kFifoSize> fifo_{};  // the receiver's, oldest first; the first byte is RBR
    std::uint8_t fifo_count_ = 0;
    std::uint8_t last_received_ = 0;  // what RBR shows when nothing is there
    std::uint8_t ier_ = 0;
    std::uint8_t fcr_ = 0;  // enable and trigger level
    std::uint8_t lcr_ = 0;
    std::uint8_t mcr_ = 0;
    std::uint8_t line_errors_ = 0;   // LSR error bits not yet read
    std::uint8_t modem_deltas_ = 0;  // MSR bits 3-0
    std::uint8_t modem_inputs_ = kCts | kDsr | kDcd;
    std::uint8_t scratch_ = 0;
    std::uint16_t divisor_ = 12;
    bool thre_pending_ = false;
    bool time_out_pending_ = false;

    PortBus::Claim ports_;
};

}  // namespace vpc::devices
