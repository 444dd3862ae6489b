// The registers, one by one and as a CpuState.

#include "core/unicorn/unicorn_cpu_session.h"

namespace vpc::unicorn {
namespace {

/// The engine's numbers of the general registers, in the order of GeneralRegister.
constexpr std::array<int, 8> kGeneralRegisters = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                                                  UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

}  // namespace

std::uint32_t UnicornCpu::read_register(int id) const {
    std::uint64_t value = 0;  // some registers are written 64 bits wide
    uc_reg_read(uc_, id, &value);
    return static_cast<std::uint32_t>(value);
}

std::uint32_t UnicornCpu::read_eflags() const {
    if (env_ != nullptr && engine_functions().read_eflags != nullptr) {
        // Where the engine has lost track of what it derives the computed flags from (behind a LOOPE or LOOPNE whose
        // count has run out), it returns an operand: nothing of that may reach the system's flags.
        constexpr std::uint32_t kComputed = eflags::kArithmetic | eflags::kDirection;
        const EngineState state(facts_.layout, env_);
        return (static_cast<std::uint32_t>(engine_functions().read_eflags(env_)) & kComputed) |
               (state.system_flags() & ~kComputed) | eflags::kAlwaysOne;
    }
    return read_register(UC_X86_REG_EFLAGS);
}

void UnicornCpu::set_a20(bool enabled) {
    const OverrideScope scope(*this);
    Session session(*this);
    session->set_a20_mask(enabled ? 0xFFFFFFFF : 0xFFEFFFFF);
    session.commit();
    uc_ctl_flush_tlb(uc_);
}

std::uint32_t UnicornCpu::general(GeneralRegister which) {
    return read_register(kGeneralRegisters[which]);
}

void UnicornCpu::set_general(GeneralRegister which, std::uint32_t value) {
    uc_reg_write(uc_, kGeneralRegisters[which], &value);
}

CpuState UnicornCpu::state() {
    const OverrideScope scope(*this);
    CpuState out;
    Session session(*this);
    for (unsigned i = 0; i < 8; ++i) {
        out.general[i] = session->general(i);
    }
    out.eip = session->eip();
    out.eflags = read_eflags();
    for (unsigned i = 0; i < 6; ++i) {
        out.segments[i] = session->segment(i);
    }
    out.ldtr = session->ldtr();
    out.tr = session->tr();
    out.gdtr = session->gdtr();
    out.idtr = session->idtr();
    out.cr0 = session->cr(0);
    out.cr2 = session->cr(2);
    out.cr3 = session->cr(3);
    out.cr4 = session->cr(4);
    out.cpl = static_cast<std::uint8_t>(session->cpl());
    out.interrupt_shadow = session->interrupt_shadow();
    out.halted = halted_;
    out.a20 = session->a20_mask() == 0xFFFFFFFF;
    for (int i = 0; i < 8; ++i) {
        out.debug[static_cast<std::size_t>(i)] = read_register(UC_X86_REG_DR0 + i);
    }
    out.fpu_control = static_cast<std::uint16_t>(read_register(UC_X86_REG_FPCW));
    out.fpu_status = static_cast<std::uint16_t>(read_register(UC_X86_REG_FPSW));
    out.fpu_tags = static_cast<std::uint16_t>(read_register(UC_X86_REG_FPTAG));
    const int top = (out.fpu_status >> 11) & 7;
    for (int i = 0; i < 8; ++i) {
        uc_reg_read(uc_, UC_X86_REG_FP0 + ((top + i) & 7), out.st[static_cast<std::size_t>(i)].data());
        uc_reg_read(uc_, UC_X86_REG_XMM0 + i, out.xmm[static_cast<std::size_t>(i)].data());
    }
    out.mxcsr = read_register(UC_X86_REG_MXCSR);
    out.sysenter_cs = session->get<std::uint32_t>(facts_.layout.sysenter_cs);
    out.sysenter_esp = session->get<std::uint32_t>(facts_.layout.sysenter_esp);
    out.sysenter_eip = session->get<std::uint32_t>(facts_.layout.sysenter_eip);
    out.time_stamp_offset = time_stamp_offset_;
    return out;
}

void UnicornCpu::set_state(const CpuState& in) {
    const OverrideScope scope(*this);
    // First what the engine's own interface sets, since it would undo edits made before.
    for (int i = 0; i < 8; ++i) {
        if (i != 4 && i != 5) {
            const std::uint64_t value = in.debug[static_cast<std::size_t>(i)];
            uc_reg_write(uc_, UC_X86_REG_DR0 + i, &value);
        }
    }
    uc_reg_write(uc_, UC_X86_REG_FPCW, &in.fpu_control);
    uc_reg_write(uc_, UC_X86_REG_FPSW, &in.fpu_status);
    uc_reg_write(uc_, UC_X86_REG_FPTAG, &in.fpu_tags);
    const int top = (in.fpu_status >> 11) & 7;
    for (int i = 0; i < 8; ++i) {
        uc_reg_write(uc_, UC_X86_REG_FP0 + ((top + i) & 7), in.st[static_cast<std::size_t>(i)].data());
        uc_reg_write(uc_, UC_X86_REG_XMM0 + i, in.xmm[static_cast<std::size_t>(i)].data());
    }
    uc_reg_write(uc_, UC_X86_REG_MXCSR, &in.mxcsr);

    Session session(*this);
    for (unsigned i = 0; i < 8; ++i) {
        session->set_general(i, in.general[i]);
    }
    session->set_eip(in.eip);
    session->set_eflags(in.eflags);
    for (unsigned i = 0; i < 6; ++i) {
        session->set_segment(i, in.segments[i]);
    }
    session->set_ldtr(in.ldtr);
    session->set_tr(in.tr);
    session->set_gdtr(in.gdtr);
    session->set_idtr(in.idtr);
    session->set_cr(0, in.cr0);
    session->set_cr(2, in.cr2);
    session->set_cr(3, in.cr3);
    session->set_cr(4, in.cr4);
    session->set_hidden_flags((session->hidden_flags() & ~(hflag::kCplMask | hflag::kInterruptShadow | hflag::kTrap)) |
                              in.cpl | (in.interrupt_shadow ? hflag::kInterruptShadow : 0));
    session->refresh_hidden_flags();
    session->set_a20_mask(in.a20 ? 0xFFFFFFFF : 0xFFEFFFFF);
    session->put<std::uint32_t>(facts_.layout.sysenter_cs, in.sysenter_cs);
    session->put<std::uint64_t>(facts_.layout.sysenter_esp, in.sysenter_esp);
    session->put<std::uint64_t>(facts_.layout.sysenter_eip, in.sysenter_eip);
    session->forget_exception();
    session.commit();
    uc_ctl_flush_tlb(uc_);
    halted_ = in.halted;
    time_stamp_offset_ = in.time_stamp_offset;
}

}  // namespace vpc::unicorn
