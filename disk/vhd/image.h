#pragma once
#include "disk/block_device.h"
#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

/// The footer's geometry, unless it says nothing about this disk: some programs write the saturated geometry into the
/// footers of small disks. Then the one that the specification computes from the size.
Geometry geometry_of(const Footer& footer);

/// A block device that is a VHD, with what only a VHD knows. sectors() is the footer's current size: all of the
/// disk's contents. What a drive shows to its guest can be less: see disk/operations/guest_view.h.
class Image : public BlockDevice {
  public:
    virtual const Footer& footer() const = 0;

    Geometry geometry() const final { return geometry_of(footer()); }
    std::array<std::uint8_t, 16> unique_id() const final { return footer().unique_id; }
};

}  // namespace vpc::disk::vhd
