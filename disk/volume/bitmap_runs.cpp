#include <algorithm>
#include <bit>
#include <cstring>

#include "disk/little_endian.h"
#include "disk/volume/file_system.h"

namespace vpc::disk::volume {

void for_each_run_of_zeros(std::span<const std::uint8_t> bitmap, std::uint64_t bits,
                           const std::function<void(std::uint64_t, std::uint64_t)>& run) {
    bits = std::min<std::uint64_t>(bits, std::uint64_t{bitmap.size()} * 8);
    // The number of bits from `bit` on that equal `value`, at most to the end of the 64 that contain it.
    const auto equal_bits = [&](std::uint64_t bit, bool value) {
        const std::size_t word_start = static_cast<std::size_t>(bit / 64) * 8;
        std::uint64_t word = 0;
        if (bitmap.size() - word_start >= 8) {
            word = little64(bitmap, word_start);
        } else {
            for (std::size_t i = word_start; i < bitmap.size(); ++i) {
                word |= std::uint64_t{bitmap[i]} << (i - word_start) * 8;
            }
        }
        const std::uint64_t shifted = (value ? ~word : word) >> bit % 64;
        const auto rest = 64 - bit % 64;
        return shifted == 0 ? rest : std::min<std::uint64_t>(rest, static_cast<unsigned>(std::countr_zero(shifted)));
    };
    const auto skip = [&](std::uint64_t bit, bool value) {
        while (bit < bits) {
            const std::uint64_t length = equal_bits(bit, value);
            bit += length;
            if (length == 0 || bit % 64 != 0) {
                break;
            }
        }
        return std::min(bit, bits);
    };
    for (std::uint64_t bit = skip(0, true); bit < bits;) {
        const std::uint64_t end = skip(bit, false);
        run(bit, end - bit);
        bit = skip(end, true);
    }
}

}  // namespace vpc::disk::volume
