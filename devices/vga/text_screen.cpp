#include "devices/vga/text_screen.h"

#include <algorithm>

#include "devices/vga/code_page_437.h"
#include "devices/vga/display.h"

namespace vpc::devices::vga {

std::optional<TextScreen> read_text_screen(const Display& display) {
    if (display.graphics.graphics() || display.dispi.enabled()) {
        return std::nullopt;
    }
    const Crtc& crtc = display.crtc;
    TextScreen screen;
    screen.columns = crtc.horizontal_displayed();
    screen.rows = std::max(crtc.vertical_displayed() / display.row_lines(), 1u);
    const bool cursor_shows = crtc.cursor_enabled() && crtc.cursor_first_row() <= crtc.cursor_last_row();
    for (unsigned row = 0; row < screen.rows; ++row) {
        std::string line;
        for (unsigned column = 0; column < screen.columns; ++column) {
            const auto counter =
                crtc.counter_at(static_cast<std::uint16_t>(crtc.start_address() + row * crtc.row_pitch()), column);
            const std::uint32_t cell = display.memory.word(crtc.memory_address(counter, 0));
            const auto code = static_cast<std::uint8_t>(cell);
            append_code_page_437(line, code);
            screen.characters.push_back(code);
            screen.attributes.push_back(static_cast<std::uint8_t>(cell >> 8));
            if (cursor_shows && !screen.cursor && counter == crtc.cursor_location()) {
                screen.cursor = {.column = column, .row = row};
            }
        }
        screen.lines.push_back(std::move(line));
    }
    return screen;
}

}  // namespace vpc::devices::vga
