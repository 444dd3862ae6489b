#include "ui/cli/firmware.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

namespace vpc::cli {
namespace {

constexpr std::array<std::string_view, 2> kFolders{"/usr/share/seabios", "/usr/share/qemu"};
constexpr std::uintmax_t kLargest = 16 << 20;  // anything larger is no firmware

tl::expected<std::vector<std::uint8_t>, std::string> read_whole(const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::is_directory(path, error) ? 0 : std::filesystem::file_size(path, error);
    if (error || size == 0 || size > kLargest) {
        return tl::unexpected(
            fmt::format("firmware {}: {}", path.string(), error ? error.message() : "not a file of 1 byte to 16 MiB"));
    }
    std::ifstream stream(path, std::ios::binary);
    std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
    if (!stream || bytes.size() != size) {
        return tl::unexpected(fmt::format("firmware {}: cannot be read: {}", path.string(), std::strerror(errno)));
    }
    return bytes;
}

}  // namespace

tl::expected<std::vector<std::uint8_t>, std::string> load_firmware(std::string_view name, const std::string& file) {
    if (!file.empty()) {
        return read_whole(file);
    }
    for (const std::string_view folder : kFolders) {
        const std::filesystem::path path = std::filesystem::path(folder) / name;
        std::error_code error;
        if (std::filesystem::exists(path, error)) {
            return read_whole(path);
        }
    }
    return tl::unexpected(
        fmt::format("firmware {} was not found in {}: install the package seabios, or name a file with --{}", name,
                    kFolders[0], name == "bios.bin" ? "bios" : "vgabios"));
}

}  // namespace vpc::cli
