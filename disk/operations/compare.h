#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>

#include "disk/block_device.h"
#include "disk/operations/operation.h"

namespace vpc::disk {

/// What two disks have in common. Beyond the end of the smaller one only zeros count as the same.
struct Comparison {
    std::uint64_t first_size = 0;  ///< bytes
    std::uint64_t second_size = 0;
    /// The first byte in which they differ, if they do.
    std::optional<std::uint64_t> first_difference;

    bool equal() const { return first_size == second_size && !first_difference; }
};

/// Compares the contents of two images of any type. Neither is changed. Errors: those of open_image() and of reading.
Result<Comparison> compare(const std::filesystem::path& first, const std::filesystem::path& second,
                           const Operation& operation);

/// The same for devices that are open already.
Result<Comparison> compare(BlockDevice& first, BlockDevice& second, const Operation& operation);

}  // namespace vpc::disk
