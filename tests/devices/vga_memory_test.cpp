// The way from the CPU's address to the VGA's planes, against a second, bit-by-bit description of it.
#include "tests/devices/vga_modes.h"

namespace vpc::devices::test {
namespace {

/// Works on one plane and one bit at a time, straight from the register descriptions.
struct PlanarModel {
    std::array<std::array<std::uint8_t, 0x10000>, 4> planes{};
    std::array<std::uint8_t, 4> latches{};
    std::array<std::uint8_t, 9> graphics{};
    std::uint8_t map_mask = 0;
    std::uint8_t memory_mode = 0;

    bool bit(unsigned value, unsigned number) const { return (value >> number & 1) != 0; }
    bool chain_four() const { return bit(memory_mode, 3); }

    bool in_window(std::uint32_t& address) const {
        switch (graphics[6] >> 2 & 3) {
            case 0:
                address -= 0xA0000;
                return true;
            case 1:
                address -= 0xA0000;
                return address < 0x10000;
            case 2:
                address -= 0xB0000;
                return address < 0x8000;
            default:
                address -= 0xB8000;
                return address < 0x8000;
        }
    }
    std::uint16_t offset(std::uint32_t address) const {
        if (chain_four()) {
            return static_cast<std::uint16_t>((address / 4 * 4) % 0x10000 + (address / 0x4000) % 4);
        }
        if (bit(graphics[6], 1)) {
            return static_cast<std::uint16_t>((address / 2 * 2) % 0x10000 + address / 0x10000);
        }
        return static_cast<std::uint16_t>(address);
    }
    std::uint8_t load(std::uint32_t address) {
        if (!in_window(address)) {
            return 0xFF;
        }
        for (unsigned plane = 0; plane < 4; ++plane) {
            latches[plane] = planes[plane][offset(address)];
        }
        if (bit(graphics[5], 3)) {
            std::uint8_t result = 0;
            for (unsigned pixel = 0; pixel < 8; ++pixel) {
                bool equal = true;
                for (unsigned plane = 0; plane < 4; ++plane) {
                    if (bit(graphics[7], plane) && bit(latches[plane], pixel) != bit(graphics[2], plane)) {
                        equal = false;
                    }
                }
                result = static_cast<std::uint8_t>(result | (equal ? 1 << pixel : 0));
            }
            return result;
        }
        unsigned plane = graphics[4] & 3u;
        if (chain_four()) {
            plane = address % 4;
        } else if (bit(graphics[5], 4)) {
            plane = (plane & 2) + address % 2;
        }
        return latches[plane];
    }
    void store(std::uint32_t address, std::uint8_t value) {
        if (!in_window(address)) {
            return;
        }
        for (unsigned plane = 0; plane < 4; ++plane) {
            bool written = bit(map_mask, plane);
            if (chain_four()) {
                written = written && plane == address % 4;
            } else if (!bit(memory_mode, 2)) {
                written = written && plane % 2 == address % 2;
            }
            if (!written) {
                continue;
            }
            std::uint8_t result = 0;
            for (unsigned pixel = 0; pixel < 8; ++pixel) {
                const bool latch = bit(latches[plane], pixel);
                const bool rotated = bit(value, (pixel + (graphics[3] & 7u)) % 8);
                bool masked_in = bit(graphics[8], pixel);
                bool source = false;
                switch (graphics[5] & 3) {
                    case 0:
                        source = bit(graphics[1], plane) ? bit(graphics[0], plane) : rotated;
                        break;
                    case 1:
                        source = latch;
                        break;
                    case 2:
                        source = bit(value, plane);
                        break;
                    default:
                        source = bit(graphics[0], plane);
                        masked_in = masked_in && rotated;
                        break;
                }
                if ((graphics[5] & 3) != 1) {
                    switch (graphics[3] >> 3 & 3) {
                        case 1:
                            source = source && latch;
                            break;
                        case 2:
                            source = source || latch;
                            break;
                        case 3:
                            source = source != latch;
                            break;
                        default:
                            break;
                    }
                    if (!masked_in) {
                        source = latch;
                    }
                }
                result = static_cast<std::uint8_t>(result | (source ? 1 << pixel : 0));
            }
            planes[plane][offset(address)] = result;
        }
    }
};

class VgaMemory : public VgaTest {
  protected:
    void compare_planes(const PlanarModel& model) {
        for (std::uint8_t number = 0; number < 4; ++number) {
            const auto actual = plane(number);
            const auto different = std::mismatch(actual.begin(), actual.end(), model.planes[number].begin());
            ASSERT_EQ(different.first, actual.end())
                << "plane " << int{number} << " differs at " << different.first - actual.begin();
        }
    }
};

TEST_F(VgaMemory, AgreesWithTheBitByBitModelInRandomSetUps) {
    const auto model = std::make_unique<PlanarModel>();
    Random random(12);
    bench.out(0x3C2, 0x63);
    for (unsigned round = 0; round < 3000; ++round) {
        for (std::uint8_t i = 0; i < model->graphics.size(); ++i) {
            if (random() % 3 == 0) {
                model->graphics[i] = static_cast<std::uint8_t>(random());
            }
            if (random() % 8 == 0) {
                model->graphics[i] = kMode12.graphics[i];
            }
            graphics(i, model->graphics[i]);
        }
        model->map_mask = static_cast<std::uint8_t>(random() % 4 == 0 ? 0xF : random());
        model->memory_mode = static_cast<std::uint8_t>(random() & 0x0E);
        sequencer(2, model->map_mask);
        sequencer(4, model->memory_mode);
        const std::uint32_t area = 0xA0000 + random() % 0x20 * 0x1000;
        for (unsigned access = 0; access < 20; ++access) {
            const unsigned size = 1u << random() % 3;
            const std::uint32_t address = area + random() % (0x100 / size) * size;
            if (random() % 3 == 0) {
                std::uint32_t expected = 0;
                for (unsigned i = 0; i < size; ++i) {
                    expected |= static_cast<std::uint32_t>(model->load(address + i)) << (8 * i);
                }
                ASSERT_EQ(load(address, size), expected) << "round " << round << " address " << address;
            } else {
                const auto value = random();
                store(address, value, size);
                for (unsigned i = 0; i < size; ++i) {
                    model->store(address + i, static_cast<std::uint8_t>(value >> (8 * i)));
                }
            }
        }
    }
    compare_planes(*model);
}

TEST_F(VgaMemory, TextStoresAgreeWithTheModelInEverySize) {
    const auto model = std::make_unique<PlanarModel>();
    set_mode(kMode3);
    model->graphics = kMode3.graphics;
    model->map_mask = 3;
    model->memory_mode = 2;
    Random random(3);
    for (unsigned i = 0; i < 20000; ++i) {
        const unsigned size = 1u << random() % 3;
        const std::uint32_t address = 0xB8000 + random() % (0x8000 / size) * size;
        const auto value = random();
        store(address, value, size);
        for (unsigned byte = 0; byte < size; ++byte) {
            model->store(address + byte, static_cast<std::uint8_t>(value >> (8 * byte)));
        }
        ASSERT_EQ(load(address, size), size == 4 ? value : value & ((1u << (8 * size)) - 1));
    }
    compare_planes(*model);
}

TEST_F(VgaMemory, TextLiesInPlanesZeroAndOneAtEvenOffsets) {
    set_mode(kMode3);
    store(0xB8000, 0x1F41, 2);
    store(0xB8002, 0x4E42, 2);
    EXPECT_EQ(plane(0, 4), (std::vector<std::uint8_t>{0x41, 0, 0x42, 0}));
    EXPECT_EQ(plane(1, 4), (std::vector<std::uint8_t>{0x1F, 0, 0x4E, 0}));
    EXPECT_EQ(plane(2, 4), (std::vector<std::uint8_t>{0, 0, 0, 0}));
}

TEST_F(VgaMemory, Mode13KeepsAll64000PixelsApart) {
    set_mode(kMode13);
    for (std::uint32_t i = 0; i < 64000; i += 4) {
        store(0xA0000 + i, i * 2654435761u, 4);
    }
    for (std::uint32_t i = 0; i < 64000; i += 4) {
        ASSERT_EQ(load(0xA0000 + i, 4), i * 2654435761u);
    }
}

TEST_F(VgaMemory, ModeXReadsBackEachPlaneAndCopiesThroughTheLatches) {
    set_mode(kMode13);
    sequencer(4, 0x06);
    crtc(0x14, 0x00);
    crtc(0x17, 0xE3);
    for (std::uint8_t number = 0; number < 4; ++number) {
        sequencer(2, static_cast<std::uint8_t>(1 << number));
        for (std::uint32_t i = 0; i < 80; ++i) {
            store(0xA0000 + i, i * 4 + number);
        }
    }
    sequencer(2, 0x0F);
    graphics(5, 0x41);
    for (std::uint32_t i = 0; i < 80; ++i) {
        store(0xA4000 + i, load(0xA0000 + i));
    }
    graphics(5, 0x40);
    for (std::uint8_t number = 0; number < 4; ++number) {
        graphics(4, number);
        for (std::uint32_t i = 0; i < 80; ++i) {
            ASSERT_EQ(load(0xA4000 + i), (i * 4 + number) & 0xFF);
        }
    }
}

TEST_F(VgaMemory, WindowsFollowTheMiscellaneousRegister) {
    bench.out(0x3C2, 0x03);
    sequencer(2, 0x0F);
    sequencer(4, 0x06);
    graphics(8, 0xFF);
    const auto open = [&](std::uint8_t map) {
        graphics(6, static_cast<std::uint8_t>(map << 2));
        std::string windows;
        for (const std::uint32_t address : {0xA0000u, 0xAFFFFu, 0xB0000u, 0xB7FFFu, 0xB8000u, 0xBFFFFu}) {
            store(address, 0x5A);
            windows += load(address) == 0x5A ? '+' : '-';
        }
        return windows;
    };
    EXPECT_EQ(open(0), "++++++");
    EXPECT_EQ(open(1), "++----");
    EXPECT_EQ(open(2), "--++--");
    EXPECT_EQ(open(3), "----++");
}

TEST_F(VgaMemory, UnalignedAccessesArriveByteByByte) {
    set_mode(kMode3);
    store(0xB8001, 0x44332211, 4);
    EXPECT_EQ(load(0xB8001, 4), 0x44332211u);
    EXPECT_EQ(load(0xB8002, 2), 0x3322u);
}

TEST_F(VgaMemory, SurvivesAReset) {
    set_mode(kMode3);
    print(0, 0, "kept");
    vga.reset();
    set_mode(kMode3);
    EXPECT_EQ(vga.text()->lines[0].substr(0, 4), "kept");
}

}  // namespace
}  // namespace vpc::devices::test
