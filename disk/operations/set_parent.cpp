#include "disk/operations/set_parent.h"

#include <algorithm>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include "disk/chain.h"
#include "disk/open_image.h"
#include "disk/operations/create.h"
#include "disk/posix_file.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/footer_search.h"
#include "disk/vhd/header_switch.h"

namespace vpc::disk {
namespace {

/// A child's structures, fit to be changed.
struct Child {
    vhd::Footer footer;
    std::uint64_t footer_offset = 0;
    vhd::DynamicHeader header;
};

Result<Child> load_child(File& file) {
    const auto size = file.size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    const auto none = [&file] {
        return fail(ErrorCode::Unsupported,
                    file.name() + " is not a differencing image: it has no parent that could be set");
    };
    if (*size < kSectorSize) {
        return none();
    }
    const auto found = vhd::find_footer(file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    if (!*found || (*found)->footer.disk_type != vhd::DiskType::Differencing) {
        return none();
    }
    if (!(*found)->damage.empty()) {
        return fail(ErrorCode::Corrupt, file.name() + " is a damaged VHD: " + (*found)->damage + "; repair it first");
    }
    if ((*found)->offset % kSectorSize != 0) {
        return fail(ErrorCode::Corrupt,
                    file.name() + " is damaged: it is not made of whole sectors; restore a copy of it");
    }
    if (auto status = vhd::check_footer((*found)->footer, file.name()); !status) {
        return tl::unexpected<Error>(status.error());
    }
    if ((*found)->footer.saved_state != 0) {
        return fail(ErrorCode::InUse, file.name() +
                                          " belongs to a machine in saved state: resume that machine or discard its "
                                          "state first");
    }
    const std::uint64_t footer_offset =
        (*found)->footer_to_restore ? (*found)->offset - vhd::kFooterSize : (*found)->offset;
    const auto loaded = vhd::load_dynamic_header(file, (*found)->footer, footer_offset);
    if (!loaded) {
        return tl::unexpected<Error>(loaded.error());
    }
    if (!loaded->intact) {
        return fail(ErrorCode::Corrupt,
                    file.name() + " is damaged: the checksum of its dynamic disk header is wrong; repair it first");
    }
    return Child{(*found)->footer, footer_offset, loaded->header};
}

/// Where new paths can go for good: the room of the old ones, if that is one piece and large enough, else 0.
std::uint64_t room_of_paths(const vhd::DynamicHeader& header, std::uint64_t footer_offset, std::uint64_t needed) {
    std::uint64_t begin = footer_offset;
    std::uint64_t space = 0;
    for (const vhd::ParentLocatorEntry& entry : header.parent_locator_entries) {
        // Some programs count the room in sectors; then there is less of it than it seems, and it is not used.
        const bool in_bytes = entry.platform_data_space >= kSectorSize &&
                              entry.platform_data_space % kSectorSize == 0 &&
                              entry.platform_data_length <= entry.platform_data_space;
        if (entry.platform_code != vhd::FourCc{} && in_bytes) {
            begin = std::min(begin, entry.platform_data_offset);
            space += entry.platform_data_space;
        }
    }
    for (const vhd::ParentLocatorEntry& entry : header.parent_locator_entries) {
        if (entry.platform_code != vhd::FourCc{} &&
            (entry.platform_data_offset < begin || entry.platform_data_offset - begin >= space)) {
            return 0;
        }
    }
    const bool fits = begin >= vhd::kFooterSize + vhd::kDynamicHeaderSize && begin % kSectorSize == 0 &&
                      space >= needed && begin <= footer_offset && needed <= footer_offset - begin;
    return fits ? begin : 0;
}

/// Whether anything of the image lies in these bytes of the file, apart from the parent's paths.
Result<bool> is_used(File& file, const Child& child, std::uint64_t begin, std::uint64_t end) {
    const auto touches = [&](std::uint64_t from, std::uint64_t length) { return from < end && begin < from + length; };
    if (touches(child.footer.data_offset, vhd::kDynamicHeaderSize) ||
        touches(child.header.table_offset, vhd::table_bytes(child.header.max_table_entries))) {
        return true;
    }
    const auto table = vhd::BlockTable::load(file, child.header.table_offset, child.header.max_table_entries);
    if (!table) {
        return tl::unexpected<Error>(table.error());
    }
    const std::uint64_t slot = std::uint64_t{vhd::bitmap_bytes(child.header.block_size)} + child.header.block_size;
    for (std::uint32_t block = 0; block < table->size(); ++block) {
        const std::uint64_t sector = (*table)[block];
        if (sector != vhd::BlockTable::kUnallocated && touches(sector * kSectorSize, slot)) {
            return true;
        }
    }
    return false;
}

Result<NewParent> examine_parent(const std::filesystem::path& child, const std::filesystem::path& parent,
                                 const SetParentOptions& options) {
    std::error_code error;
    if (std::filesystem::equivalent(child, parent, error)) {
        return fail(ErrorCode::Corrupt, quoted(child) + " cannot be its own parent; name another image");
    }
    const auto links = read_chain(parent, {.parent_folders = options.parent_folders});
    if (!links) {
        return tl::unexpected<Error>(links.error());
    }
    for (const ChainLink& link : *links) {
        if (std::filesystem::equivalent(child, link.path, error)) {
            return fail(ErrorCode::Corrupt, quoted(child) + " is among the parents of " + quoted(parent) +
                                                ", which therefore cannot be its parent; name another image");
        }
        if (link.parent_problem) {
            return tl::unexpected<Error>(*link.parent_problem);
        }
    }
    return NewParent{.child = child,
                     .parent = parent,
                     .unique_id = links->front().unique_id,
                     .size = links->front().size,
                     .time_stamp = time_of_change(parent)};
}

}  // namespace

Result<ParentChange> set_parent_of(File& file, const NewParent& parent, bool ignore_id_mismatch) {
    const auto child = load_child(file);
    if (!child) {
        return tl::unexpected<Error>(child.error());
    }
    if (parent.unique_id != child->header.parent_unique_id && !ignore_id_mismatch) {
        return fail(ErrorCode::ParentMismatch, file.name() + " belongs to a parent with the id " +
                                                   vhd::text_of_id(child->header.parent_unique_id) + ", but " +
                                                   quoted(parent.parent) + " has the id " +
                                                   vhd::text_of_id(parent.unique_id) + "; name the right one");
    }
    if (parent.size > child->footer.current_size) {
        return fail(ErrorCode::Unsupported, quoted(parent.parent) + " has a disk of " + std::to_string(parent.size) +
                                                " bytes, and " + file.name() + " one of only " +
                                                std::to_string(child->footer.current_size) +
                                                "; name the image that it was made for");
    }
    Result<ParentChange> change = ParentChange{child->header.parent_unique_id, parent.unique_id};
    vhd::DynamicHeader header = child->header;
    header.parent_unique_id = parent.unique_id;
    header.parent_time_stamp = parent.time_stamp;
    const std::uint64_t needed = describe_parent(header, parent.child, parent.parent, 0).size();
    // The old paths must stay until the header has changed, so the new ones are stored twice where they shall end up in
    // the place of those.
    const std::uint64_t behind = child->footer_offset + vhd::kFooterSize;
    std::uint64_t place = room_of_paths(child->header, child->footer_offset, needed);
    if (place != 0) {
        const auto used = is_used(file, *child, place, place + needed);
        if (!used) {
            return tl::unexpected<Error>(used.error());
        }
        place = *used ? 0 : place;
    }
    vhd::DynamicHeader first = header;
    const std::vector<std::uint8_t> paths = describe_parent(first, parent.child, parent.parent, behind);
    vhd::HeaderSwitch header_change = {.footer = child->footer,
                                       .header = first,
                                       .old_footer_offset = child->footer_offset,
                                       .old_footer = child->footer,
                                       .room = behind + needed,
                                       .end = behind + needed,
                                       .prepare = [&]() { return file.write(behind, ConstBuffer(paths)); }};
    if (place != 0) {
        describe_parent(header, parent.child, parent.parent, place);  // the same bytes, elsewhere
        header_change.header_afterwards = header;
        header_change.prepare_afterwards = [&]() { return file.write(place, ConstBuffer(paths)); };
        header_change.end = child->footer_offset;
    }
    const Status status = vhd::switch_header(file, header_change);
    return status ? change : tl::unexpected<Error>(status.error());
}

Result<ParentChange> set_parent(const std::filesystem::path& child, const std::filesystem::path& parent,
                                const SetParentOptions& options, const Operation& operation) {
    try {
        WorkMeter meter(operation, 1);
        const auto found = examine_parent(child, parent, options);
        if (!found) {
            return tl::unexpected<Error>(found.error());
        }
        const auto file = open_locked(child, OpenMode::ReadWrite, LockKind::Exclusive);
        if (!file) {
            return tl::unexpected<Error>(file.error());
        }
        if (auto status = meter.tick(); !status) {
            return tl::unexpected<Error>(status.error());
        }
        std::error_code error;
        const auto time = std::filesystem::last_write_time(child, error);
        auto change = set_parent_of(**file, *found, options.ignore_id_mismatch);
        if (change) {
            if (!error && change->id_before == change->id_after) {
                std::filesystem::last_write_time(child, time, error);  // if it fails, children of this one are warned
            }
            meter.finish();
        }
        return change;
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory: ") + error.what());
    }
}

}  // namespace vpc::disk
