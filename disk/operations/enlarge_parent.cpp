#include "disk/operations/enlarge_parent.h"

#include <array>
#include <memory>
#include <utility>

#include "disk/open_image.h"
#include "disk/operations/resize.h"
#include "disk/posix_file.h"

namespace vpc::disk {
namespace {

/// In the place of a child's parent, so that whatever is written to the child is stored there: zeros, too.
class ParentFullOfData final : public BlockDevice {
  public:
    ParentFullOfData(std::array<std::uint8_t, 16> id, std::uint64_t sectors) : id_(id), sectors_(sectors) {}

    std::uint64_t sectors() const override { return sectors_; }
    Geometry geometry() const override { return {}; }
    bool read_only() const override { return true; }
    std::array<std::uint8_t, 16> unique_id() const override { return id_; }
    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t, std::span<const Buffer>) override { return only_written(); }
    Result<Extent> extent(std::uint64_t, std::uint64_t limit) override {
        return Extent{.sectors = limit, .data = true};
    }
    Status write(std::uint64_t, std::span<const ConstBuffer>) override { return only_written(); }
    Status flush() override { return {}; }
    Status discard(std::uint64_t, std::uint64_t) override { return {}; }

  private:
    static Status only_written() {
        return fail(ErrorCode::ReadOnly, "a child is only written to here, not read, and its parent neither");
    }

    std::array<std::uint8_t, 16> id_;
    std::uint64_t sectors_;
};

/// Makes the first of `links` hold this sector itself, with the contents it has already.
Status store_in_child(const std::vector<ChainLink>& links, std::uint64_t sector,
                      const std::vector<std::filesystem::path>& parent_folders) {
    const ChainLink& child = links.front();
    std::array<std::uint8_t, kSectorSize> contents = {};
    {
        const auto device = open_image(child.path, {.mode = OpenMode::ReadOnly, .parent_folders = parent_folders});
        if (!device) {
            return tl::unexpected<Error>(device.error());
        }
        if (auto status = (*device)->read(sector, Buffer(contents)); !status) {
            return status;
        }
    }
    auto file = open_file(child.path, OpenMode::ReadWrite);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    const auto device = open_image(std::move(*file), OpenMode::ReadWrite,
                                   std::make_unique<ParentFullOfData>(links[1].unique_id, child.size / kSectorSize));
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    auto status = (*device)->write(sector, ConstBuffer(contents));
    return status ? (*device)->flush() : status;
}

}  // namespace

Status enlarge_parent(const std::vector<ChainLink>& links, const std::vector<std::filesystem::path>& parent_folders,
                      WorkMeter& meter) {
    const ChainLink& parent = links.back();
    if (parent.type == ImageType::Fixed) {
        if (auto status = store_in_child(links, parent.size / kSectorSize, parent_folders); !status) {
            return status;
        }
    }
    // A few blocks at most have to make room for a larger table: no progress that would be worth a share of the
    // merge's.
    WorkMeter quiet({}, 1);
    if (auto status = meter.tick(); !status) {
        return status;
    }
    return resize_parent(parent.path, links.front().size, parent_folders, quiet);
}

}  // namespace vpc::disk
