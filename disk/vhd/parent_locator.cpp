#include "disk/vhd/parent_locator.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

namespace vpc::disk::vhd {
namespace {

constexpr std::uint32_t kMaxPathBytes = 64 * 1024;
constexpr char32_t kReplacement = 0xFFFD;

void append_utf8(std::string& text, char32_t code) {
    const auto add = [&text](char32_t byte) { text += static_cast<char>(byte); };
    if (code < 0x80) {
        add(code);
    } else if (code < 0x800) {
        add(0xC0 | code >> 6);
        add(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        add(0xE0 | code >> 12);
        add(0x80 | (code >> 6 & 0x3F));
        add(0x80 | (code & 0x3F));
    } else {
        add(0xF0 | code >> 18);
        add(0x80 | (code >> 12 & 0x3F));
        add(0x80 | (code >> 6 & 0x3F));
        add(0x80 | (code & 0x3F));
    }
}

/// Up to the first zero.
std::string from_utf16(std::span<const std::uint8_t> bytes, bool big_endian) {
    std::string text;
    const auto unit_at = [&](std::size_t i) -> char32_t {
        return big_endian ? bytes[i] << 8 | bytes[i + 1] : bytes[i + 1] << 8 | bytes[i];
    };
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
        const char32_t unit = unit_at(i);
        if (unit == 0) {
            break;
        }
        if (unit >= 0xD800 && unit < 0xDC00 && i + 3 < bytes.size()) {
            const char32_t low = unit_at(i + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                append_utf8(text, 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
                i += 2;
                continue;
            }
        }
        append_utf8(text, unit);
    }
    return text;
}

/// The next character of a UTF-8 string, which becomes shorter. Bytes that are none are replaced.
char32_t next_character(std::string_view& text) {
    const auto first = static_cast<std::uint8_t>(text.front());
    text.remove_prefix(1);
    const int more = first < 0x80 ? 0 : first >= 0xF0 && first < 0xF8 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : -1;
    if (more < 0 || first >= 0xF8 || text.size() < static_cast<std::size_t>(more)) {
        return kReplacement;
    }
    char32_t code = more == 0 ? first : first & (0x3F >> more);
    for (int i = 0; i < more; ++i) {
        const auto byte = static_cast<std::uint8_t>(text[static_cast<std::size_t>(i)]);
        if ((byte & 0xC0) != 0x80) {
            return kReplacement;
        }
        code = code << 6 | (byte & 0x3F);
    }
    text.remove_prefix(static_cast<std::size_t>(more));
    return code > 0x10FFFF ? kReplacement : code;
}

std::vector<std::uint16_t> to_utf16(std::string_view text) {
    std::vector<std::uint16_t> units;
    while (!text.empty()) {
        const char32_t code = next_character(text);
        if (code >= 0x10000) {
            units.push_back(static_cast<std::uint16_t>(0xD800 + ((code - 0x10000) >> 10)));
            units.push_back(static_cast<std::uint16_t>(0xDC00 + ((code - 0x10000) & 0x3FF)));
        } else {
            units.push_back(static_cast<std::uint16_t>(code));
        }
    }
    return units;
}

std::string with_slashes(std::string path) {
    std::replace(path.begin(), path.end(), '\\', '/');
    return path;
}

bool ends_like_an_image(std::string name) {
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return std::any_of(name.begin(), name.end(), [](char c) { return c == '.'; }) &&
           (name.ends_with("vhd") || name.ends_with("vud") || name.ends_with("img") || name.ends_with("raw"));
}

/// "file://localhost/a%20b" becomes "/a b", "file://./a" becomes "./a".
std::string from_url(std::string_view url) {
    for (const std::string_view prefix : {"file://localhost", "file://"}) {
        if (url.starts_with(prefix)) {
            url.remove_prefix(prefix.size());
            break;
        }
    }
    const auto digit = [](char c) -> std::optional<unsigned> {
        if (c >= '0' && c <= '9') {
            return c - '0';
        }
        c = static_cast<char>(c | 0x20);
        return c >= 'a' && c <= 'f' ? std::optional<unsigned>(c - 'a' + 10) : std::nullopt;
    };
    std::string path;
    for (std::size_t i = 0; i < url.size() && url[i] != '\0'; ++i) {
        if (url[i] == '%' && i + 2 < url.size() && digit(url[i + 1]) && digit(url[i + 2])) {
            path += static_cast<char>(*digit(url[i + 1]) << 4 | *digit(url[i + 2]));
            i += 2;
        } else {
            path += url[i];
        }
    }
    return path;
}

std::string decode(const FourCc& code, std::span<const std::uint8_t> bytes) {
    if (code == kRelativeWindowsPath || code == kAbsoluteWindowsPath) {
        return from_windows_path(bytes);
    }
    const std::string text(bytes.begin(), std::find(bytes.begin(), bytes.end(), std::uint8_t{0}));
    if (code == kMacUrl) {
        return from_url(text);
    }
    // The code page of the old ones is unknown; plain ASCII means the same in all of them.
    return code == kOldRelativePath || code == kOldAbsolutePath ? with_slashes(text) : std::string();
}

}  // namespace

Result<std::vector<ParentPath>> read_parent_paths(File& file, const DynamicHeader& header) {
    const auto size = file.size();
    if (!size) {
        return tl::unexpected<Error>(size.error());
    }
    std::vector<ParentPath> paths;
    for (const ParentLocatorEntry& entry : header.parent_locator_entries) {
        const std::uint32_t length = entry.platform_data_length;
        if (entry.platform_code == FourCc{} || length == 0 || length > kMaxPathBytes ||
            entry.platform_data_offset > *size || length > *size - entry.platform_data_offset) {
            continue;
        }
        std::vector<std::uint8_t> bytes(length);
        if (auto status = file.read(entry.platform_data_offset, Buffer(bytes)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        std::string path = decode(entry.platform_code, bytes);
        if (!path.empty()) {
            paths.push_back({entry.platform_code, std::move(path)});
        }
    }
    return paths;
}

std::string parent_name(const DynamicHeader& header) {
    const std::string name = from_utf16(header.parent_unicode_name, true);
    const std::string other = from_utf16(header.parent_unicode_name, false);
    return with_slashes(!ends_like_an_image(name) && ends_like_an_image(other) ? other : name);
}

void set_parent_name(DynamicHeader& header, const std::string& name) {
    std::vector<std::uint16_t> units = to_utf16(name);
    units.resize(header.parent_unicode_name.size() / 2);
    for (std::size_t i = 0; i < units.size(); ++i) {
        header.parent_unicode_name[2 * i] = static_cast<std::uint8_t>(units[i] >> 8);
        header.parent_unicode_name[2 * i + 1] = static_cast<std::uint8_t>(units[i]);
    }
}

std::string from_windows_path(std::span<const std::uint8_t> utf16) {
    return with_slashes(from_utf16(utf16, false));
}

std::vector<std::uint8_t> windows_path(std::string_view utf8) {
    std::vector<std::uint8_t> bytes;
    for (const std::uint16_t unit : to_utf16(utf8)) {
        const std::uint16_t stored = unit == '/' ? '\\' : unit;
        bytes.push_back(static_cast<std::uint8_t>(stored));
        bytes.push_back(static_cast<std::uint8_t>(stored >> 8));
    }
    return bytes;
}

}  // namespace vpc::disk::vhd
