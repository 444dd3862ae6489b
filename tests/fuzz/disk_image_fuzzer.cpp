// Whatever a file of any size holds, examining it, opening it, asking where it holds data and reading there ends, with
// no more than 64 MiB of memory; what the examination finds nothing wrong with can be opened for writing.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <stop_token>
#include <vector>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/vhd/examination.h"
#include "tests/fuzz/disk_input.h"

namespace {

using namespace vpc::disk;

/// Whether the examination was finished and found nothing wrong. It is stopped where it takes long.
bool is_clean(const std::shared_ptr<testing::MemoryContents>& contents) {
    std::stop_source stop;
    int reports = 0;
    const auto enough = [&](const Progress&) {
        if (++reports == 6) {  // half a second
            stop.request_stop();
        }
    };
    WorkMeter meter({.progress = enough, .stop = stop.get_token()}, 1);
    testing::MemoryFile file(contents);
    const auto found = vhd::examine(file, false, meter);
    if (!found && found.error().code == ErrorCode::IoError) {
        std::abort();  // memory does not fail
    }
    return found && found->report.clean();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log().set_level(spdlog::level::off);
    const testing::InputFile file = testing::read_file(testing::InputReader({data, size}));
    if ((file.flags & testing::kKeepChecksums) == 0) {
        testing::rewrite_structures(
            *file.contents, [](auto&) {}, [](auto&) {});
    }
    const testing::MemoryLimit limit(std::size_t{64} << 20);
    if (file.contents->size >= kSectorSize && is_clean(file.contents)) {
        // Without its parent, a child cannot be opened.
        const auto writable = open_image(std::make_unique<testing::MemoryFile>(file.contents), OpenMode::ReadWrite);
        if (!writable && writable.error().code == ErrorCode::Corrupt) {
            std::abort();
        }
    }
    const auto device = open_image(std::make_unique<testing::MemoryFile>(file.contents), OpenMode::ReadOnly);
    if (!device) {
        if (device.error().message.empty() || device.error().message.find('\n') != std::string::npos) {
            std::abort();  // no line for people
        }
        return 0;
    }
    const std::uint64_t sectors = (*device)->sectors();
    std::vector<std::uint8_t> bytes(std::size_t{64} * kSectorSize);
    std::uint64_t sector = 0;
    for (int runs = 0; sector < sectors && runs < 300; ++runs) {
        const auto extent = (*device)->extent(sector, sectors - sector);
        if (!extent) {
            return 0;
        }
        if (extent->sectors == 0 || extent->sectors > sectors - sector) {
            std::abort();
        }
        for (const std::uint64_t place : {sector, sector + extent->sectors - 1}) {
            const std::uint64_t count = std::min<std::uint64_t>(64, sector + extent->sectors - place);
            const Buffer buffer = Buffer(bytes).first(static_cast<std::size_t>(count * kSectorSize));
            const auto status = (*device)->read(place, buffer);
            if (status && !extent->data &&
                std::any_of(buffer.begin(), buffer.end(), [](std::uint8_t byte) { return byte != 0; })) {
                std::abort();  // it said that there were zeros
            }
        }
        sector += extent->sectors;
    }
    return 0;
}
