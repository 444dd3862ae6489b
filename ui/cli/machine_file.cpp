#include "ui/cli/machine_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <system_error>

namespace vpc::cli {
namespace {

std::string absolute(const std::string& file) {
    if (file.empty()) {
        return file;
    }
    std::error_code error;
    const auto path = std::filesystem::absolute(file, error);
    return error ? file : path.lexically_normal().string();
}

/// "file:log" and "unix:socket", with their paths made absolute.
std::string absolute_backend(const std::string& backend) {
    for (const char* kind : {"file:", "unix:"}) {
        if (backend.starts_with(kind)) {
            return kind + absolute(backend.substr(5));
        }
    }
    return backend;
}

std::string option_of(const tasks::ReadConfiguration::Missing& missing) {
    using Drive = tasks::ReadConfiguration::Missing::Drive;
    switch (missing.drive) {
        case Drive::HardDisk:
            return "--" + drive_name(missing.place);
        case Drive::Disc:
            return "--cdrom";
        case Drive::Floppy:
            break;
    }
    return "--floppy";
}

/// What to say about the drives whose files are missing, unless the command line has something else for them.
std::string missing_files(const tasks::ReadConfiguration& read, const std::string& vmc, const IsGiven& given) {
    std::string lines;
    for (const auto& missing : read.missing) {
        const std::string option = option_of(missing);
        if (!given(option)) {
            lines += fmt::format("{}{}: {} '{}' is missing; put it there or beside the configuration, or use {}",
                                 lines.empty() ? "" : "\nvpc: ", vmc, option.substr(2), missing.file.string(), option);
        }
    }
    return lines;
}

}  // namespace

std::string drive_name(unsigned place) {
    return fmt::format("hd{}", static_cast<char>('a' + place));
}

std::optional<tasks::RemovableDrive> removable_drive(const std::string& name) {
    using enum tasks::RemovableDrive;
    return name == "a"    ? std::optional(A)
           : name == "b"  ? std::optional(B)
           : name == "cd" ? std::optional(CdRom)
                          : std::nullopt;
}

std::optional<unsigned> usual_cdrom_place(const std::array<std::string, 4>& hard_disks) {
    for (const unsigned place : {2u, 0u, 1u, 3u}) {
        if (hard_disks[place].empty()) {
            return place;
        }
    }
    return std::nullopt;
}

tasks::MachineConfiguration configuration_of(const RunOptions& options) {
    tasks::MachineConfiguration machine;
    machine.memory = options.memory;
    for (std::size_t i = 0; i < options.disks.size(); ++i) {
        machine.hard_disks[i] = absolute(options.disks[i]);
    }
    if (options.cdrom_drive) {
        machine.cdrom_place = options.cdrom_place ? options.cdrom_place : usual_cdrom_place(options.disks);
    }
    machine.disc = absolute(options.cdrom);
    for (std::size_t i = 0; i < std::min(options.floppies.size(), machine.floppies.size()); ++i) {
        machine.floppies[i] = absolute(options.floppies[i]);
    }
    for (std::size_t i = 0; i < std::min(options.serial.size(), machine.serial.size()); ++i) {
        machine.serial[i] = absolute_backend(options.serial[i]);
    }
    machine.parallel = absolute_backend(options.parallel);
    machine.cpu = options.cpu;
    machine.boot_order = options.boot_order;
    machine.bios = absolute(options.bios);
    machine.vga_bios = absolute(options.vga_bios);
    machine.undo = options.undo_disks_on;
    machine.undo_disks = options.undo_disks;
    machine.undo_action = options.undo_action;
    machine.host_time_sync = options.host_time_sync;
    return machine;
}

tl::expected<RunOptions, std::string> options_over(const tasks::MachineConfiguration& machine,
                                                   const RunOptions& options, const IsGiven& given) {
    RunOptions merged = options;
    const auto take = [&](const std::string& option, auto& into, const auto& from) {
        if (!given(option)) {
            into = from;
        }
    };
    take("--memory", merged.memory, machine.memory);
    for (unsigned place = 0; place < merged.disks.size(); ++place) {
        take("--" + drive_name(place), merged.disks[place], machine.hard_disks[place].string());
    }
    merged.cdrom_drive = machine.cdrom_place.has_value() || given("--cdrom");
    merged.cdrom_place = machine.cdrom_place;
    if (merged.cdrom_place && !merged.disks[*merged.cdrom_place].empty()) {
        merged.cdrom_place.reset();  // a hard disk has taken its place
    }
    take("--cdrom", merged.cdrom, machine.disc.string());
    if (!given("--floppy")) {
        merged.floppies.clear();
        for (std::size_t drive = 0; drive < machine.floppies.size(); ++drive) {
            if (!machine.floppies[drive].empty()) {
                if (merged.floppies.size() < drive) {
                    return tl::unexpected(std::string("a disk in drive B and none in drive A is not supported"));
                }
                merged.floppies.push_back(machine.floppies[drive].string());
            }
        }
    }
    if (!given("--serial")) {
        merged.serial = {machine.serial.begin(), machine.serial.end()};
        for (std::string& backend : merged.serial) {
            backend = backend.empty() ? "null" : backend;
        }
        while (!merged.serial.empty() && merged.serial.back() == "null") {
            merged.serial.pop_back();
        }
    }
    take("--parallel", merged.parallel, machine.parallel);
    take("--cpu", merged.cpu, machine.cpu);
    if (!machine.boot_order.empty()) {
        take("--boot", merged.boot_order, machine.boot_order);
    }
    take("--bios", merged.bios, machine.bios.string());
    take("--vgabios", merged.vga_bios, machine.vga_bios.string());
    merged.undo_disks_on = machine.undo;
    merged.undo_disks = machine.undo_disks;
    merged.undo_action = machine.undo_action;
    merged.host_time_sync = machine.host_time_sync;
    return merged;
}

tl::expected<RunOptions, std::string> read_machine(const std::filesystem::path& vmc, const RunOptions& options,
                                                   const IsGiven& given) {
    const auto file = tasks::Vmc::read(vmc);
    if (!file) {
        return tl::unexpected(file.error().message);
    }
    std::error_code ignored;
    const auto read = tasks::read_configuration(*file, std::filesystem::absolute(vmc, ignored).parent_path());
    const std::string name = "'" + vmc.string() + "'";
    if (const std::string problem = missing_files(read, name, given); !problem.empty()) {
        return tl::unexpected(problem);
    }
    for (const std::string& line : read.left_out) {
        std::fprintf(stderr, "vpc: %s: left out: %s\n", name.c_str(), line.c_str());
    }
    auto merged = options_over(read.machine, options, given);
    if (!merged) {
        return tl::unexpected(name + ": " + merged.error());
    }
    return merged;
}

tl::expected<tasks::RegisteredMachine, std::string> find_machine(const std::string& name) {
    tasks::RegisteredMachine machine;
    const std::filesystem::path file = name;
    if (name.find('/') != std::string::npos || file.extension() == ".vmc") {
        std::error_code error;
        // A link's own folder has nothing of the machine.
        machine = {.name = file.stem().string(), .file = std::filesystem::canonical(file, error)};
        return error ? tl::unexpected(fmt::format("'{}' is not there", name))
                     : tl::expected<tasks::RegisteredMachine, std::string>(std::move(machine));
    }
    const tasks::MachineRegistry registry(tasks::MachineRegistry::default_folder());
    tasks::Outcome found = registry.find(name, machine);
    if (found.error == tasks::HResult::S_OK) {
        found = tasks::MachineRegistry::check_present(machine);
    }
    if (found.error != tasks::HResult::S_OK) {
        return tl::unexpected(tasks::outcome_text(found, tasks::Language::English));
    }
    return machine;
}

std::string name_for_commands(const tasks::RegisteredMachine& machine) {
    const auto found = find_machine(machine.name);
    return found && found->file == machine.file ? machine.name : machine.file.string();
}

}  // namespace vpc::cli
