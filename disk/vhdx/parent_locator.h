#pragma once
#include <string>
#include <vector>

#include "disk/vhdx/layout.h"

namespace vpc::disk::vhdx {

/// What a differencing image says of its parent ([MS-VHDX] 2.6.2.6).
struct ParentLocator {
    /// Its Layout::data_id as text, in braces: one, or two where the parent was merged. Lower case.
    std::vector<std::string> ids;
    /// UTF-8, parts separated by '/'; the relative path first.
    std::vector<std::string> paths;
};

/// Corrupt where it cannot be understood, or names no id or no path.
Result<ParentLocator> load_parent_locator(File& file, const Layout& layout);

/// "{a3a2a1a0-a5a4-a7a6-a8a9-aaabacadaeaf}": how Windows writes an id.
std::string text_of_id(const Id& id);

}  // namespace vpc::disk::vhdx
