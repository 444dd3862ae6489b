#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "disk/file.h"
#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

/// A footer that is not where it should be.
struct LostFooter {
    Footer footer;
    std::uint64_t offset = 0;
};

/// Looks for an intact footer that `fits(footer, offset)` in a file of `size` bytes that does not end with one: in the
/// last MiB, backwards, as padding by a download or another program leaves it.
Result<std::optional<LostFooter>> find_footer_before_end(File& file, std::uint64_t size,
                                                         const std::function<bool(const Footer&, std::uint64_t)>& fits);

/// A fixed VHD whose footer stands where the disk that it describes ends.
bool is_fixed_disk_ending_at(const Footer& footer, std::uint64_t offset);

/// Looks for the footer of a fixed VHD that a power failure has caught while it was being enlarged: the file has grown
/// already, but from behind the old footer on it holds nothing (a hole), not even the new footer.
Result<std::optional<LostFooter>> find_footer_before_growth(File& file, std::uint64_t size);

}  // namespace vpc::disk::vhd
