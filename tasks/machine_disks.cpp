// What a VirtualMachine opens when it starts: hard disks with or without undo disks, and removable media.
#include <utility>

#include "disk/block_device.h"
#include "disk/operations/undo_disk.h"
#include "disk/undo_overlay.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {

Outcome VirtualMachine::open_media(RemovableMedia& media, bool restore,
                                   devices::BoardConfiguration& configuration) const {
    if (settings_.cdrom_place) {
        configuration.cdroms[*settings_.cdrom_place] = true;
    }
    if (settings_.cdrom_place && !media.disc.empty()) {
        auto disc = open_disc(media.disc);
        if (!disc) {
            return disc.error();
        }
        configuration.discs[*settings_.cdrom_place] = std::move(*disc);
    }
    for (std::size_t drive = 0; drive < media.floppies.size(); ++drive) {
        if (media.floppies[drive].empty()) {
            continue;
        }
        auto image = open_floppy(media.floppies[drive], settings_.discard_changes);
        if (!image) {
            return image.error();
        }
        if (!restore) {
            media.floppy_drives[drive] = devices::drive_for((*image)->sectors());
        }
        configuration.floppies[drive] = std::move(*image);
    }
    configuration.floppy_drives = media.floppy_drives;
    return {};
}

Outcome VirtualMachine::open_hard_disks(UndoDisks& undo, devices::BoardConfiguration& configuration,
                                        DiskGenerations& generations, VMStartupOption option) {
    for (std::size_t i = 0; i < settings_.disks.size(); ++i) {
        if (settings_.disks[i].empty()) {
            continue;
        }
        if (settings_.undoable && !(settings_.discard_changes && undo[i].empty())) {
            if (Outcome prepared = prepare_undo_disk(i, undo[i], option); prepared.result != VMTaskResult::Success) {
                return prepared;
            }
        }
        // Locked first and looked at then: nobody writes in between.
        auto image = open_hard_disk(i, undo[i]);
        if (!image) {
            return outcome_of(tl::unexpected(image.error()));
        }
        disk_ids_[i] = (*image)->unique_id();
        auto generation = disk_generation(undo[i].empty() ? settings_.disks[i] : undo[i], disk_ids_[i]);
        if (!generation) {
            return outcome_of(tl::unexpected(generation.error()));
        }
        generations[i] = std::move(*generation);
        configuration.disks[i] = std::move(*image);
    }
    return settings_.undoable && undo != undo_disks() ? outcome_of(remember_undo_disks(undo)) : Outcome{};
}

Outcome VirtualMachine::open_hard_disks(devices::BoardConfiguration& configuration, DiskGenerations& generations,
                                        VMStartupOption option) {
    const UndoDisks before = settings_.undoable ? undo_disks() : UndoDisks{};
    UndoDisks undo = before;
    Outcome outcome = open_hard_disks(undo, configuration, generations, option);
    if (outcome.result != VMTaskResult::Success) {
        configuration.disks = {};
        for (std::size_t i = 0; i < undo.size(); ++i) {
            if (undo[i] != before[i]) {
                // Begun for nothing, and known to nobody: it would be in the way of whoever changes the disk.
                (void)disk::discard_undo_disk(undo[i]);
            }
        }
    }
    return outcome;
}

disk::Result<std::unique_ptr<disk::BlockDevice>> VirtualMachine::open_hard_disk(
    std::size_t place, const std::filesystem::path& undo) const {
    const std::filesystem::path& file = settings_.disks[place];
    const auto mode = settings_.discard_changes ? disk::OpenMode::ReadOnly : disk::OpenMode::ReadWrite;
    auto image = undo.empty() ? disk::open_image(file, mode) : disk::open_undo_disk(undo, file, {}, false, mode);
    return image && settings_.discard_changes ? disk::discard_changes(std::move(*image)) : std::move(image);
}

std::filesystem::path VirtualMachine::written_file(std::size_t place) const {
    const std::scoped_lock guard(mutex_);
    return settings_.undoable ? undo_disks_[place] : settings_.disks[place];
}

}  // namespace vpc::tasks
