#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <random>
#include <vector>

namespace vpc::devices::test {

inline constexpr std::size_t kBiosSize = 64 * 1024;
inline constexpr std::size_t kResetVector = 0xFFF0;
inline constexpr std::size_t kHandler = 0xFF00;  // an IRET with an end-of-interrupt

struct PortRange {
    std::uint16_t first;
    std::uint16_t count;
};
inline constexpr PortRange kPorts[] = {
    {0x00, 0x10}, {0x20, 2},      {0x40, 4},    {0x60, 5},   {0x70, 4},     {0x80, 16},     {0x92, 1},
    {0xA0, 2},    {0xB2, 2},      {0xC0, 0x20}, {0xE9, 1},   {0xF0, 2},     {0x170, 8},     {0x1F0, 8},
    {0x1F0, 8},   {0x2F8, 8},     {0x376, 1},   {0x388, 4},  {0x3B0, 0x30}, {0x3C0, 0x10},  {0x3F0, 8},
    {0x3F8, 8},   {0x402, 1},     {0x4D0, 2},   {0x510, 12}, {0x600, 0x40}, {0xAFE0, 0x20}, {0xB000, 0x40},
    {0xB100, 16}, {0xC000, 0x10}, {0xCF8, 8},   {0x201, 1},  {0x220, 16},   {0x330, 2},     {0x0, 0xFFFF},
};

/// A system BIOS that does random things to every port and device address: 16-bit real-mode code, assembled from
/// accesses that are each valid, or sometimes no program at all.
class HostileBios {
  public:
    explicit HostileBios(std::uint64_t seed) : random_(seed) {}

    std::vector<std::uint8_t> image() {
        bios_.assign(kBiosSize, 0x90);
        if (below(6) == 0) {
            for (std::uint8_t& byte : bios_) {
                byte = static_cast<std::uint8_t>(random_());
            }
        } else {
            // A stack, and an interrupt table whose every entry leads to the handler.
            emit({0xFA, 0x31, 0xC0, 0x8E, 0xD0, 0xBC, 0x00, 0x70, 0x8E, 0xC0, 0x31, 0xFF, 0xFC, 0xB9, 0x00, 0x01});
            emit({0xB8, kHandler & 0xFF, kHandler >> 8, 0xAB, 0xB8, 0x00, 0xF0, 0xAB, 0xE2, 0xF6});
            while (bios_used_ < kHandler - 64) {
                access();
            }
            emit({0xE9});  // JMP to the start
            number(static_cast<std::uint32_t>(0x10000 - bios_used_ - 2), 2);
            bios_used_ = kHandler;
            emit({0x50, 0xB0, 0x20, 0xE6, 0x20, 0xE6, 0xA0, 0x58, 0xCF});
        }
        bios_used_ = kResetVector;
        emit({0xEA, 0x00, 0x00, 0x00, 0xF0});  // JMPF F000:0000
        return bios_;
    }
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }

  private:
    void emit(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) {
            bios_[bios_used_++] = static_cast<std::uint8_t>(byte);
        }
    }
    void number(std::uint32_t value, unsigned size) {
        for (unsigned i = 0; i < size; ++i) {
            emit({(value >> (8 * i)) & 0xFF});
        }
    }
    std::uint32_t value() {
        switch (below(4)) {
            case 0:
                return below(256);
            case 1:
                return 1u << below(32);
            case 2:
                return below(0x400000) & ~3u;  // somewhere in RAM: tables for DMA
            default:
                return static_cast<std::uint32_t>(random_());
        }
    }
    void load_eax(std::uint32_t number_) {
        emit({0x66, 0xB8});
        number(number_, 4);
    }
    void load_dx(std::uint32_t port) {
        emit({0xBA});
        number(port, 2);
    }
    void out(std::uint32_t port, std::uint32_t what, unsigned size) {
        // A machine that resets itself all the time shows only its beginning.
        what &= port == 0x92 && below(20) != 0 ? ~1u : ~0u;
        what &= port == 0xCF9 && below(20) != 0 ? ~4u : ~0u;
        load_eax(what);
        load_dx(port);
        size == 1 ? emit({0xEE}) : size == 2 ? emit({0xEF}) : emit({0x66, 0xEF});
    }
    void access() {
        const PortRange& range = kPorts[below(std::size(kPorts))];
        const std::uint32_t port = range.first + below(range.count);
        const unsigned size = below(3) != 0 ? 1 : 1u << below(3);
        switch (below(12)) {
            case 0:
            case 1:
            case 2:
                load_dx(port);
                size == 1 ? emit({0xEC}) : size == 2 ? emit({0xED}) : emit({0x66, 0xED});
                break;
            case 3:  // PCI configuration space of a device that exists, most of the time
                out(0xCF8, 0x80000000 | below(4) << 11 | below(4) << 8 | below(256), 4);
                out(0xCFC + below(4), value(), size);
                break;
            case 4: {  // the ISA hole, the windows above it, and RAM
                emit({0xB8});
                number(below(2) != 0 ? 0xA000 + below(0x2000) : below(0x10000), 2);
                emit({0x8E, 0xD8});
                load_eax(value());
                below(2) != 0 ? emit({0x66, 0xA3}) : emit({0xA0});
                number(below(0xFFFC), 2);
                break;
            }
            case 5:  // INS, OUTS in strings, into RAM below 64 KiB
                load_dx(port);
                emit({0xB9});
                number(below(600), 2);
                emit({0xBF});
                number(0x8000 + below(0x4000), 2);
                emit({0xF3, below(2) != 0 ? 0x6Du : 0x6Fu});
                break;
            case 6:  // an ATA command with its registers
                for (std::uint32_t i = 1; i < 7; ++i) {
                    out(0x1F0 + i, i == 6 ? 0xE0 | below(32) : below(256), 1);
                }
                out(0x1F7,
                    below(3) != 0
                        ? std::array<std::uint32_t, 8>{0x20, 0x30, 0xC8, 0xCA, 0xC4, 0xEC, 0xA1, 0xE7}[below(8)]
                        : below(256),
                    1);
                break;
            case 7:  // bus-master IDE, wherever it was placed
                out(0xCF8, 0x80000920, 4);
                out(0xCFC, 0xC001, 4);
                out(0xCF8, 0x80000904, 4);
                out(0xCFC, 7, 2);
                out(0xC004, below(0x400000) & ~3u, 4);
                out(0xC000, below(2) != 0 ? 9 : 1, 1);
                break;
            case 8:
                emit({below(2) != 0 ? 0xFBu : 0xFAu});  // STI, CLI
                break;
            default:
                out(port, value(), size);
        }
    }

    std::mt19937_64 random_;
    std::vector<std::uint8_t> bios_;
    std::size_t bios_used_ = 0;
};

inline std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace vpc::devices::test
