#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "disk/file.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk::vhd {

// Platform codes of parent locators ("Parent Locator Entry" of the specification).
inline constexpr FourCc kRelativeWindowsPath = {'W', '2', 'r', 'u'};  ///< UTF-16LE
inline constexpr FourCc kAbsoluteWindowsPath = {'W', '2', 'k', 'u'};  ///< UTF-16LE
inline constexpr FourCc kMacUrl = {'M', 'a', 'c', 'X'};               ///< UTF-8, percent-encoded file URL
inline constexpr FourCc kOldRelativePath = {'W', 'i', '2', 'r'};      ///< 8-bit characters, deprecated
inline constexpr FourCc kOldAbsolutePath = {'W', 'i', '2', 'k'};      ///< the same

/// One of the ways in which a child says where its parent is.
struct ParentPath {
    FourCc platform_code = {};
    std::string path;  ///< UTF-8, parts separated by '/', URL decoded; unpaired
                       ///< surrogates as three bytes each
};

/// The paths of all eight locators that can be understood, in the order of their slots. Locators that point outside the
/// file, or whose path is empty or longer than 64 KiB, are left out. Fails only when the host does.
Result<std::vector<ParentPath>> read_parent_paths(File& file, const DynamicHeader& header);

/// The parent's name in the header: UTF-16BE, or UTF-16LE where that makes more sense, as some programs write it. May
/// be a whole path; its parts are separated by '/'.
std::string parent_name(const DynamicHeader& header);
/// Puts the name there, cut off after 256 units of UTF-16.
void set_parent_name(DynamicHeader& header, const std::string& name);

/// A path as W2ru and W2ku store it: UTF-16LE with backslashes.
std::vector<std::uint8_t> windows_path(std::string_view utf8);
/// The reverse: up to the first zero, parts separated by '/'.
std::string from_windows_path(std::span<const std::uint8_t> utf16);

/// Bytes that a path of a new image gets, as Windows reserves them: room for a longer one.
inline constexpr std::size_t kLocatorSpace = 4096;

}  // namespace vpc::disk::vhd
