#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/vga/aperture.h"
#include "devices/vga/display.h"
#include "devices/vga/frame.h"
#include "devices/vga/scan_timing.h"
#include "devices/vga/text_screen.h"

namespace vpc::devices {

/// IBM's VGA (PS/2 Hardware Interface Technical Reference, Video) with the extensions of the Bochs adapter: ports
/// 3B4h-3B5h, 3BAh, 3C0h-3CFh, 3D4h-3D5h, 3DAh and 1CEh-1CFh, memory A0000h-BFFFFh and a linear frame buffer where the
/// PCI bus places it; 16 MiB, of which a VGA sees 256 KiB in four planes.
///
/// The picture is not scanned out: whoever wants it asks for the text or a frame, and is told by generation() whether
/// asking is worth while. Retrace bits follow virtual time from the programmed geometry and dot clock. The vertical
/// interrupt is not connected, as on most boards, and reads as never pending; the diagnostic bits of input status 1
/// read as 0. After reset the video subsystem is enabled (3C3h) and the CPU's view of the memory is not (3C2h), as the
/// video BIOS expects it.
class Vga : public Device {
  public:
    /// Both buses and the clock must outlive the chip. `later` runs a piece of work on the machine's thread between two
    /// of the CPU's runs; without it the window at A0000h never becomes fast. Throws BusConflict, std::bad_alloc.
    Vga(PortBus& ports, PhysicalMemory& memory, VirtualClock& clock, vga::Aperture::Later later = {});

    std::string_view name() const override { return "VGA"; }
    /// The video memory keeps its contents.
    void reset() override;
    void serialize(StateStream& stream) override;

    /// What stands on the screen; nothing in graphics modes. Also while the screen is blanked.
    std::optional<TextScreen> text();
    /// The whole picture, blinking things in their "on" phase.
    Frame render();
    /// Grows whenever something that shows changes; equal numbers mean equal pictures. Not saved. Costs microseconds
    /// while nothing changes.
    std::uint64_t generation();

    /// A front end's copy of the picture.
    struct Picture {
        Frame frame;
        std::uint64_t generation = 0;
    };
    /// Brings a copy up to date, the first time from an empty one. Returns the lines that had to be drawn again: none
    /// while nothing changes, and all when the frame's size is another.
    FrameBand refresh(Picture& picture);

    /// Where the PCI bus places the linear frame buffer, or nowhere.
    void place_frame_buffer(std::optional<std::uint32_t> address);
    static constexpr std::uint32_t kFrameBufferSize = vga::VideoRam::kSize;

  private:
    /// A port, or nothing when the chip does not answer it at the moment. Mono and colour ports get the same number.
    std::uint16_t decode(std::uint16_t port) const;
    std::uint8_t read(std::uint16_t port);
    std::uint8_t peek(std::uint16_t port) const;
    void write(std::uint16_t port, std::uint8_t value);
    /// True when the picture changed.
    bool write_graphics(std::uint8_t value);
    std::uint8_t input_status_1() const;

    std::uint32_t read_dispi(std::uint16_t offset, unsigned size) const;
    void write_dispi(std::uint16_t offset, std::uint16_t value, unsigned size);

    void configure_memory();
    void display_changed();
    /// Finds out what was stored to mapped memory, and whether it shows.
    void collect();
    vga::Display display() const { return {sequencer_, graphics_, attributes_, dac_, crtc_, memory_, dispi_}; }

    VirtualClock& clock_;

    std::uint8_t miscellaneous_output_ = 0;
    std::uint8_t feature_control_ = 0;
    bool enabled_ = true;
    vga::Sequencer sequencer_;
    vga::GraphicsController graphics_;
    vga::AttributeController attributes_;
    vga::Dac dac_;
    vga::Crtc crtc_;
    vga::BochsDispi dispi_;
    vga::VideoRam ram_;
    vga::VideoMemory memory_{ram_};
    vga::Aperture aperture_;

    vga::ScanTiming timing_;
    std::uint64_t generation_ = 1;
    std::uint64_t whole_generation_ = 1;    // of the last change that is not known to be in certain pages
    std::uint64_t seen_plane_changes_ = 0;  // memory_.visible_changes() in generation_
    std::vector<std::uint64_t> page_generations_ = std::vector<std::uint64_t>(vga::VideoRam::kPages);

    std::array<PortBus::Claim, 6> claims_;
};

}  // namespace vpc::devices
