#include "tasks/stored_pages.h"

#include <bitset>

#include "disk/transfer.h"

namespace vpc::tasks {
namespace {

/// Whether a sample of the bytes has as many different values as chance would give it.
bool looks_like_noise(std::span<const std::uint8_t> bytes) {
    // Of 128 bytes that are equally likely to be any, 256 x (1 - (255/256)^128) = 101 differ on average, and fewer than
    // 85 once in millions of samples. Text and code have less than 70.
    constexpr std::size_t kSample = 128;
    constexpr std::size_t kDifferent = 85;
    std::bitset<256> seen;
    const std::size_t step = bytes.size() / kSample;
    for (std::size_t i = 0; i < kSample; ++i) {
        seen.set(bytes[i * step + i % step]);  // not always the same place in a page
    }
    return seen.count() >= kDifferent;
}

}  // namespace

std::uint32_t add_stored_pages(std::vector<PageRun>& runs, std::span<const std::uint8_t> ram, std::uint32_t first,
                               std::uint32_t end) {
    std::uint32_t added = 0;
    for (std::uint32_t page = first; page < end; ++page) {
        const disk::ConstBuffer bytes = ram.subspan(page * kPage, kPage);
        if (disk::all_zeros({&bytes, 1})) {
            continue;
        }
        ++added;
        if (!runs.empty() && runs.back().first + runs.back().count == page && runs.back().count < kRunPages) {
            ++runs.back().count;
        } else {
            runs.push_back({page, 1});
        }
    }
    return added;
}

PageWork work_of(std::span<const std::uint8_t> pages) {
    constexpr std::uint64_t kStoringNoise = 4;  // times as fast
    constexpr std::uint64_t kLoadingNoise = 2;
    const std::uint64_t size = pages.size();
    return looks_like_noise(pages) ? PageWork{.storing = size / kStoringNoise, .loading = size / kLoadingNoise}
                                   : PageWork{.storing = size, .loading = size};
}

}  // namespace vpc::tasks
