#pragma once
#include <string>
#include <tl/expected.hpp>

#include "core/unicorn/engine_state.h"

namespace vpc::unicorn {

/// What the loaded engine can do: found by running guest code on it, once per process.
struct EngineFacts {
    std::string version;  ///< "2.1.1"
    StateLayout layout;
    /// The live state is edited in place. Without it every edit copies the whole state out and back.
    bool direct_state = false;
    /// A stop takes effect between two blocks. Without it stops go through a hook in front of every block (17-30 %
    /// slower).
    bool exact_stops = false;
    /// Stores to translated code are seen. Without it a memory hook switches the engine's faulty path off (loops that
    /// store are about 1.7 times slower).
    bool self_modifying_code = false;
    /// IN and OUT honour the I/O permission bitmap. Without it they never fault.
    bool port_permission = false;
    /// RDTSC is in virtual time. Without it the host's counter shows through.
    bool virtual_time_stamp = false;
    /// An interrupt that waits for IF is taken right after STI, POPF or IRET. Without it within 100 us.
    bool interrupt_window = false;

    /// REP MOVS and REP STOS run a page at a time. Without it the engine runs a block for each element.
    bool repeated_strings = false;

    /// The engine's TLB gets room for up to 16 MiB of pages when a guest needs it. Without it a guest has to flush it
    /// often enough, or walks its page tables.
    bool growing_tlb = false;

    /// LOOPE and LOOPNE leave the flags alone. Without it those behind one whose count runs out may be an earlier
    /// instruction's, or made up.
    bool loop_flags = false;

    /// "exact stops, self-modifying code, …", or "none".
    std::string describe() const;
};

/// Probes on first use. The error is one line for people: this library cannot be driven, and why.
const tl::expected<EngineFacts, std::string>& engine_facts();

}  // namespace vpc::unicorn
