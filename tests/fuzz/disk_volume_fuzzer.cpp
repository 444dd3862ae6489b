// Whatever partition table and file systems a disk holds, looking for free space ends, needs less than 40 MiB of
// memory, and hands out ascending runs within the disk.
#include <cstdlib>
#include <memory>

#include "disk/log.h"
#include "disk/raw_disk.h"
#include "disk/volume/free_space.h"
#include "tests/fuzz/disk_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace vpc::disk;
    log().set_level(spdlog::level::off);
    const testing::InputFile file = testing::read_file(testing::InputReader({data, size}));
    const std::uint64_t sectors = file.contents->size / kSectorSize;
    RawDisk disk(std::make_unique<testing::MemoryFile>(file.contents), sectors, OpenMode::ReadOnly);
    const testing::MemoryLimit limit(std::size_t{40} << 20);
    std::uint64_t end = 0;
    const auto report = find_free_space(disk, [&](std::uint64_t sector, std::uint64_t count) {
        if (sector < end || count == 0 || sector > sectors || count > sectors - sector) {
            std::abort();
        }
        end = sector + count;
    });
    if (!report) {
        std::abort();  // memory does not fail
    }
    return 0;
}
