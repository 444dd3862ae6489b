#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "disk/file.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk {

/// A file that may be the parent of an image.
struct ParentCandidate {
    std::filesystem::path path;
    bool named = false;  ///< the child or a search folder points there; otherwise only an id can tell
};

/// Where the parent of the differencing VHD `child`, which has this header, may be: existing files, likely ones first,
/// each once. disk/chain.h has the rules. Fails only when `child` cannot be read. `child_path` is its path.
Result<std::vector<ParentCandidate>> parent_candidates(File& child, const std::filesystem::path& child_path,
                                                       const vhd::DynamicHeader& header,
                                                       const std::vector<std::filesystem::path>& folders);

/// What the child calls its parent, for messages: the name in the header or the last part of a path; may be empty.
Result<std::string> recorded_parent_name(File& child, const vhd::DynamicHeader& header);

/// Whether the file's time of last change is another than `recorded` (VHD time) by more than the 2 seconds that the
/// times of some file systems are good to. No when nothing is recorded (0), or the host does not tell.
bool has_changed_since(const std::filesystem::path& file, std::uint32_t recorded);

}  // namespace vpc::disk
