// The Bochs adapter's display interface: modes, windows, pixel formats.
#include "tests/devices/vga_modes.h"

namespace vpc::devices::test {
namespace {

constexpr std::uint32_t kFrameBuffer = 0xE0000000;

class VgaDispi : public VgaTest {
  protected:
    VgaDispi() {
        set_mode(kMode3);
        vga.place_frame_buffer(kFrameBuffer);
    }
    void dispi(std::uint16_t index, std::uint16_t value) {
        bench.out(0x1CE, index, 2);
        bench.out(0x1CF, value, 2);
    }
    std::uint16_t dispi(std::uint16_t index) {
        bench.out(0x1CE, index, 2);
        return static_cast<std::uint16_t>(bench.in(0x1CF, 2));
    }
    void set_linear_mode(std::uint16_t width, std::uint16_t height, std::uint16_t bits, std::uint16_t flags = 0x41) {
        dispi(4, 0);
        dispi(1, width);
        dispi(2, height);
        dispi(3, bits);
        dispi(4, flags);
    }
};

TEST_F(VgaDispi, TellsItsVersionMemoryAndCapabilities) {
    EXPECT_EQ(dispi(0), 0xB0C5);
    dispi(0, 0xB0C2);
    EXPECT_EQ(dispi(0), 0xB0C2);
    dispi(0, 0xB0C6);
    EXPECT_EQ(dispi(0), 0xB0C2) << "no such version";
    EXPECT_EQ(dispi(10), 256) << "16 MiB in units of 64 KiB";
    dispi(4, 2);
    EXPECT_EQ(dispi(1), 2560);
    EXPECT_EQ(dispi(2), 1600);
    EXPECT_EQ(dispi(3), 32);
    EXPECT_EQ(dispi(11), 0);
    bench.out(0x1CE, 10, 2);
    EXPECT_EQ(bench.in(0x1CE, 2), 10u);
    EXPECT_EQ(bench.in(0x1CF, 1), 0xFFu) << "words only";
}

TEST_F(VgaDispi, RefusesModesThatDoNotExistOrDoNotFit) {
    const auto switches_on = [&](std::uint16_t width, std::uint16_t height, std::uint16_t bits) {
        set_linear_mode(width, height, bits);
        return (dispi(4) & 1) != 0;
    };
    EXPECT_TRUE(switches_on(1920, 1200, 32));
    EXPECT_TRUE(switches_on(2560, 1600, 32));
    EXPECT_TRUE(switches_on(800, 600, 4));
    dispi(4, 0);
    dispi(1, 0);
    dispi(4, 0x41);
    EXPECT_EQ(dispi(4) & 1, 0);
    dispi(1, 2568);  // ignored
    EXPECT_EQ(dispi(1), 0);
    dispi(1, 645);
    EXPECT_EQ(dispi(1), 640);
    dispi(3, 12);  // ignored
    EXPECT_EQ(dispi(3), 4);
    dispi(3, 0);
    EXPECT_EQ(dispi(3), 8);
    set_linear_mode(640, 480, 8);
    dispi(1, 800);
    EXPECT_EQ(dispi(1), 640) << "the geometry is fixed while a mode is on";
}

TEST_F(VgaDispi, VirtualWidthMakesTheVirtualHeight) {
    set_linear_mode(640, 480, 16);
    EXPECT_EQ(dispi(6), 640);
    EXPECT_EQ(dispi(7), (16u << 20) / 1280);
    dispi(6, 1024);
    EXPECT_EQ(dispi(6), 1024);
    EXPECT_EQ(dispi(7), (16u << 20) / 2048);
    dispi(6, 632);
    EXPECT_EQ(dispi(6), 1024) << "narrower than the picture";
    dispi(6, 0xFFF8);
    EXPECT_EQ(dispi(6), 1024) << "480 such lines do not fit";
    set_linear_mode(640, 480, 4);
    EXPECT_EQ(dispi(7), (4u << 20) / 80);
}

/// Expected colours are computed from the description of each format, in another way than the chip does it.
TEST_F(VgaDispi, EveryDepthAndOffsetShowsTheRightPixels) {
    Random random(4);
    for (const unsigned bits : {8u, 15u, 16u, 24u, 32u}) {
        const unsigned bytes = (bits + 7) / 8;
        set_linear_mode(320, 100, static_cast<std::uint16_t>(bits));
        dispi(6, 400);
        dispi(8, 37);
        dispi(9, 21);
        std::vector<std::uint8_t> memory(400 * 200 * bytes);
        for (std::uint8_t& byte : memory) {
            byte = static_cast<std::uint8_t>(random());
        }
        bench.memory.write(kFrameBuffer, memory);
        const Frame frame = vga.render();
        ASSERT_EQ(frame.width, 320u);
        ASSERT_EQ(frame.height, 100u);
        for (unsigned y = 0; y < 100; ++y) {
            for (unsigned x = 0; x < 320; ++x) {
                const std::uint8_t* from = &memory[((y + 21) * 400 + x + 37) * bytes];
                const auto scale = [](unsigned value, unsigned maximum, unsigned width) {
                    const unsigned repeated = value << (8 - width) | value >> (2 * width - 8);
                    EXPECT_NEAR(repeated, value * 255.0 / maximum, 1.0);
                    return repeated;
                };
                std::uint32_t expected = 0;
                if (bits == 8) {
                    expected = dac_color(from[0]);
                } else if (bits == 15) {
                    const unsigned pixel = from[0] + from[1] * 256u;
                    expected = scale(pixel / 1024 % 32, 31, 5) * 65536 + scale(pixel / 32 % 32, 31, 5) * 256 +
                               scale(pixel % 32, 31, 5);
                } else if (bits == 16) {
                    const unsigned pixel = from[0] + from[1] * 256u;
                    expected = scale(pixel / 2048, 31, 5) * 65536 + scale(pixel / 32 % 64, 63, 6) * 256 +
                               scale(pixel % 32, 31, 5);
                } else {
                    expected = from[2] * 65536u + from[1] * 256u + from[0];
                }
                ASSERT_EQ(frame.pixels[y * 320 + x], expected) << bits << " bits at " << x << ',' << y;
            }
        }
    }
}

TEST_F(VgaDispi, FourBitsShowThePlanesFromThePixelOffsetOn) {
    set_linear_mode(640, 100, 4);
    sequencer(4, 0x06);
    graphics(5, 0x02);  // write mode 2: the colour in all eight pixels
    graphics(6, 0x05);
    sequencer(2, 0x0F);
    for (std::uint32_t i = 0; i < 80 * 110; ++i) {
        store(0xA0000 + i, i * 7 / 3);
        EXPECT_EQ(load(0xA0000 + i), load(0xA0000 + i));
    }
    dispi(8, 13);
    dispi(9, 5);
    const Frame frame = vga.render();
    for (unsigned y = 0; y < 100; ++y) {
        for (unsigned x = 0; x < 640; ++x) {
            const unsigned offset = (y + 5) * 80 + (x + 13) / 8;
            const unsigned palette[16] = {0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F};
            ASSERT_EQ(frame.pixels[y * 640 + x], dac_color(palette[offset < 80 * 110 ? offset * 7 / 3 % 16 : 0]))
                << x << ',' << y;
        }
    }
}

TEST_F(VgaDispi, FourBitBanksReachBeyondAVgasPlanes) {
    set_linear_mode(1024, 768, 4);
    sequencer(4, 0x06);
    graphics(5, 0x02);
    graphics(6, 0x05);
    sequencer(2, 0x0F);
    dispi(5, 1);
    store(0xA0000 + 100, 0x0B);
    const Frame frame = vga.render();
    const unsigned offset = 0x10000 + 100;
    EXPECT_EQ(frame.pixels[offset / 128 * 1024 + offset % 128 * 8], dac_color(0x3B));
    EXPECT_EQ(frame.pixels[100 / 128 * 1024 + 100 * 8], dac_color(0));
}

TEST_F(VgaDispi, BankMovesTheWindowThroughTheMemory) {
    set_linear_mode(640, 480, 8);
    for (const unsigned bank : {0u, 1u, 4u, 255u}) {
        dispi(5, static_cast<std::uint16_t>(bank));
        store(0xA0000, 0x10u + bank);
        store(0xAFFFC, 0xDDCCBBAAu, 4);
        EXPECT_EQ(bench.memory.read_bus(kFrameBuffer + bank * 0x10000u, 1), (0x10u + bank) & 0xFF);
        EXPECT_EQ(bench.memory.read_bus(kFrameBuffer + bank * 0x10000u + 0xFFFC, 4), 0xDDCCBBAAu);
        bench.memory.write_bus(kFrameBuffer + bank * 0x10000u + 6, 0x5A, 1);
        EXPECT_EQ(load(0xA0006), 0x5Au);
    }
    EXPECT_EQ(load(0xB8000), 0xFFu) << "the window ends at B0000h";
    dispi(5, 256);
    EXPECT_EQ(dispi(5), 0);
}

TEST_F(VgaDispi, EnablingClearsThePictureUnlessToldNotTo) {
    set_linear_mode(640, 480, 32);
    bench.memory.write_bus(kFrameBuffer + 640 * 480 * 4 - 4, 0x123456, 4);
    set_linear_mode(640, 480, 32, 0xC1);
    EXPECT_EQ(bench.memory.read_bus(kFrameBuffer + 640 * 480 * 4 - 4, 4), 0x123456u);
    set_linear_mode(640, 480, 32);
    EXPECT_EQ(bench.memory.read_bus(kFrameBuffer + 640 * 480 * 4 - 4, 4), 0u);
}

TEST_F(VgaDispi, EightBitDacKeepsTheBrightness) {
    dispi(4, 0x20);
    bench.out(0x3C7, 5);
    EXPECT_EQ(bench.in(0x3C9), 5u * 4);
    set_linear_mode(640, 480, 8, 0x61);
    dac(7, 0xFF, 0x81, 0x02);
    bench.memory.write_bus(kFrameBuffer, 7, 1);
    EXPECT_EQ(vga.render().pixels[0], 0xFF8102u);
    dispi(4, 0);
    bench.out(0x3C7, 7);
    EXPECT_EQ(bench.in(0x3C9), 0x3Fu);
    EXPECT_EQ(bench.in(0x3C9), 0x20u);
}

TEST_F(VgaDispi, TextComesBackWhenTheModeEnds) {
    print(0, 0, "before");
    set_linear_mode(640, 480, 32, 0xC1);
    EXPECT_FALSE(vga.text());
    EXPECT_EQ(vga.render().width, 640u);
    dispi(4, 0);
    EXPECT_EQ(vga.text()->lines[0].substr(0, 6), "before");
    EXPECT_EQ(vga.render().width, 720u);
}

TEST_F(VgaDispi, BlankedScreensAreBlack) {
    set_linear_mode(640, 480, 32);
    bench.memory.write_bus(kFrameBuffer, 0xFFFFFF, 4);
    EXPECT_EQ(vga.render().pixels[0], 0xFFFFFFu);
    sequencer(1, 0x20);
    EXPECT_EQ(vga.render().pixels[0], 0u);
    sequencer(1, 0x00);
    bench.in(0x3DA);
    bench.out(0x3C0, 0x00);
    EXPECT_EQ(vga.render().pixels[0], 0u);
}

TEST_F(VgaDispi, RefreshDrawsWhatChangedAndNothingElse) {
    set_linear_mode(800, 600, 32);
    Vga::Picture picture;
    const FrameBand all = vga.refresh(picture);
    EXPECT_EQ(all.first, 0u);
    EXPECT_EQ(all.count, 600u);
    EXPECT_EQ(vga.refresh(picture).count, 0u);
    const auto generation = vga.generation();
    EXPECT_EQ(vga.generation(), generation);

    bench.memory.write_bus(kFrameBuffer + (100 * 800 + 5) * 4, 0xABCDEF, 4);
    EXPECT_GT(vga.generation(), generation);
    const FrameBand band = vga.refresh(picture);
    EXPECT_LE(band.first, 100u);
    EXPECT_GT(band.first + band.count, 100u);
    EXPECT_LE(band.count, 4u) << "the lines in one page";
    EXPECT_EQ(picture.frame.pixels[100 * 800 + 5], 0xABCDEFu);
    bench.memory.write_bus(kFrameBuffer + 900 * 800 * 4, 0xABCDEF, 4);
    EXPECT_EQ(vga.refresh(picture).count, 0u) << "below the picture";
}

TEST_F(VgaDispi, RefreshedCopyAlwaysEqualsTheRenderedFrame) {
    Random random(17);
    Vga::Picture picture;
    for (unsigned round = 0; round < 400; ++round) {
        switch (random() % 12) {
            case 0: {
                const std::uint16_t depths[] = {4, 8, 15, 16, 24, 32};
                set_linear_mode(static_cast<std::uint16_t>(64 + random() % 20 * 8),
                                static_cast<std::uint16_t>(1 + random() % 100), depths[random() % 6],
                                random() % 2 != 0 ? 0xC1 : 0x41);
                break;
            }
            case 1:
                set_mode(random() % 2 != 0 ? kMode3 : kMode13);
                dispi(4, 0);
                break;
            case 2:
                dispi(6, static_cast<std::uint16_t>(random() % 512));
                dispi(8, static_cast<std::uint16_t>(random()));
                dispi(9, static_cast<std::uint16_t>(random()));
                break;
            case 3:
                dispi(5, static_cast<std::uint16_t>(random() % 3));
                break;
            case 4:
                dac(static_cast<std::uint8_t>(random()), 1, 2, 3);
                break;
            default:
                for (unsigned i = 0; i < 20; ++i) {
                    const auto place = random() % 3;
                    const std::uint32_t address = place == 0   ? 0xA0000 + random() % 0x20000
                                                  : place == 1 ? kFrameBuffer + random() % 0x20000
                                                               : kFrameBuffer + random() % (16u << 20);
                    store(address, random(), 1);
                }
                break;
        }
        const std::uint64_t before = picture.generation;
        const Vga::Picture old = picture;
        vga.refresh(picture);
        const Frame frame = vga.render();
        ASSERT_EQ(picture.frame.width, frame.width) << round;
        ASSERT_EQ(picture.frame.height, frame.height) << round;
        ASSERT_EQ(picture.frame.pixels, frame.pixels) << round;
        if (picture.generation == before) {
            ASSERT_EQ(old.frame.pixels, frame.pixels) << round;
        }
    }
}

TEST_F(VgaDispi, StateHoldsModeAndMemory) {
    set_linear_mode(640, 480, 16);
    dispi(5, 3);
    dispi(6, 800);
    dispi(9, 7);
    bench.memory.write_bus(kFrameBuffer + 0x812344, 0x55AA, 2);
    bench.memory.write_bus(kFrameBuffer + 800 * 2 * 9, 0x1234, 2);
    const Frame frame = vga.render();
    const auto saved = bench.save();
    EXPECT_LT(saved.size(), 64u * 1024) << "pages of zeros are not saved";
    Bench other;
    auto& loaded = other.add_device<Vga>(other.ports, other.memory, other.clock);
    loaded.place_frame_buffer(kFrameBuffer);
    other.memory.write_bus(kFrameBuffer + 0x100000, 1, 1);
    other.load(saved);
    EXPECT_EQ(loaded.render().pixels, frame.pixels);
    EXPECT_EQ(other.memory.read_bus(kFrameBuffer + 0x812344, 2), 0x55AAu);
    EXPECT_EQ(other.memory.read_bus(kFrameBuffer + 0x100000, 1), 0u);
    EXPECT_EQ(other.memory.read_bus(0xA0000, 1), other.memory.read_bus(kFrameBuffer + 0x30000, 1));
}

}  // namespace
}  // namespace vpc::devices::test
