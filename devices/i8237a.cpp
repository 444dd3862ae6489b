#include "devices/i8237a.h"

#include <algorithm>
#include <vector>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

// Registers of one controller, behind its eight address and count registers.
constexpr unsigned kStatusCommand = 8;
constexpr unsigned kRequest = 9;
constexpr unsigned kSingleMask = 10;
constexpr unsigned kMode = 11;
constexpr unsigned kClearBytePointer = 12;
constexpr unsigned kMasterClear = 13;
constexpr unsigned kClearMask = 14;
constexpr unsigned kAllMasks = 15;

constexpr std::uint8_t kCommandDisable = 0x04;

constexpr std::uint8_t kModeSelect = 0xC0;  // demand, single, block, cascade
constexpr std::uint8_t kModeBlock = 0x80;
constexpr std::uint8_t kModeCascade = 0xC0;
constexpr std::uint8_t kModeDecrement = 0x20;
constexpr std::uint8_t kModeAutoinitialise = 0x10;
constexpr std::uint8_t kModeType = 0x0C;
constexpr std::uint8_t kTypeWrite = 0x04;  // to memory
constexpr std::uint8_t kTypeRead = 0x08;   // from memory

constexpr unsigned kCascadeChannel = 4;
constexpr unsigned kFirstWordChannel = 4;

/// Which of the registers at 80h-8Fh holds a channel's page; 8Fh, for channel 4, is the refresh page.
constexpr std::array<unsigned, I8237A::kChannels> kPageOfChannel{7, 3, 1, 2, 15, 11, 9, 10};

constexpr std::uint8_t kIdleBus = 0xFF;

}  // namespace

I8237A::I8237A(PortBus& ports, PhysicalMemory& memory) : memory_(memory) {
    for (unsigned i = 0; i < kChannels; ++i) {
        channels_[i].owner_ = this;
        channels_[i].number_ = i;
    }
    for (unsigned i = 0; i < controllers_.size(); ++i) {
        const auto shift = i;  // the second controller's A0 is the bus's A1
        claims_[i] = ports.claim(
            {.owner = i == 0 ? "8237A channels 0-3" : "8237A channels 4-7",
             .first = static_cast<std::uint16_t>(i == 0 ? 0x00 : 0xC0),
             .count = 16u << shift},
            {.read = [this, i, shift](std::uint16_t offset, unsigned) { return read(i, unsigned{offset} >> shift); },
             .write = [this, i, shift](
                          std::uint16_t offset, std::uint32_t value,
                          unsigned) { write(i, unsigned{offset} >> shift, static_cast<std::uint8_t>(value)); },
             .peek = [this, i, shift](std::uint16_t offset, unsigned) { return peek(i, unsigned{offset} >> shift); }});
    }
    const auto page = [this](std::uint16_t offset, unsigned) { return std::uint32_t{pages_[offset]}; };
    claims_[2] = ports.claim({.owner = "DMA page registers", .first = 0x80, .count = 16},
                             {.read = page,
                              .write = [this](std::uint16_t offset, std::uint32_t value,
                                              unsigned) { pages_[offset] = static_cast<std::uint8_t>(value); },
                              .peek = page});
    reset();
}

void I8237A::reset() {
    controllers_ = {};
    pages_ = {};
}

void I8237A::master_clear(Controller& controller) {
    controller.command = 0;
    controller.terminal_counts = 0;
    controller.upper_byte = false;
    for (Registers& channel : controller.channels) {
        channel.masked = true;
        channel.software_request = false;
    }
}

// ---- registers -----------------------------------------------------------------------------------------------------

std::uint32_t I8237A::peek(unsigned controller, unsigned reg) const {
    const Controller& chip = controllers_[controller];
    if (reg < kStatusCommand) {
        const Registers& channel = chip.channels[reg / 2];
        const unsigned value = reg % 2 == 0 ? channel.address : channel.count;
        return chip.upper_byte ? value >> 8 : value & 0xFF;
    }
    unsigned masks = 0;
    unsigned requests = 0;
    for (unsigned i = 0; i < chip.channels.size(); ++i) {
        const bool requested = chip.channels[i].software_request || channels_[4 * controller + i].requested_;
        requests |= requested ? 1u << i : 0u;
        masks |= chip.channels[i].masked ? 1u << i : 0u;
    }
    switch (reg) {
        case kStatusCommand:
            return requests << 4 | chip.terminal_counts;
        case kMasterClear:  // the temporary register, used by memory-to-memory transfers only
            return 0;
        case kAllMasks:
            return masks;
        default:
            return kIdleBus;
    }
}

std::uint32_t I8237A::read(unsigned controller, unsigned reg) {
    const std::uint32_t value = peek(controller, reg);
    Controller& chip = controllers_[controller];
    if (reg < kStatusCommand) {
        chip.upper_byte = !chip.upper_byte;
    } else if (reg == kStatusCommand) {
        chip.terminal_counts = 0;
    }
    return value;
}

void I8237A::write_count_or_address(Controller& controller, unsigned reg, std::uint8_t value) {
    Registers& channel = controller.channels[reg / 2];
    std::uint16_t& base = reg % 2 == 0 ? channel.base_address : channel.base_count;
    std::uint16_t& current = reg % 2 == 0 ? channel.address : channel.count;
    for (std::uint16_t* both : {&base, &current}) {
        *both = static_cast<std::uint16_t>(controller.upper_byte ? (*both & 0x00FF) | value << 8
                                                                 : (*both & 0xFF00) | value);
    }
    controller.upper_byte = !controller.upper_byte;
}

void I8237A::write(unsigned controller, unsigned reg, std::uint8_t value) {
    Controller& chip = controllers_[controller];
    Registers& named = chip.channels[value & 3u];
    switch (reg) {
        case kStatusCommand:
            chip.command = value;
            break;
        case kRequest:
            named.software_request = (value & 4) != 0;
            break;
        case kSingleMask:
            named.masked = (value & 4) != 0;
            break;
        case kMode:
            named.mode = value & 0xFC;
            break;
        case kClearBytePointer:
            chip.upper_byte = false;
            return;
        case kMasterClear:
            return master_clear(chip);
        case kClearMask:
        case kAllMasks:
            for (unsigned i = 0; i < chip.channels.size(); ++i) {
                chip.channels[i].masked = reg == kAllMasks && (value >> i & 1) != 0;
            }
            break;
        default:
            return write_count_or_address(chip, reg, value);
    }
    service();
}

/// Something that holds channels back may have changed: lets those run that wait.
void I8237A::service() {
    for (unsigned i = 0; i < kChannels; ++i) {
        if (!can_run(i)) {
            continue;
        }
        if (registers(i).software_request) {
            run_without_device(i);
        } else if (channels_[i].requested_ && channels_[i].on_ready_) {
            channels_[i].on_ready_();
        }
    }
}

// ---- transfers -----------------------------------------------------------------------------------------------------

bool I8237A::can_run(unsigned number) const {
    const Registers& channel = registers(number);
    const unsigned select = channel.mode & kModeSelect;
    if ((controllers_[number / 4].command & kCommandDisable) != 0 || select == kModeCascade) {
        return false;
    }
    // Software requests pass the mask, and are served in block mode only.
    if (channel.software_request ? select != kModeBlock : channel.masked) {
        return false;
    }
    const Registers& cascade = registers(kCascadeChannel);
    return number >= kFirstWordChannel || ((controllers_[1].command & kCommandDisable) == 0 && !cascade.masked &&
                                           (cascade.mode & kModeSelect) == kModeCascade);
}

std::uint32_t I8237A::physical_address(unsigned number) const {
    const std::uint32_t page = pages_[kPageOfChannel[number]];
    const std::uint32_t address = registers(number).address;
    return number < kFirstWordChannel ? page << 16 | address : (page & 0xFE) << 16 | address << 1;
}

/// Calls access(address, offset, count) for each run of consecutive bytes.
template <typename Access>
I8237A::Outcome I8237A::move(unsigned number, std::size_t bytes, Access access) {
    const std::size_t width = number < kFirstWordChannel ? 1 : 2;
    Registers& channel = registers(number);
    Outcome outcome;
    while (can_run(number) && outcome.bytes + width <= bytes) {
        const bool down = (channel.mode & kModeDecrement) != 0;
        const std::size_t wanted = (bytes - outcome.bytes) / width;
        const std::size_t before_wrap = down ? 1 : 0x10000u - channel.address;
        const std::size_t units = std::min({wanted, before_wrap, std::size_t{channel.count} + 1});
        access(physical_address(number), outcome.bytes, units * width);
        outcome.bytes += units * width;
        channel.address = static_cast<std::uint16_t>(down ? channel.address - 1u : channel.address + units);
        const bool last = units == std::size_t{channel.count} + 1;
        channel.count = static_cast<std::uint16_t>(channel.count - units);
        if (last) {
            reach_terminal_count(number);
            outcome.terminal_count = true;
            break;
        }
    }
    return outcome;
}

void I8237A::reach_terminal_count(unsigned number) {
    Registers& channel = registers(number);
    controllers_[number / 4].terminal_counts |= static_cast<std::uint8_t>(1u << number % 4);
    channel.software_request = false;
    if ((channel.mode & kModeAutoinitialise) != 0) {
        channel.address = channel.base_address;
        channel.count = channel.base_count;
    } else {
        channel.masked = true;
    }
}

I8237A::Outcome I8237A::Channel::to_memory(std::span<const std::uint8_t> data) {
    const bool writes = (owner_->registers(number_).mode & kModeType) == kTypeWrite;
    return owner_->move(number_, data.size(), [&](std::uint32_t address, std::size_t offset, std::size_t count) {
        if (writes) {
            owner_->memory_.write(address, data.subspan(offset, count));
        }
    });
}

I8237A::Outcome I8237A::Channel::from_memory(std::span<std::uint8_t> data) {
    const bool reads = (owner_->registers(number_).mode & kModeType) == kTypeRead;
    return owner_->move(number_, data.size(), [&](std::uint32_t address, std::size_t offset, std::size_t count) {
        const std::span<std::uint8_t> part = data.subspan(offset, count);
        if (reads) {
            owner_->memory_.read(address, part);
        } else {
            std::fill(part.begin(), part.end(), kIdleBus);
        }
    });
}

void I8237A::run_without_device(unsigned number) {
    const std::vector<std::uint8_t> idle(std::size_t{2} * 0x10000, kIdleBus);
    channels_[number].to_memory(idle);
}

// ---- saved states --------------------------------------------------------------------------------------------------

void I8237A::serialize(StateStream& stream) {
    stream.section(name(), 1, [&] {
        for (Controller& controller : controllers_) {
            for (Registers& channel : controller.channels) {
                stream.field(channel.base_address);
                stream.field(channel.base_count);
                stream.field(channel.address);
                stream.field(channel.count);
                stream.field(channel.mode);
                stream.field(channel.masked);
                stream.field(channel.software_request);
            }
            stream.field(controller.command);
            stream.field(controller.terminal_counts);
            stream.field(controller.upper_byte);
        }
        stream.field(pages_);
    });
}

}  // namespace vpc::devices
