#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>

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
inline constexpr std::size_t kTlbModes = 3;

enum class TlbAccess : std::size_t {
    Load = 0,
    Store = 8,
    Fetch = 16,
};

/// One mode's table, which a flush may move.
struct TlbTable {
    std::uint64_t mask = 0;
    const std::uint8_t* first = nullptr;

    const std::uint8_t* entry(const TlbLayout& layout, std::uint64_t address) const {
        return first + (((address >> 12) << layout.entry_bits) & mask);
    }
    std::uint64_t entries(const TlbLayout& layout) const { return (mask >> layout.entry_bits) + 1; }
    /// Whether the page's place is another one's.
    bool holds_another(const TlbLayout& layout, std::uint64_t address) const {
        constexpr std::uint64_t kFlagsAndOffset = 0xFFF;
        for (const TlbAccess access : {TlbAccess::Load, TlbAccess::Store, TlbAccess::Fetch}) {
            std::uint64_t page = 0;
            std::memcpy(&page, entry(layout, address) + static_cast<std::size_t>(access), sizeof page);
            if (page != ~std::uint64_t{0} && ((page ^ address) & ~kFlagsAndOffset) != 0) {
                return true;
            }
        }
        return false;
    }
};

inline TlbTable tlb_table(const TlbLayout& layout, const void* env, unsigned mode) {
    const auto* description = static_cast<const std::uint8_t*>(env) + layout.mask + std::ptrdiff_t{16} * mode;
    TlbTable table;
    std::memcpy(&table.mask, description, sizeof table.mask);
    std::memcpy(&table.first, description + sizeof table.mask, sizeof table.first);
    return table;
}

/// Host address of `size` bytes at the linear address, or null where the slow way has to be taken.
inline std::uint8_t* look_up(const TlbLayout& layout, const void* env, std::uint64_t address, std::size_t size,
                             unsigned mode, TlbAccess access) {
    constexpr std::uint64_t kPage = 0xFFF;
    if (!layout.known() || (address & kPage) > kPage + 1 - size) {
        return nullptr;
    }
    const std::uint8_t* entry = tlb_table(layout, env, mode).entry(layout, address);
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
