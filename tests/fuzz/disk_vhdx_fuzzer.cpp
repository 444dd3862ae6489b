// Whatever the structures of a VHDX say, opening and reading it ends, with no more than 64 MiB of memory. The input
// changes a small image that is right: its bytes are laid over the structures by exclusive or, and the checksums made
// right again.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>
#include <vector>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/vhdx/layout.h"
#include "tests/fuzz/disk_input.h"

namespace {

using namespace vpc::disk;

constexpr std::uint64_t kMiB = 1 << 20;

void store(std::vector<std::uint8_t>& bytes, std::size_t offset, std::uint64_t value, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
        bytes[offset + i] = static_cast<std::uint8_t>(value >> 8 * i);
    }
}

std::uint32_t crc32c(const std::vector<std::uint8_t>& bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> values = {};
        for (std::uint32_t i = 0; i < 256; ++i) {
            values[i] = i;
            for (int bit = 0; bit < 8; ++bit) {
                values[i] = (values[i] >> 1) ^ ((values[i] & 1) != 0 ? 0x82F63B78 : 0);
            }
        }
        return values;
    }();
    std::uint32_t crc = 0xFFFFFFFF;
    for (const std::uint8_t byte : bytes) {
        crc = (crc >> 8) ^ table[(crc ^ byte) & 0xFF];
    }
    return ~crc;
}

/// A structure that begins with `signature`, changed by the input's next `changed` bytes.
class Structure {
  public:
    Structure(const char* signature, std::size_t size) : bytes_(size) {
        std::copy_n(signature, std::char_traits<char>::length(signature), bytes_.begin());
    }
    Structure& with(std::size_t offset, std::uint64_t value, std::size_t size) {
        store(bytes_, offset, value, size);
        return *this;
    }
    Structure& with_guid(std::size_t offset, std::array<std::uint8_t, 16> guid) {
        std::copy(guid.begin(), guid.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(offset));
        return *this;
    }
    Structure& changed_by(testing::InputReader& input, std::size_t changed) {
        const auto changes = input.take(changed);
        for (std::size_t i = 0; i < changes.size(); ++i) {
            bytes_[i] ^= changes[i];
        }
        return *this;
    }
    std::vector<std::uint8_t> sealed() {
        store(bytes_, 4, 0, 4);
        store(bytes_, 4, crc32c(bytes_), 4);
        return bytes_;
    }
    const std::vector<std::uint8_t>& bytes() const { return bytes_; }

  private:
    std::vector<std::uint8_t> bytes_;
};

std::shared_ptr<testing::MemoryContents> image_from(testing::InputReader input) {
    const std::uint64_t size = kMiB * (5 + input.number(1) % 64) + input.number(1);
    auto contents = std::make_shared<testing::MemoryContents>();
    contents->truncate(size);
    contents->write(0, Structure("vhdxfile", 512).bytes());
    Structure header("head", 4096);
    header.with(8, 7, 8).with(66, 1, 2).with(68, kMiB, 4).with(72, kMiB, 8);
    contents->write(64 << 10, header.changed_by(input, 80).sealed());
    contents->write(128 << 10, header.changed_by(input, 80).sealed());
    Structure regions("regi", 64 << 10);
    regions.with(8, 2, 4)
        .with_guid(16, {0x66, 0x77, 0xC2, 0x2D, 0x23, 0xF6, 0x00, 0x42, 0x9D, 0x64, 0x11, 0x5E, 0x9B, 0xFD, 0x4A, 0x08})
        .with(32, 2 * kMiB, 8)
        .with(40, kMiB, 4)
        .with_guid(48, {0x06, 0xA2, 0x7C, 0x8B, 0x90, 0x47, 0x9A, 0x4B, 0xB8, 0xFE, 0x57, 0x5F, 0x05, 0x0F, 0x88, 0x6E})
        .with(64, 3 * kMiB, 8)
        .with(72, kMiB, 4);
    const auto sealed = regions.changed_by(input, 112).sealed();
    contents->write(192 << 10, sealed);
    contents->write(256 << 10, sealed);
    const std::array<std::array<std::uint8_t, 16>, 4> items = {{
        {0x37, 0x67, 0xA1, 0xCA, 0x36, 0xFA, 0x43, 0x4D, 0xB3, 0xB6, 0x33, 0xF0, 0xAA, 0x44, 0xE7, 0x6B},
        {0x24, 0x42, 0xA5, 0x2F, 0x1B, 0xCD, 0x76, 0x48, 0xB2, 0x11, 0x5D, 0xBE, 0xD8, 0x3B, 0xF4, 0xB8},
        {0x1D, 0xBF, 0x41, 0x81, 0x6F, 0xA9, 0x09, 0x47, 0xBA, 0x47, 0xF2, 0x33, 0xA8, 0xFA, 0xAB, 0x5F},
        {0x2D, 0x5F, 0xD3, 0xA8, 0x0B, 0xB3, 0x4D, 0x45, 0xAB, 0xF7, 0xD3, 0xD8, 0x48, 0x34, 0xAB, 0x0C},
    }};
    Structure metadata("metadata", 64 << 10);
    metadata.with(10, items.size(), 2);
    for (std::size_t i = 0; i < items.size(); ++i) {
        metadata.with_guid(32 + 32 * i, items[i])
            .with(32 + 32 * i + 16, (64 << 10) + 8 * i, 4)
            .with(32 + 32 * i + 20, i == 2 ? 4 : 8, 4);
    }
    contents->write(3 * kMiB, metadata.changed_by(input, 192).bytes());
    Structure values("", 512);
    values.with(0, kMiB, 4).with(8, 16 * kMiB, 8).with(16, 512, 4);
    contents->write(3 * kMiB + (64 << 10), values.changed_by(input, 64).bytes());
    Structure table("", 4096);
    table.with(0, 4 * kMiB | 6, 8);
    contents->write(2 * kMiB, table.changed_by(input, 256).bytes());
    contents->write(4 * kMiB, std::vector<std::uint8_t>(4096, 0x5A));
    return contents;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log().set_level(spdlog::level::off);
    const auto contents = image_from(testing::InputReader({data, size}));
    const testing::MemoryLimit limit(std::size_t{64} << 20);
    const auto device = open_image(std::make_unique<testing::MemoryFile>(contents), OpenMode::ReadOnly);
    if (!device) {
        if (size == 0) {
            std::abort();  // the unchanged image
        }
        return 0;
    }
    const std::uint64_t sectors = (*device)->sectors();
    std::vector<std::uint8_t> bytes(std::size_t{16} * kSectorSize);
    std::uint64_t sector = 0;
    for (int runs = 0; sector < sectors && runs < 100; ++runs) {
        const auto extent = (*device)->extent(sector, sectors - sector);
        if (!extent || extent->sectors == 0 || extent->sectors > sectors - sector) {
            std::abort();  // everything was checked when it was opened
        }
        const std::uint64_t count = std::min<std::uint64_t>(16, extent->sectors);
        if (!(*device)->read(sector, Buffer(bytes).first(static_cast<std::size_t>(count * kSectorSize)))) {
            std::abort();
        }
        sector += extent->sectors;
    }
    return 0;
}
