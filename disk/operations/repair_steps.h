#pragma once
#include "disk/file.h"
#include "disk/operations/operation.h"
#include "disk/vhd/examination.h"

namespace vpc::disk {

/// Appends the bytes of `image` that the steps of a repair will replace or cut off to `side`, which is empty, in the
/// form that disk/repair.h describes. Holes are left out. The caller stores it.
Status keep_replaced_bytes(File& image, const vhd::Examination& examination, File& side);

/// Carries the steps out. Stopped or failed, the image can be repaired again.
Status carry_out_steps(File& image, const vhd::Examination& examination, WorkMeter& meter);

}  // namespace vpc::disk
