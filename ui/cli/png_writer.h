#pragma once
#include <string>
#include <tl/expected.hpp>

#include "devices/vga/frame.h"

namespace vpc::cli {

/// Writes a picture as an 8-bit RGB PNG. The file appears under its name only when it is complete. The error is one
/// line for people.
tl::expected<void, std::string> write_png(const std::string& path, const devices::Frame& frame);

}  // namespace vpc::cli
