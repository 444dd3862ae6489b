#include "devices/vga/graphics_controller.h"

#include "core/state_stream.h"

namespace vpc::devices::vga {
namespace {

constexpr std::array<std::uint8_t, GraphicsController::kRegisters> kImplementedBits = {0x0F, 0x0F, 0x0F, 0x1F, 0x03,
                                                                                       0x7B, 0x0F, 0x0F, 0xFF};

}  // namespace

bool GraphicsController::write_data(std::uint8_t value) {
    if (index_ >= kRegisters) {
        return false;
    }
    const auto kept = static_cast<std::uint8_t>(value & kImplementedBits[index_]);
    const bool changed = registers_[index_] != kept;
    registers_[index_] = kept;
    return changed;
}

GraphicsController::Shift GraphicsController::shift() const {
    if ((registers_[kMode] & 0x40) != 0) {
        return Shift::Packed;
    }
    return (registers_[kMode] & 0x20) != 0 ? Shift::Interleaved : Shift::Planar;
}

GraphicsController::Window GraphicsController::window() const {
    switch ((registers_[kMiscellaneous] >> 2) & 3) {
        case 0:
            return {0x00000, 0x20000};
        case 1:
            return {0x00000, 0x10000};
        case 2:
            return {0x10000, 0x8000};
        default:
            return {0x18000, 0x8000};
    }
}

void GraphicsController::serialize(StateStream& stream) {
    stream.field(index_);
    stream.field(registers_);
}

}  // namespace vpc::devices::vga
