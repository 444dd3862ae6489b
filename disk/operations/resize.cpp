#include "disk/operations/resize.h"

#include <algorithm>
#include <exception>
#include <string>
#include <utility>

#include "disk/borrowed_file.h"
#include "disk/chain.h"
#include "disk/open_image.h"
#include "disk/operations/children.h"
#include "disk/operations/table_growth.h"
#include "disk/posix_file.h"
#include "disk/transfer.h"
#include "disk/vhd/dynamic_disk.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/geometry.h"
#include "disk/vhd/header_switch.h"

namespace vpc::disk {
namespace {

constexpr std::uint64_t kPieceSectors = (std::uint64_t{2} << 20) / kSectorSize;

std::string bytes_text(std::uint64_t bytes) {
    return std::to_string(bytes) + " bytes";
}

Status check_size(std::uint64_t size, bool vhd, const std::string& name) {
    if (size < kSectorSize || size % kSectorSize != 0) {
        return fail(ErrorCode::Unsupported,
                    name + " cannot have a disk of " + bytes_text(size) + "; choose a multiple of 512");
    }
    if (vhd && size > vhd::kMaxDiskSize) {
        return fail(ErrorCode::Unsupported, name + " cannot have a disk of " + bytes_text(size) +
                                                "; a VHD has at most 2040 GiB, a raw image can have more");
    }
    return {};
}

/// Whether this sector is the footer that an interrupted attempt at the same has put where it belongs.
bool is_own_footer(ConstBuffer sector, const vhd::Footer& footer, std::uint64_t size) {
    return vhd::is_intact_footer(sector) && vhd::parse_footer(sector).unique_id == footer.unique_id &&
           vhd::parse_footer(sector).current_size == size;
}

/// Refuses unless the disk holds nothing but zeros from `size` on.
Status check_tail(BlockDevice& device, std::uint64_t size, const std::string& name, WorkMeter& meter) {
    const auto* image = dynamic_cast<const vhd::Image*>(&device);
    std::vector<std::uint8_t> buffer(kPieceSectors * kSectorSize);
    const std::uint64_t begin = size / kSectorSize;
    meter.set_total((device.sectors() - begin) * kSectorSize);
    for (std::uint64_t sector = begin; sector < device.sectors();) {
        const auto run = device.extent(sector, device.sectors() - sector);
        if (!run) {
            return tl::unexpected<Error>(run.error());
        }
        std::uint64_t count = run->sectors;
        if (run->data) {
            count = std::min(count, kPieceSectors);
            const Buffer bytes = Buffer(buffer).first(count * kSectorSize);
            if (auto status = device.read(sector, bytes); !status) {
                return status;
            }
            for (std::uint64_t i = 0; i < count; ++i) {
                const ConstBuffer piece = ConstBuffer(bytes).subspan(i * kSectorSize, kSectorSize);
                const bool first = sector + i == begin && image != nullptr;
                if (!all_zeros({&piece, 1}) && !(first && is_own_footer(piece, image->footer(), size))) {
                    return fail(ErrorCode::Unsupported,
                                name + " has something at byte " + std::to_string((sector + i) * kSectorSize) +
                                    " of its disk, behind the new end; make its partitions smaller first, or choose a "
                                    "larger size");
                }
            }
        }
        sector += count;
        if (auto status = meter.add(count * kSectorSize); !status) {
            return status;
        }
    }
    return {};
}

Status resize_raw(File& file, std::uint64_t size) {
    auto status = file.truncate(size);
    return status ? file.sync() : status;
}

/// The footer is the end of the file in either case, first further out or further in, then nowhere else.
Status resize_fixed(File& file, const vhd::Footer& footer, std::uint64_t old_size) {
    const std::uint64_t size = footer.current_size;
    auto status = file.write(size, ConstBuffer(vhd::serialise(footer)));
    status = status ? file.sync() : status;
    if (status && size > old_size) {
        status = file.write(old_size, ConstBuffer(vhd::FooterBytes{}));
    } else if (status) {
        status = file.truncate(size + vhd::kFooterSize);
    }
    return status ? file.sync() : status;
}

vhd::Footer resized(vhd::Footer footer, std::uint64_t size) {
    // Some programs write the saturated geometry into every footer, to say that the size counts.
    const bool saturated = footer.disk_geometry == vhd::kSaturatedGeometry &&
                           vhd::geometry_for(footer.current_size / kSectorSize) != vhd::kSaturatedGeometry;
    if (!saturated) {
        footer.disk_geometry = vhd::geometry_for(size / kSectorSize);
    }
    footer.current_size = size;
    return footer;
}

Status check_differencing(const vhd::DynamicDisk& disk, std::uint64_t size, const std::string& name) {
    const std::uint64_t old_size = disk.sectors() * kSectorSize;
    if (size < old_size) {
        return fail(ErrorCode::Unsupported,
                    name + " is a differencing image, which cannot be made smaller; merge it into a new image first");
    }
    if (disk.parent()->sectors() > disk.sectors()) {
        return fail(ErrorCode::Unsupported,
                    name +
                        " cannot be made larger: its parent is larger already, and what that holds there would "
                        "appear; merge it into a new image first");
    }
    return {};
}

/// The image's place among its parents, of which the nearest is opened.
Status resize_path(const std::filesystem::path& image, std::uint64_t size,
                   const std::vector<std::filesystem::path>& parent_folders, const std::vector<ChainLink>& links,
                   WorkMeter& meter) {
    const auto file = open_locked(image, OpenMode::ReadWrite, LockKind::Exclusive);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    if (links.front().parent_problem) {
        return tl::unexpected<Error>(*links.front().parent_problem);
    }
    std::unique_ptr<BlockDevice> parent;
    if (links.size() > 1) {
        auto opened = open_image(links[1].path, {.mode = OpenMode::ReadOnly, .parent_folders = parent_folders});
        if (!opened) {
            return tl::unexpected<Error>(opened.error());
        }
        parent = std::move(*opened);
    }
    return resize_file(**file, std::move(parent), size, meter);
}

}  // namespace

Status resize_file(File& file, std::unique_ptr<BlockDevice> parent, std::uint64_t size, WorkMeter& meter) {
    // Opening it says all that can be wrong with the image, and puts right what a power failure has left.
    auto device = open_image(std::make_unique<BorrowedFile>(file), OpenMode::ReadWrite, std::move(parent));
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    const std::uint64_t old_size = (*device)->sectors() * kSectorSize;
    auto* image = dynamic_cast<vhd::Image*>(device->get());
    auto* disk = dynamic_cast<vhd::DynamicDisk*>(device->get());
    if (auto status = check_size(size, image != nullptr, file.name()); !status) {
        return status;
    }
    if (size == old_size && (image == nullptr || image->footer().current_size == size)) {
        return {};
    }
    if (disk != nullptr && disk->parent() != nullptr) {
        if (auto status = check_differencing(*disk, size, file.name()); !status) {
            return status;
        }
    }
    if (size < old_size) {
        if (auto status = check_tail(**device, size, file.name(), meter); !status) {
            return status;
        }
    }
    if (image == nullptr) {
        device->reset();
        return resize_raw(file, size);
    }
    const vhd::Footer footer = resized(image->footer(), size);
    if (disk == nullptr) {
        device->reset();
        return resize_fixed(file, footer, old_size);
    }
    TableGrowth growth(file, footer);
    if (auto status = growth.move_blocks(*disk, meter); !status) {
        return status;
    }
    device->reset();
    return growth.carry_out();
}

Status resize_parent(const std::filesystem::path& image, std::uint64_t size,
                     const std::vector<std::filesystem::path>& parent_folders, WorkMeter& meter) {
    const auto links = read_chain(image, {.parent_folders = parent_folders});
    if (!links) {
        return tl::unexpected<Error>(links.error());
    }
    return resize_path(image, size, parent_folders, *links, meter);
}

Status resize(const std::filesystem::path& image, std::uint64_t size,
              const std::vector<std::filesystem::path>& parent_folders, const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        const auto links = read_chain(image, {.parent_folders = parent_folders});
        if (!links) {
            return tl::unexpected<Error>(links.error());
        }
        if (const auto child = find_other_child({links->front()})) {
            return fail(ErrorCode::InUse, quoted(image) + " is the parent of " + quoted(child->child) +
                                              ", which needs it as it is; merge or delete that first");
        }
        if (auto status = resize_path(image, size, parent_folders, *links, meter); !status) {
            return status;
        }
        meter.finish();
        return {};
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

}  // namespace vpc::disk
