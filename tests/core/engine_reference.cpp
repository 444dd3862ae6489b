#include "engine_reference.h"

#include <dlfcn.h>

#include "core/unicorn/engine_state.h"

namespace vpc::test {
namespace {

constexpr std::uint64_t kNever = ~std::uint64_t{0};

}  // namespace

EngineReference::EngineReference(Guest& guest) : guest_(guest), layout_(unicorn::engine_facts()->layout) {
    const unicorn::OverrideScope scope(*this);
    do_interrupt_ = reinterpret_cast<decltype(do_interrupt_)>(dlsym(RTLD_DEFAULT, "x86_cpu_do_interrupt_x86_64"));
    do_hardware_interrupt_ =
        reinterpret_cast<decltype(do_hardware_interrupt_)>(dlsym(RTLD_DEFAULT, "do_interrupt_x86_hardirq_x86_64"));
    if (do_interrupt_ == nullptr || do_hardware_interrupt_ == nullptr) {
        return;
    }
    uc_open(UC_ARCH_X86, UC_MODE_32, &uc_);
    uc_ctl_set_cpu_model(uc_, UC_CPU_X86_PENTIUM3);
    uc_ctl_set_tcg_buffer_size(uc_, 16u << 20);
    uc_ctl_exits_enable(uc_);
    uc_mem_map_ptr(uc_, 0, kMemory, UC_PROT_ALL, guest.memory.ram());
    uc_hook hook = 0;
    uc_hook_add(uc_, &hook, UC_HOOK_INTR, reinterpret_cast<void*>(+[](uc_engine*, std::uint32_t, void* context) {
                    auto* self = static_cast<EngineReference*>(context);
                    self->rewind_software_interrupt();
                    self->do_interrupt_(self->engine_cpu);  // jumps into the engine's loop when it faults itself
                }),
                this, 1, 0);
    // The engine shows its state to the replaced RDTSC, and its CPU to what follows a store.
    constexpr std::uint32_t kScratch = 0x700000;
    guest.store(kScratch, {0xA3, 0x00, 0x10, 0x70, 0x00, 0x0F, 0x31, 0xF4});  // MOV [701000h],EAX; RDTSC; HLT
    uc_emu_start(uc_, kScratch, kNever, 0, 0);
    guest.store(kScratch, {0, 0, 0, 0, 0, 0, 0, 0});
}

EngineReference::~EngineReference() {
    if (uc_ != nullptr) {
        const unicorn::OverrideScope scope(*this);
        uc_close(uc_);
    }
}

std::uint64_t EngineReference::time_stamp(void* env) {
    env_ = static_cast<std::uint8_t*>(env);
    return 0;
}

void EngineReference::put(const CpuState& start) {
    unicorn::EngineState state(layout_, env_);
    for (unsigned i = 0; i < 8; ++i) {
        state.set_general(i, start.general[i]);
    }
    state.set_eip(start.eip);
    state.set_eflags(start.eflags);
    for (unsigned i = 0; i < 6; ++i) {
        state.set_segment(i, start.segments[i]);
    }
    state.set_ldtr(start.ldtr);
    state.set_tr(start.tr);
    state.set_gdtr(start.gdtr);
    state.set_idtr(start.idtr);
    state.set_cr(0, start.cr0);
    state.set_cr(2, start.cr2);
    state.set_cr(3, start.cr3);
    state.set_cr(4, start.cr4);
    state.set_cpl(start.cpl);
    state.refresh_hidden_flags();
    state.forget_exception();
    uc_ctl_flush_tlb(uc_);
}

CpuState EngineReference::get(const CpuState& start) {
    const unicorn::EngineState state(layout_, env_);
    CpuState out = start;
    for (unsigned i = 0; i < 8; ++i) {
        out.general[i] = state.general(i);
    }
    out.eip = state.eip();
    std::uint64_t flags = 0;
    uc_reg_read(uc_, UC_X86_REG_EFLAGS, &flags);
    out.eflags = static_cast<std::uint32_t>(flags) | (state.system_flags() & eflags::kVirtual8086);
    for (unsigned i = 0; i < 6; ++i) {
        out.segments[i] = state.segment(i);
    }
    out.ldtr = state.ldtr();
    out.tr = state.tr();
    out.cr0 = state.cr(0);
    out.cr2 = state.cr(2);
    out.cr3 = state.cr(3);
    out.cpl = static_cast<std::uint8_t>(state.cpl());
    return out;
}

void EngineReference::rewind_software_interrupt() {
    // Unicorn moves EIP behind INT n before it calls the hook; QEMU's delivery wants it in front, with the next EIP
    // kept elsewhere.
    unicorn::EngineState state(layout_, env_);
    if (!state.software_interrupt()) {
        return;
    }
    const std::uint8_t* code = guest_.memory.ram() + state.segment(kCs).base + state.eip();
    state.set_eip(state.eip() - (code[-1] == 0xCC || code[-1] == 0xCE ? 1 : 2));
}

CpuState EngineReference::run(const CpuState& start) {
    const unicorn::OverrideScope scope(*this);
    put(start);
    unicorn::EngineState(layout_, env_).set_system_flags(start.eflags);
    uc_emu_start(uc_, start.eip, kNever, 0, 0);
    return get(start);
}

CpuState EngineReference::interrupt(const CpuState& start, std::uint8_t vector) {
    const unicorn::OverrideScope scope(*this);
    put(start);
    do_hardware_interrupt_(env_, vector, 1);
    return get(start);
}

}  // namespace vpc::test
