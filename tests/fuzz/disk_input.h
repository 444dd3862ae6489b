#pragma once
#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>

#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/footer.h"
#include "tests/disk/memory_file.h"

namespace vpc::disk::testing {

/// The inputs of the disk fuzzers are sparse files, so that a seed of a few KiB can stand for a disk of any size: a
/// number of flags, the size in sectors, then pieces: a sector, a count of sectors, and their bytes. make_seeds.py
/// writes this. Numbers are little-endian; what is missing at the end is zeros.
class InputReader {
  public:
    explicit InputReader(std::span<const std::uint8_t> input) : input_(input) {}

    bool at_end() const { return input_.empty(); }
    std::uint64_t number(std::size_t size) {
        std::uint64_t value = 0;
        const auto bytes = take(size);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            value |= std::uint64_t{bytes[i]} << 8 * i;
        }
        return value;
    }
    std::span<const std::uint8_t> take(std::size_t size) {
        const auto taken = input_.first(std::min(size, input_.size()));
        input_ = input_.subspan(taken.size());
        return taken;
    }

  private:
    std::span<const std::uint8_t> input_;
};

/// Flags in the first byte of a file.
inline constexpr unsigned kKeepChecksums = 1;  ///< otherwise they are made right, so that the fields are looked at
inline constexpr unsigned kKeepType = 2;       ///< otherwise a dynamic image with a parent becomes a child of it
inline constexpr unsigned kOddSize = 4;        ///< 511 bytes more: footers before Virtual PC 2004 had as many

inline constexpr std::uint64_t kMaxInputSectors = std::uint64_t{1} << 33;  // 4 TiB

struct InputFile {
    unsigned flags = 0;
    std::shared_ptr<MemoryContents> contents = std::make_shared<MemoryContents>();
};

inline InputFile read_file(InputReader reader) {
    InputFile file;
    file.flags = static_cast<unsigned>(reader.number(1));
    const std::uint64_t sectors = reader.number(5) % (kMaxInputSectors + 1);
    file.contents->truncate(sectors * kSectorSize + ((file.flags & kOddSize) != 0 ? 511 : 0));
    while (!reader.at_end()) {
        const std::uint64_t sector = reader.number(5);
        const auto bytes = reader.take((1 + reader.number(1)) * kSectorSize);
        if (sector < sectors) {
            const std::uint64_t room = (sectors - sector) * kSectorSize;
            file.contents->write(sector * kSectorSize,
                                 bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), room))));
        }
    }
    return file;
}

/// Changes the VHD structures of a file, as far as it has room for them, and makes their checksums right.
template <typename ChangeFooter, typename ChangeHeader>
void rewrite_structures(MemoryContents& contents, ChangeFooter change_footer, ChangeHeader change_header) {
    vhd::DynamicHeaderBytes header;
    vhd::FooterBytes footer;
    if (contents.size < 512 + header.size()) {
        return;
    }
    contents.read(512, header);
    if (auto parsed = vhd::parse_dynamic_header(header); parsed.cookie == vhd::kDynamicHeaderCookie) {
        change_header(parsed);
        contents.write(512, vhd::serialise(parsed));
    }
    for (const std::uint64_t offset : {std::uint64_t{0}, contents.size - footer.size()}) {
        contents.read(offset, footer);
        if (vhd::has_footer_cookie(footer)) {
            auto parsed = vhd::parse_footer(footer);
            change_footer(parsed);
            contents.write(offset, vhd::serialise(parsed));
        }
    }
}

/// While it lives, the program ends with a message when what is allocated in addition exceeds a limit.
class MemoryLimit {
  public:
    explicit MemoryLimit(std::size_t bytes) {
        static const int installed = __sanitizer_install_malloc_and_free_hooks(&allocated, &freed);
        if (installed == 0) {
            std::abort();
        }
        live_ = 0;
        limit_ = static_cast<std::int64_t>(bytes);
    }
    MemoryLimit(const MemoryLimit&) = delete;
    MemoryLimit& operator=(const MemoryLimit&) = delete;
    ~MemoryLimit() { limit_ = 0; }

  private:
    static void allocated(const volatile void*, std::size_t size) {
        live_ += static_cast<std::int64_t>(size);
        if (limit_ != 0 && live_ > limit_) {
            std::fprintf(stderr, "more memory than allowed: %lld bytes\n", static_cast<long long>(live_.load()));
            std::abort();
        }
    }
    static void freed(const volatile void* memory) {
        if (memory != nullptr) {
            live_ -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<const void*>(memory)));
        }
    }

    static inline std::atomic<std::int64_t> live_ = 0;
    static inline std::atomic<std::int64_t> limit_ = 0;
};

}  // namespace vpc::disk::testing
