#include "core/unicorn/task_switch.h"

#include <array>

#include "core/unicorn/descriptor.h"
#include "core/unicorn/interrupt_delivery.h"

namespace vpc::unicorn {
namespace {

// Offsets in the 32-bit and the 16-bit task state segment (Intel SDM volume 3, 7.2.1 and 7.6).
namespace tss32 {
constexpr std::uint32_t kCr3 = 0x1C;
constexpr std::uint32_t kEip = 0x20;
constexpr std::uint32_t kEflags = 0x24;
constexpr std::uint32_t kGeneral = 0x28;
constexpr std::uint32_t kSegments = 0x48;
constexpr std::uint32_t kLdt = 0x60;
constexpr std::uint32_t kLastByte = 0x67;
}  // namespace tss32
namespace tss16 {
constexpr std::uint32_t kIp = 0x0E;
constexpr std::uint32_t kFlags = 0x10;
constexpr std::uint32_t kGeneral = 0x12;
constexpr std::uint32_t kSegments = 0x22;
constexpr std::uint32_t kLdt = 0x2A;
constexpr std::uint32_t kLastByte = 0x2B;
}  // namespace tss16

constexpr std::uint32_t kNestedTaskFlag = vpc::eflags::kNestedTask;

struct TaskImage {
    std::uint32_t cr3 = 0;
    std::uint32_t eip = 0;
    std::uint32_t eflags = 0;
    std::array<std::uint32_t, 8> general{};
    std::array<std::uint16_t, 6> selectors{};
    std::uint16_t ldt = 0;
};

void save_task(const EngineState& state, LinearMemory& memory, const SegmentRegister& tr, bool wide,
               std::uint32_t eflags) {
    if (wide) {
        memory.write<std::uint32_t>(tr.base + tss32::kEip, state.eip());
        memory.write<std::uint32_t>(tr.base + tss32::kEflags, eflags);
        for (unsigned i = 0; i < 8; ++i) {
            memory.write<std::uint32_t>(tr.base + tss32::kGeneral + 4 * i, state.general(i));
        }
        for (unsigned i = 0; i < 6; ++i) {
            memory.write<std::uint16_t>(tr.base + tss32::kSegments + 4 * i, state.segment(i).selector);
        }
        return;
    }
    memory.write<std::uint16_t>(tr.base + tss16::kIp, static_cast<std::uint16_t>(state.eip()));
    memory.write<std::uint16_t>(tr.base + tss16::kFlags, static_cast<std::uint16_t>(eflags));
    for (unsigned i = 0; i < 8; ++i) {
        memory.write<std::uint16_t>(tr.base + tss16::kGeneral + 2 * i, static_cast<std::uint16_t>(state.general(i)));
    }
    for (unsigned i = 0; i < 4; ++i) {
        memory.write<std::uint16_t>(tr.base + tss16::kSegments + 2 * i, state.segment(i).selector);
    }
}

TaskImage load_task(LinearMemory& memory, std::uint32_t base, bool wide) {
    TaskImage task;
    if (wide) {
        task.cr3 = memory.read<std::uint32_t>(base + tss32::kCr3);
        task.eip = memory.read<std::uint32_t>(base + tss32::kEip);
        task.eflags = memory.read<std::uint32_t>(base + tss32::kEflags);
        for (unsigned i = 0; i < 8; ++i) {
            task.general[i] = memory.read<std::uint32_t>(base + tss32::kGeneral + 4 * i);
        }
        for (unsigned i = 0; i < 6; ++i) {
            task.selectors[i] = memory.read<std::uint16_t>(base + tss32::kSegments + 4 * i);
        }
        task.ldt = memory.read<std::uint16_t>(base + tss32::kLdt);
        return task;
    }
    task.eip = memory.read<std::uint16_t>(base + tss16::kIp);
    task.eflags = memory.read<std::uint16_t>(base + tss16::kFlags);
    for (unsigned i = 0; i < 8; ++i) {
        task.general[i] = memory.read<std::uint16_t>(base + tss16::kGeneral + 2 * i) | 0xFFFF0000;
    }
    for (unsigned i = 0; i < 4; ++i) {
        task.selectors[i] = memory.read<std::uint16_t>(base + tss16::kSegments + 2 * i);
    }
    task.ldt = memory.read<std::uint16_t>(base + tss16::kLdt);
    return task;
}

void set_busy(const EngineState& state, LinearMemory& memory, std::uint16_t selector) {
    const std::uint32_t address = descriptor_address(state, selector) + 4;
    memory.write<std::uint32_t>(address, memory.read<std::uint32_t>(address) | system_type::kBusyBit << 8);
}

/// Loads the new task's LDTR and segment registers with the checks of Intel SDM volume 3, table 7-1.
void load_segments(EngineState& state, LinearMemory& memory, const TaskImage& task, std::uint32_t external) {
    const auto invalid = [&](std::uint16_t selector) { throw Fault{Vector::InvalidTss, (selector & ~3u) | external}; };
    if ((task.ldt & 4) != 0) {
        invalid(task.ldt);
    }
    if (!null_selector(task.ldt)) {
        const std::optional<Descriptor> ldt = fetch_descriptor(state, memory, task.ldt);
        if (!ldt || ldt->type() != system_type::kLdt || !ldt->present()) {
            invalid(task.ldt);
        }
        state.set_ldtr(ldt->load(task.ldt));
    }
    if (state.virtual_8086()) {
        for (unsigned i = 0; i < 6; ++i) {
            state.set_segment(i, {.selector = task.selectors[i],
                                  .base = static_cast<std::uint32_t>(task.selectors[i]) << 4,
                                  .limit = 0xFFFF,
                                  .attributes = 0xF3});
        }
        state.set_cpl(3);
        return;
    }

    const std::uint16_t cs = task.selectors[kCs];
    const unsigned cpl = requested_privilege(cs);
    const std::optional<Descriptor> code = null_selector(cs) ? std::nullopt : fetch_descriptor(state, memory, cs);
    if (!code || !code->code() || (code->conforming_code() ? code->dpl() > cpl : code->dpl() != cpl)) {
        invalid(cs);
    }
    if (!code->present()) {
        throw Fault{Vector::SegmentNotPresent, (cs & ~3u) | external};
    }
    state.set_segment(kCs, code->load(cs));
    state.set_cpl(cpl);

    const std::uint16_t ss = task.selectors[kSs];
    const std::optional<Descriptor> stack = null_selector(ss) ? std::nullopt : fetch_descriptor(state, memory, ss);
    if (!stack || !stack->writable_data() || stack->dpl() != cpl || requested_privilege(ss) != cpl) {
        invalid(ss);
    }
    if (!stack->present()) {
        throw Fault{Vector::StackFault, (ss & ~3u) | external};
    }
    state.set_segment(kSs, stack->load(ss));

    for (const unsigned index : {kDs, kEs, kFs, kGs}) {
        const std::uint16_t selector = task.selectors[index];
        if (null_selector(selector)) {
            state.set_segment(index, {.selector = selector});
            continue;
        }
        const std::optional<Descriptor> data = fetch_descriptor(state, memory, selector);
        const bool private_data = data && !data->conforming_code();
        if (!data || !data->readable() ||
            (private_data && (data->dpl() < cpl || data->dpl() < requested_privilege(selector)))) {
            invalid(selector);
        }
        if (!data->present()) {
            throw Fault{Vector::SegmentNotPresent, (selector & ~3u) | external};
        }
        state.set_segment(index, data->load(selector));
    }
}

}  // namespace

void switch_task(EngineState& state, LinearMemory& memory, PhysicalMemory& physical, std::uint16_t tss_selector,
                 std::optional<std::uint32_t> error_code, bool external, std::uint32_t eflags,
                 const std::function<void()>& flush_tlb,
                 const std::function<void(std::uint64_t, std::uint64_t)>& stored) {
    const std::uint32_t extern_bit = external ? 1 : 0;
    const std::uint32_t error = (tss_selector & ~3u) | extern_bit;
    if ((tss_selector & 4) != 0 || null_selector(tss_selector)) {
        throw Fault{Vector::GeneralProtection, error};
    }
    const std::optional<Descriptor> descriptor = fetch_descriptor(state, memory, tss_selector);
    const unsigned type = descriptor ? descriptor->type() : 0;
    if (type != system_type::kTss32 && type != system_type::kTss16) {
        throw Fault{Vector::GeneralProtection, error};
    }
    if (!descriptor->present()) {
        throw Fault{Vector::SegmentNotPresent, error};
    }
    const bool wide = type == system_type::kTss32;
    if (descriptor->limit() < (wide ? tss32::kLastByte : tss16::kLastByte)) {
        throw Fault{Vector::InvalidTss, error};
    }

    const SegmentRegister old_tr = state.tr();
    const TaskImage task = load_task(memory, descriptor->base(), wide);
    save_task(state, memory, old_tr, (old_tr.attributes & 0x08) != 0, eflags);
    memory.write<std::uint16_t>(descriptor->base(), old_tr.selector);  // back link
    set_busy(state, memory, tss_selector);

    // From here on faults belong to the new task. Its segments hold their selectors already, without rights, so that a
    // fault in loading one finds the state as the manual describes it.
    SegmentRegister tr = descriptor->load(tss_selector);
    tr.attributes |= system_type::kBusyBit;
    state.set_tr(tr);
    state.set_cr(0, state.cr(0) | cr0::kTaskSwitched);
    if (wide && (state.cr(0) & cr0::kPaging) != 0 && state.cr(3) != task.cr3) {
        state.set_cr(3, task.cr3);
        flush_tlb();
    }
    state.set_eip(task.eip);
    state.set_eflags(task.eflags | kNestedTaskFlag);
    for (unsigned i = 0; i < 8; ++i) {
        state.set_general(i, task.general[i]);
    }
    state.set_ldtr({.selector = static_cast<std::uint16_t>(task.ldt & ~4u)});
    for (unsigned i = 0; i < 6; ++i) {
        state.set_segment(i, {.selector = task.selectors[i]});
    }
    state.set_cpl(state.virtual_8086() ? 3 : requested_privilege(task.selectors[kCs]));
    state.refresh_hidden_flags();

    LinearMemory new_memory(state, physical, stored);
    load_segments(state, new_memory, task, extern_bit);
    state.refresh_hidden_flags();
    if (error_code) {
        Stack stack(state.segment(kSs), state.general(kEsp), extern_bit);
        stack.push(new_memory, *error_code, wide);
        state.set_general(kEsp, stack.pointer());
    }
    if (state.eip() > state.segment(kCs).limit) {
        throw Fault{Vector::GeneralProtection, extern_bit};
    }
}

}  // namespace vpc::unicorn
