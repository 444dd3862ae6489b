#include "ui/cli/start_settings.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "ui/cli/firmware.h"
#include "ui/cli/machine_file.h"

namespace vpc::cli {

tl::expected<tasks::MachineSettings, std::string> start_settings(const RunOptions& options) {
    tasks::MachineSettings settings;
    settings.name = options.machine;
    settings.memory = options.memory;
    if (!options.cpu.empty()) {
        settings.cpu = find_cpu_model(options.cpu);
    }
    settings.boot_order = options.boot_order;
    settings.unix_time = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
    settings.discard_changes = options.undo;
    settings.undoable = options.undo_disks_on;
    settings.undo_disks = options.undo_disks;
    settings.undo_action = options.undo_action;
    settings.host_time_sync = options.host_time_sync;
    for (std::size_t i = 0; i < options.disks.size(); ++i) {
        settings.disks[i] = options.disks[i];
    }
    if (options.cdrom_drive) {
        settings.cdrom_place = options.cdrom_place ? options.cdrom_place : usual_cdrom_place(options.disks);
        settings.disc = options.cdrom;
        if (!settings.cdrom_place && !options.cdrom.empty()) {
            return tl::unexpected(std::string("--cdrom: four hard disks leave no place for a CD-ROM drive"));
        }
    }
    for (std::size_t i = 0; i < options.floppies.size() && i < settings.floppies.size(); ++i) {
        settings.floppies[i] = options.floppies[i];
    }
    auto bios = load_firmware("bios.bin", options.bios);
    if (!bios) {
        return tl::unexpected(bios.error());
    }
    settings.bios = std::move(*bios);
    auto vga_bios = load_firmware("vgabios-stdvga.bin", options.vga_bios);
    if (!vga_bios) {
        return tl::unexpected(vga_bios.error());
    }
    settings.vga_bios = std::move(*vga_bios);
    return settings;
}

std::string write_protection(const std::string& floppy) {
    const bool only_read =
        !floppy.empty() && ::access(floppy.c_str(), W_OK) != 0 && (errno == EACCES || errno == EPERM || errno == EROFS);
    return only_read ? fmt::format("'{}' may only be read: the floppy disk is write-protected", floppy) : std::string();
}

std::vector<std::string> write_protections(const RunOptions& options) {
    std::vector<std::string> lines;
    for (const std::string& floppy : options.floppies) {
        if (std::string line = write_protection(floppy); !line.empty() && !options.undo) {
            lines.push_back(std::move(line));
        }
    }
    return lines;
}

}  // namespace vpc::cli
