// The guest modes.img sets every mode of the VGA BIOS and fills its memory; here each picture is computed a second
// time, from IBM's description of the modes and the pixel layouts of VESA's, and compared with what the adapter shows.
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "devices/board.h"
#include "disk/open_image.h"
#include "ui/cli/firmware.h"

namespace vpc::test {
namespace {

/// The doubleword of that index in what the guest fills memory with, and a byte of it.
std::uint32_t filled(std::uint32_t index) {
    return index * 0x9E3779B1u;
}
std::uint8_t filled_byte(std::uint32_t offset) {
    return static_cast<std::uint8_t>(filled(offset / 4) >> (offset % 4 * 8));
}

std::uint32_t dac(unsigned index) {
    const auto widen = [](unsigned value) { return value % 64 * 4 + value % 64 / 16; };
    return widen(index) * 0x10000 + widen(3 * index) * 0x100 + widen(5 * index + 7);
}

/// How a standard mode's pixels come from its memory.
struct StandardMode {
    enum Kind { Text, TwoBits, OneBit, Planes, Bytes } kind;
    unsigned width;  // of the screen, with repeated dots and lines
    unsigned height;
    unsigned pitch;        // bytes from a line (of characters) to the next
    unsigned dots = 1;     // each pixel is so many wide
    unsigned lines = 1;    // and so many high
    unsigned planes = 15;  // that show
};

// clang-format off
const std::map<unsigned, StandardMode> kStandardModes = {
    {0x00, {StandardMode::Text, 720, 400, 80, 2}},
    {0x01, {StandardMode::Text, 720, 400, 80, 2}},
    {0x02, {StandardMode::Text, 720, 400, 160}},
    {0x03, {StandardMode::Text, 720, 400, 160}},
    {0x07, {StandardMode::Text, 720, 400, 160}},
    {0x04, {StandardMode::TwoBits, 640, 400, 80, 2, 2}},
    {0x05, {StandardMode::TwoBits, 640, 400, 80, 2, 2}},
    {0x06, {StandardMode::OneBit, 640, 400, 80, 1, 2}},
    {0x0D, {StandardMode::Planes, 640, 400, 40, 2, 2}},
    {0x0E, {StandardMode::Planes, 640, 400, 80, 1, 2}},
    {0x0F, {StandardMode::Planes, 640, 350, 80, 1, 1, 5}},
    {0x10, {StandardMode::Planes, 640, 350, 80}},
    {0x11, {StandardMode::Planes, 640, 480, 80}},
    {0x12, {StandardMode::Planes, 640, 480, 80}},
    {0x13, {StandardMode::Bytes, 640, 400, 320, 2, 2}},
};
// clang-format on

std::uint32_t text_pixel(const StandardMode& mode, unsigned x, unsigned y, bool monochrome) {
    const unsigned dot = x / mode.dots % 9;
    const unsigned row = y % 16;
    const unsigned cell = y / 16 * mode.pitch + x / mode.dots / 9 * 2;
    const unsigned code = filled_byte(cell);
    const unsigned attribute = filled_byte(cell + 1);
    const unsigned glyph = (code * 37 + row * 11) & 0xFF;
    bool lit = dot < 8 ? (glyph >> (7 - dot) & 1) != 0 : code >= 0xC0 && code < 0xE0 && glyph % 2 == 1;
    if (monochrome && attribute % 8 == 1 && attribute / 16 % 8 == 0 && row == 13) {
        lit = true;
    }
    return dac(lit ? attribute % 16 : attribute / 16 % 8);  // bit 7 blinks, and is seen at its bright moment
}

std::uint32_t standard_pixel(unsigned number, const StandardMode& mode, unsigned x, unsigned y) {
    if (mode.kind == StandardMode::Text) {
        return text_pixel(mode, x, y, number == 7);
    }
    x /= mode.dots;
    y /= mode.lines;
    switch (mode.kind) {
        case StandardMode::TwoBits:
            return dac(filled_byte(y % 2 * 0x2000 + y / 2 * mode.pitch + x / 4) >> (6 - x % 4 * 2) & 3);
        case StandardMode::OneBit:
            return dac(filled_byte(y % 2 * 0x2000 + y / 2 * mode.pitch + x / 8) >> (7 - x % 8) & 1);
        case StandardMode::Bytes:
            return dac(filled_byte(y * mode.pitch + x));
        default: {
            unsigned color = 0;
            for (unsigned plane = 0; plane < 4; ++plane) {
                const unsigned byte = filled_byte(plane * 0x10000 + y * mode.pitch + x / 8);
                color += (byte >> (7 - x % 8) & 1) << plane;
            }
            return dac(color & mode.planes);
        }
    }
}

std::uint32_t vbe_pixel(unsigned bits, std::uint32_t pitch, unsigned x, unsigned y) {
    const auto scale = [](std::uint32_t value, unsigned width) {
        return value << (8 - width) | value >> (2 * width - 8);
    };
    const auto pixel = [&](unsigned bytes) {
        std::uint32_t value = 0;
        for (unsigned i = bytes; i-- > 0;) {
            value = value * 256 + filled_byte(y * pitch + x * bytes + i);
        }
        return value;
    };
    switch (bits) {
        case 4: {
            unsigned color = 0;
            for (unsigned plane = 0; plane < 4; ++plane) {
                color += (filled_byte(plane * 0x100000 + y * pitch + x / 8) >> (7 - x % 8) & 1u) << plane;
            }
            return dac(color);
        }
        case 8:
            return dac(pixel(1));
        case 15:
            return scale(pixel(2) >> 10 & 31, 5) << 16 | scale(pixel(2) >> 5 & 31, 5) << 8 | scale(pixel(2) & 31, 5);
        case 16:
            return scale(pixel(2) >> 11, 5) << 16 | scale(pixel(2) >> 5 & 63, 6) << 8 | scale(pixel(2) & 31, 5);
        case 24:
            return pixel(3);
        default:
            return pixel(4) & 0xFFFFFF;
    }
}

std::string file_contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// Boots the guest and looks at the screen whenever it says that a picture is ready.
class Gallery {
  public:
    std::set<unsigned> standard;
    std::set<std::pair<unsigned, unsigned>> vbe;  // number, and 1 when filled through the window
    unsigned depths[33] = {};
    bool done = false;

    void run(const std::string& image) {
        devices::BoardConfiguration configuration;
        configuration.memory = 32;
        configuration.unix_time = [] { return std::int64_t{1'178'000'000}; };
        auto bios = cli::load_firmware("bios.bin", "");
        auto vga_bios = cli::load_firmware("vgabios-stdvga.bin", "");
        ASSERT_TRUE(bios) << bios.error();
        ASSERT_TRUE(vga_bios) << vga_bios.error();
        configuration.bios = std::move(*bios);
        configuration.vga_bios = std::move(*vga_bios);
        auto disk = disk::open_image(image, disk::OpenMode::ReadOnly);
        ASSERT_TRUE(disk) << image;
        configuration.disks[0] = std::move(*disk);
        configuration.debug_log = [this](std::uint8_t byte) { take(static_cast<char>(byte)); };
        auto board = devices::Board::make(std::move(configuration));
        ASSERT_TRUE(board) << board.error();
        board_ = board->get();
        EXPECT_EQ(board_->run(), devices::Board::End::Quit) << board_->failure();
    }

  private:
    void take(char byte) {
        if (byte != '\n') {
            line_ += byte;
            return;
        }
        std::istringstream words(line_);
        line_.clear();
        std::string kind;
        words >> kind >> std::hex;
        if (kind == "DONE") {
            done = true;
            board_->quit();
        } else if (kind == "S") {
            unsigned number = 0;
            words >> number;
            look_at_standard_mode(number);
        } else if (kind == "V") {
            std::array<unsigned, 6> numbers{};
            for (unsigned& number : numbers) {
                words >> number;
            }
            look_at_vbe_mode(numbers);
        }
    }

    template <typename Expected>
    void compare(const std::string& what, unsigned width, unsigned height, Expected expected) {
        const devices::Frame frame = board_->vga().render();
        board_->vga().refresh(picture_);
        EXPECT_EQ(picture_.frame.pixels, frame.pixels) << what;
        ASSERT_EQ(frame.width, width) << what;
        ASSERT_EQ(frame.height, height) << what;
        unsigned wrong = 0;
        std::string first;
        for (unsigned y = 0; y < height; ++y) {
            for (unsigned x = 0; x < width; ++x) {
                const std::uint32_t shown = frame.pixels[std::size_t{y} * width + x];
                const std::uint32_t computed = expected(x, y);
                if (shown != computed && wrong++ == 0) {
                    std::ostringstream text;
                    text << "first at " << x << ',' << y << ": " << std::hex << shown << " instead of " << computed;
                    first = text.str();
                }
            }
        }
        EXPECT_EQ(wrong, 0u) << what << ": pixels differ, " << first;
    }

    void look_at_standard_mode(unsigned number) {
        const auto mode = kStandardModes.find(number);
        ASSERT_NE(mode, kStandardModes.end()) << number;
        standard.insert(number);
        compare("mode " + std::to_string(number), mode->second.width, mode->second.height,
                [&](unsigned x, unsigned y) { return standard_pixel(number, mode->second, x, y); });
    }

    void look_at_vbe_mode(const std::array<unsigned, 6>& numbers) {
        const auto [number, width, height, bits, pitch, through_window] = numbers;
        vbe.emplace(number, through_window);
        ++depths[bits % 33];
        compare("VBE mode " + std::to_string(number) + (through_window != 0 ? ", through the window" : ""), width,
                height, [bits = bits, pitch = pitch](unsigned x, unsigned y) { return vbe_pixel(bits, pitch, x, y); });
    }

    devices::Board* board_ = nullptr;
    devices::Vga::Picture picture_;
    std::string line_;
};

TEST(VideoModes, EveryModeShowsWhatItsMemoryHolds) {
    const std::string image = std::string(VPC_GUEST_DIR) + "/modes.img";
    if (file_contents(image).empty()) {
        if (std::getenv("VPC_GUESTS_REQUIRED") != nullptr) {
            FAIL() << image << " is not there; tests/guests/make-guests.sh builds it";
        }
        GTEST_SKIP() << image << " is not there; tests/guests/make-guests.sh builds it";
    }
    Gallery gallery;
    gallery.run(image);
    EXPECT_TRUE(gallery.done);
    EXPECT_EQ(gallery.standard.size(), kStandardModes.size());
    for (const unsigned number : {0x100u, 0x101u, 0x103u, 0x105u, 0x107u, 0x110u, 0x111u, 0x112u, 0x114u, 0x115u,
                                  0x117u, 0x118u, 0x11Au, 0x11Bu}) {
        EXPECT_TRUE(gallery.vbe.contains({number, 0})) << "VBE mode " << std::hex << number;
        EXPECT_TRUE(gallery.vbe.contains({number, 1})) << "VBE mode " << std::hex << number;
    }
    EXPECT_TRUE(gallery.vbe.contains({0x102, 1})) << "800 x 600 in planes";
    for (const unsigned bits : {4, 8, 15, 16, 24, 32}) {
        EXPECT_GE(gallery.depths[bits], 1u) << bits << " bits";
    }
}

}  // namespace
}  // namespace vpc::test
