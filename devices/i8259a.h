#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/device.h"
#include "core/line.h"
#include "core/log.h"
#include "core/port_bus.h"

namespace vpc::devices {

/// One Intel 8259A programmable interrupt controller (data sheet 231468), with the edge/level control register (ELCR)
/// that PCI chip sets add to it (82371AB data sheet 290562, "Interrupt controller registers"). A PC has two: the
/// slave's INTR drives the master's input 2, and the master asks the slave for the vector.
///
///     I8259A slave("8259A-slave", ports, 0xA0, 0x4D1, 0xDE, Line([&](bool level) { master.set_irq(2, level); }));
///     I8259A master("8259A-master", ports, 0x20, 0x4D0, 0xF8, cpu_intr, [&] { return slave.acknowledge(); }, 2);
///
/// An edge-triggered request stays latched when its line falls before the acknowledge (the data sheet then promises a
/// spurious IR7); short pulses on a Line therefore work. 8080 mode and buffered mode have no meaning in a PC.
class I8259A : public Device {
  public:
    /// Owns ports base and base + 1 and `elcr_port`. `elcr_mask`: the inputs that the guest may make level-triggered.
    /// `intr` is the INTR pin. `cascade_acknowledge` runs the slave's INTA cycle when the request comes from
    /// `cascade_input`; -1: no slave. Throws BusConflict.
    I8259A(std::string name, PortBus& ports, std::uint16_t base, std::uint16_t elcr_port, std::uint8_t elcr_mask,
           Line intr, std::function<std::uint8_t()> cascade_acknowledge = {}, int cascade_input = -1);

    /// Drives request input 0-7; other numbers are ignored.
    void set_irq(unsigned input, bool level);
    /// A line that drives `input`. The chip must outlive it.
    Line input(unsigned input);
    /// The CPU's INTA cycle: takes the most urgent request into service and returns its vector. Without a request it
    /// is the vector of IR7, and nothing is in service (a spurious interrupt).
    std::uint8_t acknowledge();
    /// The level of the INTR pin.
    bool interrupt_requested() const { return intr_.level(); }

    std::string_view name() const override { return name_; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    /// What the next write to the odd port is.
    enum class Expect : std::uint8_t { Ocw1, Icw2, Icw3, Icw4 };

    void write_command(std::uint8_t value);
    void write_data(std::uint8_t value);
    void write_icw1(std::uint8_t value);
    void write_ocw2(std::uint8_t value);
    void write_ocw3(std::uint8_t value);
    void write_elcr(std::uint8_t value);
    std::uint8_t read(std::uint16_t offset);
    std::uint8_t peek(std::uint16_t offset) const;

    std::uint8_t level_inputs() const;
    std::uint8_t requests() const;
    int most_urgent(std::uint8_t bits) const;
    int pending_input() const;
    std::uint8_t non_specific_eoi_candidates() const;
    void begin_service(unsigned input);
    void update();

    std::string name_;
    std::shared_ptr<spdlog::logger> log_;
    std::uint8_t elcr_mask_;
    int cascade_input_;
    std::function<std::uint8_t()> cascade_acknowledge_;
    Line intr_;

    std::uint8_t lines_ = 0;            // the input pins
    std::uint8_t edges_ = 0;            // latched rising edges: IRR of the edge-triggered inputs
    std::uint8_t in_service_ = 0;       // ISR
    std::uint8_t mask_ = 0;             // IMR
    std::uint8_t elcr_ = 0;             // 1: level-triggered
    std::uint8_t vector_base_ = 0;      // ICW2
    std::uint8_t lowest_priority_ = 7;  // the input of lowest priority; the next one has the highest
    Expect expect_ = Expect::Ocw1;
    bool single_ = false;           // ICW1 SNGL: no ICW3
    bool needs_icw4_ = false;       // ICW1 IC4
    bool level_triggered_ = false;  // ICW1 LTIM: all inputs
    bool auto_eoi_ = false;
    bool rotate_on_auto_eoi_ = false;
    bool special_fully_nested_ = false;
    bool special_mask_ = false;
    bool read_in_service_ = false;  // OCW3: the even port shows ISR, not IRR
    bool poll_ = false;             // OCW3: the next read is a poll

    PortBus::Claim ports_;
    PortBus::Claim elcr_claim_;
};

}  // namespace vpc::devices
