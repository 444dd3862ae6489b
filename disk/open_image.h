#pragma once
#include <memory>

#include "disk/block_device.h"
#include "disk/file.h"

namespace vpc::disk {

/// open_image() of disk/block_device.h for a file that is open already, in the same mode. Locks it: Exclusive for
/// ReadWrite, Shared for ReadOnly.
///
/// What the file is, is found out in this order:
///  1. An intact footer at its end (512 bytes, or 511 as before Virtual PC 2004): that VHD.
///  2. An intact footer copy of a dynamic VHD at its start: that VHD, read-only. Where the file ends with a sector of
///     zeros, which is what a power failure leaves of a file that was growing, ReadWrite puts the footer back.
///  3. A footer whose checksum is wrong: that VHD, read-only.
///  4. The signature of a format that is not supported: Unsupported.
///  5. Anything else made of whole sectors: a raw image.
/// ReadWrite is Corrupt where only reading is allowed above, and where a dynamic VHD's structures contradict each
/// other. It is InUse while the footer says that the disk belongs to a machine in saved state.
Result<std::unique_ptr<BlockDevice>> open_image(std::unique_ptr<File> file, OpenMode mode);

}  // namespace vpc::disk
