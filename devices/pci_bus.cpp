#include "devices/pci_bus.h"

#include <fmt/format.h>

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint16_t kBasePort = 0xCF8;
constexpr unsigned kResetControlOffset = 1;
constexpr unsigned kDataOffset = 4;

// CONFIG_ADDRESS.
constexpr std::uint32_t kConfigEnable = 0x80000000;
constexpr std::uint32_t kAddressBits = 0x80FFFFFC;  // the others are reserved and read as zero

}  // namespace

PciBus::PciBus(PortBus& ports, std::function<void(std::uint8_t value)> reset_control_write)
    : reset_control_write_(std::move(reset_control_write)) {
    const auto look = [this](std::uint16_t offset, unsigned size) { return read(offset, size); };
    ports_ = ports.claim(
        {.owner = "PCI configuration", .first = kBasePort, .count = 8, .widest = 4},
        {.read = look,
         .write = [this](std::uint16_t offset, std::uint32_t value, unsigned size) { write(offset, value, size); },
         .peek = look});
}

void PciBus::attach(unsigned device, unsigned function, PciFunction& card) {
    if (device >= kDevices || function >= kFunctions) {
        throw BusConflict(fmt::format("{}: PCI device {}.{} does not exist", card.name(), device, function));
    }
    PciFunction*& place = functions_[device * kFunctions + function];
    if (place != nullptr) {
        throw BusConflict(
            fmt::format("{} wants PCI device {}.{}, which {} owns", card.name(), device, function, place->name()));
    }
    place = &card;
    card.bus_ = this;
    card.slot_ = device * kFunctions + function;
    interrupt_changed(device);
}

void PciBus::set_interrupt_router(InterruptRouter router) {
    router_ = std::move(router);
    pins_ = {};
    for (unsigned device = 0; device < kDevices; ++device) {
        interrupt_changed(device);
    }
}

void PciBus::interrupt_changed(unsigned device) {
    unsigned pins = 0;
    for (unsigned function = 0; function < kFunctions; ++function) {
        const PciFunction* card = functions_[device * kFunctions + function];
        if (card != nullptr && card->interrupt_ && card->config8(pci::kInterruptPin) != 0) {
            pins |= 1u << ((card->config8(pci::kInterruptPin) - 1u) & 3u);
        }
    }
    const unsigned changed = pins ^ pins_[device];
    pins_[device] = static_cast<std::uint8_t>(pins);
    for (unsigned pin = 0; pin < 4; ++pin) {
        if (router_ && (changed & 1u << pin) != 0) {
            router_(device, pin, (pins & 1u << pin) != 0);
        }
    }
}

void PciBus::reset() {
    address_ = 0;
    reset_control_ = 0;
}

PciFunction* PciBus::addressed() const {
    const unsigned bus = (address_ >> 16) & 0xFF;
    return (address_ & kConfigEnable) != 0 && bus == 0 ? functions_[(address_ >> 8) & 0xFF] : nullptr;
}

std::uint32_t PciBus::read(unsigned offset, unsigned size) const {
    if (offset == 0 && size == 4) {
        return address_;
    }
    if (offset >= kDataOffset) {
        const PciFunction* card = addressed();
        return card != nullptr ? card->read_config((address_ & 0xFC) + (offset & 3), size) : 0xFFFFFFFF;
    }
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {  // on the ISA bus, or across CONFIG_DATA's edge
        const unsigned at = offset + i;
        const std::uint32_t byte = at >= kDataOffset           ? read(at, 1) & 0xFF
                                   : at == kResetControlOffset ? reset_control_
                                                               : 0xFF;
        value |= byte << (8 * i);
    }
    return value;
}

void PciBus::write(unsigned offset, std::uint32_t value, unsigned size) {
    if (offset == 0 && size == 4) {
        address_ = value & kAddressBits;
    } else if (offset >= kDataOffset) {
        if (PciFunction* card = addressed(); card != nullptr) {
            card->write_config((address_ & 0xFC) + (offset & 3), value, size);
        }
    } else {
        for (unsigned i = 0; i < size; ++i) {  // on the ISA bus, or across CONFIG_DATA's edge
            const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
            if (offset + i == kResetControlOffset) {
                write_reset_control(byte);
            } else if (offset + i >= kDataOffset) {
                write(offset + i, byte, 1);
            }
        }
    }
}

void PciBus::write_reset_control(std::uint8_t value) {
    const bool rising = (value & kResetCpu) != 0 && (reset_control_ & kResetCpu) == 0;
    reset_control_ = value & (kSystemReset | kResetCpu);
    if (rising && reset_control_write_) {
        reset_control_write_(value);
    }
}

void PciBus::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(address_);
        stream.field(reset_control_);
    });
    address_ &= kAddressBits;
    reset_control_ &= kSystemReset | kResetCpu;
}

}  // namespace vpc::devices
