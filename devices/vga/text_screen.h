#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace vpc::devices {

/// What stands on a screen in text mode: a copy, free of the machine.
struct TextScreen {
    struct Position {
        unsigned column = 0;
        unsigned row = 0;
        bool operator==(const Position&) const = default;
    };

    unsigned columns = 0;
    unsigned rows = 0;
    /// One per row, `columns` characters each with the trailing spaces, as UTF-8. The character codes are taken for
    /// code page 437; a guest that loads another font is not noticed.
    std::vector<std::string> lines;
    /// Row by row: the character codes, and the attributes (foreground in bits 3-0, background in bits 6-4, blinking or
    /// bright background in bit 7).
    std::vector<std::uint8_t> characters;
    std::vector<std::uint8_t> attributes;
    /// Nothing when the cursor is off or not on the screen.
    std::optional<Position> cursor;
};

namespace vga {

struct Display;

/// Nothing in graphics modes.
std::optional<TextScreen> read_text_screen(const Display& display);

}  // namespace vga
}  // namespace vpc::devices
