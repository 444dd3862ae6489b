#include "disk/operations/image_info.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "disk/parent_search.h"
#include "disk/posix_file.h"
#include "disk/raw_disk.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/image.h"
#include "disk/vhdx/layout.h"

namespace vpc::disk {
namespace {

/// A differencing image whose parent has not been found, as it describes that parent.
Result<ImageInfo::MissingParent> missing_parent(const ChainLink& child) {
    ImageInfo::MissingParent missing = {.name = {}, .unique_id = child.parent_id, .problem = *child.parent_problem};
    const auto file = open_file(child.path, OpenMode::ReadOnly);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    const auto found = vhd::find_footer(**file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    if (*found) {
        if (const auto loaded = vhd::load_dynamic_header(**file, (*found)->footer, (*found)->offset)) {
            auto name = recorded_parent_name(**file, loaded->header);
            if (!name) {
                return tl::unexpected<Error>(name.error());
            }
            missing.name = std::move(*name);
        }
    }
    return missing;
}

Result<BlockInfo> read_blocks(File& file, const vhd::FoundFooter& found) {
    const auto loaded = vhd::load_dynamic_header(file, found.footer, found.offset);
    if (!loaded) {
        return tl::unexpected<Error>(loaded.error());
    }
    const vhd::DynamicHeader& header = loaded->header;
    const auto table = vhd::BlockTable::load(file, header.table_offset, header.max_table_entries);
    if (!table) {
        return tl::unexpected<Error>(table.error());
    }
    BlockInfo info = {
        .block_size = header.block_size,
        .blocks = static_cast<std::uint32_t>(vhd::needed_table_entries(found.footer.current_size, header.block_size))};
    for (std::uint32_t block = 0; block < info.blocks; ++block) {
        info.allocated += (*table)[block] != vhd::BlockTable::kUnallocated ? 1 : 0;
    }
    return info;
}

bool is_named_like_a_vhd(const std::filesystem::path& image) {
    std::string extension = image.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return extension == ".vhd" || extension == ".avhd" || extension == ".vud";
}

}  // namespace

Result<ImageInfo> read_image_info(const std::filesystem::path& image,
                                  const std::vector<std::filesystem::path>& parent_folders) {
    auto links = read_chain(image, {.parent_folders = parent_folders});
    if (!links) {
        return tl::unexpected<Error>(links.error());
    }
    ImageInfo info = {.file = image, .type = links->front().type, .virtual_size = links->front().size};
    const auto file = open_file(image, OpenMode::ReadOnly);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    info.file_size = *size;
    info.unique_id = links->front().unique_id;
    if (std::array<std::uint8_t, vhdx::kSignature.size()> start = {}; info.type == ImageType::Raw) {
        if (auto status = (*file)->read(0, Buffer(start)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        info.vhdx = std::equal(start.begin(), start.end(), vhdx::kSignature.begin());
    }
    struct stat status = {};
    if (::stat(image.c_str(), &status) == 0) {
        info.stored_size = static_cast<std::uint64_t>(status.st_blocks) * 512;  // st_blocks: in 512 bytes, always
    }
    const std::uint64_t sectors = info.virtual_size / kSectorSize;
    info.geometry = raw_geometry(sectors);
    if (info.type != ImageType::Raw) {
        const auto found = vhd::find_footer(**file, *size);
        if (!found) {
            return tl::unexpected<Error>(found.error());
        }
        if (*found) {
            info.footer = (*found)->footer;
            info.geometry = vhd::geometry_of(*info.footer);
            if (info.type != ImageType::Fixed) {
                const auto blocks = read_blocks(**file, **found);
                if (!blocks) {
                    return tl::unexpected<Error>(blocks.error());
                }
                info.blocks = *blocks;
            }
        }
    }
    if (info.type == ImageType::Raw && !info.vhdx && is_named_like_a_vhd(image)) {
        info.note =
            "the name is that of a VHD, but there is no footer of one: it is taken for a raw disk; if it was a VHD, "
            "its "
            "end is missing, and a copy of it should be restored";
    }
    if (const ChainLink& last = links->back(); last.parent_problem) {
        auto missing = missing_parent(last);
        if (!missing) {
            return tl::unexpected<Error>(missing.error());
        }
        info.missing_parent = std::move(*missing);
    }
    links->erase(links->begin());
    info.parents = std::move(*links);
    return info;
}

std::string text_of(const vhd::FourCc& code) {
    std::string text(code.begin(), code.end());
    while (!text.empty() && (text.back() == ' ' || text.back() == '\0')) {
        text.pop_back();
    }
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c < 0x20 || c > 0x7E; }, '?');
    return text;
}

}  // namespace vpc::disk
