#pragma once
#include <filesystem>
#include <memory>
#include <vector>

#include "disk/block_device.h"
#include "disk/file.h"

namespace vpc::disk {

struct OpenOptions {
    OpenMode mode = OpenMode::ReadOnly;
    /// Where parents of differencing disks are looked for, too, after the places that the child names.
    std::vector<std::filesystem::path> parent_folders = {};
    /// ReadWrite although a machine in saved state owns the disk: for that machine, when it is resumed.
    bool allow_saved_state = false;
    /// Nothing goes to the log: for a caller who reports what there is to be said of the images himself.
    bool quiet = false;
};

/// Opens an image of any kind; of a differencing VHD, the whole chain of its parents, which are only read and locked
/// Shared. disk/chain.h says how parents are found. NotFound: a parent is missing; ParentMismatch: none of those that
/// were found is the one the child was made for; Unsupported: the chain has more than 64 images or is too large.
Result<std::unique_ptr<BlockDevice>> open_image(const std::filesystem::path& file, const OpenOptions& options);

/// open_image() of disk/block_device.h for a file that is open already, in the same mode. Locks it: Exclusive for
/// ReadWrite, Shared for ReadOnly. A differencing VHD needs its `parent`, opened before: ParentMismatch if it is not
/// the one, Unsupported without; images of other kinds ignore it.
///
/// What the file is, is found out in this order:
///  1. An intact footer at its end (512 bytes, or 511 as before Virtual PC 2004): that VHD.
///  2. An intact footer copy of a dynamic VHD at its start: that VHD, read-only. Where the file ends with a sector of
///     zeros, which is what a power failure leaves of a file that was growing, ReadWrite puts the footer back.
///  3. A footer whose checksum is wrong: that VHD, read-only.
///  4. An intact footer of a fixed VHD where its disk ends, and behind it nothing but a hole: that VHD, which was being
///     enlarged when the power failed. ReadWrite cuts the hole off.
///  5. The signature of a VHDX: that image, which is only read (disk/vhdx/disk.h).
///  6. The signature of a format that is not supported: Unsupported.
///  7. Anything else made of whole sectors: a raw image.
/// ReadWrite is Corrupt where only reading is allowed above, and where a dynamic VHD's structures contradict each
/// other. It is InUse while the footer says that the disk belongs to a machine in saved state.
Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, OpenMode mode,
                                                std::unique_ptr<BlockDevice> parent = nullptr);

}  // namespace vpc::disk
