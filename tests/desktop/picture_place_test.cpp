#include "ui/desktop/picture_place.h"

#include <gtest/gtest.h>

namespace vpc::desktop {
namespace {

TEST(PicturePlace, FillsAWindowOfItsOwnSize) {
    EXPECT_EQ(place_picture(720, 400, 720, 400), (PicturePlace{0, 0, 720, 400}));
}

TEST(PicturePlace, KeepsProportionsInTheMiddle) {
    EXPECT_EQ(place_picture(640, 480, 1280, 1200), (PicturePlace{0, 120, 1280, 960}));
    EXPECT_EQ(place_picture(640, 480, 1000, 480), (PicturePlace{180, 0, 640, 480}));
    EXPECT_EQ(place_picture(640, 480, 320, 240), (PicturePlace{0, 0, 320, 240}));
}

TEST(PicturePlace, ExtremesStayInside) {
    EXPECT_EQ(place_picture(0, 480, 640, 480), PicturePlace{});
    EXPECT_EQ(place_picture(640, 480, 0, 0), PicturePlace{});
    for (const auto& [width, height] : {std::pair{1, 1000}, {1000, 1}, {16384, 16384}, {2, 3}}) {
        const PicturePlace place = place_picture(4608, 1024, width, height);
        EXPECT_GE(place.x, 0);
        EXPECT_GE(place.y, 0);
        EXPECT_GE(place.width, 1);
        EXPECT_GE(place.height, 1);
        EXPECT_LE(place.x + place.width, width);
        EXPECT_LE(place.y + place.height, height);
    }
}

TEST(PartOfPicture, RunsFromEdgeToEdgeAndStopsThere) {
    EXPECT_EQ(part_of_picture(100, 100, 641), 0.0);
    EXPECT_EQ(part_of_picture(740, 100, 641), 1.0);
    EXPECT_EQ(part_of_picture(420, 100, 641), 0.5);
    EXPECT_EQ(part_of_picture(0, 100, 641), 0.0);
    EXPECT_EQ(part_of_picture(5000, 100, 641), 1.0);
    EXPECT_EQ(part_of_picture(5, 0, 1), 0.0);
}

}  // namespace
}  // namespace vpc::desktop
