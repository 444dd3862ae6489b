#pragma once
#include <array>
#include <cstdint>

#include "devices/vga/attribute_controller.h"
#include "devices/vga/bochs_dispi.h"
#include "devices/vga/crtc.h"
#include "devices/vga/dac.h"
#include "devices/vga/graphics_controller.h"
#include "devices/vga/sequencer.h"
#include "devices/vga/video_memory.h"

namespace vpc::devices::vga {

/// The parts of the adapter that make up its picture, for the code that looks at it. Refers to them; owns nothing.
struct Display {
    const Sequencer& sequencer;
    const GraphicsController& graphics;
    const AttributeController& attributes;
    const Dac& dac;
    const Crtc& crtc;
    const VideoMemory& memory;
    const BochsDispi& dispi;

    /// Dots of a character clock on the screen, before the half dot clock doubles them. Graphics have no ninth dot.
    unsigned character_dots() const { return graphics.graphics() || sequencer.eight_dots() ? 8 : 9; }
    /// Scan lines of a character row, with the doubled ones.
    unsigned row_lines() const { return crtc.row_height() * (crtc.double_scan() ? 2 : 1); }
    /// In the Bochs adapter's modes: the guest has not blanked the screen, by either of the VGA's means.
    bool linear_shows() const { return !sequencer.screen_off() && attributes.palette_on_display(); }
    /// What the sixteen attribute colours are on the screen.
    std::array<std::uint32_t, 16> colors() const {
        std::array<std::uint32_t, 16> result{};
        for (unsigned color = 0; color < result.size(); ++color) {
            result[color] = dac.color(attributes.dac_index(color));
        }
        return result;
    }
};

}  // namespace vpc::devices::vga
