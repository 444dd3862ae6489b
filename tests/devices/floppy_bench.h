#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <vector>

#include "devices/i82077aa.h"
#include "devices/i82077aa_bits.h"
#include "devices/i8237a.h"
#include "tests/devices/ide_bench.h"

namespace vpc::devices::test {

using Bytes = std::vector<std::uint8_t>;

inline std::shared_ptr<DiskImage> floppy_image(unsigned kilobytes) {
    return std::make_shared<DiskImage>(kilobytes * 2);
}

/// The floppy controller with a 1.44 MB and a 1.2 MB drive on DMA channel 2, out of reset, interrupts and DMA on.
class FloppyBench : public Bench {
  public:
    using Drives = std::array<FloppyDriveType, 2>;
    static constexpr std::uint32_t kBuffer = 0x3'0000;

    Probe irq;
    TestExecutor& io = add<TestExecutor>();
    I8237A& dma = add_device<I8237A>(ports, memory);
    I82077AA& fdc;

    explicit FloppyBench(Drives drives = {FloppyDriveType::Mb1_44, FloppyDriveType::Mb1_2})
        : fdc(add_device<I82077AA>(ports, clock, io, dma.channel(2), irq.line(), drives)) {
        out(0xD6, 0xC0);
        out(0xD4, 0x00);
        out(0x3F2, 0x0C);
        run_for(kMillisecond);
        for (int i = 0; i < 4; ++i) {
            command({fdc::kSenseInterrupt});
            result(2);
        }
        command({fdc::kSpecify, 0xAF, 0x02});
        motor(0);
        rate(FloppyRate::Kbps500);
    }

    std::shared_ptr<DiskImage> insert(unsigned drive, unsigned kilobytes) {
        auto image = floppy_image(kilobytes);
        fdc.insert(drive, std::make_shared<MemoryDisk>(image));
        return image;
    }
    void motor(unsigned drive) { out(0x3F2, 0x0C | 0x10u << drive | drive); }
    void rate(FloppyRate rate) { out(0x3F7, static_cast<std::uint32_t>(rate)); }

    void command(std::initializer_list<unsigned> bytes) {
        for (const unsigned byte : bytes) {
            ASSERT_EQ(in(0x3F4) & 0xC0, 0x80u) << "not ready for a command byte";
            out(0x3F5, byte);
        }
    }
    Bytes result(std::size_t count) {
        Bytes bytes;
        while (bytes.size() < count && (in(0x3F4) & 0xD0) == 0xD0) {
            bytes.push_back(static_cast<std::uint8_t>(in(0x3F5)));
        }
        EXPECT_EQ(bytes.size(), count);
        EXPECT_EQ(in(0x3F4) & 0xD0, 0x80u) << "the result goes on";
        return bytes;
    }
    /// A command with execution phase: its seven result bytes, which an interrupt has announced.
    Bytes run(std::initializer_list<unsigned> bytes) {
        command(bytes);
        return finish();
    }
    Bytes finish() {
        run_for(kMillisecond);
        EXPECT_TRUE(irq.level);
        const Bytes answer = result(7);
        EXPECT_FALSE(irq.level);
        return answer;
    }
    /// Seeks and senses; returns ST0 and PCN.
    Bytes seek(unsigned drive, unsigned cylinder) {
        command({fdc::kSeek, drive, cylinder});
        return seek_result();
    }
    Bytes recalibrate(unsigned drive) {
        command({fdc::kRecalibrate, drive});
        return seek_result();
    }
    Bytes seek_result() {
        run_for(20 * kMillisecond);
        EXPECT_TRUE(irq.level);
        command({fdc::kSenseInterrupt});
        EXPECT_FALSE(irq.level);
        return result(2);
    }
    /// Channel 2 for so many bytes at kBuffer.
    void program_dma(bool to_memory, std::size_t bytes) {
        out(0x0A, 0x06);
        out(0x0C, 0);
        out(0x0B, to_memory ? 0x46 : 0x4A);
        out(0x04, kBuffer & 0xFF);
        out(0x04, kBuffer >> 8 & 0xFF);
        out(0x81, kBuffer >> 16);
        out(0x05, (bytes - 1) & 0xFF);
        out(0x05, static_cast<std::uint32_t>((bytes - 1) >> 8));
        out(0x0A, 0x02);
    }
    Bytes buffer(std::size_t bytes) {
        Bytes result(bytes);
        memory.read(kBuffer, result);
        return result;
    }
    static Bytes sectors(const DiskImage& image, std::uint64_t first, unsigned count) {
        Bytes bytes;
        for (unsigned i = 0; i < count; ++i) {
            const auto sector = image.sector(first + i);
            bytes.insert(bytes.end(), sector.begin(), sector.end());
        }
        return bytes;
    }
    static Bytes pattern(std::size_t size, unsigned seed = 1) {
        Bytes bytes(size);
        for (std::size_t i = 0; i < size; ++i) {
            bytes[i] = static_cast<std::uint8_t>(seed + i * 7 + i / 512);
        }
        return bytes;
    }
};

}  // namespace vpc::devices::test
