#include "ui/desktop/message_picture.h"

#include <algorithm>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "devices/vga/code_page_437.h"

namespace vpc::desktop {
namespace {

constexpr std::size_t kCellWidth = 8;
constexpr std::size_t kCellHeight = 16;
constexpr std::size_t kColumns = 72;  // with its margins, the picture is narrower than 640 dots
constexpr std::uint32_t kInk = 0x00FFFFFF;
constexpr std::uint32_t kPaper = 0x00801010;

/// In code page 437.
std::string encode(std::string_view utf8) {
    std::map<std::string, char, std::less<>> codes;
    for (unsigned code = 0xFE; code >= ' '; --code) {
        std::string character;
        devices::vga::append_code_page_437(character, static_cast<std::uint8_t>(code));
        codes[character] = static_cast<char>(code);
    }
    std::string result;
    while (!utf8.empty()) {
        std::size_t length = 1;
        while (length < utf8.size() && (static_cast<unsigned char>(utf8[length]) & 0xC0) == 0x80) {
            ++length;
        }
        const auto found = codes.find(utf8.substr(0, length));
        result += utf8[0] == '\n' ? '\n' : found != codes.end() ? found->second : '?';
        utf8.remove_prefix(length);
    }
    return result;
}

/// Broken at spaces where there are any.
std::vector<std::string_view> lines_of(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        std::size_t end = std::min(text.find('\n'), text.size());
        std::size_t next = end + 1;
        if (end > kColumns) {
            end = text.rfind(' ', kColumns);
            next = end + 1;
            if (end == std::string_view::npos || end == 0) {
                next = end = kColumns;
            }
        }
        lines.push_back(text.substr(0, end));
        text.remove_prefix(std::min(next, text.size()));
    }
    return lines;
}

}  // namespace

std::optional<Font> find_font(std::span<const std::uint8_t> vga_bios) {
    // Found by how the IBM VGA's letter A looks, which all of them have.
    static constexpr Font::value_type kLetterA{0x00, 0x00, 0x10, 0x38, 0x6C, 0xC6, 0xC6, 0xFE,
                                               0xC6, 0xC6, 0xC6, 0xC6, 0x00, 0x00, 0x00, 0x00};
    constexpr std::size_t kBefore = std::size_t{'A'} * kCellHeight;
    const auto found = std::search(vga_bios.begin(), vga_bios.end(), kLetterA.begin(), kLetterA.end());
    const auto offset = static_cast<std::size_t>(found - vga_bios.begin());
    if (found == vga_bios.end() || offset < kBefore || vga_bios.size() - (offset - kBefore) < sizeof(Font)) {
        return std::nullopt;
    }
    Font font{};
    std::copy_n(vga_bios.begin() + static_cast<std::ptrdiff_t>(offset - kBefore), sizeof(Font), font[0].data());
    return font;
}

devices::Frame message_picture(const std::string& text, const Font& font) {
    const std::string codes = encode(text);
    const std::vector<std::string_view> lines = lines_of(codes);
    const std::size_t width = (kColumns + 2) * kCellWidth;
    const std::size_t height = (lines.size() + 1) * kCellHeight;
    devices::Frame picture{.width = static_cast<unsigned>(width),
                           .height = static_cast<unsigned>(height),
                           .pixels = std::vector<std::uint32_t>(width * height, kPaper)};
    std::size_t top = kCellHeight / 2;
    for (const std::string_view line : lines) {
        std::size_t left = kCellWidth;
        for (const char code : line) {
            const auto& glyph = font[static_cast<unsigned char>(code)];
            for (std::size_t row = 0; row < kCellHeight; ++row) {
                for (std::size_t dot = 0; dot < kCellWidth; ++dot) {
                    if ((glyph[row] << dot & 0x80) != 0) {
                        picture.pixels[(top + row) * width + left + dot] = kInk;
                    }
                }
            }
            left += kCellWidth;
        }
        top += kCellHeight;
    }
    return picture;
}

}  // namespace vpc::desktop
