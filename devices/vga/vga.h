#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/device.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/vga/display.h"
#include "devices/vga/frame.h"
#include "devices/vga/scan_timing.h"
#include "devices/vga/text_screen.h"

namespace vpc::devices {

/// IBM's VGA: ports 3B4h-3B5h, 3BAh, 3C0h-3CFh, 3D4h-3D5h and 3DAh, memory A0000h-BFFFFh, 256 KiB in four planes.
///
/// The picture is not scanned out: whoever wants it asks for the text or a frame, and is told by generation() whether
/// asking is worth while. Retrace bits follow virtual time from the programmed geometry and dot clock. The vertical
/// interrupt is not connected, as on most boards, and reads as never pending; the diagnostic bits of input status 1
/// read as 0. After reset the video subsystem is enabled (3C3h) and the CPU's view of the memory is not (3C2h), as the
/// video BIOS expects it.
class Vga : public Device {
  public:
    /// Both buses and the clock must outlive the chip. Throws BusConflict.
    Vga(PortBus& ports, PhysicalMemory& memory, VirtualClock& clock);
    ~Vga() override;

    std::string_view name() const override { return "VGA"; }
    /// The video memory keeps its contents.
    void reset() override;
    void serialize(StateStream& stream) override;

    /// What stands on the screen; nothing in graphics modes. Also while the screen is blanked.
    std::optional<TextScreen> text() const { return vga::read_text_screen(display()); }
    Frame render() const { return vga::render_frame(display()); }
    /// Grows whenever something that shows changes; equal numbers mean equal pictures. Not saved.
    std::uint64_t generation() const { return register_changes_ + memory_.visible_changes(); }

  private:
    /// A port, or nothing when the chip does not answer it at the moment. Mono and colour ports get the same number.
    std::uint16_t decode(std::uint16_t port) const;
    std::uint8_t read(std::uint16_t port);
    std::uint8_t peek(std::uint16_t port) const;
    void write(std::uint16_t port, std::uint8_t value);
    /// True when the picture changed.
    bool write_graphics(std::uint8_t value);
    std::uint8_t input_status_1() const;

    void configure_memory();
    void display_changed();
    vga::Display display() const { return {sequencer_, graphics_, attributes_, dac_, crtc_, memory_}; }

    PhysicalMemory& physical_memory_;
    VirtualClock& clock_;

    std::uint8_t miscellaneous_output_ = 0;
    std::uint8_t feature_control_ = 0;
    bool enabled_ = true;
    vga::Sequencer sequencer_;
    vga::GraphicsController graphics_;
    vga::AttributeController attributes_;
    vga::Dac dac_;
    vga::Crtc crtc_;
    vga::VideoMemory memory_;

    vga::ScanTiming timing_;
    std::uint64_t register_changes_ = 0;

    std::array<PortBus::Claim, 5> claims_;
};

}  // namespace vpc::devices
