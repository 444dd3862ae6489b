#pragma once

namespace vpc::desktop {

/// Where a picture lies in a window, in pixels of the window.
struct PicturePlace {
    int x = 0;
    int y = 0;
    int width = 0;
    int height = 0;
    bool operator==(const PicturePlace&) const = default;
};

/// The largest place in a window that keeps the picture's proportions, in its middle. All sizes in pixels; an empty
/// picture or window gives an empty place.
PicturePlace place_picture(int picture_width, int picture_height, int window_width, int window_height);

/// A position in the window as part of the picture's width or height, 0 to 1; what lies beside the picture counts as
/// its edge.
double part_of_picture(int position, int start, int length);

}  // namespace vpc::desktop
