// What the engine asks of the machine, through its hooks and the overrides.

#include "core/unicorn/linear_memory.h"
#include "core/unicorn/unicorn_cpu.h"

namespace vpc::unicorn {

std::uint32_t UnicornCpu::on_port_read(std::uint32_t port, int size) {
    constexpr std::uint64_t kPatience = 256;
    if (++statistics_.port_reads % kPatience == 0) {
        // Who asks for stops at the clock's events may be late on a busy host, while a guest counts how often it has
        // asked a chip in vain: Bochs' BIOS gives the keyboard 65,535 reads.
        const auto deadline = surroundings_.clock.next_deadline();
        if (deadline && *deadline <= surroundings_.clock.now()) {
            request_stop();
        }
    }
    return surroundings_.ports.read(static_cast<std::uint16_t>(port), static_cast<unsigned>(size));
}

void UnicornCpu::on_port_write(std::uint32_t port, int size, std::uint32_t value) {
    ++statistics_.port_writes;
    surroundings_.ports.write(static_cast<std::uint16_t>(port), value, static_cast<unsigned>(size));
}

void UnicornCpu::on_cpuid() {
    const CpuidResult result = cpuid(model_, read_register(UC_X86_REG_EAX));
    uc_reg_write(uc_, UC_X86_REG_EAX, &result.eax);
    uc_reg_write(uc_, UC_X86_REG_EBX, &result.ebx);
    uc_reg_write(uc_, UC_X86_REG_ECX, &result.ecx);
    uc_reg_write(uc_, UC_X86_REG_EDX, &result.edx);
}

std::uint64_t UnicornCpu::time_stamp(void* env) {
    if (env_ == nullptr && facts_.direct_state) {
        env_ = static_cast<std::uint8_t*>(env);  // capture_state is waiting for it
        engine_env = env;
    }
    return static_cast<std::uint64_t>(surroundings_.clock.now()) + time_stamp_offset_;
}

void UnicornCpu::set_time_stamp(std::uint64_t value) {
    time_stamp_offset_ = value - static_cast<std::uint64_t>(surroundings_.clock.now());
}

bool UnicornCpu::time_stamp_forbidden(void* env) {
    const EngineState state(facts_.layout, static_cast<std::uint8_t*>(env));
    return state.cpl() != 0 && (state.cr(4) & cr4::kTimeStampDisable) != 0;
}

bool UnicornCpu::port_allowed(void* env, std::uint16_t port, unsigned size) {
    const EngineState state(facts_.layout, static_cast<std::uint8_t*>(env));
    if (!state.protected_mode()) {
        return true;
    }
    const std::uint32_t flags = state.system_flags();
    const bool v86 = (flags & eflags::kVirtual8086) != 0;
    if (!v86 && state.cpl() <= ((flags & eflags::kIopl) >> eflags::kIoplShift)) {
        return true;
    }
    // Intel SDM volume 1, 18.5.2: the bit map of a 32-bit TSS, found through the word at 66h, two bytes at a time.
    const SegmentRegister tr = state.tr();
    constexpr std::uint32_t kMapBase = 0x66;
    if ((tr.attributes & 0x08) == 0 || tr.limit < kMapBase + 1) {
        return false;
    }
    LinearMemory memory(state, surroundings_.memory, stored_);
    try {
        const std::uint32_t offset = memory.read<std::uint16_t>(tr.base + kMapBase) + (port >> 3);
        if (offset + 1 > tr.limit) {
            return false;
        }
        const std::uint32_t bits = memory.read<std::uint16_t>(tr.base + offset);
        return ((bits >> (port & 7)) & ((1u << size) - 1)) == 0;
    } catch (const Fault&) {
        return false;  // a page fault on the TSS itself: #GP instead, since no kernel pages its TSS out
    }
}

RepeatedStringResult UnicornCpu::repeated_string(void* env) {
    ++calls.repeated_string;
    return run_repeated_string(facts_.layout, env, engine_functions().memory, stores_to_code, stop_wanted_);
}

bool UnicornCpu::sysenter(void* env) {
    EngineState state(facts_.layout, static_cast<std::uint8_t*>(env));
    const auto selector = state.get<std::uint32_t>(facts_.layout.sysenter_cs) & 0xFFFC;
    if (!state.protected_mode() || selector == 0) {
        return false;
    }
    constexpr std::uint16_t kFlatCode = 0xC09B;
    constexpr std::uint16_t kFlatData = 0xC093;
    state.set_system_flags(state.system_flags() & ~(eflags::kVirtual8086 | eflags::kInterrupt | eflags::kResume));
    state.set_segment(kCs, {.selector = static_cast<std::uint16_t>(selector), .limit = ~0u, .attributes = kFlatCode});
    state.set_segment(kSs,
                      {.selector = static_cast<std::uint16_t>(selector + 8), .limit = ~0u, .attributes = kFlatData});
    state.set_cpl(0);
    state.refresh_hidden_flags();
    state.set_general(kEsp, state.get<std::uint32_t>(facts_.layout.sysenter_esp));
    state.set_eip(state.get<std::uint32_t>(facts_.layout.sysenter_eip));
    return true;
}

void UnicornCpu::check_floating_point_error(void* env) {
    const EngineState state(facts_.layout, static_cast<std::uint8_t*>(env));
    constexpr std::uint32_t kErrorSummary = 0x80;
    if ((state.cr(0) & cr0::kNumericError) == 0 && surroundings_.floating_point_error &&
        (read_register(UC_X86_REG_FPSW) & kErrorSummary) != 0) {
        surroundings_.floating_point_error();
    }
}

}  // namespace vpc::unicorn
