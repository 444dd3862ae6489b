#pragma once
#include <algorithm>
#include <limits>
#include <thread>

#include "core/virtual_clock.h"

namespace vpc {

/// The first moments of a thread's wait for another one, spent awake. Being woken up costs some 25 us on either side,
/// as much as a host takes to write 128 KiB to its cache, and a guest that does one disk command after the other pays
/// for it twice in each. So who was last woken up after a short sleep looks for what he waits for himself, for a while,
/// before he sleeps again; KVM does so for halted guests ("halt polling"). It ends by itself: the first wait that turns
/// out to be long makes all further ones sleep at once, until one of those sleeps is short.
///
/// For one thread, the one that waits.
class ShortWait {
  public:
    /// What counts as short, in host time: KVM's halt_poll_ns (Linux, Documentation/virt/kvm/halt-polling.rst).
    static constexpr Nanoseconds kShort = 200 * kMicrosecond;

    /// Looks until `ready()`, which must be safe to call without a lock, or for kShort, but not beyond the host time
    /// `until`. Whether it is ready; if not, sleep.
    template <typename Ready>
    bool watch(const Ready& ready, Nanoseconds until = std::numeric_limits<Nanoseconds>::max()) {
        if (ready()) {
            return true;
        }
        if (!worthwhile_) {
            return false;
        }
        const Nanoseconds end = std::min(VirtualClock::steady_host_time() + kShort, until);
        do {
            std::this_thread::yield();  // whoever is waited for may need this very processor
            if (ready()) {
                return true;
            }
        } while (VirtualClock::steady_host_time() < end);
        worthwhile_ = false;
        return false;
    }
    /// He was woken up by what he waits for, after a sleep of this length.
    void slept(Nanoseconds duration) { worthwhile_ = duration < kShort; }

  private:
    bool worthwhile_ = false;
};

}  // namespace vpc
