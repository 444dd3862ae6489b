#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "devices/floppy_format.h"

namespace vpc::devices {

class Mc146818;

/// What the firmware learns about the PC from CMOS RAM.
struct PcCmosLayout {
    /// How a hard disk's geometry is shown to INT 13h (cell 39h).
    enum class Translation : std::uint8_t { None = 0, Lba = 1, Large = 2, RevisedChs = 3 };
    struct HardDisk {
        std::uint16_t cylinders = 0;  ///< 0: no such disk
        std::uint8_t heads = 0;
        std::uint8_t sectors = 0;
        Translation translation = Translation::Lba;
    };

    std::uint64_t memory = 0;  ///< RAM in bytes
    /// Letters a (floppy), c (hard disk), d (CD-ROM), at most three, most wanted first. Others are skipped.
    std::string boot_order = "acd";
    /// Refuse to boot a floppy without the 55h AAh signature. Old self-booting floppies have none.
    bool check_floppy_signature = true;
    std::array<FloppyDriveType, 2> floppies{};
    std::array<HardDisk, 4> hard_disks{};  ///< primary master and slave, secondary master and slave
};

/// Fills the cells as SeaBIOS reads them on a 440FX or 440BX board, where they describe the PC in QEMU's way: memory
/// sizes at 15h-18h, 30h-31h, 34h-35h and 5Bh-5Dh, boot order at 38h and 3Dh, drives at 10h-2Ch and 39h, equipment at
/// 14h, the checksum of 10h-2Dh at 2Eh-2Fh.
void fill_pc_cmos(Mc146818& cmos, const PcCmosLayout& layout);

}  // namespace vpc::devices
