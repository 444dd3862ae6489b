#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tasks/undo_action.h"
#include "tasks/vmc.h"

namespace vpc::tasks {

/// What a configuration file says of a machine, as far as this program can build it.
///
/// Keys are Virtual PC's where it has them (hardware/memory/ram_size, the drives, the floppies, a serial port's text
/// file, settings/undo_drives, integration/microsoft/host_time_sync). What it keeps elsewhere or not at all is below
/// `vpc`: `cpu`, `boot_order` (its own lies in the CMOS, in a form that only its BIOS knows), `bios`, `vga_bios`,
/// `parallel_port`, and `serial_port[@id=0]` for back ends that it does not have. An empty leaf counts as missing.
struct MachineConfiguration {
    std::uint64_t memory = 128;  ///< MiB
    /// Primary master and slave, secondary master and slave; empty: no hard disk.
    std::array<std::filesystem::path, 4> hard_disks;
    /// Where the CD-ROM drive is, in the same order; none: there is no drive.
    std::optional<unsigned> cdrom_place;
    std::filesystem::path disc;                     ///< in it; empty: none
    std::array<std::filesystem::path, 2> floppies;  ///< in A and B
    /// The other ends of COM1, COM2 and the parallel port: "file:/home/me/log" and so on; empty: none.
    std::array<std::string, 2> serial;
    std::string parallel;
    std::string cpu;             ///< a model's name; empty: the default
    std::string boot_order;      ///< letters of a, c, d; empty: the default
    std::filesystem::path bios;  ///< empty: the distribution's
    std::filesystem::path vga_bios;
    bool undo = false;                                ///< undo disks are switched on
    std::array<std::filesystem::path, 4> undo_disks;  ///< of hard_disks; empty: none is begun
    VMUndoAction undo_action = VMUndoAction::Keep;    ///< when the machine is off
    bool host_time_sync = true;                       ///< the guest's clock follows the host's

    bool operator==(const MachineConfiguration&) const = default;
};

/// A configuration that was read, and what it says that could not be taken over: one line each, without the name of
/// the file.
struct ReadConfiguration {
    MachineConfiguration machine;
    /// Drives whose files are in none of the places that the configuration leads to. Nobody should start such a
    /// machine without asking.
    struct Missing {
        enum class Drive { HardDisk, Disc, Floppy };
        Drive drive = Drive::HardDisk;
        unsigned place = 0;          ///< as in MachineConfiguration
        std::filesystem::path file;  ///< where it was looked for last
    };
    std::vector<Missing> missing;
    std::vector<std::string> left_out;
};

/// `folder` is the configuration's, which relative paths begin at. Values out of range are left out with a line.
ReadConfiguration read_configuration(const Vmc& vmc, const std::filesystem::path& folder);

/// Where the undo disks are, alone.
void write_undo_disks(const std::array<std::filesystem::path, 4>& undo_disks, Vmc& vmc,
                      const std::filesystem::path& folder);
/// MachineConfiguration::host_time_sync alone; the default is not written where nothing else stands.
void write_host_time_sync(bool enabled, Vmc& vmc);
/// Puts the machine into the configuration and leaves alone what it does not know. Paths must be absolute.
void write_configuration(const MachineConfiguration& machine, Vmc& vmc, const std::filesystem::path& folder);

}  // namespace vpc::tasks
