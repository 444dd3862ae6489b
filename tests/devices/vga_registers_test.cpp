// The VGA's registers and its sense of time.
#include "tests/devices/vga_modes.h"

namespace vpc::devices::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Vga, DeviceConformance,
                         testing::Values(Subject{
                             .name = "Vga",
                             .ports = {{0x1CE, 3}, {0x3B4, 2}, {0x3BA, 1}, {0x3C0, 16}, {0x3D4, 2}, {0x3DA, 1}},
                             .build =
                                 [](Bench& bench) { bench.add_device<Vga>(bench.ports, bench.memory, bench.clock); },
                             .stimulate =
                                 [](Bench& bench, std::mt19937& random) {
                                     const auto address = static_cast<std::uint32_t>(0xA0000 + random() % 0x20000);
                                     const unsigned size = 1u << random() % 3;
                                     bench.memory.write_bus(address, static_cast<std::uint32_t>(random()), size);
                                     bench.memory.read_bus(address ^ 0x40, 1);
                                 }}),
                         subject_name);

using VgaRegisters = VgaTest;

TEST_F(VgaRegisters, AnswersAtTheColourPortsOnlyWhenTheyAreSelected) {
    bench.out(0x3C2, 0x01);
    bench.out(0x3D4, 0x0E);
    bench.out(0x3D5, 0x5A);
    EXPECT_EQ(bench.in(0x3D5), 0x5Au);
    EXPECT_EQ(bench.in(0x3B5), 0xFFu);
    EXPECT_EQ(bench.in(0x3BA), 0xFFu);
    bench.out(0x3C2, 0x00);
    EXPECT_EQ(bench.in(0x3B5), 0x5Au);
    EXPECT_EQ(bench.in(0x3D5), 0xFFu);
    bench.out(0x3D5, 0x11);
    EXPECT_EQ(bench.in(0x3B5), 0x5Au);
}

TEST_F(VgaRegisters, ReadsBackMiscellaneousOutputAndFeatureControl) {
    bench.out(0x3C2, 0xE3);
    bench.out(0x3DA, 0x02);
    EXPECT_EQ(bench.in(0x3CC), 0xE3u);
    EXPECT_EQ(bench.in(0x3CA), 0x02u);
}

TEST_F(VgaRegisters, DisabledSubsystemAnswersNothingButItsEnableBit) {
    set_mode(kMode3);
    print(0, 0, "A");
    bench.out(0x3C3, 0);
    EXPECT_EQ(bench.in(0x3CC), 0xFFu);
    EXPECT_EQ(load(0xB8000), 0xFFu);
    bench.out(0x3C3, 1);
    EXPECT_EQ(bench.in(0x3CC), 0x67u);
    EXPECT_EQ(load(0xB8000), static_cast<std::uint32_t>('A'));
}

TEST_F(VgaRegisters, MemoryIsClosedUntilMiscellaneousOutputOpensIt) {
    store(0xA0000, 0x12);
    EXPECT_EQ(load(0xA0000), 0xFFu);
    bench.out(0x3C2, 0x03);
    EXPECT_EQ(load(0xA0000), 0x00u);
}

TEST_F(VgaRegisters, AttributePortTakesIndexAndDataInTurn) {
    bench.out(0x3C2, 0x01);
    bench.in(0x3DA);
    bench.out(0x3C0, 0x03);
    bench.out(0x3C0, 0x2A);
    EXPECT_EQ(bench.in(0x3C0), 0x03u);
    EXPECT_EQ(bench.in(0x3C1), 0x2Au);
    bench.out(0x3C0, 0x04);
    bench.in(0x3DA);  // forgets that data should follow
    bench.out(0x3C0, 0x05);
    bench.out(0x3C0, 0x15);
    EXPECT_EQ(bench.in(0x3C1), 0x15u);
    bench.out(0x3C0, 0x04);
    EXPECT_EQ(bench.in(0x3C1), 0x00u);
}

TEST_F(VgaRegisters, PaletteIsReadOnlyWhileTheDisplayOwnsIt) {
    bench.out(0x3C2, 0x01);
    attribute(0x02, 0x11);
    bench.in(0x3DA);
    bench.out(0x3C0, 0x22);
    bench.out(0x3C0, 0x3F);
    EXPECT_EQ(bench.in(0x3C1), 0x11u);
}

TEST_F(VgaRegisters, DacGivesBackColoursInOrderOfWriting) {
    bench.out(0x3C8, 0x10);
    for (const unsigned value : {1u, 2u, 3u, 0xC4u, 5u, 6u}) {
        bench.out(0x3C9, value);
    }
    EXPECT_EQ(bench.in(0x3C8), 0x12u);
    EXPECT_EQ(bench.in(0x3C7), 0u);
    bench.out(0x3C7, 0x10);
    EXPECT_EQ(bench.in(0x3C7), 3u);
    for (const unsigned value : {1u, 2u, 3u, 4u, 5u, 6u}) {
        EXPECT_EQ(bench.in(0x3C9), value);
    }
}

TEST_F(VgaRegisters, PeekingChangesNothing) {
    set_mode(kMode3);
    bench.out(0x3C7, 0x05);
    bench.out(0x3C0, 0x10);  // data would follow
    const auto before = bench.save();
    for (std::uint16_t port = 0x3B0; port < 0x3E0; ++port) {
        bench.ports.peek(port, 1);
    }
    EXPECT_EQ(bench.ports.peek(0x3C9, 1), 5u);
    EXPECT_EQ(bench.ports.peek(0x3CC, 1), 0x67u);
    EXPECT_EQ(bench.save(), before);
}

TEST_F(VgaRegisters, ProtectsCrtcTimingExceptTheLineCompareBit) {
    bench.out(0x3C2, 0x01);
    crtc(0x00, 0x5F);
    crtc(0x07, 0x0F);
    crtc(0x11, 0x80);
    crtc(0x00, 0x11);
    crtc(0x07, 0xF0);
    EXPECT_EQ(read_indexed(0x3D4, 0x00), 0x5Fu);
    EXPECT_EQ(read_indexed(0x3D4, 0x07), 0x1Fu);
    crtc(0x11, 0x00);
    crtc(0x00, 0x11);
    EXPECT_EQ(read_indexed(0x3D4, 0x00), 0x11u);
}

TEST_F(VgaRegisters, ReservedBitsAndRegistersReadAsZero) {
    sequencer(2, 0xFF);
    EXPECT_EQ(read_indexed(0x3C4, 2), 0x0Fu);
    sequencer(6, 0x12);
    EXPECT_EQ(read_indexed(0x3C4, 6), 0u);
    graphics(5, 0xFF);
    EXPECT_EQ(read_indexed(0x3CE, 5), 0x7Bu);
    graphics(0x0F, 0xFF);
    EXPECT_EQ(read_indexed(0x3CE, 0x0F), 0u);
}

struct Share {
    unsigned retrace = 0;
    unsigned displaying = 0;
    unsigned retraces = 0;
};

TEST_F(VgaRegisters, RetraceAndDisplayBitsFollowTheProgrammedGeometry) {
    set_mode(kMode3);  // 900 x 449 dots at 28.322 MHz: 70.09 frames a second; 720 x 400 displayed; retrace 2 lines
    Share share;
    bool before = (bench.in(0x3DA) & 0x08) != 0;
    constexpr unsigned kSamples = 1'000'000;
    for (unsigned i = 0; i < kSamples; ++i) {
        bench.host_time += kMicrosecond;
        const std::uint32_t status = bench.in(0x3DA);
        const bool retrace = (status & 0x08) != 0;
        share.retrace += retrace ? 1 : 0;
        share.displaying += (status & 0x01) == 0 ? 1 : 0;
        share.retraces += retrace && !before ? 1 : 0;
        before = retrace;
        ASSERT_FALSE(retrace && (status & 0x01) == 0) << "displays during the retrace";
    }
    EXPECT_EQ(share.retraces, 70u);
    EXPECT_NEAR(share.retrace, kSamples * 2.0 / 449, kSamples * 0.0005);
    EXPECT_NEAR(share.displaying, kSamples * (720.0 * 400) / (900 * 449), kSamples * 0.005);
}

TEST_F(VgaRegisters, Mode12RunsAtSixtyFramesASecond) {
    set_mode(kMode12);
    unsigned retraces = 0;
    bool before = false;
    for (unsigned i = 0; i < 100'000; ++i) {
        bench.host_time += 10 * kMicrosecond;
        const bool retrace = (bench.in(0x3DA) & 0x08) != 0;
        retraces += retrace && !before ? 1 : 0;
        before = retrace;
    }
    EXPECT_EQ(retraces, 60u);
}

}  // namespace
}  // namespace vpc::devices::test
