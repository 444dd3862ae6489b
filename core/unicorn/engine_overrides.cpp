#include "core/unicorn/engine_overrides.h"

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>

#include "core/unicorn/override_tools.h"

// The engine derives the guest's EIP from the return address of its helpers, so a replacement that goes on to the
// original must leave by a jump, not a call. This file is therefore always compiled with sibling-call optimisation
// and without sanitizers (see core/CMakeLists.txt); the probe checks the result with faulting guest code.

namespace vpc::unicorn {
namespace {

thread_local OverrideClient* current = nullptr;

using EnvFunction = void(void* env);
template <typename Value>
using Load = Value(void* env, std::uint64_t address, int mode, std::uintptr_t return_address);
template <typename Value>
using Store = void(void* env, std::uint64_t address, Value value, int mode, std::uintptr_t return_address);

// Resolved before main: a lazily initialised static would put a guard and a call into every helper.
struct Originals {
    void (*tb_invalidate_phys_page_fast)(void*, void*, std::uint64_t, int, std::uintptr_t);
    void (*tlb_set_dirty)(void*, std::uint64_t);
    void (*tlb_protect_code)(void*, std::uint64_t);
    void (*tlb_unprotect_code)(void*, std::uint64_t);
    void (*tlb_flush)(void*);
    void (*tlb_set_page)(void*, std::uint64_t, std::uint64_t, std::uint32_t, int, int, std::uint64_t);
    void (*raise_exception_err_ra)(void*, int, int, std::uintptr_t);
    std::uint64_t (*in[3])(void*, std::uint32_t);
    void (*out[3])(void*, std::uint32_t, std::uint32_t);
    EnvFunction* sti;
    void (*write_eflags)(void*, std::uint64_t, std::uint32_t);
    void (*iret_real)(void*, int);
    void (*iret_protected)(void*, int, int);
    void (*hlt)(void*, int);
    EnvFunction* fwait;
    EnvFunction* rdtsc;
    EnvFunction* rdtscp;
    EnvFunction* rdmsr;
    EnvFunction* wrmsr;
    void (*sysenter)(void*, int);
    int (*breakpoint_insert)(void*, std::uint64_t, int, void**);
    void (*bpt_io)(void*, std::uint32_t, std::uint32_t, std::uint64_t);
    std::uint64_t (*get_page_addr_code)(void*, std::uint64_t);
    void (*cpu_loop_exit)(void*);
    void (*cpu_loop_exit_noexc)(void*);
    std::uint32_t (*ldub_code)(void*, std::uint64_t);
    void (*reset_request)(void*);
    void (*ltr)(void*, int);
    bool (*restore_state)(void*, std::uintptr_t, bool);
    void (*cmpxchg8b)(void*, std::uint64_t);
    Load<std::uint32_t>*ldub, *lduw, *ldl;
    Load<std::uint64_t>* ldq;
    Store<std::uint32_t>*stb, *stw, *stl;
    Store<std::uint64_t>* stq;
};

Originals resolve_originals() {
    Originals all{};
    resolve(all.tb_invalidate_phys_page_fast, "tb_invalidate_phys_page_fast_x86_64");
    resolve(all.tlb_set_dirty, "tlb_set_dirty_x86_64");
    resolve(all.tlb_protect_code, "tlb_protect_code_x86_64");
    resolve(all.tlb_unprotect_code, "tlb_unprotect_code_x86_64");
    resolve(all.tlb_flush, "tlb_flush_x86_64");
    resolve(all.tlb_set_page, "tlb_set_page_with_attrs_x86_64");
    resolve(all.raise_exception_err_ra, "raise_exception_err_ra_x86_64");
    resolve(all.in[0], "helper_inb_x86_64");
    resolve(all.in[1], "helper_inw_x86_64");
    resolve(all.in[2], "helper_inl_x86_64");
    resolve(all.out[0], "helper_outb_x86_64");
    resolve(all.out[1], "helper_outw_x86_64");
    resolve(all.out[2], "helper_outl_x86_64");
    resolve(all.sti, "helper_sti_x86_64");
    resolve(all.write_eflags, "helper_write_eflags_x86_64");
    resolve(all.iret_real, "helper_iret_real_x86_64");
    resolve(all.iret_protected, "helper_iret_protected_x86_64");
    resolve(all.hlt, "helper_hlt_x86_64");
    resolve(all.fwait, "helper_fwait_x86_64");
    resolve(all.rdtsc, "helper_rdtsc_x86_64");
    resolve(all.rdtscp, "helper_rdtscp_x86_64");
    resolve(all.rdmsr, "helper_rdmsr_x86_64");
    resolve(all.wrmsr, "helper_wrmsr_x86_64");
    resolve(all.sysenter, "helper_sysenter_x86_64");
    resolve(all.breakpoint_insert, "cpu_breakpoint_insert_x86_64");
    resolve(all.bpt_io, "helper_bpt_io_x86_64");
    resolve(all.get_page_addr_code, "get_page_addr_code_x86_64");
    resolve(all.cpu_loop_exit, "cpu_loop_exit_x86_64");
    resolve(all.cpu_loop_exit_noexc, "cpu_loop_exit_noexc_x86_64");
    resolve(all.ldub_code, "cpu_ldub_code_x86_64");
    resolve(all.reset_request, "qemu_system_reset_request");
    resolve(all.ltr, "helper_ltr_x86_64");
    resolve(all.restore_state, "cpu_restore_state_x86_64");
    resolve(all.cmpxchg8b, "helper_cmpxchg8b_unlocked_x86_64");
    resolve(all.ldub, "cpu_ldub_mmuidx_ra_x86_64");
    resolve(all.lduw, "cpu_lduw_mmuidx_ra_x86_64");
    resolve(all.ldl, "cpu_ldl_mmuidx_ra_x86_64");
    resolve(all.ldq, "cpu_ldq_mmuidx_ra_x86_64");
    resolve(all.stb, "cpu_stb_mmuidx_ra_x86_64");
    resolve(all.stw, "cpu_stw_mmuidx_ra_x86_64");
    resolve(all.stl, "cpu_stl_mmuidx_ra_x86_64");
    resolve(all.stq, "cpu_stq_mmuidx_ra_x86_64");
    return all;
}

const Originals original = resolve_originals();

constexpr int kGeneralProtection = 13;
constexpr std::uint32_t kTimeStampMsr = 0x10;
constexpr unsigned kEaxIndex = 0;
constexpr unsigned kEcxIndex = 1;
constexpr unsigned kEdxIndex = 2;

// The general registers stand at the start of the engine's state, eight bytes each.
std::uint64_t* registers(void* env) {
    return static_cast<std::uint64_t*>(env);
}

/// #GP(0) at the instruction whose helper returns to `return_address`. Does not return: the engine jumps away.
void raise_general_protection(void* env, std::uintptr_t return_address) {
    original.raise_exception_err_ra(env, kGeneralProtection, 0, return_address - 2);
}

void read_time_stamp(void* env, std::uintptr_t return_address) {
    if (current->time_stamp_forbidden(env)) {
        raise_general_protection(env, return_address);
    }
    const std::uint64_t value = current->time_stamp(env);
    registers(env)[kEaxIndex] = static_cast<std::uint32_t>(value);
    registers(env)[kEdxIndex] = value >> 32;
}

void check_port(void* env, std::uint32_t port, unsigned size, std::uintptr_t return_address) {
    if (current != nullptr && !current->port_allowed(env, static_cast<std::uint16_t>(port), size)) {
        raise_general_protection(env, return_address);
    }
}

std::uint8_t* at_hand(const void* env, std::uint64_t address, std::size_t size, int mode, TlbAccess access) {
    return current != nullptr ? look_up(current->tlb, env, address, size, static_cast<unsigned>(mode), access)
                              : nullptr;
}

// Without a return address the engine takes the state's EIP for that of a fault.
std::uint32_t load(void* env, std::uint64_t address, unsigned size, int mode) {
    const auto& function = size == 1 ? original.ldub : size == 2 ? original.lduw : original.ldl;
    return function(env, address, mode, 0);
}

void store(void* env, std::uint64_t address, std::uint32_t value, unsigned size, int mode) {
    const auto& function = size == 1 ? original.stb : size == 2 ? original.stw : original.stl;
    function(env, address, value, mode, 0);
}

std::uint8_t fetch(void* env, std::uint64_t address) {
    return static_cast<std::uint8_t>(original.ldub_code(env, address));
}

void about_to_change_interrupt_flag() {
    if (current != nullptr && current->interrupt_pending) {
        current->interrupt_window_may_open();
    }
}

}  // namespace

bool OverrideClient::tlb_wants_room(std::uint64_t address, unsigned mode) {
    // 16 MiB of pages in 256 KiB of table, which every flush writes to.
    constexpr std::uint64_t kMostEntries = 4096;
    constexpr unsigned kEvictionsOfEach = 2;
    if (!growing_tlb || engine_env == nullptr || mode >= evictions_.size()) {
        return false;
    }
    const TlbTable table = tlb_table(tlb, engine_env, mode);
    const std::uint64_t entries = table.entries(tlb);
    if (entries >= kMostEntries || !table.holds_another(tlb, address) ||
        ++evictions_[mode] <= kEvictionsOfEach * entries) {
        return false;
    }
    evictions_[mode] = 0;
    return true;
}

OverrideScope::OverrideScope(OverrideClient& client) : previous_(current) {
    current = &client;
}
OverrideScope::~OverrideScope() {
    current = previous_;
}

OverrideClient* override_client() {
    return current;
}

const EngineFunctions& engine_functions() {
    static const EngineFunctions kFunctions = [] {
        EngineFunctions all;
        resolve(all.invalidate_range, "tb_invalidate_phys_range_x86_64");
        resolve(all.ram_address, "qemu_ram_addr_from_host_x86_64");
        resolve(all.read_eflags, "helper_read_eflags_x86_64");
        all.memory = {.load = load, .store = store, .fetch = fetch};
        return all;
    }();
    return kFunctions;
}

}  // namespace vpc::unicorn

using vpc::unicorn::current;
using vpc::unicorn::original;

#define VPC_RETURN_ADDRESS reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))

// Override 1. The engine would test for a stop after every memory access, and resume such a stop at the start of the
// block: half a block would run twice.
VPC_OVERRIDE void check_exit_request_x86_64(void*) {}

// Override 2. A page may become fast to write only while it holds no translated code. The engine makes every page fast
// after the first store, and then misses stores to code.
VPC_OVERRIDE void tb_invalidate_phys_page_fast_x86_64(void* engine, void* pages, std::uint64_t ram_address, int size,
                                                      std::uintptr_t return_address) {
    if (current != nullptr) {
        current->last_store = ram_address;
        current->stores_to_code += current->code_pages[vpc::unicorn::OverrideClient::page_of(ram_address)] ? 1 : 0;
        current->mark_written(ram_address);
    }
    original.tb_invalidate_phys_page_fast(engine, pages, ram_address, size, return_address);
}

VPC_OVERRIDE void tlb_set_dirty_x86_64(void* cpu, std::uint64_t address) {
    if (current == nullptr) {
        return;
    }
    const std::uint64_t store = current->last_store;
    current->last_store = ~std::uint64_t{0};
    current->engine_cpu = cpu;
    if (store != ~std::uint64_t{0} && !current->code_pages[vpc::unicorn::OverrideClient::page_of(store)]) {
        original.tlb_set_dirty(cpu, address);
    }
}

VPC_OVERRIDE void tlb_protect_code_x86_64(void* engine, std::uint64_t ram_address) {
    original.tlb_protect_code(engine, ram_address);
    if (current == nullptr) {
        return;
    }
    ++current->calls.protect_code;
    auto page = current->code_pages[vpc::unicorn::OverrideClient::page_of(ram_address)];
    if (!page) {
        page = true;
        if (current->engine_cpu != nullptr) {
            original.tlb_flush(current->engine_cpu);  // other linear addresses may have it fast-writable
        }
    }
}

VPC_OVERRIDE void tlb_unprotect_code_x86_64(void* engine, std::uint64_t ram_address) {
    original.tlb_unprotect_code(engine, ram_address);
    if (current != nullptr) {
        current->code_pages[vpc::unicorn::OverrideClient::page_of(ram_address)] = false;
    }
}

// Override 3. Port permission.
#define VPC_PORT_OVERRIDE(letter, index)                                                               \
    VPC_OVERRIDE std::uint64_t helper_in##letter##_x86_64(void* env, std::uint32_t port) {             \
        vpc::unicorn::check_port(env, port, 1u << (index), VPC_RETURN_ADDRESS);                        \
        return original.in[index](env, port);                                                          \
    }                                                                                                  \
    VPC_OVERRIDE void helper_out##letter##_x86_64(void* env, std::uint32_t port, std::uint32_t data) { \
        vpc::unicorn::check_port(env, port, 1u << (index), VPC_RETURN_ADDRESS);                        \
        original.out[index](env, port, data);                                                          \
    }
VPC_PORT_OVERRIDE(b, 0)
VPC_PORT_OVERRIDE(w, 1)
VPC_PORT_OVERRIDE(l, 2)

// Override 4. Breakpoints of DR7 crash engine 2.1.1; DR7 keeps its value, nothing is armed.
VPC_OVERRIDE int cpu_breakpoint_insert_x86_64(void*, std::uint64_t, int, void**) {
    if (current != nullptr) {
        ++current->calls.breakpoint_insert;
    }
    return -1;
}

// Nor do those of ports stop anything: the engine would raise #DB behind IN and OUT with flags that it makes up, since
// its translator does not tell this helper which instruction has set them last.
VPC_OVERRIDE void helper_bpt_io_x86_64(void* env, std::uint32_t port, std::uint32_t size, std::uint64_t next_eip) {
    if (current == nullptr) {
        original.bpt_io(env, port, size, next_eip);
    }
}

// Override 5. The time stamp counter in virtual time. And REP MOVS and REP STOS, see override 11.
VPC_OVERRIDE void helper_rdtsc_x86_64(void* env) {
    if (current == nullptr) {
        original.rdtsc(env);
        return;
    }
    if (current->repeated_strings) {
        switch (current->repeated_string(env)) {
            case vpc::unicorn::RepeatedStringResult::Finished:
                return;
            case vpc::unicorn::RepeatedStringResult::LeaveBlock:
                original.cpu_loop_exit_noexc(current->engine_cpu);
                return;
            case vpc::unicorn::RepeatedStringResult::None:
                break;
        }
    }
    vpc::unicorn::read_time_stamp(env, VPC_RETURN_ADDRESS);
}

VPC_OVERRIDE void helper_rdtscp_x86_64(void* env) {
    if (current == nullptr) {
        original.rdtscp(env);
        return;
    }
    vpc::unicorn::read_time_stamp(env, VPC_RETURN_ADDRESS);
    vpc::unicorn::registers(env)[vpc::unicorn::kEcxIndex] = 0;
}

VPC_OVERRIDE void helper_rdmsr_x86_64(void* env) {
    std::uint64_t* registers = vpc::unicorn::registers(env);
    if (current == nullptr ||
        static_cast<std::uint32_t>(registers[vpc::unicorn::kEcxIndex]) != vpc::unicorn::kTimeStampMsr) {
        original.rdmsr(env);
        return;
    }
    const std::uint64_t value = current->time_stamp(env);
    registers[vpc::unicorn::kEaxIndex] = static_cast<std::uint32_t>(value);
    registers[vpc::unicorn::kEdxIndex] = value >> 32;
}

VPC_OVERRIDE void helper_wrmsr_x86_64(void* env) {
    const std::uint64_t* registers = vpc::unicorn::registers(env);
    if (current == nullptr ||
        static_cast<std::uint32_t>(registers[vpc::unicorn::kEcxIndex]) != vpc::unicorn::kTimeStampMsr) {
        original.wrmsr(env);
        return;
    }
    current->set_time_stamp((registers[vpc::unicorn::kEdxIndex] << 32) |
                            static_cast<std::uint32_t>(registers[vpc::unicorn::kEaxIndex]));
}

// Override 6. The moments at which an interrupt window opens, so that a pending interrupt is taken at once instead of
// at the next timer event. The instructions end their block; the stop asked for here is met right behind it.
VPC_OVERRIDE void helper_sti_x86_64(void* env) {
    vpc::unicorn::about_to_change_interrupt_flag();
    return original.sti(env);
}

VPC_OVERRIDE void helper_write_eflags_x86_64(void* env, std::uint64_t value, std::uint32_t mask) {
    vpc::unicorn::about_to_change_interrupt_flag();
    return original.write_eflags(env, value, mask);
}

VPC_OVERRIDE void helper_iret_real_x86_64(void* env, int shift) {
    vpc::unicorn::about_to_change_interrupt_flag();
    return original.iret_real(env, shift);
}

VPC_OVERRIDE void helper_iret_protected_x86_64(void* env, int shift, int next_eip) {
    vpc::unicorn::about_to_change_interrupt_flag();
    return original.iret_protected(env, shift, next_eip);
}

VPC_OVERRIDE void helper_hlt_x86_64(void* env, int length) {
    if (current != nullptr) {
        current->halt();
    }
    return original.hlt(env, length);
}

// LTR takes a null selector, and the first call gate to an inner ring aborts then. It is #GP(0).
VPC_OVERRIDE void helper_ltr_x86_64(void* env, int selector) {
    if (current != nullptr && (selector & 0xFFFC) == 0) {
        vpc::unicorn::raise_general_protection(env, VPC_RETURN_ADDRESS);
    }
    return original.ltr(env, selector);
}

// CMPXCHG8B changes ZF alone. The engine works the other flags out of the last operation but one that set them, since
// its translator does not tell the helper of the last one; it has that on record for faults at this instruction.
VPC_OVERRIDE void helper_cmpxchg8b_unlocked_x86_64(void* env, std::uint64_t address) {
    if (current != nullptr && current->engine_cpu != nullptr && original.restore_state != nullptr) {
        original.restore_state(current->engine_cpu, VPC_RETURN_ADDRESS, false);
    }
    return original.cmpxchg8b(env, address);
}

// Whatever else the engine's helpers give up on ends the guest, not the host.
VPC_OVERRIDE void cpu_abort_x86_64(void* cpu, const char*, ...) {
    if (current == nullptr) {
        abort();
    }
    current->triple_fault();
    original.cpu_loop_exit(cpu);
}

// When the engine itself comes to a triple fault, it would mark its CPU as stopped and wait for ever.
VPC_OVERRIDE void qemu_system_reset_request(void* engine) {
    if (current == nullptr) {
        original.reset_request(engine);
        return;
    }
    current->triple_fault();
}

// Override 10. To drop the translations of a range that is unmapped, the engine looks its physical address up as a
// linear one; where the guest's page tables have nothing there, the guest would get that page fault behind the
// instruction that moved the range. All ones ends the attempt: the memory map drops translations itself, by their right
// addresses.
VPC_OVERRIDE std::uint64_t get_page_addr_code_x86_64(void* env, std::uint64_t address) {
    if (current != nullptr && current->remapping) {
        return ~std::uint64_t{0};
    }
    return original.get_page_addr_code(env, address);
}

// Override 8. SYSENTER, which the engine leaves to a hook, and the FERR# pin.
VPC_OVERRIDE void helper_sysenter_x86_64(void* env, int length) {
    if (current == nullptr) {
        original.sysenter(env, length);
        return;
    }
    if (!current->sysenter(env)) {
        vpc::unicorn::raise_general_protection(env, VPC_RETURN_ADDRESS);
    }
}

VPC_OVERRIDE void helper_fwait_x86_64(void* env) {
    if (current != nullptr) {
        current->check_floating_point_error(env);
    }
    return original.fwait(env);
}

// Override 12. The engine gives its TLB more room only when a flush finds it full, so that a guest which seldom flushes
// walks its page tables for most accesses beyond a megabyte of working set. Here pages that drive out others cause that
// flush. Whoever makes the engine load a page looks its place up afresh afterwards.
VPC_OVERRIDE void tlb_set_page_with_attrs_x86_64(void* cpu, std::uint64_t address, std::uint64_t physical,
                                                 std::uint32_t attributes, int protection, int mode,
                                                 std::uint64_t size) {
    if (current != nullptr && current->tlb_wants_room(address, static_cast<unsigned>(mode))) {
        original.tlb_flush(cpu);
    }
    original.tlb_set_page(cpu, address, physical, attributes, protection, mode, size);
}

// Override 9. Memory accesses of the engine's helpers: what the TLB has at hand does not ask the memory map first.
#define VPC_LOAD_OVERRIDE(name, result, type)                                                             \
    VPC_OVERRIDE result cpu_##name##_mmuidx_ra_x86_64(void* env, std::uint64_t address, int mode,         \
                                                      std::uintptr_t return_address) {                    \
        if (const std::uint8_t* host =                                                                    \
                vpc::unicorn::at_hand(env, address, sizeof(type), mode, vpc::unicorn::TlbAccess::Load)) { \
            type value;                                                                                   \
            std::memcpy(&value, host, sizeof value);                                                      \
            return value;                                                                                 \
        }                                                                                                 \
        return original.name(env, address, mode, return_address);                                         \
    }
#define VPC_STORE_OVERRIDE(name, parameter, type)                                                                \
    VPC_OVERRIDE void cpu_##name##_mmuidx_ra_x86_64(void* env, std::uint64_t address, parameter value, int mode, \
                                                    std::uintptr_t return_address) {                             \
        if (std::uint8_t* host =                                                                                 \
                vpc::unicorn::at_hand(env, address, sizeof(type), mode, vpc::unicorn::TlbAccess::Store)) {       \
            const auto stored = static_cast<type>(value);                                                        \
            std::memcpy(host, &stored, sizeof stored);                                                           \
            return;                                                                                              \
        }                                                                                                        \
        original.name(env, address, value, mode, return_address);                                                \
    }
VPC_LOAD_OVERRIDE(ldub, std::uint32_t, std::uint8_t)
VPC_LOAD_OVERRIDE(lduw, std::uint32_t, std::uint16_t)
VPC_LOAD_OVERRIDE(ldl, std::uint32_t, std::uint32_t)
VPC_LOAD_OVERRIDE(ldq, std::uint64_t, std::uint64_t)
VPC_STORE_OVERRIDE(stb, std::uint32_t, std::uint8_t)
VPC_STORE_OVERRIDE(stw, std::uint32_t, std::uint16_t)
VPC_STORE_OVERRIDE(stl, std::uint32_t, std::uint32_t)
VPC_STORE_OVERRIDE(stq, std::uint64_t, std::uint64_t)

namespace vpc::unicorn {

bool overrides_are_linked() {
    return dlsym(RTLD_DEFAULT, "cpu_breakpoint_insert_x86_64") ==
               reinterpret_cast<void*>(&cpu_breakpoint_insert_x86_64) &&
           translator_overrides_are_linked();
}

}  // namespace vpc::unicorn
