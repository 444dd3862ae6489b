#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "disk/file.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

/// What the search for a footer has found.
struct FoundFooter {
    Footer footer;
    std::uint64_t offset = 0;        ///< of the footer at the end; where the file ends if there is none
    std::string damage = {};         ///< empty, or what is wrong with the image, for a message
    bool footer_to_restore = false;  ///< the last sector is the place of a footer that never got there
    bool copy_differs = false;       ///< the copy at the start is intact and says something else
    bool growth_to_undo = false;     ///< of a fixed disk: what follows the footer is an enlargement that never ended
};

/// Looks for the footer of a file of `size` bytes, at least a sector, in the order that disk/open_image.h describes.
/// Nothing found: the file is no VHD. The fields have not been checked.
Result<std::optional<FoundFooter>> find_footer(File& file, std::uint64_t size);

/// Types 3 and 4.
bool has_copy_at_start(const Footer& footer);

/// A dynamic disk header with what its bytes say about it.
struct LoadedHeader {
    DynamicHeader header;
    bool intact = false;  ///< the checksum is right
};

/// Reads the header of a dynamic or differencing VHD whose footer is at `footer_offset` and checks its fields. Corrupt
/// or Unsupported where check_dynamic_header() says so, or there is no header.
Result<LoadedHeader> load_dynamic_header(File& file, const Footer& footer, std::uint64_t footer_offset);

/// An id as people write it: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf", in the order of the bytes.
std::string text_of_id(const std::array<std::uint8_t, 16>& id);

}  // namespace vpc::disk::vhd
