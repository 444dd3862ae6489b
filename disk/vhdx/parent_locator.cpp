#include "disk/vhdx/parent_locator.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <map>
#include <span>
#include <string_view>

#include "disk/little_endian.h"
#include "disk/vhd/parent_locator.h"

namespace vpc::disk::vhdx {
namespace {

constexpr std::size_t kHeaderSize = 20;
constexpr std::size_t kEntrySize = 12;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

}  // namespace

Result<ParentLocator> load_parent_locator(File& file, const Layout& layout) {
    const auto damaged = [&file] {
        return fail(ErrorCode::Corrupt,
                    file.name() + " is a damaged VHDX: what it says of its parent cannot be understood");
    };
    std::vector<std::uint8_t> bytes(layout.parent_locator_size);
    if (auto status = file.read(layout.parent_locator_offset, Buffer(bytes)); !status) {
        return tl::unexpected<Error>(status.error());
    }
    const std::span<const std::uint8_t> locator(bytes);
    if (locator.size() < kHeaderSize) {
        return damaged();
    }
    const std::size_t count = little16(locator, 18);
    if (kHeaderSize + count * kEntrySize > locator.size()) {
        return damaged();
    }
    std::map<std::string, std::string> values;
    for (std::size_t at = kHeaderSize; at < kHeaderSize + count * kEntrySize; at += kEntrySize) {
        std::array<std::string, 2> texts;  // key and value
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const std::size_t offset = little32(locator, at + 4 * i);
            const std::size_t length = little16(locator, at + 8 + 2 * i);
            if (offset > locator.size() || length > locator.size() - offset) {
                return damaged();
            }
            texts[i] = vhd::from_windows_path(locator.subspan(offset, length));
        }
        values.insert_or_assign(texts[0], texts[1]);
    }
    ParentLocator parent;
    for (const char* key : {"parent_linkage", "parent_linkage2"}) {
        if (const auto found = values.find(key); found != values.end()) {
            parent.ids.push_back(lower(found->second));
        }
    }
    for (const char* key : {"relative_path", "absolute_win32_path", "volume_path"}) {
        if (const auto found = values.find(key); found != values.end() && !found->second.empty()) {
            parent.paths.push_back(found->second);
        }
    }
    return parent.ids.empty() || parent.paths.empty() ? Result<ParentLocator>(damaged()) : parent;
}

std::string text_of_id(const Id& id) {
    static constexpr std::string_view kDigits = "0123456789abcdef";
    static constexpr std::array<std::size_t, 16> kOrder = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
    std::string text = "{";
    for (std::size_t i = 0; i < id.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text += '-';
        }
        text += kDigits[id[kOrder[i]] >> 4];
        text += kDigits[id[kOrder[i]] & 0xF];
    }
    return text + "}";
}

}  // namespace vpc::disk::vhdx
