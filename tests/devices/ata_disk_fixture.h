#pragma once
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {

/// A bench with one disk, and how programs talk to it.
class AtaDiskTest : public testing::Test {
  protected:
    static constexpr std::uint8_t kIdle = 0x50;    // DRDY, DSC
    static constexpr std::uint8_t kData = 0x58;    // and DRQ
    static constexpr std::uint8_t kFailed = 0x51;  // and ERR
    static constexpr std::uint8_t kBusy = 0x80;

    IdeBench bench;
    std::shared_ptr<DiskImage> image = bench.add_disk(0, 0);

    std::uint8_t reg(unsigned offset) {
        return static_cast<std::uint8_t>(bench.in(static_cast<std::uint16_t>(0x1F0 + offset)));
    }
    void set(unsigned offset, unsigned value) { bench.out(static_cast<std::uint16_t>(0x1F0 + offset), value); }
    std::uint8_t alternate() { return static_cast<std::uint8_t>(bench.in(0x3F6)); }

    void lba28(std::uint8_t command, std::uint32_t lba, unsigned count) {
        set(6, 0xE0 | lba >> 24);
        set(2, count);
        set(3, lba & 0xFF);
        set(4, lba >> 8 & 0xFF);
        set(5, lba >> 16 & 0xFF);
        set(7, command);
    }
    void lba48(std::uint8_t command, std::uint64_t lba, unsigned count) {
        set(6, 0x40);
        set(2, count >> 8);
        set(3, lba >> 24 & 0xFF);
        set(4, lba >> 32 & 0xFF);
        set(5, lba >> 40 & 0xFF);
        set(2, count & 0xFF);
        set(3, lba & 0xFF);
        set(4, lba >> 8 & 0xFF);
        set(5, lba >> 16 & 0xFF);
        set(7, command);
    }
    void chs(std::uint8_t command, unsigned cylinder, unsigned head, unsigned sector, unsigned count) {
        set(6, 0xA0 | head);
        set(2, count);
        set(3, sector);
        set(4, cylinder & 0xFF);
        set(5, cylinder >> 8);
        set(7, command);
    }
    void plain(std::uint8_t command, unsigned count = 0, unsigned features = 0) {
        set(6, 0xE0);
        set(1, features);
        set(2, count);
        set(7, command);
    }
    std::uint32_t lba_registers() {
        return reg(3) | unsigned{reg(4)} << 8 | unsigned{reg(5)} << 16 | (reg(6) & 15u) << 24;
    }
    std::vector<std::uint8_t> read_bytes(std::size_t count, unsigned size = 2) {
        std::vector<std::uint8_t> bytes;
        while (bytes.size() < count) {
            const std::uint32_t value = bench.in(0x1F0, size);
            for (unsigned i = 0; i < size; ++i) {
                bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
            }
        }
        return bytes;
    }
    void write_bytes(const std::vector<std::uint8_t>& bytes) {
        for (std::size_t i = 0; i < bytes.size(); i += 2) {
            bench.out(0x1F0, static_cast<std::uint32_t>(bytes[i] | bytes[i + 1] << 8), 2);
        }
    }
    std::vector<std::uint8_t> sectors(std::uint64_t first, unsigned count) { return image->contents(first, count); }
    static std::vector<std::uint8_t> pattern(std::size_t sectors, unsigned seed) {
        std::vector<std::uint8_t> bytes(sectors * disk::kSectorSize);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<std::uint8_t>(seed + i * 7 + i / 512);
        }
        return bytes;
    }
    std::vector<std::uint16_t> identify() {
        plain(0xEC);
        EXPECT_EQ(reg(7), kData);
        const auto bytes = read_bytes(512);
        std::vector<std::uint16_t> words;
        for (std::size_t i = 0; i < 512; i += 2) {
            words.push_back(static_cast<std::uint16_t>(bytes[i] | bytes[i + 1] << 8));
        }
        return words;
    }
    static std::string text(const std::vector<std::uint16_t>& words, unsigned first, unsigned count) {
        std::string result;
        for (unsigned i = first; i < first + count; ++i) {
            result += static_cast<char>(words[i] >> 8);
            result += static_cast<char>(words[i] & 0xFF);
        }
        return result;
    }
    /// The command ended with this error.
    void expect_error(std::uint8_t error) {
        EXPECT_EQ(reg(7), kFailed);
        EXPECT_EQ(reg(1), error);
    }
    /// Saves, loads into the chip itself, and lets the time before be forgotten.
    void save_and_load() {
        const auto state = bench.save();
        bench.ide.reset();
        bench.load(state);
        EXPECT_EQ(bench.save(), state);
    }
};

}  // namespace vpc::devices::test
