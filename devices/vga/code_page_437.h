#pragma once
#include <cstdint>
#include <string>

namespace vpc::devices::vga {

/// Appends what the PC's own font shows for a character code, as UTF-8. 00h and FFh, which show nothing, are spaces.
void append_code_page_437(std::string& text, std::uint8_t code);

}  // namespace vpc::devices::vga
