#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "disk/error.h"
#include "disk/file.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

struct SetParentOptions {
    /// Take a parent whose id is not the recorded one, and record that. Only whoever knows that it holds what the old
    /// parent held should ask for this.
    bool ignore_id_mismatch = false;
    /// Where the parent's own parents are looked for, too.
    std::vector<std::filesystem::path> parent_folders = {};
};

/// Whom the child has recorded as its parent before and after.
struct ParentChange {
    std::array<std::uint8_t, 16> id_before{};
    std::array<std::uint8_t, 16> id_after{};  ///< zeros: a raw image, which has none
};

/// Tells a differencing image where its parent is, after one of them was moved or renamed: id, name, time of last
/// change, relative and absolute path are written anew. The disk's contents are not looked at. The parent the child has
/// had so far need not be there. With the same id the child's disk stays what it was, and so does its own time of last
/// change, which children of the child have recorded.
///
/// A power failure leaves the old or the new parent, and the operation can be repeated. Errors, before anything is
/// changed: ParentMismatch, which names both ids; Unsupported if `child` is no differencing image, or for a parent that
/// is larger; Corrupt if `child` would be among its own parents, or is damaged; those of opening either image, InUse
/// among them.
Result<ParentChange> set_parent(const std::filesystem::path& child, const std::filesystem::path& parent,
                                const SetParentOptions& options, const Operation& operation);

/// Who the parent shall be, for set_parent_of().
struct NewParent {
    std::filesystem::path child;  ///< where the child is, for the relative path
    std::filesystem::path parent;
    std::array<std::uint8_t, 16> unique_id{};
    std::uint64_t size = 0;        ///< of its disk, in bytes
    std::uint32_t time_stamp = 0;  ///< of its last change, in VHD time
};

/// The middle part of set_parent(), for a child that is open for writing and locked.
Result<ParentChange> set_parent_of(File& child, const NewParent& parent, bool ignore_id_mismatch);

}  // namespace vpc::disk
