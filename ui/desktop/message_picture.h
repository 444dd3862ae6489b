#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "devices/vga/frame.h"

namespace vpc::desktop {

/// The characters of code page 437, sixteen rows of eight dots each, the left one in bit 7.
using Font = std::array<std::array<std::uint8_t, 16>, 256>;

/// The font that a VGA BIOS brings along; nothing if it has none that is known.
std::optional<Font> find_font(std::span<const std::uint8_t> vga_bios);

/// A text for people, UTF-8, as a picture to lay over a machine's: always of the same width, as high as it needs.
/// Characters that the font does not have are question marks.
devices::Frame message_picture(const std::string& text, const Font& font);

}  // namespace vpc::desktop
