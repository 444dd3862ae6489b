#include "disk/operations/undo_disk.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <string>
#include <system_error>
#include <utility>

#include "disk/chain.h"
#include "disk/chain_opener.h"
#include "disk/new_file.h"
#include "disk/open_image.h"
#include "disk/operations/children.h"
#include "disk/operations/create.h"
#include "disk/operations/image_info.h"
#include "disk/operations/merge.h"
#include "disk/operations/set_parent.h"
#include "disk/parent_search.h"
#include "disk/posix_file.h"
#include "disk/vhd/footer_search.h"

namespace vpc::disk {
namespace {

/// Seconds that the name of a new undo disk may be off, where others were begun in the same second.
constexpr int kAttempts = 10;

tl::unexpected<Error> no_undo_disk(const std::filesystem::path& path) {
    return fail(ErrorCode::Unsupported, quoted(path) +
                                            " is no undo disk, which is a differencing VHD with the extension .vud; "
                                            "name the right file");
}

/// The extension tells an undo disk from other differencing images, which nobody wants to lose by a mistyped name.
bool is_named_as_one(const std::filesystem::path& path) {
    std::string extension = path.extension().string();
    std::transform(extension.begin(), extension.end(), extension.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return extension == ".vud";
}

struct Pair {
    std::unique_ptr<BlockDevice> device;
    UndoDiskState state;
};

Status check_pair(const std::filesystem::path& undo, const vhd::Footer& footer, const vhd::DynamicHeader& header,
                  const std::filesystem::path& disk, const BlockDevice& parent) {
    if (header.parent_unique_id != parent.unique_id()) {
        return fail(ErrorCode::ParentMismatch, quoted(undo) + " holds changes to a disk with the id " +
                                                   vhd::text_of_id(header.parent_unique_id) + ", but " + quoted(disk) +
                                                   " has the id " + vhd::text_of_id(parent.unique_id()) +
                                                   "; put the right disk there, or discard the undo disk");
    }
    if (const std::uint64_t size = parent.sectors() * kSectorSize; footer.current_size < size) {
        return fail(ErrorCode::ParentMismatch, quoted(undo) + " holds changes to a disk of " +
                                                   std::to_string(footer.current_size) + " bytes, but " + quoted(disk) +
                                                   " has " + std::to_string(size) +
                                                   "; put the right disk there, or discard the undo disk");
    }
    return {};
}

Result<Pair> open_pair(const std::filesystem::path& undo, const std::filesystem::path& disk, OpenMode mode,
                       const std::vector<std::filesystem::path>& parent_folders, bool allow_saved_state) {
    if (!is_named_as_one(undo)) {
        return no_undo_disk(undo);
    }
    auto file = open_file(undo, mode);
    if (!file) {
        return tl::unexpected<Error>(file.error());
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    Pair pair = {.device = nullptr, .state = {.file_size = *size}};
    bool differencing = false;
    auto device = open_image(std::move(*file), {.mode = mode, .allow_saved_state = allow_saved_state},
                             [&](File&, const vhd::Footer& footer,
                                 const vhd::DynamicHeader& header) -> Result<std::unique_ptr<BlockDevice>> {
                                 differencing = true;
                                 auto parent =
                                     open_image(disk, {.mode = OpenMode::ReadOnly, .parent_folders = parent_folders});
                                 if (!parent) {
                                     return parent;
                                 }
                                 if (auto status = check_pair(undo, footer, header, disk, **parent); !status) {
                                     return tl::unexpected<Error>(status.error());
                                 }
                                 pair.state.disk_changed = has_changed_since(disk, header.parent_time_stamp);
                                 return parent;
                             });
    if (!device) {
        return tl::unexpected<Error>(device.error());
    }
    if (!differencing) {
        return no_undo_disk(undo);
    }
    pair.device = std::move(*device);
    return pair;
}

/// Whether the undo disk's own record leads to this disk.
Result<bool> leads_to(const std::filesystem::path& undo, const std::filesystem::path& disk,
                      const std::vector<std::filesystem::path>& parent_folders) {
    const auto links = read_chain(undo, {.parent_folders = parent_folders});
    if (!links) {
        return tl::unexpected<Error>(links.error());
    }
    std::error_code error;
    return links->size() > 1 && std::filesystem::equivalent((*links)[1].path, disk, error);
}

/// A differencing VHD that nobody needs, held against others.
Result<std::unique_ptr<File>> hold_for_deletion(const std::filesystem::path& undo) {
    auto file = open_locked(undo, OpenMode::ReadWrite, LockKind::Exclusive);
    if (!file) {
        return file;
    }
    const auto size = (*file)->size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    if (*size < kSectorSize) {
        return no_undo_disk(undo);
    }
    const auto found = vhd::find_footer(**file, *size);
    if (!found) {
        return tl::unexpected<Error>(found.error());
    }
    if (!*found || (*found)->footer.disk_type != vhd::DiskType::Differencing) {
        return no_undo_disk(undo);
    }
    if ((*found)->footer.saved_state != 0) {
        return fail(ErrorCode::InUse, quoted(undo) +
                                          " belongs to a machine in saved state: resume that machine or discard its "
                                          "state first");
    }
    if (const auto other = find_other_child({{.path = undo, .unique_id = (*found)->footer.unique_id}})) {
        return fail(ErrorCode::InUse, quoted(undo) + " is the parent of " + quoted(other->child) +
                                          ", which would become useless; merge or delete that first");
    }
    return file;
}

}  // namespace

std::string undo_disk_name(const std::filesystem::path& disk, const NewUndoDisk& options) {
    std::tm parts = {};
    std::array<char, 32> time = {};
    ::gmtime_r(&options.time, &parts);
    const std::size_t length = std::strftime(time.data(), time.size(), "%H%M%S%m%d%Y", &parts);
    return "VirtualPCUndo_" + disk.stem().string() + "_" + std::to_string(options.controller) + "_" +
           std::to_string(options.unit) + "_" + std::string(time.data(), length) + ".vud";
}

Result<std::filesystem::path> begin_undo_disk(const std::filesystem::path& disk, const NewUndoDisk& options,
                                              const Operation& operation) {
    try {
        const auto info = read_image_info(disk, options.parent_folders);
        if (!info) {
            return tl::unexpected<Error>(info.error());
        }
        if (info->missing_parent) {
            return tl::unexpected<Error>(info->missing_parent->problem);
        }
        if (info->vhdx) {
            return fail(ErrorCode::Unsupported,
                        quoted(disk) +
                            " is a VHDX image, which is only read here and could never take its changes in; convert it "
                            "to a VHD first");
        }
        NewUndoDisk named = options;
        for (int attempt = 1;; ++attempt, ++named.time) {
            const std::filesystem::path undo =
                (options.folder.empty() ? disk.parent_path() : options.folder) / undo_disk_name(disk, named);
            const Status status = create_image({.file = undo,
                                                .type = ImageType::Differencing,
                                                .parent = disk,
                                                .parent_folders = options.parent_folders},
                                               operation);
            if (status) {
                return undo;
            }
            if (status.error().code != ErrorCode::AlreadyExists || attempt == kAttempts) {
                return tl::unexpected<Error>(status.error());
            }
        }
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Result<UndoDiskState> read_undo_disk(const std::filesystem::path& undo, const std::filesystem::path& disk,
                                     const std::vector<std::filesystem::path>& parent_folders) {
    const auto pair = open_pair(undo, disk, OpenMode::ReadOnly, parent_folders, false);
    return pair ? pair->state : Result<UndoDiskState>(tl::unexpected<Error>(pair.error()));
}

Result<std::unique_ptr<BlockDevice>> open_undo_disk(const std::filesystem::path& undo,
                                                    const std::filesystem::path& disk,
                                                    const std::vector<std::filesystem::path>& parent_folders,
                                                    bool allow_saved_state, OpenMode mode) {
    auto pair = open_pair(undo, disk, mode, parent_folders, allow_saved_state);
    if (!pair) {
        return tl::unexpected<Error>(pair.error());
    }
    return std::move(pair->device);
}

Status commit_undo_disk(const std::filesystem::path& undo, const std::filesystem::path& disk,
                        const std::vector<std::filesystem::path>& parent_folders, const Operation& operation) {
    try {
        if (const auto state = read_undo_disk(undo, disk, parent_folders); !state) {
            return tl::unexpected<Error>(state.error());
        }
        const auto found = leads_to(undo, disk, parent_folders);
        if (!found) {
            return tl::unexpected<Error>(found.error());
        }
        if (!*found) {
            // The machine's folder was moved, or a copy of the disk is what its undo disk finds first.
            const auto change =
                set_parent(undo, disk, {.parent_folders = parent_folders}, {.progress = {}, .stop = operation.stop});
            if (!change) {
                return tl::unexpected<Error>(change.error());
            }
        }
        return merge(undo, {.parent_folders = parent_folders}, operation);
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory or threads: ") + error.what());
    }
}

Status discard_undo_disk(const std::filesystem::path& undo) {
    if (!is_named_as_one(undo)) {
        return no_undo_disk(undo);
    }
    try {
        const auto held = hold_for_deletion(undo);
        if (!held) {
            return tl::unexpected<Error>(held.error());
        }
        if (::unlink(undo.c_str()) != 0) {
            return host_error("delete", quoted(undo), errno);
        }
        return sync_folder_of(undo);
    } catch (const std::exception& error) {
        return fail(ErrorCode::IoError, std::string("the host lacks memory: ") + error.what());
    }
}

}  // namespace vpc::disk
