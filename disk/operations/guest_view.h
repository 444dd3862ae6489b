#pragma once
#include <memory>

#include "disk/block_device.h"

namespace vpc::disk {

/// The disk as a machine's drive must show it to the guest. Nearly always that is `image` itself. But Virtual PC and
/// Virtual Server showed their guests no more than cylinders x heads x sectors, which is a little less than the whole
/// image, and a guest that looked for something at the end of its disk must find it there again. So of a VHD they
/// made, with a geometry that means something, only that part is shown - unless a partition reaches beyond it.
///
/// Operations on images must not use this: they would lose the rest. To be combined with discard_changes(), this one
/// first. IoError when the partition table cannot be read.
Result<std::unique_ptr<BlockDevice>> guest_view(std::unique_ptr<BlockDevice> image);

}  // namespace vpc::disk
