// The VGA's screen as others see it: text, pictures, and whether anything changed.
#include "tests/devices/vga_modes.h"

namespace vpc::devices::test {
namespace {

constexpr std::array<std::uint8_t, 16> kLetterA = {0x00, 0x00, 0x10, 0x38, 0x6C, 0xC6, 0xC6, 0xFE,
                                                   0xC6, 0xC6, 0xC6, 0xC6, 0x00, 0x00, 0x00, 0x00};
constexpr std::array<std::uint8_t, 16> kSolid = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                                 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

class VgaScreen : public VgaTest {
  protected:
    static std::uint32_t dot(const Frame& frame, unsigned x, unsigned y) {
        return frame.pixels.at(y * frame.width + x);
    }
    /// A row of dots as characters: '#' for `ink`, '.' for anything else.
    static std::string dots(const Frame& frame, unsigned x, unsigned y, unsigned count, std::uint32_t ink) {
        std::string result;
        for (unsigned i = 0; i < count; ++i) {
            result += dot(frame, x + i, y) == ink ? '#' : '.';
        }
        return result;
    }
    void hide_cursor() { crtc(0x0A, 0x20); }
    /// The screen colour of a text attribute's number in mode 3, whose palette maps 6 to 14h and 8-F to 38h-3Fh.
    static std::uint32_t color(unsigned number) { return dac_color(kMode3.attributes[number]); }
};

TEST_F(VgaScreen, TextHasTheLinesOfTheScreenWithTheirAttributes) {
    set_mode(kMode3);
    print(0, 0, "Starting MS-DOS...", 0x07);
    print(75, 24, "right", 0x1E);
    const auto screen = vga.text();
    ASSERT_TRUE(screen);
    EXPECT_EQ(screen->columns, 80u);
    EXPECT_EQ(screen->rows, 25u);
    ASSERT_EQ(screen->lines.size(), 25u);
    EXPECT_EQ(screen->lines[0], "Starting MS-DOS..." + std::string(62, ' '));
    EXPECT_EQ(screen->lines[24], std::string(75, ' ') + "right");
    EXPECT_EQ(screen->characters.at(24 * 80 + 75), 'r');
    EXPECT_EQ(screen->attributes.at(24 * 80 + 79), 0x1E);
}

TEST_F(VgaScreen, TextIsUtf8OfCodePage437) {
    set_mode(kMode3);
    print(0, 0, "\xC9\xCD\xBB\x01\x7F\x84\xFF");
    EXPECT_EQ(vga.text()->lines[0].substr(0, 18), "╔═╗☺⌂ä ");
}

TEST_F(VgaScreen, TextStartsAtTheStartAddressAndWrapsInTheMemory) {
    set_mode(kMode3);
    crtc(0x0C, 160 >> 8);
    crtc(0x0D, 160);
    print(0, 2, "now on top");
    EXPECT_EQ(vga.text()->lines[0].substr(0, 10), "now on top");
    crtc(0x0C, 0xFF);
    crtc(0x0D, 0xFF);
    EXPECT_EQ(vga.text()->lines.size(), 25u);
}

TEST_F(VgaScreen, TextTellsWhereTheCursorIs) {
    set_mode(kMode3);
    crtc(0x0E, (3 * 80 + 7) >> 8);
    crtc(0x0F, (3 * 80 + 7) & 0xFF);
    EXPECT_EQ(vga.text()->cursor, (TextScreen::Position{.column = 7, .row = 3}));
    crtc(0x0E, 0x10);
    EXPECT_FALSE(vga.text()->cursor) << "beyond the screen";
    crtc(0x0E, 0x00);
    EXPECT_TRUE(vga.text()->cursor);
    hide_cursor();
    EXPECT_FALSE(vga.text()->cursor);
}

TEST_F(VgaScreen, FiftyLinesWhenTheRowsAreEightHigh) {
    set_mode(kMode3);
    crtc(0x09, 0x47);
    print(0, 49, "last");
    EXPECT_EQ(vga.text()->rows, 50u);
    EXPECT_EQ(vga.text()->lines[49].substr(0, 4), "last");
}

TEST_F(VgaScreen, GraphicsModesHaveNoText) {
    set_mode(kMode12);
    EXPECT_FALSE(vga.text());
    set_mode(kMode13);
    EXPECT_FALSE(vga.text());
}

TEST_F(VgaScreen, DrawsTheGuestsOwnGlyphNineDotsWide) {
    set_mode(kMode3);
    hide_cursor();
    load_glyph('A', kLetterA);
    print(2, 1, "A", 0x1E);
    const Frame frame = vga.render();
    ASSERT_EQ(frame.width, 720u);
    ASSERT_EQ(frame.height, 400u);
    EXPECT_EQ(dots(frame, 18, 16 + 2, 9, color(14)), "...#.....");
    EXPECT_EQ(dots(frame, 18, 16 + 7, 9, color(14)), "#######..");
    EXPECT_EQ(dots(frame, 18, 16 + 7, 9, color(1)), ".......##");
    EXPECT_EQ(dots(frame, 18, 16 + 12, 9, color(1)), "#########");
}

TEST_F(VgaScreen, NinthDotContinuesLineGraphicsOnly) {
    set_mode(kMode3);
    hide_cursor();
    load_glyph(0xC4, kSolid);
    load_glyph(0xDB, kSolid);
    load_glyph(0xE0, kSolid);
    print(0, 0, "\xC4\xDB\xE0");
    EXPECT_EQ(dots(vga.render(), 0, 0, 27, color(7)), "##########################.");
    attribute(0x10, 0x08);
    EXPECT_EQ(dots(vga.render(), 0, 0, 27, color(7)), "########.########.########.");
}

TEST_F(VgaScreen, EightDotCharactersWhenTheSequencerSaysSo) {
    set_mode(kMode3);
    hide_cursor();
    sequencer(1, 0x01);
    attribute(0x13, 0x00);
    load_glyph(0xDB, kSolid);
    print(1, 0, "\xDB");
    const Frame frame = vga.render();
    EXPECT_EQ(frame.width, 640u);
    EXPECT_EQ(dots(frame, 0, 0, 24, color(7)), "........########........");
}

TEST_F(VgaScreen, CursorFillsItsRowsOfTheCellInTheForegroundColour) {
    set_mode(kMode3);
    print(0, 0, "  ", 0x07);
    crtc(0x0F, 1);
    const Frame frame = vga.render();
    EXPECT_EQ(dots(frame, 0, 12, 20, color(7)), "....................");
    EXPECT_EQ(dots(frame, 0, 13, 20, color(7)), ".........#########..");
    EXPECT_EQ(dots(frame, 0, 14, 20, color(7)), ".........#########..");
    EXPECT_EQ(dots(frame, 0, 15, 20, color(7)), "....................");
}

TEST_F(VgaScreen, AttributeBitSevenIsBrightBackgroundOnlyWithoutBlinking) {
    set_mode(kMode3);
    hide_cursor();
    print(0, 0, " ", 0x9F);
    EXPECT_EQ(dot(vga.render(), 0, 0), color(1));
    attribute(0x10, 0x04);
    EXPECT_EQ(dot(vga.render(), 0, 0), color(9));
}

TEST_F(VgaScreen, AttributeBitThreeSelectsTheSecondFont) {
    set_mode(kMode3);
    hide_cursor();
    load_glyph('A', kLetterA);
    load_glyph('A', kSolid, 0x6000);  // map 5
    sequencer(3, 0x24);               // map A is 5, map B is 0
    print(0, 0, "A", 0x07);
    print(1, 0, "A", 0x0F);
    const Frame frame = vga.render();
    EXPECT_EQ(dots(frame, 0, 0, 9, color(7)), ".........");
    EXPECT_EQ(dots(frame, 9, 0, 9, color(15)), "########.");
}

TEST_F(VgaScreen, PanningAndPresetRowMoveTheText) {
    set_mode(kMode3);
    hide_cursor();
    load_glyph('A', kLetterA);
    print(1, 0, "A");
    attribute(0x13, 0x02);  // three dots to the left
    crtc(0x08, 0x05);       // five lines up
    const Frame frame = vga.render();
    EXPECT_EQ(dots(frame, 6, 2, 9, color(7)), "#######..");
    EXPECT_EQ(dots(frame, 0, 2, 6, color(7)), "......");
}

TEST_F(VgaScreen, BelowTheLineCompareTheScreenStartsAgainAtZero) {
    set_mode(kMode3);
    hide_cursor();
    load_glyph(0xDB, kSolid);
    print(0, 0, "\xDB");
    crtc(0x0D, 80);
    crtc(0x09, 0x0F);
    crtc(0x07, 0x0F);
    crtc(0x18, 99);
    const Frame frame = vga.render();
    EXPECT_EQ(dot(frame, 0, 0), color(0));
    EXPECT_EQ(dot(frame, 0, 99), color(0));
    EXPECT_EQ(dot(frame, 0, 100), color(7));
    EXPECT_EQ(dot(frame, 0, 115), color(7));
    EXPECT_EQ(dot(frame, 0, 116), color(0));
}

TEST_F(VgaScreen, Mode12ShowsSixteenColoursThroughThePalette) {
    set_mode(kMode12);
    graphics(5, 0x02);
    for (std::uint32_t y = 0; y < 480; ++y) {
        for (std::uint32_t x = 0; x < 80; ++x) {
            store(0xA0000 + y * 80 + x, x / 5);
        }
    }
    const Frame frame = vga.render();
    ASSERT_EQ(frame.width, 640u);
    ASSERT_EQ(frame.height, 480u);
    for (unsigned y = 0; y < 480; ++y) {
        for (unsigned x = 0; x < 640; ++x) {
            ASSERT_EQ(dot(frame, x, y), color(x / 40)) << x << ',' << y;
        }
    }
}

TEST_F(VgaScreen, Mode12BitSevenIsTheLeftmostPixel) {
    set_mode(kMode12);
    sequencer(2, 0x05);
    store(0xA0000, 0xA1);
    EXPECT_EQ(dots(vga.render(), 0, 0, 8, color(5)), "#.#....#");
}

TEST_F(VgaScreen, Mode13ShowsEachPixelTwiceInBothDirections) {
    set_mode(kMode13);
    for (std::uint32_t i = 0; i < 64000; ++i) {
        store(0xA0000 + i, (i % 320) + (i / 320) * 3);
    }
    const Frame frame = vga.render();
    ASSERT_EQ(frame.width, 640u);
    ASSERT_EQ(frame.height, 400u);
    for (unsigned y = 0; y < 400; ++y) {
        for (unsigned x = 0; x < 640; ++x) {
            ASSERT_EQ(dot(frame, x, y), dac_color((x / 2 + y / 2 * 3) & 0xFF)) << x << ',' << y;
        }
    }
}

TEST_F(VgaScreen, ModeXShowsThePlanesSideBySide) {
    set_mode(kMode13);
    sequencer(4, 0x06);
    crtc(0x14, 0x00);
    crtc(0x17, 0xE3);
    for (std::uint8_t number = 0; number < 4; ++number) {
        sequencer(2, static_cast<std::uint8_t>(1 << number));
        store(0xA0000 + 80, 0x10u + number);
    }
    const Frame frame = vga.render();
    for (unsigned x = 0; x < 8; ++x) {
        EXPECT_EQ(dot(frame, x, 2), dac_color(0x10 + x / 2));
    }
    EXPECT_EQ(dot(frame, 8, 2), dac_color(0));
}

TEST_F(VgaScreen, Mode4ShowsFourColoursFromTwoBanks) {
    set_mode(kMode4);
    store(0xB8000, 0x1B);       // colours 0 1 2 3
    store(0xB8001, 0xE4);       // 3 2 1 0
    store(0xBA000 + 79, 0x03);  // the last pixel of the second line
    store(0xB8000 + 80, 0xC0);  // the first of the third
    const Frame frame = vga.render();
    ASSERT_EQ(frame.width, 640u);
    ASSERT_EQ(frame.height, 400u);
    const auto cga = [](unsigned number) { return dac_color(kMode4.attributes[number]); };
    const std::array<unsigned, 8> expected = {0, 1, 2, 3, 3, 2, 1, 0};
    for (unsigned x = 0; x < 16; ++x) {
        EXPECT_EQ(dot(frame, x, 0), cga(expected[x / 2])) << x;
        EXPECT_EQ(dot(frame, x, 1), cga(expected[x / 2])) << x;
    }
    EXPECT_EQ(dot(frame, 0, 2), cga(0));
    EXPECT_EQ(dot(frame, 639, 2), cga(3));
    EXPECT_EQ(dot(frame, 637, 2), cga(0));
    EXPECT_EQ(dot(frame, 0, 4), cga(3));
}

TEST_F(VgaScreen, Mode6ShowsTwoColours) {
    set_mode(kMode6);
    store(0xB8000, 0x81);
    store(0xBA000, 0x40);
    const Frame frame = vga.render();
    ASSERT_EQ(frame.width, 640u);
    EXPECT_EQ(dots(frame, 0, 0, 8, dac_color(0x17)), "#......#");
    EXPECT_EQ(dots(frame, 0, 1, 8, dac_color(0x17)), "#......#");
    EXPECT_EQ(dots(frame, 0, 2, 8, dac_color(0x17)), ".#......");
}

TEST_F(VgaScreen, BlankedScreenIsBlackOrHasTheBorderColour) {
    set_mode(kMode13);
    store(0xA0000, 5);
    attribute(0x11, 0x2A);
    bench.in(0x3DA);
    bench.out(0x3C0, 0x00);  // takes the palette from the display
    EXPECT_EQ(dot(vga.render(), 0, 0), dac_color(0x2A));
    sequencer(1, 0x21);
    EXPECT_EQ(dot(vga.render(), 0, 0), 0u);
}

TEST_F(VgaScreen, DacMaskTakesPartInEveryColour) {
    set_mode(kMode13);
    store(0xA0000, 0x35);
    bench.out(0x3C6, 0x0F);
    EXPECT_EQ(dot(vga.render(), 0, 0), dac_color(0x05));
}

TEST_F(VgaScreen, GenerationGrowsWithVisibleStoresOnly) {
    set_mode(kMode3);
    print(0, 0, "A");
    auto last = vga.generation();
    const auto changed = [&] {
        const auto before = std::exchange(last, vga.generation());
        return before != last;
    };
    EXPECT_FALSE(changed());
    print(0, 0, "A");
    EXPECT_FALSE(changed()) << "the same again";
    print(0, 40, "A");
    EXPECT_FALSE(changed()) << "below the screen";
    load(0xB8000);
    bench.in(0x3DA);
    graphics(8, 0x0F);
    graphics(8, 0xFF);
    sequencer(2, 0x01);
    sequencer(2, 0x03);
    EXPECT_FALSE(changed()) << "registers of the memory path";
    print(79, 24, "B");
    EXPECT_TRUE(changed());
    crtc(0x0F, 5);
    EXPECT_TRUE(changed()) << "the cursor";
    crtc(0x0F, 5);
    EXPECT_FALSE(changed());
    dac(7, 1, 2, 3);
    EXPECT_TRUE(changed()) << "a colour";
    crtc(0x0D, 80);
    EXPECT_TRUE(changed()) << "the start address";
    attribute(0x10, 0x08);
    EXPECT_TRUE(changed());
    load_glyph('B', kLetterA);
    EXPECT_TRUE(changed()) << "the font";
}

TEST_F(VgaScreen, GenerationNeverMissesAChangedPicture) {
    Random random(77);
    for (const VgaMode* mode : {&kMode3, &kMode4, &kMode6, &kMode12, &kMode13}) {
        set_mode(*mode);
        for (unsigned i = 0; i < 150; ++i) {
            const auto before = vga.generation();
            const Frame picture = vga.render();
            if (random() % 4 == 0) {
                const auto index = static_cast<std::uint8_t>(0x08 + random() % 6);
                crtc(index, static_cast<std::uint8_t>(random()));
            }
            store(0xA0000 + random() % 0x20000, random());
            if (vga.generation() == before) {
                ASSERT_EQ(vga.render().pixels, picture.pixels);
            }
        }
    }
}

TEST_F(VgaScreen, LoadedStateShowsTheSamePicture) {
    set_mode(kMode12);
    Random random(5);
    for (std::uint32_t i = 0; i < 38400; ++i) {
        sequencer(2, static_cast<std::uint8_t>(random()));
        store(0xA0000 + i, random());
    }
    Bench other;
    Vga& loaded = other.add_device<Vga>(other.ports, other.memory, other.clock);
    const auto before = loaded.generation();
    other.load(bench.save());
    EXPECT_EQ(loaded.render().pixels, vga.render().pixels);
    EXPECT_NE(loaded.generation(), before);
}

TEST_F(VgaScreen, SavedStateWithForeignMemorySizeIsRefusedAndHarmsNothing) {
    auto saved = bench.save_devices();
    const std::array<std::uint8_t, 4> pages = {0x00, 0x10, 0x00, 0x00};  // of 4 KiB; a byte follows for each
    const auto found = std::search(saved.begin(), saved.end(), pages.begin(), pages.end());
    ASSERT_NE(found, saved.end());
    found[4] = 1;  // as if page 0 followed
    EXPECT_THROW(bench.load_devices(saved), StateError);
    found[4] = 2;
    EXPECT_THROW(bench.load_devices(saved), StateError);
    found[4] = 0;
    found[1] = 0x08;
    EXPECT_THROW(bench.load_devices(saved), StateError);
    bench.out(0x3C2, 0x03);
    store(0xBFFFF, 1);
    EXPECT_FALSE(vga.render().pixels.empty());
}

TEST_F(VgaScreen, VerticalCounterAtHalfSpeedDoublesTheLines) {
    set_mode(kMode12);
    crtc(0x17, 0xE7);
    EXPECT_EQ(vga.render().height, 960u);
    sequencer(2, 0x0F);
    store(0xA0000 + 700 * 80, 0xFF);
    EXPECT_EQ(vga.render().pixels[700 * 640], dac_color(0x3F));
    crtc(0x18, 99);  // line compare 99, in counts of two lines
    crtc(0x07, 0x2E);
    crtc(0x09, 0x00);
    store(0xA0000, 0xFF);
    EXPECT_EQ(vga.render().pixels[199 * 640], dac_color(0));
    EXPECT_EQ(vga.render().pixels[200 * 640], dac_color(0x3F));
}

TEST_F(VgaScreen, CursorSkewMovesTheCursorToTheRight) {
    set_mode(kMode3);
    crtc(0x0A, 0x0D);
    crtc(0x0B, 0x0E | 2 << 5);
    crtc(0x0F, 5);
    EXPECT_EQ(vga.text()->cursor, (TextScreen::Position{.column = 7, .row = 0}));
}

TEST_F(VgaScreen, CountByTwoShowsEachCharacterTwice) {
    set_mode(kMode3);
    print(0, 0, "ABC");
    crtc(0x17, 0xAB);
    EXPECT_EQ(vga.text()->lines[0].substr(0, 6), "AABBCC");
    crtc(0x14, 0x3F);
    EXPECT_EQ(vga.text()->lines[0].substr(0, 12), "AAAABBBBCCCC");
}

TEST_F(VgaScreen, HostileRegistersNeverLeaveTheMemory) {
    Random random(99);
    for (unsigned round = 0; round < 60; ++round) {
        bench.out(0x3C2, random() | 3);
        for (std::uint8_t i = 0; i < 5; ++i) {
            sequencer(i, static_cast<std::uint8_t>(random()));
        }
        crtc(0x11, 0);
        for (std::uint8_t i = 0; i < 0x20; ++i) {
            crtc(i, static_cast<std::uint8_t>(random()));
        }
        for (std::uint8_t i = 0; i < 0x10; ++i) {
            graphics(i, static_cast<std::uint8_t>(random()));
        }
        for (std::uint8_t i = 0; i < 0x20; ++i) {
            attribute(i, static_cast<std::uint8_t>(random()));
        }
        for (unsigned i = 0; i < 200; ++i) {
            store(0xA0000 + random() % 0x20000, random(), 1u << random() % 3);
            load(0xA0000 + random() % 0x20000, 1u << random() % 3);
            bench.host_time += random() % kMillisecond;
            bench.in(0x3DA);
        }
        const Frame frame = vga.render();
        ASSERT_LE(frame.width, 4608u);
        ASSERT_LE(frame.height, 2048u);
        ASSERT_EQ(frame.pixels.size(), std::size_t{frame.width} * frame.height);
        if (const auto screen = vga.text()) {
            ASSERT_EQ(screen->characters.size(), std::size_t{screen->columns} * screen->rows);
        }
    }
}

}  // namespace
}  // namespace vpc::devices::test
