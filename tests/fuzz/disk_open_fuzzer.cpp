// Whatever a file holds, opening it, reading and writing it everywhere, closing and opening it again ends with a result
// or an error, and what was flushed is read back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/guest_view.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/memory_file.h"

namespace {

using namespace vpc::disk;

constexpr std::uint64_t kSectorsAtOnce = 24;

/// Sectors near the start, the end and the borders of blocks of any size.
std::vector<std::uint64_t> places(std::uint64_t sectors) {
    std::vector<std::uint64_t> result = {0};
    for (std::uint64_t place = 1; place < sectors; place *= 2) {
        result.push_back(place - 1);
        result.push_back(sectors - place);
    }
    return result;
}

void read_everywhere(BlockDevice& device) {
    std::vector<std::uint8_t> bytes(kSectorsAtOnce * kSectorSize);
    for (const std::uint64_t sector : places(device.sectors())) {
        const std::uint64_t count = std::min(kSectorsAtOnce, device.sectors() - sector);
        (void)device.read(sector, Buffer(bytes).first(count * kSectorSize));
    }
    (void)device.geometry();
}

void write_and_check(const std::shared_ptr<testing::MemoryContents>& contents) {
    std::vector<std::uint64_t> written;
    const std::vector<std::uint8_t> bytes(kSectorSize, 0xA5);
    {
        auto device = open_image(std::make_unique<testing::MemoryFile>(contents), OpenMode::ReadWrite);
        if (!device) {
            return;
        }
        read_everywhere(**device);
        for (const std::uint64_t sector : places((*device)->sectors())) {
            if ((*device)->write(sector, ConstBuffer(bytes))) {
                written.push_back(sector);
            }
        }
        if (!(*device)->flush()) {
            return;
        }
    }
    auto device = open_image(std::make_unique<testing::MemoryFile>(contents), OpenMode::ReadOnly);
    if (!device) {
        std::abort();
    }
    std::vector<std::uint8_t> found(kSectorSize);
    for (const std::uint64_t sector : written) {
        if (!(*device)->read(sector, Buffer(found)) || found != bytes) {
            std::abort();
        }
    }
}

/// Makes the checksums right, so that what the fields say is looked at.
void repair_checksums(std::vector<std::uint8_t>& image) {
    const auto rewrite = [&image](std::size_t offset, std::size_t size, auto parse) {
        if (offset <= image.size() && size <= image.size() - offset) {
            const auto bytes = vhd::serialise(parse(std::span(image).subspan(offset, size)));
            std::copy(bytes.begin(), bytes.end(), image.begin() + static_cast<std::ptrdiff_t>(offset));
        }
    };
    rewrite(512, vhd::kDynamicHeaderSize, vhd::parse_dynamic_header);
    rewrite(0, vhd::kFooterSize, vhd::parse_footer);
    if (image.size() >= 1024) {
        rewrite(image.size() - vhd::kFooterSize, vhd::kFooterSize, vhd::parse_footer);
    }
}

/// The input's first byte chooses an image, or that the rest is one; the rest changes it: two bytes of offset, one of
/// length, then so many bytes, again and again. Offsets count from the start for even, from the end for odd changes.
std::vector<std::uint8_t> image_from(std::span<const std::uint8_t> input) {
    if (input.empty()) {
        return {};
    }
    const std::uint8_t choice = input[0];
    input = input.subspan(1);
    std::vector<std::uint8_t> image;
    switch (choice % 8) {
        case 0:
            return {input.begin(), input.end()};
        case 1:
            image = testing::build_fixed(4);
            break;
        case 2:
            image = testing::build_dynamic({.sectors = 40, .blocks = {{2}, {0, 0x55}}, .unwritten_byte = 0xEE});
            break;
        case 3:
            image = testing::build_dynamic({.sectors = 40, .aligned = true, .blocks = {{2}, {0, 0x55}}});
            break;
        case 4:
            image = testing::build_dynamic({.sectors = 6, .block_size = 512, .blocks = {{2}, {0}}});
            break;
        case 5:
            image = testing::build_dynamic({.sectors = 1 << 22, .block_size = 0x1000000});
            break;
        case 6:
            image = testing::build_dynamic({.sectors = 40, .blocks = {{2}, {0, 0x55}}});
            image.resize(image.size() + 1024);
            break;
        default:
            image = testing::build_dynamic({.sectors = 40, .blocks = {{1}}});
            image.pop_back();
            break;
    }
    for (bool from_end = false; input.size() > 3; from_end = !from_end) {
        const std::size_t offset = (std::size_t{input[0]} << 8 | input[1]) % image.size();
        const std::size_t place = from_end ? image.size() - 1 - offset : offset;
        const std::size_t length = std::min<std::size_t>({input[2] % 16u, input.size() - 3, image.size() - place});
        std::copy_n(input.begin() + 3, length, image.begin() + static_cast<std::ptrdiff_t>(place));
        input = input.subspan(3 + length);
    }
    if (choice < 0xC0) {
        repair_checksums(image);
    }
    return image;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log().set_level(spdlog::level::off);
    const auto contents = testing::MemoryContents::of(image_from({data, size}));
    contents->max_pages = contents->pages.size() + 4096;
    if (auto device = open_image(std::make_unique<testing::MemoryFile>(contents), OpenMode::ReadOnly)) {
        read_everywhere(**device);
        if (auto view = guest_view(std::move(*device))) {
            read_everywhere(**view);
        }
    }
    write_and_check(contents);
    return 0;
}
