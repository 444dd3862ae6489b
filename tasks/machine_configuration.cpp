#include "tasks/machine_configuration.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/cpu_model.h"
#include "devices/board.h"

namespace vpc::tasks {
namespace {

constexpr const char* kMemory = "hardware/memory/ram_size";
constexpr const char* kAdapters = "hardware/pci_bus/ethernet_adapter/controller_count";
constexpr const char* kSound = "settings/sound/sound_adapter/enable";
constexpr const char* kUndo = "settings/undo_drives/enabled";
constexpr const char* kUndoAction = "settings/undo_drives/default_action";
constexpr const char* kTimeSync = "integration/microsoft/host_time_sync/enabled";
constexpr const char* kCpu = "vpc/cpu";
constexpr const char* kBootOrder = "vpc/boot_order";
constexpr const char* kBios = "vpc/bios";
constexpr const char* kVgaBios = "vpc/vga_bios";
constexpr const char* kParallel = "vpc/parallel_port";

// hardware/super_io/serial_port/port_type. What 1 and 2 are is not known for sure: one a host's port, one a text file.
constexpr std::int64_t kNoPort = 0;
constexpr std::int64_t kNamedPipe = 3;

std::string serial_key(unsigned port) {
    return fmt::format("hardware/super_io/serial_port[@id={}]", port);
}
std::string backend_key(unsigned port) {
    return fmt::format("vpc/serial_port[@id={}]", port);
}
std::string floppy_key(unsigned drive) {
    return fmt::format("hardware/super_io/floppy[@id={}]", drive);
}

std::string undo_key(unsigned place) {
    return fmt::format("hardware/pci_bus/ide_adapter/ide_controller[@id={}]/location[@id={}]/undo_pathname", place / 2,
                       place % 2);
}

std::string text_of(const Vmc& vmc, const std::string& key) {
    std::string text;
    vmc.get(key, text);
    return text;
}

void read_serial(const Vmc& vmc, unsigned port, ReadConfiguration& read) {
    if (std::string backend = text_of(vmc, backend_key(port)); !backend.empty()) {
        read.machine.serial[port] = std::move(backend);
        return;
    }
    std::int64_t type = kNoPort;
    vmc.get(serial_key(port) + "/port_type", type);
    if (type == kNoPort) {
        return;
    }
    const std::string file = text_of(vmc, serial_key(port) + "/text_file_path");
    const std::string pipe = text_of(vmc, serial_key(port) + "/pipe_name");
    if (type != kNamedPipe && file.starts_with('/')) {
        read.machine.serial[port] = "file:" + file;
        return;
    }
    const std::string what = type == kNamedPipe && !pipe.empty() ? "the pipe '" + pipe + "'"
                             : !file.empty()                     ? "the file '" + file + "'"
                                                                 : "a port of its host";
    read.left_out.push_back(fmt::format("COM{} is connected to {}, which is not on this host", port + 1, what));
}

/// A drive letter of Windows, "D:", stands for the host's own drive.
bool is_host_drive(const std::filesystem::path& file) {
    const std::string name = file.filename().string();
    return !name.empty() && (name.size() == 1 || name[1] == ':') && name.size() <= 2;
}

void read_drives(const Vmc& vmc, const std::filesystem::path& folder, ReadConfiguration& read) {
    using Missing = ReadConfiguration::Missing;
    const auto drives = vmc.drives(folder);
    for (unsigned place = 0; place < drives.size(); ++place) {
        const VmcDrive& drive = drives[place];
        if (drive.type == VmcDrive::Type::HardDisk && !drive.file.empty()) {
            read.machine.hard_disks[place] = drive.file;
            if (drive.missing) {
                read.missing.push_back({Missing::Drive::HardDisk, place, drive.file});
            }
        } else if (drive.type == VmcDrive::Type::Dvd && read.machine.cdrom_place) {
            read.left_out.emplace_back("it has more than one CD-ROM drive, and only the first is there");
        } else if (drive.type == VmcDrive::Type::Dvd) {
            read.machine.cdrom_place = place;
            if (drive.missing && is_host_drive(drive.file)) {
                read.left_out.push_back(fmt::format("the host's drive {} is not taken for its CD-ROM drive",
                                                    drive.file.filename().string()));
            } else {
                read.machine.disc = drive.file;
                if (drive.missing) {
                    read.missing.push_back({Missing::Drive::Disc, place, drive.file});
                }
            }
        }
    }
    for (unsigned drive = 0; drive < read.machine.floppies.size(); ++drive) {
        const VmcFile file = vmc.file(floppy_key(drive) + "/pathname", folder);
        if (file.missing && is_host_drive(file.path)) {
            read.left_out.push_back(
                fmt::format("the host's floppy drive is not taken for drive {}", static_cast<char>('A' + drive)));
        } else if (!file.path.empty()) {
            read.machine.floppies[drive] = file.path;
            if (file.missing) {
                read.missing.push_back({Missing::Drive::Floppy, drive, file.path});
            }
        }
    }
}

}  // namespace

ReadConfiguration read_configuration(const Vmc& vmc, const std::filesystem::path& folder) {
    using devices::BoardConfiguration;
    ReadConfiguration read;
    MachineConfiguration& machine = read.machine;
    if (std::int64_t memory = 0; vmc.get(kMemory, memory) == HResult::S_OK) {
        const std::int64_t taken =
            std::clamp<std::int64_t>(memory, BoardConfiguration::kMinimumMemory, BoardConfiguration::kMaximumMemory);
        if (taken != memory) {
            read.left_out.push_back(fmt::format("{} MB of memory are not possible, it gets {}", memory, taken));
        }
        machine.memory = static_cast<std::uint64_t>(taken);
    }
    read_drives(vmc, folder, read);
    for (unsigned port = 0; port < machine.serial.size(); ++port) {
        read_serial(vmc, port, read);
    }
    machine.parallel = text_of(vmc, kParallel);
    machine.bios = text_of(vmc, kBios);
    machine.vga_bios = text_of(vmc, kVgaBios);
    if (std::string cpu = text_of(vmc, kCpu); find_cpu_model(cpu) != nullptr) {
        machine.cpu = std::move(cpu);
    } else if (!cpu.empty()) {
        read.left_out.push_back(fmt::format("there is no CPU model '{}', it gets the usual one", cpu));
    }
    if (std::string order = text_of(vmc, kBootOrder); order.find_first_not_of("acd") == std::string::npos) {
        machine.boot_order = std::move(order);
    } else {
        read.left_out.push_back(fmt::format("'{}' is no boot order, it gets the usual one", order));
    }
    vmc.get(kUndo, machine.undo);
    for (unsigned place = 0; place < machine.undo_disks.size(); ++place) {
        machine.undo_disks[place] = vmc.file(undo_key(place), folder).path;
    }
    if (std::int64_t action = 0; vmc.get(kUndoAction, action) == HResult::S_OK && action >= 0 && action <= 2) {
        machine.undo_action = static_cast<VMUndoAction>(action);
    }
    vmc.get(kTimeSync, machine.host_time_sync);
    if (std::int64_t adapters = 0; vmc.get(kAdapters, adapters) == HResult::S_OK && adapters > 0) {
        read.left_out.push_back(
            fmt::format("{} network adapter{}: not supported yet", adapters, adapters == 1 ? "" : "s"));
    }
    if (bool sound = false; vmc.get(kSound, sound) == HResult::S_OK && sound) {
        read.left_out.emplace_back("the sound adapter: not supported yet");
    }
    return read;
}

void write_undo_disks(const std::array<std::filesystem::path, 4>& undo_disks, Vmc& vmc,
                      const std::filesystem::path& folder) {
    for (unsigned place = 0; place < undo_disks.size(); ++place) {
        if (!undo_disks[place].empty() || !vmc.file(undo_key(place), folder).path.empty()) {
            vmc.set_file(undo_key(place), undo_disks[place], folder);
        }
    }
}

void write_host_time_sync(bool enabled, Vmc& vmc) {
    bool before = MachineConfiguration().host_time_sync;
    vmc.get(kTimeSync, before);
    if (enabled != before) {
        vmc.set(kTimeSync, enabled);
    }
}

void write_configuration(const MachineConfiguration& machine, Vmc& vmc, const std::filesystem::path& folder) {
    // A leaf that is empty and was never there is not made.
    const auto put = [&vmc](const std::string& key, const std::string& text) {
        std::string before;
        if (!text.empty() || vmc.get(key, before) == HResult::S_OK) {
            vmc.set(key, text);
        }
    };
    vmc.set(kMemory, static_cast<std::int64_t>(machine.memory));
    for (unsigned place = 0; place < machine.hard_disks.size(); ++place) {
        const bool cdrom = machine.cdrom_place == place;
        const auto type = cdrom                               ? VmcDrive::Type::Dvd
                          : machine.hard_disks[place].empty() ? VmcDrive::Type::None
                                                              : VmcDrive::Type::HardDisk;
        vmc.set_drive(place, type, cdrom ? machine.disc : machine.hard_disks[place], folder);
    }
    for (unsigned drive = 0; drive < machine.floppies.size(); ++drive) {
        vmc.set_file(floppy_key(drive) + "/pathname", machine.floppies[drive], folder);
    }
    for (unsigned port = 0; port < machine.serial.size(); ++port) {
        const std::string& backend = machine.serial[port];
        const bool file = backend.starts_with("file:");
        vmc.set(serial_key(port) + "/port_type", kNoPort);  // what it says is below `vpc`
        put(serial_key(port) + "/text_file_path", file ? backend.substr(5) : "");
        put(backend_key(port), backend);
    }
    put(kParallel, machine.parallel);
    put(kCpu, machine.cpu);
    put(kBootOrder, machine.boot_order);
    put(kBios, machine.bios.string());
    put(kVgaBios, machine.vga_bios.string());
    vmc.set(kUndo, machine.undo);
    write_undo_disks(machine.undo_disks, vmc, folder);
    if (std::int64_t before = 0; machine.undo || vmc.get(kUndoAction, before) == HResult::S_OK) {
        vmc.set(kUndoAction, static_cast<std::int64_t>(machine.undo_action));
    }
    write_host_time_sync(machine.host_time_sync, vmc);
}

}  // namespace vpc::tasks
