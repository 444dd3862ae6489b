#include "devices/pci_device.h"

#include <algorithm>

#include "core/state_stream.h"
#include "devices/pci_bus.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStatusClearedByOne = 0xF900;  // the error bits 15-11 and 8
constexpr std::uint32_t kBarIo = 1;
constexpr std::uint32_t kBarPrefetchable = 8;
constexpr std::uint32_t kRomEnable = 1;

}  // namespace

PciFunction::PciFunction(const PciIdentity& identity) {
    define_register(pci::kVendorId, 2, identity.vendor, 0);
    define_register(pci::kDeviceId, 2, identity.device, 0);
    define_register(pci::kStatus, 2, pci::kStatusMediumDevsel, 0, kStatusClearedByOne);
    define_register(pci::kRevisionId, 1, identity.revision, 0);
    define_register(pci::kClassCode, 1, identity.class_code, 0);
    define_register(pci::kClassCode + 1, 2, identity.class_code >> 8, 0);
    define_register(pci::kHeaderType, 1, identity.multifunction ? 0x80 : 0, 0);
    define_register(pci::kSubsystemVendorId, 2, identity.subsystem_vendor, 0);
    define_register(pci::kSubsystemId, 2, identity.subsystem, 0);
    define_register(pci::kInterruptPin, 1, identity.interrupt_pin, 0);
    if (identity.interrupt_pin != 0) {
        define_register(pci::kInterruptLine, 1, 0, 0xFF);
    }
}

void PciFunction::define_register(unsigned reg, unsigned size, std::uint32_t reset_value, std::uint32_t writable,
                                  std::uint32_t cleared_by_one) {
    for (unsigned i = 0; i < size; ++i) {
        reset_values_[reg + i] = static_cast<std::uint8_t>(reset_value >> (8 * i));
        config_[reg + i] = reset_values_[reg + i];
        writable_[reg + i] = static_cast<std::uint8_t>(writable >> (8 * i));
        cleared_by_one_[reg + i] = static_cast<std::uint8_t>(cleared_by_one >> (8 * i));
    }
}

void PciFunction::define_bar(unsigned index, BarKind kind, std::uint32_t size) {
    bars_[index] = {.kind = kind, .size = size, .mapped = {}};
    const std::uint32_t address_bits = ~(size - 1);
    const std::uint32_t fixed = kind == BarKind::Io                   ? kBarIo
                                : kind == BarKind::PrefetchableMemory ? kBarPrefetchable
                                                                      : 0;
    define_register(bar_register(index), 4, fixed,
                    kind == BarKind::ExpansionRom ? address_bits | kRomEnable : address_bits);
}

std::uint32_t PciFunction::read_config(unsigned reg, unsigned size) const {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= std::uint32_t{config_[(reg + i) % kConfigSize]} << (8 * i);
    }
    return value;
}

void PciFunction::write_config(unsigned reg, std::uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = (reg + i) % kConfigSize;
        const auto byte = static_cast<std::uint8_t>(value >> (8 * i));
        const unsigned kept = config_[at] & ~writable_[at] & ~(cleared_by_one_[at] & byte);
        config_[at] = static_cast<std::uint8_t>(kept | (byte & writable_[at]));
    }
    update_mappings();
    config_written(reg, size);
}

void PciFunction::reset() {
    config_ = reset_values_;
    set_interrupt(false);
    update_mappings();
    config_written(0, kConfigSize);
}

void PciFunction::set_interrupt(bool asserted) {
    interrupt_ = asserted;
    if (bus_ != nullptr) {
        bus_->interrupt_changed(slot_ / PciBus::kFunctions);
    }
}

std::optional<std::uint32_t> PciFunction::bar_address(unsigned index) const {
    const Bar& bar = bars_[index];
    const std::uint32_t value = config32(bar_register(index));
    const std::uint32_t address = value & ~(bar.size - 1);
    const std::uint16_t command = config16(pci::kCommand);
    if (bar.kind == BarKind::Io) {
        const bool reachable = address != 0 && address <= 0x10000 - bar.size;
        return (command & pci::kCommandIo) != 0 && reachable ? std::optional(address) : std::nullopt;
    }
    const bool enabled =
        (command & pci::kCommandMemory) != 0 && (bar.kind != BarKind::ExpansionRom || (value & kRomEnable) != 0);
    // All ones is what a driver writes to learn the size.
    const bool assigned = address != 0 && address != ~(bar.size - 1);
    return enabled && assigned ? std::optional(address) : std::nullopt;
}

void PciFunction::update_mappings() {
    for (unsigned i = 0; i < kBars; ++i) {
        if (bars_[i].kind == BarKind::None) {
            continue;
        }
        const auto address = bar_address(i);
        if (address != bars_[i].mapped) {
            bars_[i].mapped = address;
            bar_changed(i, address);
        }
    }
}

void PciFunction::serialize_config(StateStream& stream) {
    std::array<std::uint8_t, kConfigSize> stored = config_;
    stream.field(stored);
    stream.field(interrupt_);
    if (!stream.loading()) {
        return;
    }
    for (const unsigned fixed : {pci::kVendorId, pci::kVendorId + 1, pci::kDeviceId, pci::kDeviceId + 1}) {
        if (stored[fixed] != reset_values_[fixed]) {
            stream.refuse("it is the state of another PCI device");
        }
    }
    for (unsigned i = 0; i < kConfigSize; ++i) {
        const unsigned changeable = writable_[i] | cleared_by_one_[i];
        config_[i] = static_cast<std::uint8_t>((stored[i] & changeable) | (reset_values_[i] & ~changeable));
    }
    set_interrupt(interrupt_);
    update_mappings();
    config_written(0, kConfigSize);
}

}  // namespace vpc::devices
