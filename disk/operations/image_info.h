#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "disk/chain.h"
#include "disk/vhd/footer.h"

namespace vpc::disk {

/// What a dynamic or differencing VHD says of its blocks.
struct BlockInfo {
    std::uint32_t block_size = 0;  ///< bytes of data in a block
    std::uint32_t blocks = 0;      ///< of the disk
    std::uint32_t allocated = 0;   ///< how many of them are stored in the file
};

/// What an image says of itself. Nothing of the disk's contents is read.
struct ImageInfo {
    std::filesystem::path file;
    ImageType type = ImageType::Raw;
    bool vhdx = false;               ///< a VHDX image, of which the type and the parents are not told
    std::uint64_t virtual_size = 0;  ///< of the disk, in bytes
    std::uint64_t file_size = 0;     ///< of the file, in bytes, holes included
    std::uint64_t stored_size = 0;   ///< bytes that the file takes on the host's disk
    Geometry geometry;
    std::array<std::uint8_t, 16> unique_id{};  ///< zeros for raw images
    std::optional<vhd::Footer> footer = {};    ///< of a VHD
    std::optional<BlockInfo> blocks = {};      ///< of a dynamic or differencing one

    /// The parent, its parent and so on to the root, as far as they were found and are the ones that their children
    /// were made for.
    std::vector<ChainLink> parents = {};
    /// Why there are no more of them although there should be, and which one is missing.
    struct MissingParent {
        std::string name;  ///< as its child calls it; may be empty
        std::array<std::uint8_t, 16> unique_id{};
        Error problem;
    };
    std::optional<MissingParent> missing_parent = {};

    /// What may not be as the user believes, one line for people; empty if there is nothing.
    std::string note = {};
};

/// Reads it, where the chain is broken too. `parent_folders`: see OpenOptions. Errors: those of open_image() for
/// reading, of `image` itself.
Result<ImageInfo> read_image_info(const std::filesystem::path& image,
                                  const std::vector<std::filesystem::path>& parent_folders = {});

/// A creator or host system of a footer for people: "vpc", with what cannot be printed as '?', without spaces and zeros
/// at the end.
std::string text_of(const vhd::FourCc& code);

}  // namespace vpc::disk
