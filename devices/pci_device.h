#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "core/device.h"

namespace vpc::devices {

class PciBus;

/// What a function says of itself in the read-only part of its configuration header.
struct PciIdentity {
    std::uint16_t vendor = 0xFFFF;
    std::uint16_t device = 0xFFFF;
    std::uint8_t revision = 0;
    std::uint32_t class_code = 0;  ///< class, subclass, programming interface: 060100h is an ISA bridge
    bool multifunction = false;    ///< header type bit 7; function 0 of a device with several says so
    std::uint16_t subsystem_vendor = 0;
    std::uint16_t subsystem = 0;
    std::uint8_t interrupt_pin = 0;  ///< 0: none, 1-4: INTA#-INTD#
};

/// Offsets in the standard configuration header (PCI Local Bus Specification 2.1, chapter 6).
namespace pci {
inline constexpr unsigned kVendorId = 0x00;
inline constexpr unsigned kDeviceId = 0x02;
inline constexpr unsigned kCommand = 0x04;
inline constexpr unsigned kStatus = 0x06;
inline constexpr unsigned kRevisionId = 0x08;
inline constexpr unsigned kClassCode = 0x09;
inline constexpr unsigned kHeaderType = 0x0E;
inline constexpr unsigned kBaseAddress0 = 0x10;
inline constexpr unsigned kSubsystemVendorId = 0x2C;
inline constexpr unsigned kSubsystemId = 0x2E;
inline constexpr unsigned kExpansionRom = 0x30;
inline constexpr unsigned kInterruptLine = 0x3C;
inline constexpr unsigned kInterruptPin = 0x3D;

// The command register.
inline constexpr std::uint16_t kCommandIo = 0x0001;
inline constexpr std::uint16_t kCommandMemory = 0x0002;
inline constexpr std::uint16_t kCommandBusMaster = 0x0004;

// The status register.
inline constexpr std::uint16_t kStatusFastBackToBack = 0x0080;
inline constexpr std::uint16_t kStatusMediumDevsel = 0x0200;
}  // namespace pci

/// One function of a PCI device: 256 bytes of configuration space with write masks, base address registers, and an
/// interrupt pin. A chip derives from it, defines its registers in its constructor, and hears of changes through the
/// two hooks.
///
///     Piix4Ide() : PciFunction({.vendor = 0x8086, .device = 0x7111, .class_code = 0x010180}) {
///         define_register(pci::kCommand, 2, 0, pci::kCommandIo | pci::kCommandBusMaster);
///         define_bar(4, BarKind::Io, 16);
///     }
class PciFunction : public Device {
  public:
    static constexpr unsigned kConfigSize = 256;
    /// Index of the expansion ROM's base address among the base address registers.
    static constexpr unsigned kRomBar = 6;

    /// `reg` and `size` (1, 2 or 4) must lie within the space; the access need not be aligned.
    std::uint32_t read_config(unsigned reg, unsigned size) const;
    void write_config(unsigned reg, std::uint32_t value, unsigned size);

    /// Registers back to their reset values, mappings and interrupt gone. Chips call it first in their own reset.
    void reset() override;

  protected:
    enum class BarKind : std::uint8_t { None, Io, Memory, PrefetchableMemory, ExpansionRom };

    explicit PciFunction(const PciIdentity& identity);

    /// Lays out a register of 1, 2 or 4 bytes: its value after reset, the bits that the guest may write, and the bits
    /// that a written one clears. What is never defined reads as zero and cannot be written.
    void define_register(unsigned reg, unsigned size, std::uint32_t reset_value, std::uint32_t writable,
                         std::uint32_t cleared_by_one = 0);
    /// `index` is 0-5, or kRomBar with BarKind::ExpansionRom. `size` is a power of two in ports (4 at least) or bytes
    /// (16 at least; 2048 at least for a ROM).
    void define_bar(unsigned index, BarKind kind, std::uint32_t size);

    std::uint8_t config8(unsigned reg) const { return config_[reg]; }
    std::uint16_t config16(unsigned reg) const { return static_cast<std::uint16_t>(read_config(reg, 2)); }
    std::uint32_t config32(unsigned reg) const { return read_config(reg, 4); }
    bool bus_master_enabled() const { return (config16(pci::kCommand) & pci::kCommandBusMaster) != 0; }
    bool io_enabled() const { return (config16(pci::kCommand) & pci::kCommandIo) != 0; }

    /// Drives the function's interrupt pin: true asserts it (the wire itself is low-active).
    void set_interrupt(bool asserted);

    /// The guest wrote [first, first + size); the new values are in place. Also called for all 256 bytes after reset
    /// and load, so that what depends on registers is rebuilt in one place.
    virtual void config_written(unsigned /*first*/, unsigned /*size*/) {}
    /// A base address register now answers at `address`, or nowhere: it is disabled, unassigned, being sized, or out
    /// of the reach of the PC's 64 Ki ports. Claim the range with try_claim: if another chip owns it already, that
    /// one keeps it.
    virtual void bar_changed(unsigned /*index*/, std::optional<std::uint32_t> /*address*/) {}

    /// Fields of this class, for the chip's own section.
    void serialize_config(StateStream& stream);

  private:
    friend class PciBus;

    struct Bar {
        BarKind kind = BarKind::None;
        std::uint32_t size = 0;
        std::optional<std::uint32_t> mapped;
    };
    static constexpr unsigned kBars = 7;

    static unsigned bar_register(unsigned index) {
        return index == kRomBar ? pci::kExpansionRom : pci::kBaseAddress0 + 4 * index;
    }
    std::optional<std::uint32_t> bar_address(unsigned index) const;
    void update_mappings();

    std::array<std::uint8_t, kConfigSize> config_{};
    std::array<std::uint8_t, kConfigSize> reset_values_{};
    std::array<std::uint8_t, kConfigSize> writable_{};
    std::array<std::uint8_t, kConfigSize> cleared_by_one_{};
    std::array<Bar, kBars> bars_{};
    bool interrupt_ = false;

    PciBus* bus_ = nullptr;  // set by PciBus::attach
    unsigned slot_ = 0;
};

}  // namespace vpc::devices
