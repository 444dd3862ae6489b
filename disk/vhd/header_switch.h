#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "disk/file.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/footer.h"

namespace vpc::disk::vhd {

/// Where a footer can stand behind `end`. `aligned`: in a file laid out for sectors of 4 KiB, whose size is a multiple
/// of 4096.
constexpr std::uint64_t footer_place(std::uint64_t end, bool aligned) {
    constexpr std::uint64_t kPage = 4096;
    const std::uint64_t unit = aligned ? kPage : kSectorSize;
    const std::uint64_t behind = aligned ? kFooterSize : 0;
    return (end + behind + unit - 1) / unit * unit - behind;
}

/// Replaces the footer of a dynamic or differencing image, which stands at `offset`, and its copy. The copy first, then
/// the one at the end, which counts: at every instant one of them is valid.
Status change_footers(File& file, const Footer& footer, std::uint64_t offset);

/// A dynamic disk header, of which there is only one in a file and which spans two sectors, is to be replaced, together
/// with the footers.
struct HeaderSwitch {
    Footer footer;  ///< as it shall be; its data offset says where the header shall be, and is now
    DynamicHeader header;
    std::uint64_t old_footer_offset = 0;  ///< where the footer is now
    Footer old_footer;
    std::uint64_t room = 0;  ///< from here on the file holds nothing but the footer, if that
    std::uint64_t end = 0;   ///< where the footer can stand afterwards, at most `room`
    /// Writes whatever the new header refers to and the old one does not. It may use everything below `room` that
    /// nothing refers to, the place of the old footer too.
    std::function<Status()> prepare;
    /// The header as it shall stand in its proper place, where that is another one than `header`: what it refers to may
    /// lie where the old header's things lay, and is written by prepare_afterwards() when nothing refers to those any
    /// more.
    std::optional<DynamicHeader> header_afterwards = {};
    std::function<Status()> prepare_afterwards = {};
};

/// Carries it out so that a power failure at any moment leaves an image that is either the old or the new one:
///
///  1. The old footer once more, further out; a barrier.
///  2. prepare(), and the new header in front of that footer; a barrier.
///  3. Both footers, now the new ones, refer to the header there: change_footers() switches from old to new.
///  4. prepare_afterwards(), and the new header, or header_afterwards, at its proper place; a barrier; both footers
///     refer to that one.
///  5. The footer where it shall stand; a barrier; the rest is cut off.
///
/// In between, the header is not where programs that do not follow the footer's data offset look for it.
Status switch_header(File& file, const HeaderSwitch& change);

}  // namespace vpc::disk::vhd
