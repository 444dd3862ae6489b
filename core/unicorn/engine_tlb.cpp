#include "core/unicorn/engine_tlb.h"

#include <sys/uio.h>
#include <unistd.h>

#include <bit>

namespace vpc::unicorn {
namespace {

// Seen in 2.1.1: mask 64 bytes before the state, entries of 64 bytes, addend at 32. QEMU 5.0, which the engine
// descends from, has entries of 32 bytes with the addend at 24.
constexpr std::ptrdiff_t kNearest = -0x20;
constexpr std::ptrdiff_t kFarthest = -0x100;
constexpr std::uint64_t kMostEntries = 1u << 22;
constexpr struct {
    unsigned bits;
    std::size_t addend;
} kEntries[] = {{6, 0x20}, {5, 0x18}};

/// Copies from an address that may be anything at all.
bool read_anywhere(const void* from, void* to, std::size_t size) {
    const iovec local{.iov_base = to, .iov_len = size};
    const iovec remote{.iov_base = const_cast<void*>(from), .iov_len = size};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(size);
}

bool plausible(const TlbLayout& layout, const void* env, std::uint64_t address) {
    const TlbTable table = tlb_table(layout, env, kTlbSupervisor);
    const std::uint64_t entries = table.entries(layout);
    if (!std::has_single_bit(entries) || entries < 2 || entries > kMostEntries ||
        table.mask != (entries - 1) << layout.entry_bits) {
        return false;
    }
    std::uint8_t entry[64];
    return read_anywhere(table.entry(layout, address), entry, std::size_t{1} << layout.entry_bits);
}

}  // namespace

TlbLayout find_tlb_layout(const void* env, std::uint64_t used, std::uint64_t unused, const std::uint8_t* host) {
    for (const auto& entry : kEntries) {
        for (std::ptrdiff_t mask = kNearest; mask >= kFarthest; mask -= 8) {
            const TlbLayout layout{.mask = mask, .entry_bits = entry.bits, .addend = entry.addend};
            if (!plausible(layout, env, used) || !plausible(layout, env, unused)) {
                continue;
            }
            const auto finds = [&](std::uint64_t address, TlbAccess access) {
                return look_up(layout, env, address, 4, kTlbSupervisor, access);
            };
            if (finds(used + 8, TlbAccess::Load) == host + 8 && finds(used + 12, TlbAccess::Store) == host + 12 &&
                finds(unused, TlbAccess::Load) == nullptr && finds(unused, TlbAccess::Store) == nullptr) {
                return layout;
            }
        }
    }
    return {};
}

}  // namespace vpc::unicorn
