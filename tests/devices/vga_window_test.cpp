// The window at A0000h while it is mapped as memory.
#include "tests/devices/vga_modes.h"

namespace vpc::devices::test {
namespace {

/// A VGA whose window opens as soon as it is busy enough and somebody runs what was posted.
class VgaWindow : public testing::Test {
  protected:
    struct Machine : Bench {
        std::vector<std::function<void()>> posted;
        Vga& vga = add_device<Vga>(ports, memory, clock,
                                   [this](std::function<void()> work) { posted.push_back(std::move(work)); });
        void run_posted() {
            for (const auto& work : std::exchange(posted, {})) {
                work();
            }
        }
        bool is_memory(std::uint32_t address) const { return memory.write_pointer(address) != nullptr; }
        void indexed(std::uint16_t port, std::uint8_t index, std::uint8_t value) {
            out(port, static_cast<std::uint32_t>(index | value << 8), 2);
        }
        void set_mode(const VgaMode& mode) {
            out(0x3C2, mode.miscellaneous_output);
            for (std::uint8_t i = 0; i < mode.sequencer.size(); ++i) {
                indexed(0x3C4, i, mode.sequencer[i]);
            }
            indexed(0x3D4, 0x11, 0);
            for (std::uint8_t i = 0; i < mode.crtc.size(); ++i) {
                indexed(0x3D4, i, mode.crtc[i]);
            }
            for (std::uint8_t i = 0; i < mode.graphics.size(); ++i) {
                indexed(0x3CE, i, mode.graphics[i]);
            }
            in(0x3DA);
            for (std::uint8_t i = 0; i < mode.attributes.size(); ++i) {
                out(0x3C0, i);
                out(0x3C0, mode.attributes[i]);
            }
            out(0x3C0, 0x20);
            for (unsigned i = 0; i < 768; ++i) {
                out(i == 0 ? 0x3C8 : 0x3C9, i * 5 & 63);
            }
        }
        void dispi(std::uint16_t index, std::uint16_t value) {
            out(0x1CE, index, 2);
            out(0x1CF, value, 2);
        }
        void keep_busy(std::uint32_t address) {
            for (unsigned i = 0; i < vga::Aperture::kBusy; ++i) {
                memory.read_bus(address, 1);
            }
            run_posted();
        }
    };
    Machine machine;
};

TEST_F(VgaWindow, BusyTextWindowBecomesMemoryAndStaysTheScreen) {
    machine.set_mode(kMode3);
    machine.memory.write_bus(0xB8000, 0x0741, 2);
    EXPECT_FALSE(machine.is_memory(0xB8000));
    machine.keep_busy(0xB8000);
    ASSERT_TRUE(machine.is_memory(0xB8000));
    EXPECT_TRUE(machine.is_memory(0xBF000));
    EXPECT_FALSE(machine.is_memory(0xB7000));
    EXPECT_EQ(machine.memory.read_bus(0xB8000, 2), 0x0741u);

    auto generation = machine.vga.generation();
    machine.memory.write_bus(0xB8002, 0x1F42, 2);
    EXPECT_GT(machine.vga.generation(), generation);
    EXPECT_EQ(machine.vga.text()->lines[0].substr(0, 2), "AB");
    EXPECT_EQ(machine.vga.text()->attributes[1], 0x1F);
    generation = machine.vga.generation();
    machine.memory.write_bus(0xB8002, 0x1F42, 2);  // the same again
    machine.memory.write_bus(0xBA000, 0x1F42, 2);  // below the screen
    EXPECT_EQ(machine.vga.generation(), generation);
}

TEST_F(VgaWindow, ClosesWhenRegistersStopItFromBeingPlain) {
    machine.set_mode(kMode3);
    machine.keep_busy(0xB8000);
    machine.memory.write_bus(0xB8004, 0x1E43, 2);
    machine.indexed(0x3CE, 6, 0x04);  // the window moves
    EXPECT_FALSE(machine.is_memory(0xB8000));
    machine.indexed(0x3C4, 4, 0x06);
    machine.indexed(0x3CE, 5, 0x00);
    machine.indexed(0x3CE, 4, 0x00);
    EXPECT_EQ(machine.memory.read_bus(0xA0004, 1), 0x43u) << "plane 0";
    machine.indexed(0x3CE, 4, 0x01);
    EXPECT_EQ(machine.memory.read_bus(0xA0004, 1), 0x1Eu) << "plane 1";
    machine.keep_busy(0xA0000);
    EXPECT_FALSE(machine.is_memory(0xA0000)) << "planes are no memory";
}

TEST_F(VgaWindow, LateOpeningAfterAChangeOfModeDoesNothing) {
    machine.set_mode(kMode3);
    for (unsigned i = 0; i < vga::Aperture::kBusy; ++i) {
        machine.memory.write_bus(0xB8000, i, 1);
    }
    ASSERT_EQ(machine.posted.size(), 1u);
    machine.set_mode(kMode12);
    machine.run_posted();
    EXPECT_FALSE(machine.is_memory(0xA0000));
    EXPECT_FALSE(machine.is_memory(0xB8000));
}

TEST_F(VgaWindow, Mode13AndBankedModesAreTheVideoMemoryItself) {
    machine.vga.place_frame_buffer(0xE0000000);
    machine.set_mode(kMode13);
    machine.keep_busy(0xA0000);
    ASSERT_TRUE(machine.is_memory(0xA0000));
    machine.memory.write_bus(0xA0000 + 321, 0x55, 1);
    EXPECT_EQ(machine.memory.read_bus(0xE0000000 + 321, 1), 0x55u);
    Vga::Picture picture;
    machine.vga.refresh(picture);
    machine.memory.write_bus(0xA0000 + 321, 0x66, 1);
    EXPECT_EQ(machine.vga.refresh(picture).count, 400u);
    EXPECT_EQ(picture.frame.pixels, machine.vga.render().pixels);

    machine.dispi(1, 640);
    machine.dispi(2, 480);
    machine.dispi(3, 8);
    machine.dispi(4, 1);
    EXPECT_FALSE(machine.is_memory(0xA0000 + 0x10000));
    for (std::uint16_t bank = 0; bank < 4; ++bank) {
        machine.dispi(5, bank);
        machine.keep_busy(0xA0000);
        ASSERT_TRUE(machine.is_memory(0xA0000));
        machine.memory.write_bus(0xA0000, 0x70u + bank, 1);
        EXPECT_EQ(machine.memory.read_bus(0xE0000000 + bank * 0x10000u, 1), 0x70u + bank);
    }
    machine.vga.refresh(picture);
    machine.memory.write_bus(0xA0000 + 5, 0x66, 1);
    const FrameBand band = machine.vga.refresh(picture);
    EXPECT_LE(band.first, 0x30005u / 640);
    EXPECT_LE(band.count, 8u);
    EXPECT_EQ(picture.frame.pixels, machine.vga.render().pixels);
}

TEST_F(VgaWindow, ResetAndStateFindEverythingAtHome) {
    machine.set_mode(kMode3);
    machine.keep_busy(0xB8000);
    machine.memory.write_bus(0xB8000, 0x0758, 2);
    const auto saved = machine.save();
    machine.memory.write_bus(0xB8000, 0x0759, 2);
    machine.load(saved);
    EXPECT_FALSE(machine.is_memory(0xB8000));
    EXPECT_EQ(machine.vga.text()->lines[0][0], 'X');
    machine.keep_busy(0xB8000);
    machine.memory.write_bus(0xB8000, 0x075A, 2);
    machine.vga.reset();
    machine.set_mode(kMode3);
    EXPECT_EQ(machine.vga.text()->lines[0][0], 'Z');
}

/// The same accesses to an adapter whose window opens and to one whose window never does, in random set-ups.
TEST_F(VgaWindow, MakesNoDifference) {
    Machine slow;
    slow.posted.clear();
    Random random(23);
    const auto both = [&](auto&& what) {
        what(machine);
        what(slow);
        slow.posted.clear();
    };
    unsigned opened = 0;
    for (unsigned round = 0; round < 300; ++round) {
        const auto kind = random() % 6;
        both([&](Machine& each) {
            const VgaMode* const modes[] = {&kMode3, &kMode4, &kMode6, &kMode13, &kMode12};
            each.dispi(4, 0);
            each.set_mode(kind < 5 ? *modes[kind] : kMode13);
            if (kind == 5) {
                each.dispi(1, 640);
                each.dispi(2, 400);
                each.dispi(3, 16);
                each.dispi(4, 0x81);
                each.dispi(5, static_cast<std::uint16_t>(round % 7));
            }
            each.memory.read_bus(0xA0000 + (kind < 3 ? 0x18000u : 0u), 1);  // equal latches, also where they count
        });
        for (unsigned access = 0; access < 700; ++access) {
            const unsigned size = 1u << random() % 3;
            const std::uint32_t address = (kind < 3 ? 0xB8000 : 0xA0000) + random() % (0x8000 / size) * size;
            const std::uint32_t value = random();
            if (kind == 4 || random() % 3 != 0) {
                both([&](Machine& each) { each.memory.write_bus(address, value, size); });
            } else {
                ASSERT_EQ(machine.memory.read_bus(address, size), slow.memory.read_bus(address, size));
            }
            machine.run_posted();
        }
        opened += machine.is_memory(kind < 3 ? 0xB8000 : 0xA0000) ? 1 : 0;
        ASSERT_EQ(machine.vga.render().pixels, slow.vga.render().pixels) << "round " << round;
    }
    EXPECT_GT(opened, 200u);
    both([](Machine& each) {
        each.dispi(4, 0);
        each.set_mode(kMode12);
        each.memory.read_bus(0xA0000, 1);
    });
    EXPECT_EQ(machine.save_devices(), slow.save_devices());
}

}  // namespace
}  // namespace vpc::devices::test
