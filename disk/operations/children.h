#pragma once
#include <filesystem>
#include <optional>
#include <vector>

#include "disk/chain.h"

namespace vpc::disk {

/// An image that has another one as its parent.
struct ChildImage {
    std::filesystem::path parent;
    std::filesystem::path child;
};

/// Looks in the folders of these images for one that is none of them and has one of them as its parent. Children
/// elsewhere, and those of images without an id (raw ones), are not found.
std::optional<ChildImage> find_other_child(const std::vector<ChainLink>& images);

}  // namespace vpc::disk
