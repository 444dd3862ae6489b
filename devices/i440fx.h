#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/physical_memory.h"
#include "devices/pci_device.h"

namespace vpc::devices {

/// Intel 82441FX host bridge (440FX data sheet 290549), PCI device 0: the PAM registers 59h-5Fh decide for each 16 KiB
/// of C0000h-EFFFFh, and for F0000h-FFFFFh as one, whether reads and writes go to DRAM or to the PCI bus. On the PCI
/// bus lies the BIOS ROM, whose last 128 KiB show at E0000h-FFFFFh, and the display's BIOS, at C0000h as on an ISA
/// card: firmware that does not fetch it from fw_cfg finds it there. In between nobody answers.
///
/// The subsystem id is 1AF4h:1100h, QEMU's board: by it SeaBIOS decides that it runs on an emulator and sets up chip
/// set, interrupt routing and tables itself. The SMRAM register 72h is kept but hides nothing: this PC has no system
/// management mode, so A0000h-BFFFFh always belongs to the display. The DRAM row registers are kept for software that
/// writes them; the memory's size comes from elsewhere (CMOS, fw_cfg).
class I440Fx : public PciFunction {
  public:
    /// `bios` points at the whole ROM, `bios_size` bytes of a multiple of 4096, as PhysicalMemory::map_rom returned it,
    /// and stays valid as long as the memory does. So does `vga_bios`, at most 64 KiB; null and 0: none. Shows them at
    /// once.
    I440Fx(PhysicalMemory& memory, std::uint8_t* bios, std::size_t bios_size, std::uint8_t* vga_bios = nullptr,
           std::size_t vga_bios_size = 0);

    std::string_view name() const override { return "440FX"; }
    void serialize(StateStream& stream) override;

  protected:
    void config_written(unsigned first, unsigned size) override;

  private:
    static constexpr unsigned kSegments = 13;

    void map_segment(unsigned segment, unsigned attributes);
    void map_part(std::uint32_t first, std::uint32_t end, unsigned attributes);

    PhysicalMemory& memory_;
    std::uint8_t* bios_;        // the part that shows below 1 MiB
    std::uint32_t bios_first_;  // where it shows
    std::uint8_t* vga_bios_;
    std::uint32_t vga_bios_end_;                          // in guest memory; C0000h when there is none
    std::array<std::uint8_t, kSegments> pam_attributes_;  // as last laid over the memory
};

}  // namespace vpc::devices
