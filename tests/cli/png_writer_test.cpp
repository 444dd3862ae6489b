#include "ui/cli/png_writer.h"

#include <gtest/gtest.h>
#include <png.h>
#include <unistd.h>

#include <filesystem>

namespace vpc::cli {
namespace {

class PngWriter : public testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::temp_directory_path() / ("vpc-png-" + std::to_string(getpid()));
        std::filesystem::create_directory(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    std::filesystem::path folder_;
};

TEST_F(PngWriter, WritesWhatAnotherReaderReadsBack) {
    const devices::Frame frame{.width = 2, .height = 2, .pixels = {0xFF0000, 0x00FF00, 0x0000FF, 0x123456}};
    const std::string path = folder_ / "a.png";
    ASSERT_TRUE(write_png(path, frame).has_value());
    EXPECT_FALSE(std::filesystem::exists(path + ".part"));

    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    ASSERT_NE(png_image_begin_read_from_file(&image, path.c_str()), 0);
    EXPECT_EQ(image.width, 2u);
    EXPECT_EQ(image.height, 2u);
    image.format = PNG_FORMAT_RGB;
    std::vector<png_byte> pixels(PNG_IMAGE_SIZE(image));
    ASSERT_NE(png_image_finish_read(&image, nullptr, pixels.data(), 0, nullptr), 0);
    const std::vector<png_byte> expected{255, 0, 0, 0, 255, 0, 0, 0, 255, 0x12, 0x34, 0x56};
    EXPECT_EQ(pixels, expected);
}

TEST_F(PngWriter, SaysWhichFileCannotBeWritten) {
    const devices::Frame frame{.width = 1, .height = 1, .pixels = {0}};
    const auto written = write_png(folder_ / "no-such-folder" / "a.png", frame);
    ASSERT_FALSE(written.has_value());
    EXPECT_NE(written.error().find("no-such-folder"), std::string::npos);
}

}  // namespace
}  // namespace vpc::cli
