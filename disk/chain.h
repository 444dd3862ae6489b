#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "disk/error.h"
#include "disk/image_type.h"
#include "disk/open_image.h"

namespace vpc::disk {

/// How a parent is found: in the order of these places, the first file that is there and has the id which the child has
/// recorded. Folders are those of the child's real path.
///
///  1. the relative path that the child names (W2ru), from the child's folder;
///  2. the last part of that path, then of the name in the header, in the child's folder;
///  3. the absolute path (W2ku): as it is, when it is one of this host's; relative to the child's folder, when it names
///     neither a drive nor a server; otherwise its last part, in the child's folder;
///  4. the path of a file URL (MacX), then the deprecated 8-bit paths (Wi2r, Wi2k);
///  5. all these names in OpenOptions::parent_folders;
///  6. all these names in the child's folder, whatever the case of their letters;
///  7. any VHD in the child's folder with that id.
///
/// That the parent's time of last change is another than recorded is only worth a warning: copying changes it.

/// An image of a chain.
struct ChainLink {
    std::filesystem::path path;
    ImageType type = ImageType::Raw;
    std::uint64_t size = 0;                     ///< of the disk, in bytes
    std::array<std::uint8_t, 16> unique_id{};   ///< zeros for raw images
    std::array<std::uint8_t, 16> parent_id{};   ///< as recorded; zeros without a parent
    bool changed_since_child_was_made = false;  ///< its time of last change is not what its child recorded
    std::optional<Error> parent_problem = {};   ///< why the chain ends here although
                                                ///< there should be a parent
};

/// The chain from `image`, which comes first, to its root. It may break off: see ChainLink::parent_problem. Fails when
/// `image` itself cannot be opened. Everything is opened read-only, whatever the options say.
Result<std::vector<ChainLink>> read_chain(const std::filesystem::path& image, const OpenOptions& options = {});

}  // namespace vpc::disk
