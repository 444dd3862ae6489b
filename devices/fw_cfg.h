#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/log.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"

namespace vpc::devices {

/// Selectors of the numeric items. Numbers are little-endian.
enum class FwCfgItem : std::uint16_t {
    Signature = 0x00,       ///< "QEMU"; there from the start
    Id = 0x01,              ///< u32, the interface's features; there from the start
    RamSize = 0x03,         ///< u64, bytes
    NoGraphic = 0x04,       ///< u16
    CpuCount = 0x05,        ///< u16
    MachineId = 0x06,       ///< u32
    BootMenu = 0x0E,        ///< u16
    MaxCpus = 0x0F,         ///< u16
    FileDirectory = 0x19,   ///< there from the start
    FirstFile = 0x20,       ///< the first file's; each further one has the next
    Irq0Override = 0x8002,  ///< u8: 1: the timer is on I/O APIC pin 2
};

/// QEMU's firmware configuration device (docs/specs/fw_cfg.rst in QEMU's sources), through which SeaBIOS learns about
/// the machine: selector at port 510h, data at 511h, DMA at 514h-51Bh. The items belong to the board, which adds them
/// before the machine starts; they are not part of a saved state. A guest can read them only.
class FwCfg : public Device {
  public:
    /// `memory` must outlive the device. Throws BusConflict.
    FwCfg(PortBus& ports, PhysicalMemory& memory);

    /// Adds or replaces an item.
    void add_item(std::uint16_t selector, std::vector<std::uint8_t> bytes);
    void add_item(FwCfgItem item, std::vector<std::uint8_t> bytes);
    /// `size` bytes of `value`, at most 8, little-endian.
    void add_number(FwCfgItem item, unsigned size, std::uint64_t value);
    /// Adds a named file ("etc/boot-menu-wait") or replaces the one of that name. Names are cut at 55 bytes.
    void add_file(std::string name, std::vector<std::uint8_t> bytes);

    std::string_view name() const override { return "fw_cfg"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    struct File {
        std::string name;
        std::uint16_t selector = 0;
        std::uint32_t size = 0;
    };

    void select(std::uint16_t selector);
    const std::vector<std::uint8_t>& item() const;
    std::uint8_t next_byte();
    std::uint8_t peek_byte() const;
    void write_dma(std::uint16_t offset, std::uint32_t value, unsigned size);
    void run_dma(std::uint64_t descriptor);
    bool transfer(std::uint32_t control, std::uint32_t length, std::uint64_t address);
    void build_directory();

    PhysicalMemory& memory_;
    std::shared_ptr<spdlog::logger> log_;
    std::map<std::uint16_t, std::vector<std::uint8_t>> items_;
    std::vector<File> files_;
    std::uint16_t selector_ = 0;
    std::uint32_t offset_ = 0;       // of the next byte in the item
    std::uint32_t dma_address_ = 0;  // the high half, until the low half is written

    PortBus::Claim ports_;
    PortBus::Claim dma_ports_;
};

}  // namespace vpc::devices
