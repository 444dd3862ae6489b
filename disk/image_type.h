#pragma once

namespace vpc::disk {

/// The kinds of image this program makes.
enum class ImageType {
    Raw,           ///< nothing but the disk's sectors
    Fixed,         ///< VHD type 2
    Dynamic,       ///< VHD type 3
    Differencing,  ///< VHD type 4
};

}  // namespace vpc::disk
