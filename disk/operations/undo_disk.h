#pragma once
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "disk/block_device.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// Undo disks as Virtual PC has them: while a machine runs with one, everything that it writes to a hard disk goes to a
/// second file, the undo disk (`.vud`), and the disk's own image is only read. At the end of a session the user chooses
///
///  - commit: the disk receives every change made since the undo disk was begun, earlier sessions' too, and the undo
///    disk is deleted: commit_undo_disk();
///  - discard: the undo disk is deleted, the disk is as it was: discard_undo_disk();
///  - keep: nothing is to be done but to destroy the device; the next session goes on with open_undo_disk().
///
/// An undo disk is a differencing VHD under another extension, whose parent is the disk. The disk may be a VHD of any
/// type, a differencing one too, or a raw image, which has no id and is recognised by its size alone.
///
/// Where the disk is and where its undo disk is both belong to the machine's configuration, so every call takes both
/// and neither is searched for. Files are not kept open between calls. Threads: as for any operation on images; the
/// locks of the files keep two of them apart (InUse).

/// Where an undo disk is made, and for which drive of the machine: parts of its name.
struct NewUndoDisk {
    std::filesystem::path folder = {};  ///< empty: the disk's own
    unsigned controller = 0;            ///< IDE channel of the drive, 0 or 1
    unsigned unit = 0;                  ///< device on the channel, 0 or 1
    /// When it is begun, a part of its name, too; in seconds since 1970.
    std::time_t time = std::time(nullptr);
    /// Where the disk's own parents are looked for, too.
    std::vector<std::filesystem::path> parent_folders = {};
};

/// "VirtualPCUndo_NAME_CONTROLLER_UNIT_HHMMSSMMDDYYYY.vud": what Virtual PC calls the undo disk of the disk NAME.vhd
/// that is begun at this time, in UTC.
std::string undo_disk_name(const std::filesystem::path& disk, const NewUndoDisk& options);

/// Makes an empty undo disk of `disk`, and returns its path; of two that are begun within one second, the second one
/// is called after the next. It appears when it is complete, or not at all. Errors: those of opening the disk; those of
/// create_image(); Unsupported for a disk that could never take the changes in (VHDX).
Result<std::filesystem::path> begin_undo_disk(const std::filesystem::path& disk, const NewUndoDisk& options,
                                              const Operation& operation);

/// How an undo disk and the disk that it is to belong to go together.
struct UndoDiskState {
    /// Bytes of the undo disk's file.
    std::uint64_t file_size = 0;
    /// The disk's time of last change is not the recorded one. It may have been copied, or written to without its undo
    /// disk, which is worthless then; Virtual PC does not start such a machine unless told to. After an interrupted
    /// commit it is so, too. set_parent(undo, disk) records the new time.
    bool disk_changed = false;
};

/// Whether they go together, which every other call checks, too. Errors: those of opening either for reading;
/// Unsupported if `undo` is no undo disk; ParentMismatch, which says what to do, if it was begun for another disk, or
/// if the disk has become larger since.
Result<UndoDiskState> read_undo_disk(const std::filesystem::path& undo, const std::filesystem::path& disk,
                                     const std::vector<std::filesystem::path>& parent_folders = {});

/// The disk with its changes, for a session: written to, it changes the undo disk only. `undo` is locked Exclusive,
/// `disk` Shared until the device is destroyed. With `mode` ReadOnly both are Shared, and the device is only read.
/// `allow_saved_state`: see OpenOptions. Errors: as for read_undo_disk(), for writing where it is `undo`.
Result<std::unique_ptr<BlockDevice>> open_undo_disk(const std::filesystem::path& undo,
                                                    const std::filesystem::path& disk,
                                                    const std::vector<std::filesystem::path>& parent_folders = {},
                                                    bool allow_saved_state = false,
                                                    OpenMode mode = OpenMode::ReadWrite);

/// Writes the changes into the disk and deletes the undo disk: merge(), with its progress, and what it says of being
/// stopped, interrupted and repeated. Until it is through, the disk is only to be used together with its undo disk.
/// Errors: as for read_undo_disk(); those of merge(), InUse also where another image has `disk` as its parent, be it
/// the undo disk of another machine; ReadOnly or AccessDenied for a disk that cannot be written to.
Status commit_undo_disk(const std::filesystem::path& undo, const std::filesystem::path& disk,
                        const std::vector<std::filesystem::path>& parent_folders, const Operation& operation);

/// Deletes the undo disk, whatever has become of the disk. Errors: Unsupported, and nothing is deleted, if `undo` is no
/// differencing VHD; InUse, if it is open, belongs to a machine in saved state, or has a child in its folder; those of
/// the host.
Status discard_undo_disk(const std::filesystem::path& undo);

}  // namespace vpc::disk
