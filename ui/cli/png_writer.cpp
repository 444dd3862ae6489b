#include "ui/cli/png_writer.h"

#include <png.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

namespace vpc::cli {

tl::expected<void, std::string> write_png(const std::string& path, const devices::Frame& frame) {
    std::vector<png_byte> rgb;
    rgb.reserve(frame.pixels.size() * 3);
    for (const std::uint32_t pixel : frame.pixels) {
        rgb.push_back(static_cast<png_byte>(pixel >> 16));
        rgb.push_back(static_cast<png_byte>(pixel >> 8));
        rgb.push_back(static_cast<png_byte>(pixel));
    }
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    image.width = frame.width;
    image.height = frame.height;
    image.format = PNG_FORMAT_RGB;

    const std::string unfinished = path + ".part";
    errno = 0;
    const bool written = png_image_write_to_file(&image, unfinished.c_str(), 0, rgb.data(), 0, nullptr) != 0;
    if (!written) {
        const std::string why = errno != 0 ? std::strerror(errno) : image.message;
        std::remove(unfinished.c_str());
        return tl::unexpected("screenshot " + path + ": " + why);
    }
    if (std::rename(unfinished.c_str(), path.c_str()) != 0) {
        const std::string why = std::strerror(errno);
        std::remove(unfinished.c_str());
        return tl::unexpected("screenshot " + path + ": " + why);
    }
    return {};
}

}  // namespace vpc::cli
