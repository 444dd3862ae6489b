// Whatever a file holds, opening it, reading and writing it everywhere, closing and opening it again ends with a result
// or an error, and what was flushed is read back.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "disk/guest_view.h"
#include "disk/log.h"
#include "disk/open_image.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log().set_level(spdlog::level::off);
    const auto contents = testing::MemoryContents::of({data, size});
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
