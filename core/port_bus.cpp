#include "core/port_bus.h"

#include <fmt/format.h>

#include "core/log.h"

namespace vpc {
namespace {

constexpr std::uint32_t kPorts = 65536;

std::uint32_t mask_of(unsigned size) {
    return size >= 4 ? 0xFFFFFFFFu : (1u << (8 * size)) - 1;
}

}  // namespace

struct PortBus::Slot {
    PortRange range;
    PortHandlers handlers;
};

PortBus::PortBus() : slot_of_port_(kPorts, 0) {
    slots_.push_back(nullptr);  // slot 0 means "nobody"
}

PortBus::~PortBus() = default;

PortBus::Claim::Claim(Claim&& other) noexcept : bus_(other.bus_), slot_(other.slot_) {
    other.bus_ = nullptr;
}

PortBus::Claim& PortBus::Claim::operator=(Claim&& other) noexcept {
    if (this != &other) {
        release();
        bus_ = other.bus_;
        slot_ = other.slot_;
        other.bus_ = nullptr;
    }
    return *this;
}

void PortBus::Claim::release() {
    if (bus_ != nullptr) {
        bus_->release(slot_);
        bus_ = nullptr;
    }
}

std::string PortBus::conflict(const PortRange& range) const {
    if (range.count == 0 || range.first + range.count > kPorts) {
        return fmt::format("{}: ports {:04X}h+{:X}h do not exist", range.owner, range.first, range.count);
    }
    for (std::uint32_t port = range.first; port < range.first + range.count; ++port) {
        if (const std::uint16_t slot = slot_of_port_[port]; slot != 0) {
            return fmt::format("{} wants port {:04X}h, which {} owns", range.owner, port, slots_[slot]->range.owner);
        }
    }
    return {};
}

PortBus::Claim PortBus::claim(PortRange range, PortHandlers handlers) {
    if (const std::string problem = conflict(range); !problem.empty()) {
        throw BusConflict(problem);
    }
    std::uint16_t slot = 1;
    while (slot < slots_.size() && slots_[slot]) {
        ++slot;
    }
    if (slot == slots_.size()) {
        slots_.emplace_back();
    }
    for (std::uint32_t port = range.first; port < range.first + range.count; ++port) {
        slot_of_port_[port] = slot;
    }
    slots_[slot] = std::make_unique<Slot>(Slot{std::move(range), std::move(handlers)});
    return Claim(this, slot);
}

PortBus::Claim PortBus::try_claim(PortRange range, PortHandlers handlers) {
    if (const std::string problem = conflict(range); !problem.empty()) {
        log_category("ports")->warn("{}", problem);
        return {};
    }
    return claim(std::move(range), std::move(handlers));
}

void PortBus::release(std::uint16_t slot) {
    const PortRange& range = slots_[slot]->range;
    for (std::uint32_t port = range.first; port < range.first + range.count; ++port) {
        slot_of_port_[port] = 0;
    }
    slots_[slot].reset();
}

std::uint32_t PortBus::read(std::uint16_t port, unsigned size) {
    Slot* slot = slots_[slot_of_port_[port]].get();
    if (slot == nullptr && size == 1) {
        ++unowned_reads_;
        return 0xFF;
    }
    if (slot != nullptr) {
        const auto offset = static_cast<std::uint16_t>(port - slot->range.first);
        if (size <= slot->range.widest && offset + size <= slot->range.count) {
            return slot->handlers.read ? slot->handlers.read(offset, size) & mask_of(size) : mask_of(size);
        }
    }
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= read(static_cast<std::uint16_t>(port + i), 1) << (8 * i);
    }
    return value;
}

void PortBus::write(std::uint16_t port, std::uint32_t value, unsigned size) {
    Slot* slot = slots_[slot_of_port_[port]].get();
    if (slot == nullptr && size == 1) {
        ++unowned_writes_;
        return;
    }
    if (slot != nullptr) {
        const auto offset = static_cast<std::uint16_t>(port - slot->range.first);
        if (size <= slot->range.widest && offset + size <= slot->range.count) {
            if (slot->handlers.write) {
                slot->handlers.write(offset, value & mask_of(size), size);
            }
            return;
        }
    }
    for (unsigned i = 0; i < size; ++i) {
        write(static_cast<std::uint16_t>(port + i), (value >> (8 * i)) & 0xFF, 1);
    }
}

std::uint32_t PortBus::peek(std::uint16_t port, unsigned size) const {
    const Slot* slot = slots_[slot_of_port_[port]].get();
    if (slot != nullptr) {
        const auto offset = static_cast<std::uint16_t>(port - slot->range.first);
        if (size <= slot->range.widest && offset + size <= slot->range.count) {
            return slot->handlers.peek ? slot->handlers.peek(offset, size) & mask_of(size) : mask_of(size);
        }
    } else if (size == 1) {
        return 0xFF;
    }
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= peek(static_cast<std::uint16_t>(port + i), 1) << (8 * i);
    }
    return value;
}

std::string PortBus::owner(std::uint16_t port) const {
    const Slot* slot = slots_[slot_of_port_[port]].get();
    return slot != nullptr ? slot->range.owner : std::string();
}

}  // namespace vpc
