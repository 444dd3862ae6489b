#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace vpc::cli {

/// Reads a firmware image: `file` if it is not empty, else `name` ("bios.bin") from where the distribution's package
/// seabios puts it. The error is one line for people and says which package to install.
tl::expected<std::vector<std::uint8_t>, std::string> load_firmware(std::string_view name, const std::string& file);

}  // namespace vpc::cli
