#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vpc::disk::vhd {

/// Which image of a chain holds each page of a differencing disk, remembered for the blocks read last: a read need not
/// ask one image after the other. A page is the eight sectors of which a byte of a block's bitmap tells.
///
/// The owner says what the images' bitmaps hold, and each time when the top image was written to. Only bytes of memory:
/// nothing here can fail.
class PageHolders {
  public:
    /// Images are numbered from the top of the chain on, which is 0.
    static constexpr std::uint8_t kNone = 0xFE;   ///< no image that has told its bitmap
    static constexpr std::uint8_t kMixed = 0xFF;  ///< more than one

    /// `blocks` and `sectors_per_block` of every image. Takes its memory with the first start().
    PageHolders(std::uint32_t blocks, std::uint32_t sectors_per_block);

    /// The holders of a block's pages; nothing if they are not known.
    std::span<const std::uint8_t> find(std::uint32_t block) const;
    /// Whether somebody has asked for this block before, since another one took its place: else it is not worth it.
    bool asked_before(std::uint32_t block);
    /// Makes a block known: kNone everywhere until add_image() has been called for each image, from the top on.
    std::span<std::uint8_t> start(std::uint32_t block);
    static void add_image(std::span<std::uint8_t> pages, std::uint8_t image, std::span<const std::uint8_t> bitmap);
    static void add_whole_image(std::span<std::uint8_t> pages, std::uint8_t image);

    /// The top image now holds these sectors.
    void written(std::uint32_t block, std::uint32_t first, std::uint32_t count);
    void forget(std::uint32_t block);

    /// Sectors that have the same holder.
    struct Run {
        std::uint8_t holder = kMixed;
        std::uint32_t count = 0;
    };
    /// The run that begins at sector `first` of a block, cut off after `limit` sectors.
    static Run run_at(std::span<const std::uint8_t> pages, std::uint32_t first, std::uint32_t limit);

  private:
    struct Place {
        std::uint32_t block = 0;
        bool asked = false;
        bool known = false;
    };
    std::size_t place_of(std::uint32_t block) const { return block % places_.size(); }

    std::size_t pages_per_block_;
    std::vector<Place> places_;  ///< a block's number says which is its own
    std::vector<std::uint8_t> pages_;
};

}  // namespace vpc::disk::vhd
