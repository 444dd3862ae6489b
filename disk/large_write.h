#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

#include "disk/file.h"

namespace vpc::disk {

/// Bytes in one piece from which on write_data() does without the host's cache.
inline constexpr std::size_t kLargeWrite = std::size_t{1} << 20;

/// File::write() for a disk's contents, past the host's cache for pieces as large as only operations on whole images
/// write: they would fill the cache, and the next sync() would take long.
inline Status write_data(File& file, std::uint64_t offset, std::span<const ConstBuffer> buffers) {
    return buffers.size() == 1 && buffers[0].size() >= kLargeWrite ? file.write_uncached(offset, buffers[0])
                                                                   : file.write(offset, buffers);
}

}  // namespace vpc::disk
