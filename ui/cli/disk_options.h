#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "disk/image_type.h"

namespace CLI {  // NOLINT(readability-identifier-naming): named by the library
class App;
class Option;
}  // namespace CLI

namespace vpc::cli {

/// Options that several subcommands of `vpc disk` have. What they set must live as long as `app`.

/// An option or argument that is a size in bytes, as parse_size() reads it.
CLI::Option* add_size(CLI::App& app, const std::string& name, std::uint64_t& size, const std::string& help);

/// `--block-size` of a new dynamic or differencing image.
void add_block_size(CLI::App& app, std::uint32_t& size, const std::string& help);

/// `--type`, required: one of `types`, whatever the case of its letters.
void add_type(CLI::App& app, disk::ImageType& type, const std::vector<disk::ImageType>& types);

/// `--parent-folder`, which can be repeated.
void add_parent_folders(CLI::App& app, std::vector<std::filesystem::path>& folders);

}  // namespace vpc::cli
