#pragma once
#include <cstdint>
#include <cstring>

#include "core/cpu_state.h"
#include "core/unicorn/engine_tlb.h"

namespace vpc::unicorn {

/// Where the fields of the engine's processor state lie, in bytes from its start. Found at start-up by the probe
/// (engine_probe.h): the layout belongs to the build of the library, not to its version number.
struct StateLayout {
    std::size_t context_header = 0;  ///< bytes before the state in what uc_context_save copies
    std::size_t general = 0;         ///< 16 registers of 8 bytes
    std::size_t eip = 0;
    std::size_t eflags = 0;  ///< system flags only; the arithmetic ones live in the cc fields
    std::size_t cc_source = 0;
    std::size_t cc_operation = 0;
    std::size_t direction = 0;  ///< +1 or -1
    std::size_t hflags = 0;
    std::size_t segments = 0;  ///< ES CS SS DS FS GS, 24 bytes each, then LDTR, TR, GDTR, IDTR
    std::size_t cr = 0;        ///< CR0 to CR4, 8 bytes each
    std::size_t a20_mask = 0;
    std::size_t error_code = 0;
    std::size_t old_exception = 0;
    std::size_t sysenter_cs = 0;
    std::size_t sysenter_esp = 0;
    std::size_t sysenter_eip = 0;
    TlbLayout tlb;  ///< known only where EngineState works on the live state
};

/// Bits of the engine's "hidden flags": what the translated code depends on.
namespace hflag {
inline constexpr std::uint32_t kCplMask = 3;
inline constexpr std::uint32_t kInterruptShadow = 1u << 3;
inline constexpr std::uint32_t kCode32 = 1u << 4;
inline constexpr std::uint32_t kStack32 = 1u << 5;
inline constexpr std::uint32_t kAddSegment = 1u << 6;
inline constexpr std::uint32_t kProtected = 1u << 7;
inline constexpr std::uint32_t kTrap = 1u << 8;
inline constexpr std::uint32_t kMonitorCoprocessor = 1u << 9;
inline constexpr std::uint32_t kEmulation = 1u << 10;
inline constexpr std::uint32_t kTaskSwitched = 1u << 11;
inline constexpr std::uint32_t kFxsave = 1u << 22;  // CR4.OSFXSR
}  // namespace hflag

/// Reads and writes the engine's processor state in place. Only valid on the machine's thread, between translated
/// blocks: outside a run, or inside the engine's interrupt hook.
///
/// Every setter of a segment or of CR0 must be followed by `refresh_hidden_flags` before guest code runs again.
class EngineState {
  public:
    EngineState() = default;
    EngineState(const StateLayout& layout, std::uint8_t* base) : layout_(&layout), base_(base) {}

    std::uint32_t general(unsigned index) const { return get<std::uint32_t>(layout_->general + 8 * index); }
    void set_general(unsigned index, std::uint32_t value) { put<std::uint64_t>(layout_->general + 8 * index, value); }
    std::uint32_t eip() const { return get<std::uint32_t>(layout_->eip); }
    void set_eip(std::uint32_t value) { put<std::uint64_t>(layout_->eip, value); }

    /// The system flags (TF, IF, IOPL, NT, RF, VM, AC, …); arithmetic flags and DF read as 0.
    std::uint32_t system_flags() const { return get<std::uint32_t>(layout_->eflags); }
    void set_system_flags(std::uint32_t value) { put<std::uint64_t>(layout_->eflags, value); }
    /// All of EFLAGS.
    void set_eflags(std::uint32_t value) {
        constexpr std::uint32_t kFlagsAreInSource = 1;
        put<std::uint64_t>(layout_->cc_source, value & eflags::kArithmetic);
        put<std::uint32_t>(layout_->cc_operation, kFlagsAreInSource);
        put<std::int32_t>(layout_->direction, (value & eflags::kDirection) != 0 ? -1 : 1);
        set_system_flags((value & ~(eflags::kArithmetic | eflags::kDirection)) | eflags::kAlwaysOne);
    }

    std::uint32_t hidden_flags() const { return get<std::uint32_t>(layout_->hflags); }
    void set_hidden_flags(std::uint32_t value) { put<std::uint32_t>(layout_->hflags, value); }
    unsigned cpl() const { return hidden_flags() & hflag::kCplMask; }
    void set_cpl(unsigned cpl) { set_hidden_flags((hidden_flags() & ~hflag::kCplMask) | cpl); }
    bool interrupt_shadow() const { return (hidden_flags() & hflag::kInterruptShadow) != 0; }

    SegmentRegister segment(unsigned index) const { return segment_at(layout_->segments + kSegmentSize * index); }
    void set_segment(unsigned index, const SegmentRegister& value) {
        set_segment_at(layout_->segments + kSegmentSize * index, value);
    }
    SegmentRegister ldtr() const { return segment(kLdtr); }
    void set_ldtr(const SegmentRegister& value) { set_segment(kLdtr, value); }
    /// The engine holds the running task's type without the busy bit, and aborts when it finds it.
    SegmentRegister tr() const {
        SegmentRegister value = segment(kTr);
        if ((value.attributes & kTssMask) == kTssAvailable) {
            value.attributes |= kTssBusyBit;
        }
        return value;
    }
    void set_tr(SegmentRegister value) {
        if ((value.attributes & kTssMask) == (kTssAvailable | kTssBusyBit)) {
            value.attributes ^= kTssBusyBit;
        }
        set_segment(kTr, value);
    }
    TableRegister gdtr() const { return table(kGdtr); }
    void set_gdtr(const TableRegister& value) { set_table(kGdtr, value); }
    TableRegister idtr() const { return table(kIdtr); }
    void set_idtr(const TableRegister& value) { set_table(kIdtr, value); }

    std::uint32_t cr(unsigned index) const { return get<std::uint32_t>(layout_->cr + 8 * index); }
    /// CR0, CR3 and CR4 need a TLB flush afterwards.
    void set_cr(unsigned index, std::uint32_t value) { put<std::uint64_t>(layout_->cr + 8 * index, value); }
    std::uint32_t a20_mask() const { return get<std::uint32_t>(layout_->a20_mask); }
    void set_a20_mask(std::uint32_t mask) { put<std::uint32_t>(layout_->a20_mask, mask); }

    std::uint32_t error_code() const { return get<std::uint32_t>(layout_->error_code); }
    /// The engine raised the current event for INT n, INT3 or INTO.
    bool software_interrupt() const { return get<std::uint32_t>(layout_->error_code + 4) != 0; }
    /// The engine keeps the vector of the exception being delivered and would make a double fault of the next one.
    void forget_exception() { put<std::int32_t>(layout_->old_exception, -1); }

    /// Host address of guest memory as the supervisor sees it; null where the engine's TLB has it not at hand.
    std::uint8_t* supervisor_memory(std::uint32_t address, std::size_t size, TlbAccess access) const {
        return look_up(layout_->tlb, base_, address, size, kTlbSupervisor, access);
    }

    bool protected_mode() const { return (hidden_flags() & hflag::kProtected) != 0; }
    bool virtual_8086() const { return (system_flags() & eflags::kVirtual8086) != 0; }

    /// Recomputes what the engine derives from CR0, CS, SS, DS, ES and EFLAGS; keeps CPL and the interrupt shadow.
    void refresh_hidden_flags();

    template <typename T>
    T get(std::size_t offset) const {
        T value;
        std::memcpy(&value, base_ + offset, sizeof value);
        return value;
    }
    template <typename T>
    void put(std::size_t offset, T value) {
        std::memcpy(base_ + offset, &value, sizeof value);
    }

  private:
    static constexpr std::size_t kSegmentSize = 24;
    enum : unsigned { kLdtr = 6, kTr, kGdtr, kIdtr };
    // Of SegmentRegister::attributes: the bits that are alike in 16- and 32-bit task state segments.
    enum : std::uint16_t { kTssMask = 0x17, kTssAvailable = 0x01, kTssBusyBit = 0x02 };

    SegmentRegister segment_at(std::size_t offset) const {
        return {.selector = get<std::uint16_t>(offset),
                .base = get<std::uint32_t>(offset + 8),
                .limit = get<std::uint32_t>(offset + 16),
                .attributes = static_cast<std::uint16_t>((get<std::uint32_t>(offset + 20) >> 8) & 0xF0FF)};
    }
    void set_segment_at(std::size_t offset, const SegmentRegister& value) {
        put<std::uint32_t>(offset, value.selector);
        put<std::uint64_t>(offset + 8, value.base);
        put<std::uint32_t>(offset + 16, value.limit);
        put<std::uint32_t>(offset + 20, static_cast<std::uint32_t>(value.attributes) << 8);
    }
    TableRegister table(unsigned index) const {
        const std::size_t offset = layout_->segments + kSegmentSize * index;
        return {.base = get<std::uint32_t>(offset + 8), .limit = get<std::uint32_t>(offset + 16)};
    }
    void set_table(unsigned index, const TableRegister& value) {
        const std::size_t offset = layout_->segments + kSegmentSize * index;
        put<std::uint64_t>(offset + 8, value.base);
        put<std::uint32_t>(offset + 16, value.limit);
    }

    const StateLayout* layout_ = nullptr;
    std::uint8_t* base_ = nullptr;
};

}  // namespace vpc::unicorn
