#include "disk/operations/convert.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "disk/open_image.h"
#include "disk/operations/image_layout.h"
#include "disk/operations/write_new_file.h"
#include "disk/write_queue.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = WriteQueue::kPieceSize / kSectorSize;

/// Calls `use(sector, count)` for every piece of the disk that holds data, as far as the source knows.
template <typename Use>
Status for_data_pieces(BlockDevice& source, WorkMeter& meter, Use use) {
    for (std::uint64_t sector = 0; sector < source.sectors();) {
        const auto run = source.extent(sector, source.sectors() - sector);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        if (auto status = meter.tick(); !status) {
            return status;
        }
        if (!run->data) {
            sector += run->sectors;
            continue;
        }
        // The whole piece around it: what is before it is a hole.
        const std::uint64_t start = sector / kPieceSectors * kPieceSectors;
        const std::uint64_t count = std::min(kPieceSectors, source.sectors() - start);
        if (auto status = use(start, count); !status) {
            return status;
        }
        sector = start + count;
    }
    return {};
}

Status copy_contents(BlockDevice& source, File& file, ImageLayout& layout, WorkMeter& meter) {
    WriteQueue queue(file, meter);
    auto status = for_data_pieces(source, meter, [&](std::uint64_t sector, std::uint64_t count) -> Status {
        auto piece = queue.acquire();
        if (!piece) {
            return tl::unexpected<Error>(piece.error());
        }
        const Buffer data = (*piece)->data().first(count * kSectorSize);
        if (auto read = source.read(sector, data); !read) {
            return read;
        }
        auto parts = layout.place(**piece, sector, data.size());
        if (!parts) {
            return tl::unexpected<Error>(parts.error());
        }
        std::uint64_t stored = 0;
        for (const WriteQueue::Part& part : *parts) {
            stored += part.bytes.size();
        }
        // Zeros that need no writing count as written, so that the work adds up.
        const std::uint64_t done = data.size() + (data.size() - std::min<std::uint64_t>(stored, data.size()));
        queue.submit(*piece, std::move(*parts));
        return meter.add(done);
    });
    return status ? queue.drain() : status;
}

}  // namespace

Status write_image(BlockDevice& source, File& file, const ConvertTarget& target, WorkMeter& meter) {
    const auto layout = make_layout(source, target);
    if (!layout) {
        return tl::unexpected<Error>(layout.error());
    }
    std::uint64_t bytes = 0;
    auto status = for_data_pieces(source, meter, [&bytes](std::uint64_t, std::uint64_t count) -> Status {
        bytes += count * kSectorSize;
        return {};
    });
    if (!status) {
        return status;
    }
    meter.set_total(2 * bytes);  // to be read and to be written
    if (status = (*layout)->begin(file); !status) {
        return status;
    }
    if (status = copy_contents(source, file, **layout, meter); !status) {
        return status;
    }
    return (*layout)->end(file);
}

Status convert(BlockDevice& source, const ConvertTarget& target, const Operation& operation) {
    return write_new_file(target.file, target.overwrite, operation, [&source, &target](File& file, WorkMeter& meter) {
        return write_image(source, file, target, meter);
    });
}

Status convert(const std::filesystem::path& source, const ConvertTarget& target, const Operation& operation) {
    const auto device = open_image(source, OpenMode::ReadOnly);
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    return convert(**device, target, operation);
}

}  // namespace vpc::disk
