#include "core/unicorn/interrupt_delivery.h"

#include "core/unicorn/task_switch.h"

namespace vpc::unicorn {
namespace {

constexpr std::uint32_t kExternal = 1;  // EXT bit of an error code
constexpr std::uint32_t kInIdt = 2;     // IDT bit

std::uint32_t selector_error(std::uint16_t selector, std::uint32_t external) {
    return (selector & ~3u) | external;
}

[[noreturn]] void fault(Vector vector, std::uint32_t error_code) {
    throw Fault{vector, error_code};
}

/// Table 6-5 of the Intel SDM, volume 3: which pairs of exceptions make a double fault.
bool makes_double_fault(const Event& first, Vector second) {
    const auto contributory = [](std::uint8_t vector) { return vector == 0 || (vector >= 10 && vector <= 13); };
    constexpr auto kPageFault = static_cast<std::uint8_t>(Vector::PageFault);
    if (first.kind != Event::Kind::Exception) {
        return false;
    }
    const auto next = static_cast<std::uint8_t>(second);
    return (contributory(first.vector) && contributory(next)) ||
           (first.vector == kPageFault && (contributory(next) || next == kPageFault));
}

/// Stack of an inner privilege level, from the current task's TSS.
struct InnerStack {
    SegmentRegister segment;
    std::uint32_t pointer;
};

InnerStack inner_stack(const EngineState& state, LinearMemory& memory, unsigned dpl, std::uint32_t external) {
    const SegmentRegister tr = state.tr();
    const bool wide = (tr.attributes & 0x08) != 0;
    const std::uint32_t offset = wide ? 4 + 8 * dpl : 2 + 4 * dpl;
    const std::uint32_t last = offset + (wide ? 5 : 3);
    if (last > tr.limit) {
        fault(Vector::InvalidTss, selector_error(tr.selector, external));
    }
    const std::uint32_t pointer =
        wide ? memory.read<std::uint32_t>(tr.base + offset) : memory.read<std::uint16_t>(tr.base + offset);
    const auto selector = memory.read<std::uint16_t>(tr.base + offset + (wide ? 4 : 2));
    if (null_selector(selector)) {
        fault(Vector::InvalidTss, external);
    }
    const std::uint32_t error = selector_error(selector, external);
    const std::optional<Descriptor> descriptor = fetch_descriptor(state, memory, selector);
    if (!descriptor || requested_privilege(selector) != dpl || descriptor->dpl() != dpl ||
        !descriptor->writable_data()) {
        fault(Vector::InvalidTss, error);
    }
    if (!descriptor->present()) {
        fault(Vector::StackFault, error);
    }
    return {.segment = descriptor->load(selector), .pointer = pointer};
}

}  // namespace

bool has_error_code(std::uint8_t vector) {
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

std::uint32_t descriptor_address(const EngineState& state, std::uint16_t selector) {
    const bool local = (selector & 4) != 0;
    return (local ? state.ldtr().base : state.gdtr().base) + (selector & ~7u);
}

std::optional<Descriptor> fetch_descriptor(const EngineState& state, LinearMemory& memory, std::uint16_t selector) {
    const bool local = (selector & 4) != 0;
    const std::uint32_t limit = local ? state.ldtr().limit : state.gdtr().limit;
    const bool usable = !local || !null_selector(state.ldtr().selector);
    if (!usable || (selector | 7u) > limit) {
        return std::nullopt;
    }
    const std::uint32_t address = descriptor_address(state, selector);
    return Descriptor{.low = memory.read<std::uint32_t>(address), .high = memory.read<std::uint32_t>(address + 4)};
}

Stack::Stack(const SegmentRegister& segment, std::uint32_t pointer, std::uint32_t error_code)
    : segment_(segment),
      pointer_(pointer),
      mask_((segment.attributes & attribute::kBig) != 0 ? 0xFFFFFFFF : 0xFFFF),
      error_code_(error_code) {}

void Stack::push(LinearMemory& memory, std::uint32_t value, bool wide) {
    const std::uint32_t size = wide ? 4 : 2;
    const std::uint32_t offset = (pointer_ - size) & mask_;
    const std::uint32_t last = offset + size - 1;
    constexpr std::uint16_t kKind = attribute::kNotSystem | attribute::kCode | attribute::kExpandDown;
    const bool expand_down = (segment_.attributes & kKind) == (attribute::kNotSystem | attribute::kExpandDown);
    const bool inside = expand_down ? offset > segment_.limit && last <= mask_ && last >= offset
                                    : last <= segment_.limit && last >= offset;
    if (!inside) {
        fault(Vector::StackFault, error_code_);
    }
    if (wide) {
        memory.write<std::uint32_t>(segment_.base + offset, value);
    } else {
        memory.write<std::uint16_t>(segment_.base + offset, static_cast<std::uint16_t>(value));
    }
    pointer_ = (pointer_ & ~mask_) | offset;
}

InterruptDelivery::InterruptDelivery(PhysicalMemory& memory, Hooks hooks) : memory_(memory), hooks_(std::move(hooks)) {}

InterruptDelivery::Outcome InterruptDelivery::deliver(EngineState& state, const Event& event) {
    Event current = event;
    bool doubled = false;
    // Each round either delivers or replaces the event by a graver one; a page fault that faults again with the same
    // vector is a double fault, so the loop ends after a handful of rounds.
    for (;;) {
        const std::uint16_t task = state.tr().selector;
        try {
            attempt(state, current);
            return doubled ? Outcome::DeliveredAsDoubleFault : Outcome::Delivered;
        } catch (const Fault& met) {
            // A fault met behind a task switch belongs to the new task, whose EIP is its own.
            if (current.kind == Event::Kind::SoftwareInterrupt && state.tr().selector == task) {
                state.set_eip(current.instruction_eip);
            }
            if (met.vector == Vector::PageFault) {
                state.set_cr(2, met.linear_address);
            }
            if (current.kind == Event::Kind::Exception &&
                current.vector == static_cast<std::uint8_t>(Vector::DoubleFault)) {
                return Outcome::Shutdown;
            }
            const bool double_fault = makes_double_fault(current, met.vector);
            doubled = doubled || double_fault;
            current = {.kind = Event::Kind::Exception,
                       .vector = static_cast<std::uint8_t>(double_fault ? Vector::DoubleFault : met.vector),
                       .error_code = double_fault ? 0 : met.error_code};
        }
    }
}

void InterruptDelivery::attempt(EngineState& state, const Event& event) {
    LinearMemory memory(state, memory_, hooks_.stored);
    if (state.protected_mode()) {
        protected_mode(state, memory, event);
    } else {
        real_mode(state, memory, event);
    }
}

void InterruptDelivery::real_mode(EngineState& state, LinearMemory& memory, const Event& event) {
    const TableRegister idtr = state.idtr();
    if (event.vector * 4u + 3 > idtr.limit) {
        fault(Vector::GeneralProtection, 0);
    }
    const auto offset = memory.read<std::uint16_t>(idtr.base + event.vector * 4u);
    const auto selector = memory.read<std::uint16_t>(idtr.base + event.vector * 4u + 2);

    const SegmentRegister ss = state.segment(kSs);
    SegmentRegister cs = state.segment(kCs);
    const std::uint32_t flags = hooks_.read_eflags();
    std::uint32_t pointer = state.general(kEsp);
    const std::uint32_t values[] = {flags, cs.selector, state.eip()};
    for (const std::uint32_t value : values) {
        // Real-mode stacks wrap at 64 KiB whatever a protected-mode program left in SS's limit ("unreal" mode).
        const std::uint32_t next = (pointer - 2) & 0xFFFF;
        memory.write<std::uint16_t>(ss.base + next, static_cast<std::uint16_t>(value));
        pointer = (pointer & 0xFFFF0000) | next;
    }
    state.set_general(kEsp, pointer);
    cs.selector = selector;
    cs.base = static_cast<std::uint32_t>(selector) << 4;
    state.set_segment(kCs, cs);
    state.set_eip(offset);
    state.set_system_flags(state.system_flags() &
                           ~(eflags::kInterrupt | eflags::kTrap | eflags::kAlignmentCheck | eflags::kResume));
    state.refresh_hidden_flags();
}

void InterruptDelivery::protected_mode(EngineState& state, LinearMemory& memory, const Event& event) {
    using namespace system_type;
    const bool software = event.kind == Event::Kind::SoftwareInterrupt;
    const std::uint32_t external = software ? 0 : kExternal;
    const std::uint32_t gate_error = event.vector * 8u + kInIdt + external;
    const unsigned cpl = state.cpl();
    const bool from_v86 = state.virtual_8086();

    const TableRegister idtr = state.idtr();
    if (event.vector * 8u + 7 > idtr.limit) {
        fault(Vector::GeneralProtection, gate_error);
    }
    const Descriptor gate{.low = memory.read<std::uint32_t>(idtr.base + event.vector * 8u),
                          .high = memory.read<std::uint32_t>(idtr.base + event.vector * 8u + 4)};
    const unsigned type = gate.type();
    const bool is_gate = type == kTaskGate || type == kInterruptGate16 || type == kTrapGate16 ||
                         type == kInterruptGate32 || type == kTrapGate32;
    if (!is_gate || (software && gate.dpl() < cpl)) {
        fault(Vector::GeneralProtection, gate_error);
    }
    if (!gate.present()) {
        fault(Vector::SegmentNotPresent, gate_error);
    }
    const bool with_error = event.kind == Event::Kind::Exception && has_error_code(event.vector);
    const auto selector = static_cast<std::uint16_t>(gate.low >> 16);
    if (type == kTaskGate) {
        switch_task(state, memory, memory_, selector, with_error ? std::optional(event.error_code) : std::nullopt,
                    !software, hooks_.read_eflags(), hooks_.flush_tlb, hooks_.stored);
        return;
    }

    if (null_selector(selector)) {
        fault(Vector::GeneralProtection, external);
    }
    const std::uint32_t code_error = selector_error(selector, external);
    const std::optional<Descriptor> code = fetch_descriptor(state, memory, selector);
    if (!code || !code->code() || code->dpl() > cpl) {
        fault(Vector::GeneralProtection, code_error);
    }
    if (!code->present()) {
        fault(Vector::SegmentNotPresent, code_error);
    }
    const bool inner = !code->conforming_code() && code->dpl() < cpl;
    const unsigned new_cpl = inner ? code->dpl() : cpl;
    if (from_v86 && new_cpl != 0) {
        fault(Vector::GeneralProtection, code_error);
    }

    const bool wide = type == kInterruptGate32 || type == kTrapGate32;
    const std::uint32_t new_eip = wide ? (gate.low & 0xFFFF) | (gate.high & 0xFFFF0000) : gate.low & 0xFFFF;
    if (new_eip > code->limit()) {
        fault(Vector::GeneralProtection, external);
    }

    const SegmentRegister old_ss = state.segment(kSs);
    const std::uint32_t old_esp = state.general(kEsp);
    SegmentRegister new_ss = old_ss;
    std::uint32_t pointer = old_esp;
    std::uint32_t stack_error = external;
    if (inner) {
        const InnerStack stack = inner_stack(state, memory, new_cpl, external);
        new_ss = stack.segment;
        const bool big = (new_ss.attributes & attribute::kBig) != 0;
        pointer = big ? stack.pointer : (old_esp & 0xFFFF0000) | (stack.pointer & 0xFFFF);  // SP is loaded, not ESP
        stack_error = selector_error(new_ss.selector, external);
    }
    Stack stack(new_ss, pointer, stack_error);
    if (inner) {
        if (from_v86) {
            for (const unsigned index : {kGs, kFs, kDs, kEs}) {
                stack.push(memory, state.segment(index).selector, wide);
            }
        }
        stack.push(memory, old_ss.selector, wide);
        stack.push(memory, old_esp, wide);
    }
    stack.push(memory, hooks_.read_eflags(), wide);
    stack.push(memory, state.segment(kCs).selector, wide);
    stack.push(memory, state.eip(), wide);
    if (with_error) {
        stack.push(memory, event.error_code, wide);
    }

    // Nothing can fault from here on.
    if (from_v86) {
        for (const unsigned index : {kGs, kFs, kDs, kEs}) {
            state.set_segment(index, {});
        }
    }
    std::uint32_t cleared = eflags::kTrap | eflags::kVirtual8086 | eflags::kResume | eflags::kNestedTask;
    if (type == kInterruptGate16 || type == kInterruptGate32) {
        cleared |= eflags::kInterrupt;
    }
    state.set_system_flags(state.system_flags() & ~cleared);
    if (inner) {
        state.set_segment(kSs, new_ss);
    }
    state.set_general(kEsp, stack.pointer());
    state.set_segment(kCs, code->load(static_cast<std::uint16_t>((selector & ~3u) | new_cpl)));
    state.set_eip(new_eip);
    state.set_cpl(new_cpl);
    state.refresh_hidden_flags();
}

}  // namespace vpc::unicorn
