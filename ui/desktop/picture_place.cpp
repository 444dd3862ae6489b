#include "ui/desktop/picture_place.h"

#include <algorithm>
#include <cstdint>

namespace vpc::desktop {

PicturePlace place_picture(int picture_width, int picture_height, int window_width, int window_height) {
    if (picture_width <= 0 || picture_height <= 0 || window_width <= 0 || window_height <= 0) {
        return {};
    }
    const std::int64_t by_width = std::int64_t{window_width} * picture_height;
    const std::int64_t by_height = std::int64_t{window_height} * picture_width;
    PicturePlace place{.width = window_width, .height = window_height};
    if (by_width <= by_height) {
        place.height = std::max(static_cast<int>(by_width / picture_width), 1);
    } else {
        place.width = std::max(static_cast<int>(by_height / picture_height), 1);
    }
    place.x = (window_width - place.width) / 2;
    place.y = (window_height - place.height) / 2;
    return place;
}

double part_of_picture(int position, int start, int length) {
    if (length <= 1) {
        return 0;
    }
    return std::clamp(static_cast<double>(position - start) / (length - 1), 0.0, 1.0);
}

}  // namespace vpc::desktop
