#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace vpc::unicorn {

/// The engine's translation look-aside buffer, looked into directly.
///
/// Translated code finds guest memory through this table in a few instructions. The engine's own helpers (segment
/// loads, far calls, IRET) and this project's interrupt delivery do not: the first ask the memory map about every
/// access, the second walk the page tables. A look into the table saves them both. Only what translated code would
/// use is used: an entry with any flag set (memory-mapped, ROM, a page with translated code, not yet written) is left
/// to the slow way.
///
/// Where the table lies is the build's; find_tlb_layout() proves it, and without that proof nothing is looked up.
struct TlbLayout {
    /// Relative to the processor state, of what mode 0 has: a mask (8 bytes), then the table's address (8 bytes). The
    /// next mode's follow. 0: unknown.
    std::ptrdiff_t mask = 0;
    /// Entries are 1 << entry_bits bytes: the pages of loads, stores and fetches (8 bytes each), …
    unsigned entry_bits = 0;
    /// … and here what makes a host address of a guest address.
    std::size_t addend = 0;

    bool known() const { return mask != 0; }
};

/// The engine's modes of access. Mode 0 is for SMAP, which no model has.
inline constexpr unsigned kTlbUser = 1;
inline constexpr unsigned kTlbSupervisor = 2;

enum class TlbAccess : std::size_t {
    Load = 0,
    Store = 8,
    Fetch = 16,
};

/// Host address of `size` bytes at the linear address, or null where the slow way has to be taken.
inline std::uint8_t* look_up(const TlbLayout& layout, const void* env, std::uint64_t address, std::size_t size,
                             unsigned mode, TlbAccess access) {
    constexpr std::uint64_t kPage = 0xFFF;
    if (!layout.known() || (address & kPage) > kPage + 1 - size) {
        return nullptr;
    }
    const auto* description = static_cast<const std::uint8_t*>(env) + layout.mask + std::ptrdiff_t{16} * mode;
    std::uint64_t mask = 0;
    const std::uint8_t* table = nullptr;
    std::memcpy(&mask, description, sizeof mask);
    std::memcpy(&table, description + 8, sizeof table);
    const std::uint8_t* entry = table + (((address >> 12) << layout.entry_bits) & mask);
    std::uint64_t page = 0;
    std::memcpy(&page, entry + static_cast<std::size_t>(access), sizeof page);
    if (page != (address & ~kPage)) {
        return nullptr;
    }
    std::uint64_t addend = 0;
    std::memcpy(&addend, entry + layout.addend, sizeof addend);
    return reinterpret_cast<std::uint8_t*>(address + addend);
}

/// Finds the layout in an engine whose supervisor mode has just loaded from and stored to `used`, and has never
/// touched `unused`; `host` is where the page `used` lies. Unknown when nothing fits.
TlbLayout find_tlb_layout(const void* env, std::uint64_t used, std::uint64_t unused, const std::uint8_t* host);

}  // namespace vpc::unicorn
