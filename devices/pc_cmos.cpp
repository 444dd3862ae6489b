#include "devices/pc_cmos.h"

#include <algorithm>

#include "devices/mc146818.h"

namespace vpc::devices {
namespace {

enum Cell : std::uint8_t {
    kShutdownStatus = 0x0F,
    kFloppyTypes = 0x10,
    kDiskTypes = 0x12,
    kEquipment = 0x14,
    kBaseMemory = 0x15,
    kExtendedMemory = 0x17,
    kDiskCType = 0x19,
    kDiskCGeometry = 0x1B,
    kDiskDGeometry = 0x24,
    kOperationFlags = 0x2D,
    kChecksumHigh = 0x2E,
    kChecksumLow = 0x2F,
    kExtendedMemoryAgain = 0x30,
    kMemoryAbove16M = 0x34,
    kBootFlags1 = 0x38,
    kTranslations = 0x39,
    kBootFlags2 = 0x3D,
    kMemoryAbove4G = 0x5B,
    kProcessorCount = 0x5F,
};

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;

constexpr std::uint8_t kEquipmentFloppy = 0x01;
constexpr std::uint8_t kEquipmentFpu = 0x02;
constexpr std::uint8_t kEquipmentMouse = 0x04;
constexpr std::uint8_t kEquipmentSecondFloppy = 0x40;
constexpr std::uint8_t kBootFlags1NoSignatureCheck = 0x01;
constexpr std::uint8_t kOperationFlagsFloppyFirst = 0x20;
constexpr std::uint8_t kUserDiskType = 47;  // geometry follows in CMOS

void set_little_endian(Mc146818& cmos, unsigned first, unsigned bytes, std::uint64_t value) {
    for (unsigned i = 0; i < bytes; ++i) {
        cmos.set_cell(static_cast<std::uint8_t>(first + i), static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

unsigned boot_device(char letter) {
    switch (letter) {
        case 'a':
            return 1;
        case 'c':
            return 2;
        case 'd':
            return 3;
        default:
            return 0;
    }
}

void fill_memory(Mc146818& cmos, std::uint64_t memory) {
    set_little_endian(cmos, kBaseMemory, 2, 640);
    const std::uint64_t above_1m = memory > kMiB ? std::min<std::uint64_t>((memory - kMiB) / kKiB, 0xFFFF) : 0;
    set_little_endian(cmos, kExtendedMemory, 2, above_1m);
    set_little_endian(cmos, kExtendedMemoryAgain, 2, above_1m);
    const std::uint64_t below_4g = std::min(memory, 4 * kGiB);
    const std::uint64_t above_16m = below_4g > 16 * kMiB ? (below_4g - 16 * kMiB) / (64 * kKiB) : 0;
    set_little_endian(cmos, kMemoryAbove16M, 2, std::min<std::uint64_t>(above_16m, 0xFFFF));
    set_little_endian(cmos, kMemoryAbove4G, 3, 0);  // the machine's memory ends below 4 GiB
}

void fill_boot_order(Mc146818& cmos, const PcCmosLayout& layout) {
    unsigned sequence = 0;  // a nibble per choice, first choice lowest
    unsigned choices = 0;
    for (const char letter : layout.boot_order) {
        if (const unsigned device = boot_device(letter); device != 0 && choices < 3) {
            sequence |= device << (4 * choices++);
        }
    }
    cmos.set_cell(kBootFlags2, static_cast<std::uint8_t>(sequence));
    cmos.set_cell(kBootFlags1,
                  static_cast<std::uint8_t>((sequence >> 8) << 4 |
                                            (layout.check_floppy_signature ? 0 : kBootFlags1NoSignatureCheck)));
    cmos.set_cell(kOperationFlags, (sequence & 15) == 1 ? kOperationFlagsFloppyFirst : 0);
}

void fill_drives(Mc146818& cmos, const PcCmosLayout& layout) {
    const auto first = static_cast<unsigned>(layout.floppies[0]);
    const auto second = static_cast<unsigned>(layout.floppies[1]);
    cmos.set_cell(kFloppyTypes, static_cast<std::uint8_t>(first << 4 | second));
    const unsigned count = (first != 0 ? 1u : 0u) + (second != 0 ? 1u : 0u);
    unsigned equipment = kEquipmentFpu | kEquipmentMouse;
    equipment |= count > 0 ? kEquipmentFloppy : 0u;
    equipment |= count > 1 ? kEquipmentSecondFloppy : 0u;
    cmos.set_cell(kEquipment, static_cast<std::uint8_t>(equipment));

    unsigned types = 0;
    unsigned translations = 0;
    for (unsigned i = 0; i < layout.hard_disks.size(); ++i) {
        const PcCmosLayout::HardDisk& disk = layout.hard_disks[i];
        if (disk.cylinders == 0) {
            continue;
        }
        translations |= static_cast<unsigned>(disk.translation) << (2 * i);
        if (i >= 2) {
            continue;  // CMOS has room for the types of two
        }
        types |= i == 0 ? 0xF0u : 0x0Fu;
        cmos.set_cell(static_cast<std::uint8_t>(kDiskCType + i), kUserDiskType);
        const unsigned geometry = i == 0 ? kDiskCGeometry : kDiskDGeometry;
        set_little_endian(cmos, geometry, 2, disk.cylinders);
        set_little_endian(cmos, geometry + 2, 1, disk.heads);
        set_little_endian(cmos, geometry + 3, 2, 0xFFFF);  // no write precompensation
        set_little_endian(cmos, geometry + 5, 1, disk.heads > 8 ? 0xC8 : 0xC0);
        set_little_endian(cmos, geometry + 6, 2, disk.cylinders);  // landing zone
        set_little_endian(cmos, geometry + 8, 1, disk.sectors);
    }
    cmos.set_cell(kDiskTypes, static_cast<std::uint8_t>(types));
    cmos.set_cell(kTranslations, static_cast<std::uint8_t>(translations));
}

}  // namespace

void fill_pc_cmos(Mc146818& cmos, const PcCmosLayout& layout) {
    cmos.set_cell(kShutdownStatus, 0);
    cmos.set_cell(kProcessorCount, 0);  // besides the first
    fill_memory(cmos, layout.memory);
    fill_boot_order(cmos, layout);
    fill_drives(cmos, layout);

    unsigned sum = 0;
    for (unsigned cell = kFloppyTypes; cell < kChecksumHigh; ++cell) {
        sum += cmos.peek_cell(static_cast<std::uint8_t>(cell));
    }
    cmos.set_cell(kChecksumHigh, static_cast<std::uint8_t>(sum >> 8));
    cmos.set_cell(kChecksumLow, static_cast<std::uint8_t>(sum));
}

}  // namespace vpc::devices
