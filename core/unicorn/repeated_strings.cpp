#include "core/unicorn/repeated_strings.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace vpc::unicorn {
namespace {

constexpr std::uint32_t kPageSize = 0x1000;
constexpr std::uint32_t kPageMask = kPageSize - 1;

// Prefixes and opcodes: Intel SDM volume 2, 2.1.1 and the pages of MOVS, STOS and RDTSC.
constexpr std::uint8_t kRepNe = 0xF2;  // means REP with MOVS and STOS, too
constexpr std::uint8_t kRep = 0xF3;
constexpr std::uint8_t kOperandSize = 0x66;
constexpr std::uint8_t kAddressSize = 0x67;
constexpr std::uint8_t kRdtsc[] = {0x0F, 0x31};

std::optional<unsigned> segment_of_prefix(std::uint8_t byte) {
    switch (byte) {
        case 0x26:
            return kEs;
        case 0x2E:
            return kCs;
        case 0x36:
            return kSs;
        case 0x3E:
            return kDs;
        case 0x64:
            return kFs;
        case 0x65:
            return kGs;
        default:
            return std::nullopt;
    }
}

/// How many elements lie in the page of `address` and in front of the end of the offsets, going in `step`s. 0: the
/// first lies in two pages.
std::uint32_t elements_at_hand(std::uint32_t address, std::uint32_t offset, std::int32_t step, bool wide) {
    const auto size = static_cast<std::uint32_t>(std::abs(step));
    const std::uint32_t in_page = address & kPageMask;
    if (in_page + size > kPageSize) {
        return 0;
    }
    const std::uint32_t count = step > 0 ? (kPageSize - in_page) / size : in_page / size + 1;
    if (wide) {
        return count;
    }
    constexpr std::uint32_t kOffsets = 0x10000;
    return std::min(count, step > 0 ? (kOffsets - offset + size - 1) / size : offset / size + 1);
}

void move_elements(std::uint8_t* to, const std::uint8_t* from, std::uint32_t count, std::int32_t step) {
    const auto size = static_cast<std::size_t>(std::abs(step));
    const std::size_t bytes = size * count;
    std::uint8_t* lowest_to = step > 0 ? to : to + size - bytes;
    const std::uint8_t* lowest_from = step > 0 ? from : from + size - bytes;
    const bool apart = lowest_to + bytes <= lowest_from || lowest_from + bytes <= lowest_to;
    // An element must not be overwritten before it is read, or programs that spread a pattern would not work.
    if (apart || (step > 0 ? lowest_to <= lowest_from : lowest_to >= lowest_from)) {
        std::memmove(lowest_to, lowest_from, bytes);
        return;
    }
    for (; count != 0; --count, to += step, from += step) {
        std::uint32_t element = 0;
        std::memcpy(&element, from, size);
        std::memcpy(to, &element, size);
    }
}

void fill_elements(std::uint8_t* to, std::uint32_t value, std::uint32_t count, std::int32_t step) {
    const auto size = static_cast<std::size_t>(std::abs(step));
    std::uint8_t* at = step > 0 ? to : to + size - size * count;
    if (size == 1) {
        std::memset(at, static_cast<int>(value & 0xFF), count);
        return;
    }
    for (; count != 0; --count, at += size) {
        std::memcpy(at, &value, size);
    }
}

/// One execution: the registers, and what has to be moved.
class Execution {
  public:
    Execution(const StateLayout& layout, void* env, const EngineMemory& memory, const std::uint64_t& stores_to_code)
        : layout_(layout),
          env_(env),
          memory_(memory),
          stores_to_code_(stores_to_code),
          state_(layout, static_cast<std::uint8_t*>(env)) {
        mode_ = static_cast<int>(state_.cpl() == 3 ? kTlbUser : kTlbSupervisor);
        code_ = base_of(kCs) + state_.eip();
    }

    std::optional<RepeatedString> decode() const {
        std::array<std::uint8_t, kLongestRepeatedString> bytes{};
        const bool code32 = (state_.hidden_flags() & hflag::kCode32) != 0;
        const std::uint32_t left = kPageSize - (code_ & kPageMask);
        const auto size = std::min<std::size_t>(bytes.size(), left);
        if (const std::uint8_t* host = look_up(layout_.tlb, env_, code_, size, unsigned(mode_), TlbAccess::Fetch)) {
            std::memcpy(bytes.data(), host, size);
            return decode_repeated_string({bytes.data(), size}, code32);
        }
        std::size_t fetched = 0;
        do {
            bytes[fetched] = memory_.fetch(env_, code_ + fetched);
        } while (is_prefix(bytes[fetched++]) && fetched < size);
        return decode_repeated_string({bytes.data(), fetched}, code32);
    }

    RepeatedStringResult run(const RepeatedString& what, const std::function<bool()>& stop_wanted) {
        const std::int32_t step = state_.get<std::int32_t>(layout_.direction) < 0
                                      ? -static_cast<std::int32_t>(what.size)
                                      : static_cast<std::int32_t>(what.size);
        const std::uint32_t to_base = base_of(kEs);
        const std::uint32_t from_base = base_of(what.segment);
        wide_ = what.wide;
        while (const std::uint32_t count = offset(kEcx)) {
            const std::uint32_t to = to_base + offset(kEdi);
            const std::uint32_t from = from_base + offset(kEsi);
            std::uint32_t at_hand = std::min(count, elements_at_hand(to, offset(kEdi), step, wide_));
            if (what.move) {
                at_hand = std::min(at_hand, elements_at_hand(from, offset(kEsi), step, wide_));
            }
            const std::uint32_t done = what.move ? move(from, to, at_hand, step) : fill(to, at_hand, step);
            const std::uint32_t distance = done * static_cast<std::uint32_t>(step);
            set_offset(kEdi, offset(kEdi) + distance);
            set_offset(kEsi, offset(kEsi) + (what.move ? distance : 0));
            set_offset(kEcx, count - done);
            if (done != count && (stop_wanted() || (code_may_have_changed_ && decode() != what))) {
                return RepeatedStringResult::LeaveBlock;
            }
        }
        if (!code_may_have_changed_) {
            return RepeatedStringResult::Finished;
        }
        state_.set_eip(state_.eip() + what.length);
        return RepeatedStringResult::LeaveBlock;
    }

  private:
    std::uint32_t base_of(unsigned segment) const { return state_.segment(segment).base; }
    std::uint32_t offset(unsigned index) const { return state_.general(index) & (wide_ ? ~0u : 0xFFFFu); }
    void set_offset(unsigned index, std::uint32_t value) {
        state_.set_general(index, wide_ ? value : (state_.general(index) & 0xFFFF0000) | (value & 0xFFFF));
    }
    std::uint8_t* at_hand(std::uint32_t address, std::size_t size, TlbAccess access) const {
        return look_up(layout_.tlb, env_, address, size, static_cast<unsigned>(mode_), access);
    }

    /// Moves `whole` elements, which lie in one page here and one there, if the engine's TLB has both pages or gets
    /// them by the access to the first element; otherwise fewer, but one at least. Returns how many.
    std::uint32_t move(std::uint32_t from, std::uint32_t to, std::uint32_t whole, std::int32_t step) {
        const auto size = static_cast<unsigned>(std::abs(step));
        const std::uint8_t* source = whole == 0 ? nullptr : at_hand(from, size, TlbAccess::Load);
        std::uint32_t first = 0;
        if (source != nullptr) {
            std::memcpy(&first, source, size);
        } else {
            first = memory_.load(env_, from, size, mode_);
            source = whole == 0 ? nullptr : at_hand(from, size, TlbAccess::Load);
        }
        std::uint8_t* target = source == nullptr ? nullptr : at_hand(to, size, TlbAccess::Store);
        std::uint32_t done = 0;
        if (target == nullptr) {
            store(to, first, size);
            done = 1;
            // The two pages may have the same place in the TLB; the source's host address outlives a store to RAM.
            target = source == nullptr ? nullptr : at_hand(to, size, TlbAccess::Store);
        }
        if (target == nullptr) {
            code_may_have_changed_ = true;
            return 1;
        }
        const std::uint32_t count = beside_the_code(target, whole, step);
        const std::ptrdiff_t distance = std::ptrdiff_t{step} * done;
        move_elements(target + distance, source + distance, count - done, step);
        return count;
    }

    /// Likewise.
    std::uint32_t fill(std::uint32_t to, std::uint32_t whole, std::int32_t step) {
        const auto size = static_cast<unsigned>(std::abs(step));
        const std::uint32_t value = state_.general(kEax);
        std::uint8_t* target = whole == 0 ? nullptr : at_hand(to, size, TlbAccess::Store);
        if (target == nullptr) {
            store(to, value, size);
            target = whole == 0 ? nullptr : at_hand(to, size, TlbAccess::Store);
        }
        if (target == nullptr) {
            code_may_have_changed_ = true;
            return 1;
        }
        const std::uint32_t count = beside_the_code(target, whole, step);
        fill_elements(target, value, count, step);
        return count;
    }

    void store(std::uint32_t address, std::uint32_t value, unsigned size) {
        const std::uint64_t before = stores_to_code_;
        memory_.store(env_, address, value, size, mode_);
        code_may_have_changed_ |= stores_to_code_ != before;
    }

    /// How many elements can be stored at once, given that the instruction must be looked at again once it is stored
    /// to. Pages with code never are at hand for stores; one may have become a page without by the first store.
    std::uint32_t beside_the_code(const std::uint8_t* target, std::uint32_t count, std::int32_t step) {
        if (!code_may_have_changed_) {
            return count;
        }
        const std::uint8_t* code = at_hand(code_, 1, TlbAccess::Fetch);
        if (code == nullptr) {
            return 1;
        }
        const std::ptrdiff_t bytes = std::ptrdiff_t{step} * count;
        const std::uint8_t* low = bytes > 0 ? target : target + bytes;
        const std::uint8_t* high = low + std::abs(bytes) + sizeof(std::uint32_t);
        return code + kLongestRepeatedString <= low || high <= code ? count : 1;
    }

    const StateLayout& layout_;
    void* env_;
    const EngineMemory& memory_;
    const std::uint64_t& stores_to_code_;
    EngineState state_;
    int mode_ = 0;
    std::uint32_t code_ = 0;
    bool wide_ = false;
    bool code_may_have_changed_ = false;
};

}  // namespace

std::optional<RepeatedString> decode_repeated_string(std::span<const std::uint8_t> code, bool code32) {
    RepeatedString found{.wide = code32};
    unsigned operand = code32 ? 4 : 2;
    bool repeated = false;
    bool operand_changed = false;
    bool address_changed = false;
    bool segment_changed = false;
    const auto first = [](bool& seen) { return !std::exchange(seen, true); };
    for (const std::uint8_t byte : code) {
        ++found.length;
        if (byte == kRep || byte == kRepNe) {
            if (!first(repeated)) {
                return std::nullopt;
            }
        } else if (byte == kOperandSize) {
            if (!first(operand_changed)) {
                return std::nullopt;
            }
            operand = 6 - operand;
        } else if (byte == kAddressSize) {
            if (!first(address_changed)) {
                return std::nullopt;
            }
            found.wide = !found.wide;
        } else if (const std::optional<unsigned> segment = segment_of_prefix(byte)) {
            if (!first(segment_changed)) {
                return std::nullopt;
            }
            found.segment = *segment;
        } else {
            constexpr std::uint8_t kMovs = 0xA4;
            constexpr std::uint8_t kStos = 0xAA;
            found.move = (byte & 0xFE) == kMovs;
            found.size = (byte & 1) != 0 ? operand : 1;
            return repeated && (found.move || (byte & 0xFE) == kStos) ? std::optional(found) : std::nullopt;
        }
    }
    return std::nullopt;
}

bool is_prefix(std::uint8_t byte) {
    return byte == kRep || byte == kRepNe || byte == kOperandSize || byte == kAddressSize || segment_of_prefix(byte);
}

void disguise_repeated_string(std::span<std::uint8_t> code) {
    const auto rep = std::find_if(code.begin(), code.end(), [](auto byte) { return byte == kRep || byte == kRepNe; });
    std::copy(rep + 1, code.end(), rep);
    std::copy(std::begin(kRdtsc), std::end(kRdtsc), code.end() - 2);
}

RepeatedStringResult run_repeated_string(const StateLayout& layout, void* env, const EngineMemory& memory,
                                         const std::uint64_t& stores_to_code,
                                         const std::function<bool()>& stop_wanted) {
    Execution execution(layout, env, memory, stores_to_code);
    const std::optional<RepeatedString> what = execution.decode();
    return what ? execution.run(*what, stop_wanted) : RepeatedStringResult::None;
}

}  // namespace vpc::unicorn
