#pragma once
#include <chrono>
#include <filesystem>
#include <vector>

#include "disk/operations/convert.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

struct MergeOptions {
    /// Merge the child and all images between it and the root into the root, instead of the child into its parent.
    bool all = false;
    /// Go on although other images in the same folders have one of the merged images as their parent: they will hold
    /// nonsense afterwards.
    bool allow_other_children = false;
    /// Keep the files of the merged children. They must not be used any more.
    bool keep_children = false;
    /// Where parents are looked for, too.
    std::vector<std::filesystem::path> parent_folders = {};
};

/// Writes what a differencing image holds into its parent, which then holds the same disk and keeps its id, and deletes
/// the child's file, which would be of no use any more.
///
/// The child is only read until the parent has everything on the host's disk. Stopped, failed or interrupted by a power
/// failure before, the child still holds its disk on top of the half-merged parent, and the merge can be repeated. The
/// parent alone holds a mixture until then.
///
/// Refused before anything is written: InUse when one of the images is, when one belongs to a machine in saved state,
/// or when other images in the folders of the merged ones have one of those as parent; NoSpace when the parent might
/// need more room than the host has; Unsupported when `child` is no differencing image. A parent that is smaller than
/// the child is enlarged first (disk/operations/enlarge_parent.h), which has errors of its own. Children of raw images
/// cannot be told apart and are not looked for.
Status merge(const std::filesystem::path& child, const MergeOptions& options, const Operation& operation);

/// Makes a new image of its own of a chain: convert() under the name that Virtual PC has for it. The chain is only
/// read.
Status merge_to(const std::filesystem::path& child, const std::vector<std::filesystem::path>& parent_folders,
                const ConvertTarget& target, const Operation& operation);

/// The middle part of merge(): writes all sectors of `child` that lie in the first `depth` images of its chain into
/// `parent`, and flushes that. `parent` must not be smaller. `time_behind` is how long the caller will have to
/// do afterwards: that counts as much as what is copied in such a time, and is what `meter` has left in the end.
Status merge_sectors(BlockDevice& child, unsigned depth, BlockDevice& parent, WorkMeter& meter,
                     std::chrono::nanoseconds time_behind = {});

}  // namespace vpc::disk
