#include "devices/i440fx.h"

#include <algorithm>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

constexpr unsigned kPam0 = 0x59;
constexpr unsigned kPams = 7;
constexpr unsigned kSmram = 0x72;
constexpr std::uint8_t kSmramReset = 0x02;     // C_BASE_SEG: A0000h
constexpr std::uint8_t kSmramWritable = 0x78;  // D_OPEN, D_CLS, D_LCK, G_SMRAME

// A PAM field; bits 2 and 3 (cache enable, reserved) mean nothing here.
constexpr unsigned kReadEnable = 1;
constexpr unsigned kWriteEnable = 2;
constexpr std::uint8_t kUnknown = 0xFF;

constexpr std::uint32_t kShadow = 0xC0000;
constexpr std::uint32_t kShadowEnd = 0x100000;
constexpr std::uint32_t kSegmentSize = 0x4000;
constexpr unsigned kBiosSegment = 12;  // F0000h-FFFFFh; 0-11 are the 16 KiB pieces below it
constexpr std::uint32_t kLargestBios = 0x20000;

}  // namespace

I440Fx::I440Fx(PhysicalMemory& memory, std::uint8_t* bios, std::size_t bios_size, std::uint8_t* vga_bios,
               std::size_t vga_bios_size)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x1237,
                   .revision = 2,
                   .class_code = 0x060000,
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100}),
      memory_(memory),
      vga_bios_(vga_bios),
      vga_bios_end_(kShadow + static_cast<std::uint32_t>(vga_bios_size)) {
    const std::size_t visible = std::min<std::size_t>(bios_size, kLargestBios) & ~std::size_t{0xFFF};
    bios_ = bios + (bios_size - visible);
    bios_first_ = kShadowEnd - static_cast<std::uint32_t>(visible);

    define_register(pci::kCommand, 2, pci::kCommandMemory | pci::kCommandBusMaster, 0x0100);
    define_register(0x0D, 1, 0, 0xF8);     // MLT
    define_register(0x50, 2, 0, 0xFFFF);   // PMCCFG
    define_register(0x52, 1, 0, 0xFF);     // DETURBO
    define_register(0x53, 1, 0x80, 0xFF);  // DBC
    define_register(0x54, 1, 0, 0xFF);     // AXC
    define_register(0x55, 2, 0, 0xFFFF);   // DRT
    define_register(0x57, 1, 0x01, 0xFF);  // DRAMC
    define_register(0x58, 1, 0x10, 0xFF);  // DRAMT
    define_register(kPam0, 1, 0, 0xF0);    // only the upper half exists
    for (unsigned i = 1; i < kPams; ++i) {
        define_register(kPam0 + i, 1, 0, 0xFF);
    }
    for (unsigned row = 0; row < 8; ++row) {
        define_register(0x60 + row, 1, 0x01, 0xFF);  // DRB
    }
    define_register(0x68, 1, 0, 0xFF);  // FDHC
    define_register(0x70, 1, 0, 0xFF);  // MTT
    define_register(kSmram, 1, kSmramReset, kSmramWritable);
    define_register(0x90, 1, 0, 0xFF);     // ERRCMD
    define_register(0x91, 1, 0, 0, 0x13);  // ERRSTS
    define_register(0x93, 1, 0, 0xFF);     // TRC
    pam_attributes_.fill(kUnknown);
    I440Fx::config_written(0, kConfigSize);
}

void I440Fx::config_written(unsigned first, unsigned size) {
    if (first + size <= kPam0 || first >= kPam0 + kPams) {
        return;
    }
    for (unsigned segment = 0; segment < kBiosSegment; ++segment) {
        const unsigned pam = config8(kPam0 + 1 + segment / 2);
        map_segment(segment, segment % 2 == 0 ? pam : pam >> 4);
    }
    map_segment(kBiosSegment, static_cast<unsigned>(config8(kPam0) >> 4));
}

void I440Fx::map_segment(unsigned segment, unsigned attributes) {
    attributes &= kReadEnable | kWriteEnable;
    if (pam_attributes_[segment] == attributes) {
        return;
    }
    pam_attributes_[segment] = static_cast<std::uint8_t>(attributes);
    const std::uint32_t first = kShadow + segment * kSegmentSize;
    const std::uint32_t end = segment == kBiosSegment ? kShadowEnd : first + kSegmentSize;
    // A BIOS may begin or end in the middle of a segment.
    const std::uint32_t vga_bios_end = std::clamp(vga_bios_end_, first, end);
    const std::uint32_t bios_first = std::clamp(bios_first_, first, end);
    map_part(first, vga_bios_end, attributes);
    map_part(vga_bios_end, bios_first, attributes);
    map_part(bios_first, end, attributes);
}

void I440Fx::map_part(std::uint32_t first, std::uint32_t end, unsigned attributes) {
    if (first == end) {
        return;
    }
    std::uint8_t* dram = memory_.ram() + first;
    std::uint8_t* rom = first >= bios_first_    ? bios_ + (first - bios_first_)
                        : first < vga_bios_end_ ? vga_bios_ + (first - kShadow)
                                                : nullptr;
    memory_.set_window(first, end - first,
                       {.read = (attributes & kReadEnable) != 0 ? dram : rom,
                        .write = (attributes & kWriteEnable) != 0 ? dram : nullptr});
}

void I440Fx::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] { serialize_config(stream); });
}

}  // namespace vpc::devices
