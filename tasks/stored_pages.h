#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace vpc::tasks {

constexpr std::size_t kPage = 4096;
/// 1 MiB: what is stored or read between two looks at whether to stop.
constexpr std::size_t kRunPages = 256;

/// Pages [first, first + count) of a machine's RAM, as they stand in a saved state before the pages' bytes; a count of
/// 0 ends the memory.
struct PageRun {
    std::uint32_t first = 0;
    std::uint32_t count = 0;
};
static_assert(sizeof(PageRun) == 8);

inline std::span<const std::uint8_t> bytes_in(std::span<const std::uint8_t> ram, const PageRun& run) {
    return ram.subspan(run.first * kPage, run.count * kPage);
}

/// Adds what is to be stored of pages [first, end), those that are not all zeros, in runs of at most kRunPages;
/// how many pages they are.
std::uint32_t add_stored_pages(std::vector<PageRun>& runs, std::span<const std::uint8_t> ram, std::uint32_t first,
                               std::uint32_t end);

/// How much work it is to store a run's bytes, and to get them back, in bytes of ordinary memory: what looks like noise
/// (archives, pictures, ciphertexts) is passed through, since it cannot be compressed. Ratios measured with zstd's
/// level 1.
struct PageWork {
    std::uint64_t storing = 0;
    std::uint64_t loading = 0;

    PageWork& operator+=(const PageWork& other) {
        storing += other.storing;
        loading += other.loading;
        return *this;
    }
};
/// Of a run's bytes, on which alone it depends.
PageWork work_of(std::span<const std::uint8_t> pages);

}  // namespace vpc::tasks
