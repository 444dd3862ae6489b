// Whatever the three files of a chain hold, opening it, reading, writing and reading back ends, with no more than 64
// MiB of memory beside the files; the parents never change.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "disk/chain_opener.h"
#include "disk/log.h"
#include "disk/vhd/parent_locator.h"
#include "tests/fuzz/disk_input.h"

namespace {

using namespace vpc::disk;
using testing::InputFile;

/// Opens the file `index` of the chain, from the leaf, with all behind it as its parents.
Result<std::unique_ptr<BlockDevice>> open_chain(const std::vector<InputFile>& files, std::size_t index, OpenMode mode) {
    return open_image(
        std::make_unique<testing::MemoryFile>(files[index].contents), {.mode = mode},
        [&](File& child, const vhd::Footer&, const vhd::DynamicHeader& header) -> Result<std::unique_ptr<BlockDevice>> {
            if (!vhd::read_parent_paths(child, header)) {
                std::abort();  // memory does not fail
            }
            (void)vhd::parent_name(header);
            if (index + 1 == files.size()) {
                return fail(ErrorCode::NotFound, "there are no more");
            }
            return open_chain(files, index + 1, OpenMode::ReadOnly);
        });
}

std::vector<std::vector<std::uint8_t>> read_some(BlockDevice& device) {
    std::vector<std::vector<std::uint8_t>> all;
    const std::uint64_t sectors = device.sectors();
    std::uint64_t sector = 0;
    for (int runs = 0; sector < sectors && runs < 60; ++runs) {
        const auto extent = device.extent(sector, sectors - sector);
        if (!extent) {
            break;
        }
        std::vector<std::uint8_t> bytes(std::min<std::uint64_t>(extent->sectors, 24) * kSectorSize);
        if (device.read(sector, Buffer(bytes))) {
            all.push_back(std::move(bytes));
        }
        sector += extent->sectors;
    }
    return all;
}

void write_and_check(const std::vector<InputFile>& files) {
    constexpr std::size_t kWrites = 6;
    std::array<std::uint64_t, kWrites> places = {};
    std::array<bool, kWrites> written = {};
    const std::vector<std::uint8_t> bytes(kSectorSize, 0xA5);
    {
        const auto device = open_chain(files, 0, OpenMode::ReadWrite);
        if (!device) {
            return;
        }
        const std::uint64_t sectors = (*device)->sectors();
        places = {0, 1, 7, sectors / 2, sectors - 9, sectors - 1};
        for (std::size_t i = 0; i < kWrites; ++i) {
            written[i] = (*device)->write(places[i], ConstBuffer(bytes)).has_value();
        }
        if (!(*device)->flush()) {
            return;
        }
    }
    const auto device = open_chain(files, 0, OpenMode::ReadOnly);
    if (!device) {
        std::abort();
    }
    std::vector<std::uint8_t> found(kSectorSize);
    for (std::size_t i = 0; i < kWrites; ++i) {
        if (written[i] && (!(*device)->read(places[i], Buffer(found)) || found != bytes)) {
            std::abort();
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    log().set_level(spdlog::level::off);
    testing::InputReader reader({data, size});
    std::vector<InputFile> files;
    for (int i = 0; i < 3; ++i) {
        const auto length = static_cast<std::size_t>(reader.number(3));
        files.push_back(testing::read_file(testing::InputReader(reader.take(length))));
        files.back().contents->max_pages = files.back().contents->pages.size() + 2048;
    }
    for (std::size_t i = 0; i < files.size(); ++i) {
        if ((files[i].flags & testing::kKeepChecksums) != 0) {
            continue;
        }
        const bool child = i + 1 < files.size() && (files[i].flags & testing::kKeepType) == 0;
        testing::rewrite_structures(
            *files[i].contents,
            [&](vhd::Footer& footer) {
                if (child && footer.disk_type == vhd::DiskType::Dynamic) {
                    footer.disk_type = vhd::DiskType::Differencing;
                }
            },
            [](auto&) {});
    }
    const auto parent_pages = files[1].contents->pages;
    const testing::MemoryLimit limit(std::size_t{64} << 20);
    if (const auto device = open_chain(files, 0, OpenMode::ReadOnly)) {
        if (read_some(**device) != read_some(**device)) {
            std::abort();
        }
    }
    write_and_check(files);
    if (files[1].contents->pages != parent_pages) {
        std::abort();
    }
    return 0;
}
