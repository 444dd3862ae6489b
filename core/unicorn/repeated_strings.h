#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>

#include "core/unicorn/engine_state.h"

namespace vpc::unicorn {

/// REP MOVS and REP STOS in whole pieces of memory. The engine runs a block of code for each element.
///
/// How such an instruction gets here: engine_overrides.cpp lets the engine translate it as RDTSC, whose helper is
/// replaced anyway, and the helper looks at the guest's memory to see what it really stands for.
struct RepeatedString {
    bool move = false;  ///< MOVS; otherwise STOS
    unsigned size = 1;  ///< bytes of an element: 1, 2, 4
    bool wide = false;  ///< 32-bit addresses and counter
    unsigned segment = kDs;
    unsigned length = 0;  ///< bytes of the instruction

    bool operator==(const RepeatedString&) const = default;
};

/// The longest form that is recognised: all four prefixes, once each, and the opcode.
inline constexpr std::size_t kLongestRepeatedString = 5;

/// The instruction that `code` begins with; nothing if it is another one, or not all there.
std::optional<RepeatedString> decode_repeated_string(std::span<const std::uint8_t> code, bool code32);

/// A prefix of x86 instructions other than LOCK.
bool is_prefix(std::uint8_t byte);

/// RDTSC with as many bytes: the prefixes of `code` without REP, and RDTSC's opcode.
void disguise_repeated_string(std::span<std::uint8_t> code);

/// The engine's ways to memory, for what its TLB does not have at hand. They raise the guest's exceptions by leaving
/// the engine's run. Sizes 1, 2, 4.
struct EngineMemory {
    std::uint32_t (*load)(void* env, std::uint64_t address, unsigned size, int mode) = nullptr;
    void (*store)(void* env, std::uint64_t address, std::uint32_t value, unsigned size, int mode) = nullptr;
    std::uint8_t (*fetch)(void* env, std::uint64_t address) = nullptr;
};

enum class RepeatedStringResult {
    None,        ///< another instruction
    Finished,    ///< the block can go on behind it
    LeaveBlock,  ///< EIP says where to go on: the instruction is interrupted, or may have stored to the block's code
};

/// Runs the instruction at EIP, in the middle of a block. The state's registers are true whenever memory is accessed.
/// `stores_to_code` counts the engine's stores to pages that hold translated code; `stop_wanted` is asked after every
/// page.
RepeatedStringResult run_repeated_string(const StateLayout& layout, void* env, const EngineMemory& memory,
                                         const std::uint64_t& stores_to_code, const std::function<bool()>& stop_wanted);

}  // namespace vpc::unicorn
