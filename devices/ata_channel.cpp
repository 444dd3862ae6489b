#include "devices/ata_channel.h"

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint8_t kFloating = 0x7F;
constexpr std::uint32_t kFloatingData = 0xFF7FFF7F;
constexpr std::uint8_t kControlBits = ata::kHighOrderByte | ata::kSoftwareReset | ata::kInterruptDisable;

}  // namespace

AtaChannel::AtaChannel(PortBus& ports, VirtualClock& clock, IoExecutor& io, Wiring wiring)
    : clock_(clock), io_(io), wiring_(std::move(wiring)) {
    for (unsigned unit = 0; unit < alarms_.size(); ++unit) {
        alarms_[unit] = clock_.make_event(wiring_.name + " device " + std::to_string(unit),
                                          [this, unit](std::int64_t, Nanoseconds) {
                                              if (devices_[unit]) {
                                                  devices_[unit]->alarm();
                                              }
                                          });
    }
    command_ports_ = ports.claim(
        {.owner = wiring_.name + " command", .first = wiring_.command_port, .count = 8, .widest = 4},
        {.read = [this](std::uint16_t offset, unsigned size) { return read(offset, size); },
         .write = [this](std::uint16_t offset, std::uint32_t value, unsigned size) { write(offset, value, size); },
         .peek = [this](std::uint16_t offset, unsigned size) { return peek(offset, size); }});
    const auto alternate_status = [this](std::uint16_t, unsigned) { return decoding_ ? status() : 0xFFu; };
    control_ports_ = ports.claim({.owner = wiring_.name + " control", .first = wiring_.control_port, .count = 1},
                                 {.read = alternate_status,
                                  .write =
                                      [this](std::uint16_t, std::uint32_t value, unsigned) {
                                          if (decoding_) {
                                              write_control(static_cast<std::uint8_t>(value));
                                          }
                                      },
                                  .peek = alternate_status});
}

void AtaChannel::attach(unsigned unit, std::unique_ptr<AtaDevice> device) {
    devices_[unit] = std::move(device);
    if (devices_[unit]) {
        devices_[unit]->connect(*this, unit);
        devices_[unit]->hardware_reset();
    }
    interrupt_changed();
}

void AtaChannel::reset() {
    control_ = 0;
    selected_ = 0;
    for (const auto& device : devices_) {
        if (device) {
            device->hardware_reset();
        }
    }
    interrupt_changed();
}

void AtaChannel::interrupt_changed() {
    const bool enabled = (control_ & (ata::kInterruptDisable | ata::kSoftwareReset)) == 0;
    const bool level = enabled && selected() != nullptr && selected()->interrupt_pending();
    if (level != interrupt_level_) {
        interrupt_level_ = level;
        wiring_.interrupt(level);
    }
}

void AtaChannel::set_alarm(unsigned unit, std::optional<Nanoseconds> when) {
    if (when) {
        alarms_[unit].schedule(*when);
    } else {
        alarms_[unit].cancel();
    }
}

void AtaChannel::dma_started() {
    for (const auto& device : devices_) {
        if (device) {
            device->continue_dma();
        }
    }
}

// ---- the command block ---------------------------------------------------------------------------------------------

std::uint8_t AtaChannel::status() const {
    if (const AtaDevice* device = selected(); device != nullptr) {
        return device->status();
    }
    return selected_ == 1 && devices_[0] ? 0 : kFloating;
}

std::uint8_t AtaChannel::read_register(unsigned reg) const {
    const AtaDevice* device = devices_[selected_] ? selected() : selected_ == 1 ? devices_[0].get() : nullptr;
    if (reg == ata::kStatusCommand || device == nullptr) {
        return status();
    }
    if (device != selected() && device->packet_device()) {
        return 0;
    }
    return device->read_register(reg, (control_ & ata::kHighOrderByte) != 0);
}

std::uint32_t AtaChannel::read(unsigned offset, unsigned size) {
    AtaDevice* device = selected();
    if (offset == ata::kData && decoding_ && device != nullptr) {
        return device->read_data(size);
    }
    const std::uint32_t value = peek(offset, size);
    if (decoding_ && device != nullptr && offset + size > ata::kStatusCommand) {
        device->clear_interrupt();
    }
    return value;
}

std::uint32_t AtaChannel::peek(unsigned offset, unsigned size) const {
    if (!decoding_) {
        return 0xFFFFFFFF;
    }
    if (offset == ata::kData) {
        return selected() != nullptr ? selected()->peek_data(size) : kFloatingData;
    }
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        value |= std::uint32_t{read_register(offset + i)} << (8 * i);
    }
    return value;
}

void AtaChannel::write(unsigned offset, std::uint32_t value, unsigned size) {
    if (!decoding_) {
        return;
    }
    if (offset == ata::kData) {
        if (selected() != nullptr) {
            selected()->write_data(value, size);
        }
        return;
    }
    for (unsigned i = 0; i < size; ++i) {
        write_register(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

void AtaChannel::write_register(unsigned reg, std::uint8_t value) {
    const bool device_reset = reg == ata::kStatusCommand && value == ata::kDeviceReset;
    if (selected() != nullptr && selected()->busy() && !(device_reset && selected()->packet_device())) {
        return;  // a busy device owns its task file
    }
    control_ = static_cast<std::uint8_t>(control_ & ~ata::kHighOrderByte);
    if (reg == ata::kStatusCommand) {
        write_command(value);
        return;
    }
    for (const auto& device : devices_) {
        if (device) {
            device->write_register(reg, value);
        }
    }
    if (reg == ata::kDevice) {
        selected_ = (value & ata::kDeviceSelect) != 0 ? 1 : 0;
        interrupt_changed();
    }
}

void AtaChannel::write_command(std::uint8_t command) {
    if (command == ata::kExecuteDeviceDiagnostic) {
        diagnose_all();
        if (AtaDevice* device = selected(); device != nullptr) {  // device 0 speaks for both
            device->raise_interrupt();
        }
    } else if (AtaDevice* device = selected(); device != nullptr) {
        device->clear_interrupt();
        device->execute(command);
    }
}

void AtaChannel::diagnose_all() {
    selected_ = 0;
    for (const auto& device : devices_) {
        if (device) {
            device->begin_software_reset();
            device->diagnose();
        }
    }
    interrupt_changed();
}

void AtaChannel::write_control(std::uint8_t value) {
    const bool was_in_reset = (control_ & ata::kSoftwareReset) != 0;
    control_ = value & kControlBits;
    const bool in_reset = (control_ & ata::kSoftwareReset) != 0;
    if (in_reset && !was_in_reset) {
        for (const auto& device : devices_) {
            if (device) {
                device->begin_software_reset();
            }
        }
    } else if (!in_reset && was_in_reset) {
        diagnose_all();
    }
    interrupt_changed();
}

void AtaChannel::serialize(StateStream& stream) {
    stream.field(selected_);
    stream.field(control_);
    stream.field(interrupt_level_);
    selected_ &= 1;
    control_ &= kControlBits;
    for (const auto& device : devices_) {
        bool present = device != nullptr;
        stream.field(present);
        if (present != (device != nullptr)) {
            stream.refuse(wiring_.name + " has other devices now than when the state was saved");
        }
        if (device) {
            device->serialize(stream);
        }
    }
}

void AtaChannel::resume() {
    for (const auto& device : devices_) {
        if (device) {
            device->resume();
        }
    }
    interrupt_changed();
}

}  // namespace vpc::devices
