#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "disk/chain.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// Before a merge: gives the last of `links` the size of the first, a child that was made larger than its parent or has
/// been enlarged since. What is new in the parent holds zeros, and so does the child where it has nothing of its own
/// there, so the child's disk stays what it is, whether this is interrupted or not; it can be repeated.
///
/// A fixed parent is a special case, because a power failure can leave a copy of its old footer in its first new sector
/// (disk/operations/resize.h): before, the child gets that sector's contents as its own, which hide it.
///
/// `links`: a chain from the child on, at least two images, all there; nobody has them open. The errors are those of
/// resize_parent().
Status enlarge_parent(const std::vector<ChainLink>& links, const std::vector<std::filesystem::path>& parent_folders,
                      WorkMeter& meter);

}  // namespace vpc::disk
