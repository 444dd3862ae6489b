#include "disk/vhd/page_holders.h"

#include <algorithm>

namespace vpc::disk::vhd {
namespace {

/// What is remembered at most: of 1 GiB in the usual blocks, as of bitmaps.
constexpr std::size_t kMaxBytes = 256 * 1024;
constexpr std::uint32_t kSectorsPerPage = 8;

}  // namespace

PageHolders::PageHolders(std::uint32_t blocks, std::uint32_t sectors_per_block)
    : pages_per_block_((sectors_per_block + kSectorsPerPage - 1) / kSectorsPerPage),
      places_(std::clamp<std::size_t>(blocks, 1, std::max<std::size_t>(kMaxBytes / pages_per_block_, 1))) {}

std::span<const std::uint8_t> PageHolders::find(std::uint32_t block) const {
    const std::size_t place = place_of(block);
    if (places_[place].block != block || !places_[place].known) {
        return {};
    }
    return std::span(pages_).subspan(place * pages_per_block_, pages_per_block_);
}

bool PageHolders::asked_before(std::uint32_t block) {
    Place& place = places_[place_of(block)];
    const bool before = place.block == block && place.asked;
    place = {.block = block, .asked = true, .known = before && place.known};
    return before;
}

std::span<std::uint8_t> PageHolders::start(std::uint32_t block) {
    pages_.resize(places_.size() * pages_per_block_);
    const std::size_t place = place_of(block);
    places_[place] = {.block = block, .asked = true, .known = true};
    const auto pages = std::span(pages_).subspan(place * pages_per_block_, pages_per_block_);
    std::fill(pages.begin(), pages.end(), kNone);
    return pages;
}

void PageHolders::add_image(std::span<std::uint8_t> pages, std::uint8_t image, std::span<const std::uint8_t> bitmap) {
    for (std::size_t page = 0; page < pages.size(); ++page) {
        if (pages[page] == kNone && bitmap[page] != 0) {
            pages[page] = bitmap[page] == 0xFF ? image : kMixed;
        }
    }
}

void PageHolders::add_whole_image(std::span<std::uint8_t> pages, std::uint8_t image) {
    std::replace(pages.begin(), pages.end(), kNone, image);
}

void PageHolders::written(std::uint32_t block, std::uint32_t first, std::uint32_t count) {
    if (find(block).empty()) {
        return;
    }
    const std::uint32_t end = first + count;
    for (std::uint32_t page = first / kSectorsPerPage; page * kSectorsPerPage < end; ++page) {
        std::uint8_t& holder = pages_[place_of(block) * pages_per_block_ + page];
        const bool whole = first <= page * kSectorsPerPage && (page + 1) * kSectorsPerPage <= end;
        if (holder != 0) {
            holder = whole ? std::uint8_t{0} : kMixed;
        }
    }
}

void PageHolders::forget(std::uint32_t block) {
    if (Place& place = places_[place_of(block)]; place.block == block) {
        place = {};
    }
}

PageHolders::Run PageHolders::run_at(std::span<const std::uint8_t> pages, std::uint32_t first, std::uint32_t limit) {
    std::uint32_t page = first / kSectorsPerPage;
    const std::uint8_t holder = pages[page];
    std::uint32_t end = (page + 1) * kSectorsPerPage;
    while (end - first < limit && pages[++page] == holder) {
        end += kSectorsPerPage;
    }
    return {.holder = holder, .count = std::min(end - first, limit)};
}

}  // namespace vpc::disk::vhd
