#include "disk/chain.h"

#include <algorithm>
#include <string>
#include <utility>

#include "disk/chain_opener.h"
#include "disk/log.h"
#include "disk/parent_search.h"
#include "disk/posix_file.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/image.h"

namespace vpc::disk {
namespace {

constexpr std::size_t kMaxChain = 64;
/// Table entries of all images together, 4 bytes of memory each: 8 disks of 2040 GiB in blocks of 2 MiB.
constexpr std::uint64_t kMaxChainTableEntries = std::uint64_t{8} << 20;

/// Who a file says it is; zeros for a raw image.
Result<std::array<std::uint8_t, 16>> id_of(const std::filesystem::path& path) {
    const auto file = open_file(path, OpenMode::ReadOnly);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kSectorSize) {
        return fail(ErrorCode::NotAnImage,
                    (*file)->name() + " is shorter than a sector: it is no disk image; restore a copy of it");
    }
    const auto found = vhd::find_footer(**file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    return *found ? (*found)->footer.unique_id : std::array<std::uint8_t, 16>{};
}

ImageType type_of(const BlockDevice& device) {
    const auto* image = dynamic_cast<const vhd::Image*>(&device);
    if (image == nullptr) {
        return ImageType::Raw;
    }
    switch (image->footer().disk_type) {
        case vhd::DiskType::Fixed:
            return ImageType::Fixed;
        case vhd::DiskType::Differencing:
            return ImageType::Differencing;
        default:
            return ImageType::Dynamic;
    }
}

}  // namespace

Result<std::unique_ptr<BlockDevice>> ChainOpener::open(const std::filesystem::path& image) {
    return open_link(image, options_.mode);
}

Result<std::unique_ptr<BlockDevice>> ChainOpener::open_link(const std::filesystem::path& path, OpenMode mode) {
    const std::size_t index = links_.size();
    if (index >= kMaxChain) {
        return fail(ErrorCode::Unsupported, quoted(path) + " is one image too many: a chain has at most " +
                                                std::to_string(kMaxChain) + "; merge some of them");
    }
    auto file = open_locked(path, mode, lock_kind(mode));
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    links_.push_back({.path = path});
    OpenOptions options = options_;
    options.mode = mode;
    auto device = open_image(std::move(*file), options,
                             [&](File& child, const vhd::Footer& footer, const vhd::DynamicHeader& header) {
                                 ChainLink& link = links_[index];
                                 link.type = ImageType::Differencing;
                                 link.size = footer.current_size;
                                 link.unique_id = footer.unique_id;
                                 link.parent_id = header.parent_unique_id;
                                 auto parent = open_parent(path, child, header);
                                 // What is missing may be a parent of the parent: that one knows.
                                 if (!parent && !links_.back().parent_problem) {
                                     links_.resize(index + 1);
                                     links_[index].parent_problem = parent.error();
                                 }
                                 return parent;
                             });
    if (device) {
        links_[index].type = type_of(**device);
        links_[index].size = (*device)->sectors() * kSectorSize;
        links_[index].unique_id = (*device)->unique_id();
    }
    return device;
}

Result<std::unique_ptr<BlockDevice>> ChainOpener::open_parent(const std::filesystem::path& child_path, File& child,
                                                              const vhd::DynamicHeader& header) {
    table_entries_ += header.max_table_entries;
    if (table_entries_ > kMaxChainTableEntries) {
        return fail(ErrorCode::Unsupported, child.name() +
                                                " and the images above it have too many blocks for one "
                                                "chain; merge "
                                                "some of them, or convert them to larger blocks");
    }
    const auto candidates = parent_candidates(child, child_path, header, options_.parent_folders);
    if (!candidates) {
        return tl::unexpected<Error>(candidates.error());
    }
    std::optional<Error> problem;
    for (const auto& [candidate, named] : *candidates) {
        const auto id = id_of(candidate);
        if (!id) {
            problem = problem || !named ? problem : id.error();
            continue;
        }
        std::error_code error;
        const bool in_chain = std::any_of(links_.begin(), links_.end(), [&, &path = candidate](const ChainLink& link) {
            return std::filesystem::equivalent(link.path, path, error);
        });
        if (*id != header.parent_unique_id) {
            if (named && !in_chain) {
                problem = Error{ErrorCode::ParentMismatch, child.name() + " belongs to a parent with the id " +
                                                               vhd::text_of_id(header.parent_unique_id) + ", but " +
                                                               quoted(candidate) + " has the id " +
                                                               vhd::text_of_id(*id) + "; put the right one there"};
            }
            continue;
        }
        if (in_chain) {
            problem = Error{ErrorCode::Corrupt, child.name() + " and its parents refer to each other in a circle: " +
                                                    quoted(candidate) + " cannot be its parent; set the right one"};
            continue;
        }
        const std::size_t index = links_.size();
        auto parent = open_link(candidate, OpenMode::ReadOnly);
        if (parent) {
            links_[index].changed_since_child_was_made = has_changed_since(candidate, header.parent_time_stamp);
            if (links_[index].changed_since_child_was_made && !options_.quiet) {
                log().warn(
                    "{} has another time than when its child {} was made: if it "
                    "was written to, the child is "
                    "worthless",
                    quoted(candidate), child.name());
            }
        }
        return parent;
    }
    if (problem) {
        return tl::unexpected<Error>(*problem);
    }
    const auto name = recorded_parent_name(child, header);
    return fail(ErrorCode::NotFound,
                "the parent " + (name && !name->empty() ? quoted(std::filesystem::path(*name)) + " " : std::string()) +
                    "of " + child.name() + " is missing; put it into the same folder");
}

Result<std::vector<ChainLink>> read_chain(const std::filesystem::path& image, const OpenOptions& options) {
    OpenOptions reading = options;
    reading.mode = OpenMode::ReadOnly;
    ChainOpener opener(reading);
    const auto device = opener.open(image);
    const bool broken = !opener.links().empty() && opener.links().front().type == ImageType::Differencing;
    if (!device && !broken) {
        return tl::unexpected<Error>(device.error());
    }
    return opener.links();
}

}  // namespace vpc::disk
