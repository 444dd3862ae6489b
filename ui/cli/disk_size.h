#pragma once
#include <cstdint>
#include <string>
#include <tl/expected.hpp>

namespace vpc::cli {

/// A size as people type it: bytes, or with K, M, G or T for powers of 1024 ("2G", "512M", "3145728"; "2GiB" and "2GB"
/// mean the same). The error is one line for people.
tl::expected<std::uint64_t, std::string> parse_size(const std::string& text);

/// "2.0 GiB", "512 bytes": three digits or so, for people.
std::string size_text(std::uint64_t bytes);

}  // namespace vpc::cli
