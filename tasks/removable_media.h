#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "devices/floppy_format.h"
#include "disk/block_device.h"
#include "tasks/result.h"

namespace vpc {
class StateStream;
}

namespace vpc::tasks {

enum class RemovableDrive {
    A,
    B,
    CdRom,
};

/// What is in a machine's removable drives. A saved state keeps it: whatever the settings say meanwhile, the guest goes
/// on with the media that it had.
struct RemovableMedia {
    std::string disc;  ///< empty: none
    std::array<std::string, 2> floppies;
    std::array<devices::FloppyDriveType, 2> floppy_drives{devices::FloppyDriveType::Mb1_44,
                                                          devices::FloppyDriveType::None};

    /// The file's place for a drive.
    std::string& file(RemovableDrive drive);
    void serialize(StateStream& stream);
};

using OpenedMedium = tl::expected<std::unique_ptr<disk::BlockDevice>, Outcome>;
/// A CD image, only read. VM_E_IMAGE_CAPTURE_FAIL: its size is no disc's; and those of opening images.
OpenedMedium open_disc(const std::filesystem::path& file);
/// A floppy disk's image, write-protected when the file is; with `discard_changes` it is only read, and what is written
/// is gone with the medium. VM_E_IMAGE_CAPTURE_FAIL: its size is no floppy disk's.
OpenedMedium open_floppy(const std::filesystem::path& file, bool discard_changes);

}  // namespace vpc::tasks
