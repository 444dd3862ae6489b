#pragma once
#include <filesystem>
#include <vector>

#include "disk/operations/check.h"

namespace vpc::disk {

/// The part of check() that is about an image's parents: adds to what is known of the image itself. The file must not
/// be locked Exclusive. Fails where the image is of a format that is not examined.
Status check_chain(const std::filesystem::path& image, const std::vector<std::filesystem::path>& parent_folders,
                   CheckReport& report);

}  // namespace vpc::disk
