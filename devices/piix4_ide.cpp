#include "devices/piix4_ide.h"

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 2;

constexpr unsigned kIdeTiming = 0x40;  // IDETIM, one word per channel
constexpr std::uint16_t kIdeDecodeEnable = 0x8000;
constexpr unsigned kSlaveTiming = 0x44;      // SIDETIM
constexpr unsigned kUltraDmaControl = 0x48;  // UDMACTL
constexpr unsigned kUltraDmaTiming = 0x4A;   // UDMATIM
constexpr unsigned kBusMasterBar = 4;
constexpr unsigned kBusMasterPorts = Piix4Ide::kChannels * Piix4BusMaster::kPorts;

struct ChannelPlace {
    const char* name;
    std::uint16_t command_port;
    std::uint16_t control_port;
};
constexpr std::array<ChannelPlace, Piix4Ide::kChannels> kPlaces = {{
    {"PIIX4 IDE primary", 0x1F0, 0x3F6},
    {"PIIX4 IDE secondary", 0x170, 0x376},
}};

}  // namespace

Piix4Ide::Piix4Ide(PortBus& ports, PhysicalMemory& memory, VirtualClock& clock, IoExecutor& io,
                   std::array<Line, kChannels> interrupts)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x7111,
                   .revision = 1,
                   .class_code = 0x010180,  // a bus master; both channels in compatibility mode only
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100}),
      ports_(ports),
      interrupts_(std::move(interrupts)),
      masters_{Piix4BusMaster(memory), Piix4BusMaster(memory)},
      channels_{make_channel(0, clock, io), make_channel(1, clock, io)} {
    define_register(pci::kCommand, 2, 0, pci::kCommandIo | pci::kCommandBusMaster);
    define_register(pci::kStatus, 2, pci::kStatusMediumDevsel | pci::kStatusFastBackToBack, 0, 0x3800);
    define_register(0x0D, 1, 0, 0xF0);  // MLT
    define_bar(kBusMasterBar, BarKind::Io, kBusMasterPorts);
    define_register(kIdeTiming, 4, 0, 0xFFFFFFFF);
    define_register(kSlaveTiming, 1, 0, 0xFF);
    define_register(kUltraDmaControl, 1, 0, 0x0F);
    define_register(kUltraDmaTiming, 2, 0, 0x3333);
}

std::unique_ptr<AtaChannel> Piix4Ide::make_channel(unsigned index, VirtualClock& clock, IoExecutor& io) {
    return std::make_unique<AtaChannel>(
        ports_, clock, io,
        AtaChannel::Wiring{.name = kPlaces[index].name,
                           .command_port = kPlaces[index].command_port,
                           .control_port = kPlaces[index].control_port,
                           .interrupt =
                               [this, index](bool level) {
                                   if (level) {
                                       masters_[index].device_interrupted();
                                   }
                                   interrupts_[index].set(level);
                               },
                           .dma = [this, index](std::span<std::uint8_t> data,
                                                bool to_memory) { return masters_[index].transfer(data, to_memory); }});
}

void Piix4Ide::attach(unsigned channel, unsigned unit, std::unique_ptr<AtaDevice> device) {
    channels_[channel]->attach(unit, std::move(device));
}

DriveStatistics Piix4Ide::statistics(unsigned channel, unsigned unit) const {
    const AtaDevice* drive = device(channel, unit);
    return drive != nullptr ? drive->statistics() : DriveStatistics{};
}

void Piix4Ide::reset() {
    PciFunction::reset();
    for (unsigned i = 0; i < kChannels; ++i) {
        masters_[i].reset();
        channels_[i]->reset();
    }
}

void Piix4Ide::config_written(unsigned, unsigned) {
    for (unsigned i = 0; i < kChannels; ++i) {
        channels_[i]->set_decoding(io_enabled() && (config16(kIdeTiming + 2 * i) & kIdeDecodeEnable) != 0);
        masters_[i].set_enabled(bus_master_enabled());
        start_waiting(i);
    }
}

void Piix4Ide::bar_changed(unsigned, std::optional<std::uint32_t> address) {
    master_ports_.release();
    if (!address) {
        return;
    }
    const auto look = [this](std::uint16_t offset, unsigned size) { return read_bus_master(offset, size); };
    master_ports_ = ports_.try_claim({.owner = "PIIX4 IDE bus master",
                                      .first = static_cast<std::uint16_t>(*address),
                                      .count = kBusMasterPorts,
                                      .widest = 4},
                                     {.read = look,
                                      .write = [this](std::uint16_t offset, std::uint32_t value,
                                                      unsigned size) { write_bus_master(offset, value, size); },
                                      .peek = look});
}

std::uint32_t Piix4Ide::read_bus_master(unsigned offset, unsigned size) const {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = offset + i;
        value |= std::uint32_t{masters_[at / Piix4BusMaster::kPorts].read(at % Piix4BusMaster::kPorts)} << (8 * i);
    }
    return value;
}

void Piix4Ide::write_bus_master(unsigned offset, std::uint32_t value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) {
        const unsigned at = offset + i;
        masters_[at / Piix4BusMaster::kPorts].write(at % Piix4BusMaster::kPorts,
                                                    static_cast<std::uint8_t>(value >> (8 * i)));
    }
    for (unsigned i = offset / Piix4BusMaster::kPorts; i <= (offset + size - 1) / Piix4BusMaster::kPorts; ++i) {
        start_waiting(i);
    }
}

/// Lets a device that waits for the bus master go on.
void Piix4Ide::start_waiting(unsigned channel) {
    if (masters_[channel].running()) {
        channels_[channel]->dma_started();
    }
}

void Piix4Ide::serialize(StateStream& stream) {
    const auto fields = [&] {
        serialize_config(stream);
        for (unsigned i = 0; i < kChannels; ++i) {
            channels_[i]->serialize(stream);
            masters_[i].serialize(stream);
        }
    };
    if (!stream.loading()) {
        stream.section(name(), kStateVersion, fields);
        return;
    }
    for (Piix4BusMaster& master : masters_) {
        master.reset();  // nothing may move while the parts are of different times
    }
    try {
        stream.section(name(), kStateVersion, fields);
    } catch (const StateError&) {
        reset();
        throw;
    }
    for (unsigned i = 0; i < kChannels; ++i) {
        interrupts_[i].set(channels_[i]->interrupt_level());
        channels_[i]->resume();
    }
}

}  // namespace vpc::devices
