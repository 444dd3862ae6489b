#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/physical_memory.h"

namespace vpc {
class StateStream;
}

namespace vpc::devices {

/// One channel of the PIIX4's bus master IDE function (82371AB data sheet 290562; SFF-8038i): command, status and
/// descriptor table pointer (BMICX, BMISX, BMIDTPX), and the engine that walks the table of physical region
/// descriptors.
///
/// A descriptor names a region of guest memory: 4 bytes of address, 2 of length (0: 64 KiB), bit 31 of the second word
/// ends the table. A table outside RAM and ROM, or a region that nobody answers for, ends the transfer with the error
/// bit, as a master abort does. A table shorter than the transfer just stops: the device waits, no interrupt comes, and
/// software finds out by its own time-out. Tables may be as long as they like; the engine never runs ahead of the data.
///
/// The direction bit is kept, but data flows the way the device's command says: setting them differently has no defined
/// meaning.
class Piix4BusMaster {
  public:
    static constexpr unsigned kPorts = 8;

    /// `memory` outlives the engine.
    explicit Piix4BusMaster(PhysicalMemory& memory) : memory_(memory) {}

    std::uint8_t read(unsigned offset) const;
    void write(unsigned offset, std::uint8_t value);
    /// The PCI function's bus master enable. Off, the engine waits.
    void set_enabled(bool enabled) { enabled_ = enabled; }
    /// A rising edge of the channel's INTRQ.
    void device_interrupted();
    /// Whether a call of transfer could move something.
    bool running() const;
    /// See AtaHost::transfer_dma.
    std::size_t transfer(std::span<std::uint8_t> data, bool to_memory);

    void reset();
    void serialize(StateStream& stream);

  private:
    bool fetch_descriptor();
    bool move(std::span<std::uint8_t> data, bool to_memory);
    void stop_with_error();

    PhysicalMemory& memory_;
    bool enabled_ = false;
    std::uint8_t command_ = 0;
    std::uint8_t status_ = 0;
    std::uint32_t table_ = 0;       // BMIDTPX
    std::uint32_t descriptor_ = 0;  // address of the next descriptor
    std::uint64_t address_ = 0;     // of the next byte in the current region
    std::uint32_t remaining_ = 0;   // bytes of the current region; 0: fetch the next descriptor
    bool last_ = false;             // the current region is the table's last
};

}  // namespace vpc::devices
