#include "core/unicorn/unicorn_cpu.h"

#include <fmt/format.h>

#include <utility>

#include "core/log.h"

namespace vpc::unicorn {
namespace {

constexpr std::uint64_t kNever = ~std::uint64_t{0};  // no end address: see uc_ctl_exits_enable in open()

// The engine's default of 1 GiB fills the host's memory on long runs, and is cleared whole when it is full.
constexpr std::uint32_t kTranslationBuffer = 64u << 20;
// Emptied when less than this is left: many times what the block translated meanwhile can need.
constexpr std::uint32_t kTranslationReserve = 4u << 20;

constexpr auto kDebug = static_cast<std::uint8_t>(Vector::Debug);
constexpr auto kInvalidOpcode = static_cast<std::uint8_t>(Vector::InvalidOpcode);
constexpr auto kNmi = static_cast<std::uint8_t>(Vector::NonMaskableInterrupt);

/// The engine's numbers of the general registers, in the order of GeneralRegister.
constexpr std::array<int, 8> kGeneralRegisters = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                                                  UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

int engine_model(const CpuModel& model) {
    if (model.name == "486") {
        return UC_CPU_X86_486;
    }
    if (model.name == "pentium") {
        return UC_CPU_X86_PENTIUM;
    }
    return model.name == "pentium2" ? UC_CPU_X86_PENTIUM2 : UC_CPU_X86_PENTIUM3;
}

}  // namespace

/// Direct: a view of the live state. Otherwise a copy of it, which `commit` writes back.
class UnicornCpu::Session {
  public:
    explicit Session(UnicornCpu& cpu) : cpu_(cpu) {
        if (cpu.env_ != nullptr) {
            state_ = EngineState(cpu.facts_.layout, cpu.env_);
            return;
        }
        uc_context_save(cpu.uc_, cpu.context_);
        state_ = EngineState(cpu.facts_.layout,
                             reinterpret_cast<std::uint8_t*>(cpu.context_) + cpu.facts_.layout.context_header);
    }
    EngineState& operator*() { return state_; }
    EngineState* operator->() { return &state_; }
    void commit() {
        if (cpu_.env_ == nullptr) {
            uc_context_restore(cpu_.uc_, cpu_.context_);
        }
    }

  private:
    UnicornCpu& cpu_;
    EngineState state_;
};

UnicornCpu::UnicornCpu(const CpuModel& model, CpuSurroundings surroundings, const EngineFacts& facts)
    : model_(model),
      surroundings_(std::move(surroundings)),
      facts_(facts),
      delivery_(surroundings_.memory, {.stored = stored_,
                                       .flush_tlb = [this] { uc_ctl_flush_tlb(uc_); },
                                       .read_eflags = [this] { return read_eflags(); }}) {
    code_is_watched = facts.self_modifying_code;
    tlb = facts.layout.tlb;
}

UnicornCpu::~UnicornCpu() {
    const OverrideScope scope(*this);
    map_.reset();
    if (context_ != nullptr) {
        uc_context_free(context_);
    }
    if (uc_ != nullptr) {
        uc_close(uc_);
    }
}

tl::expected<std::unique_ptr<UnicornCpu>, std::string> UnicornCpu::make(const CpuModel& model,
                                                                        CpuSurroundings surroundings,
                                                                        const EngineFacts& facts) {
    std::unique_ptr<UnicornCpu> cpu(new UnicornCpu(model, std::move(surroundings), facts));
    const OverrideScope scope(*cpu);
    if (std::string problem = cpu->open(); !problem.empty()) {
        return tl::unexpected(std::move(problem));
    }
    return cpu;
}

std::string UnicornCpu::open() {
    const auto failed = [](const char* what, uc_err error) {
        return fmt::format("the CPU engine cannot {}: {}", what, uc_strerror(error));
    };
    if (const uc_err error = uc_open(UC_ARCH_X86, UC_MODE_32, &uc_); error != UC_ERR_OK) {
        return failed("start", error);
    }
    if (const uc_err error = uc_ctl_set_cpu_model(uc_, engine_model(model_)); error != UC_ERR_OK) {
        return failed("be the wanted CPU model", error);
    }
    if (const uc_err error = uc_ctl_set_tcg_buffer_size(uc_, kTranslationBuffer); error != UC_ERR_OK) {
        return failed("size its translation buffer", error);
    }
    // The engine would probe `until - 1` through the MMU after each run and clobber CR2. With the list of exits enabled
    // and empty it does not.
    if (const uc_err error = uc_ctl_exits_enable(uc_); error != UC_ERR_OK) {
        return failed("run without an end address", error);
    }
    map_ = std::make_unique<MemoryMap>(uc_, surroundings_.memory, *this, statistics_.memory_mapped_accesses);
    if (std::string problem = map_->attach(); !problem.empty()) {
        return problem;
    }
    if (const uc_err error = uc_context_alloc(uc_, &context_); error != UC_ERR_OK) {
        return failed("copy its state", error);
    }
    if (std::string problem = add_hooks(); !problem.empty()) {
        return problem;
    }
    if (std::string problem = capture_state(); !problem.empty()) {
        return problem;
    }
    reset();
    return {};
}

std::string UnicornCpu::add_hooks() {
    uc_err error = UC_ERR_OK;
    // All hooks must exist before code is translated, so none is added or removed later.
    const auto add = [&](int type, auto callback, std::uint64_t first, std::uint64_t last, auto... instruction) {
        uc_hook hook = 0;
        if (error == UC_ERR_OK) {
            error =
                uc_hook_add(uc_, &hook, type, reinterpret_cast<void*>(+callback), this, first, last, instruction...);
        }
    };
    add(
        UC_HOOK_INTR,
        [](uc_engine*, std::uint32_t vector, void* cpu) { static_cast<UnicornCpu*>(cpu)->on_interrupt(vector); }, 1u,
        0u);
    add(
        UC_HOOK_INSN_INVALID,
        [](uc_engine*, void* context) {
            auto* cpu = static_cast<UnicornCpu*>(context);
            cpu->invalid_instruction_ = true;
            cpu->stop_engine();  // 2.1.4 would run into the same instruction again and again
            return true;
        },
        1u, 0u);
    add(
        UC_HOOK_INSN,
        [](uc_engine*, std::uint32_t port, int size, void* cpu) {
            return static_cast<UnicornCpu*>(cpu)->on_port_read(port, size);
        },
        1u, 0u, UC_X86_INS_IN);
    add(
        UC_HOOK_INSN,
        [](uc_engine*, std::uint32_t port, int size, std::uint32_t value, void* cpu) {
            static_cast<UnicornCpu*>(cpu)->on_port_write(port, size, value);
        },
        1u, 0u, UC_X86_INS_OUT);
    add(
        UC_HOOK_INSN,
        [](uc_engine*, void* cpu) {
            static_cast<UnicornCpu*>(cpu)->on_cpuid();
            return 1;
        },
        1u, 0u, UC_X86_INS_CPUID);
    add(
        UC_HOOK_MEM_WRITE_PROT,
        [](uc_engine*, uc_mem_type, std::uint64_t address, int size, std::int64_t value, void* cpu) {
            static_cast<UnicornCpu*>(cpu)->map_->store_to_rom(address, static_cast<unsigned>(size),
                                                              static_cast<std::uint64_t>(value));
            return true;
        },
        1u, 0u);
    if (!facts_.exact_stops) {
        add(
            UC_HOOK_BLOCK,
            [](uc_engine*, std::uint64_t, std::uint32_t, void* cpu) { static_cast<UnicornCpu*>(cpu)->on_block(); }, 1u,
            0u);
    }
    if (!facts_.self_modifying_code) {
        // Any store hook, even on an address never stored to, makes the engine leave its faulty path.
        add(
            UC_HOOK_MEM_WRITE, [](uc_engine*, uc_mem_type, std::uint64_t, int, std::int64_t, void*) {}, kNever - 1,
            kNever);
    }
    return error == UC_ERR_OK ? std::string() : fmt::format("the CPU engine refuses a hook: {}", uc_strerror(error));
}

std::string UnicornCpu::capture_state() {
    if (!facts_.direct_state) {
        return {};
    }
    // The engine hands its live state to the replaced RDTSC: run one, from a page of its own that is gone afterwards.
    // Nothing else says where the state lies. The mapping is beyond the guest's reach while it exists.
    static constexpr std::uint8_t kCode[] = {0x0F, 0x31, 0xF4};  // RDTSC; HLT
    constexpr std::uint64_t kScratch = 0x7000;
    PhysicalMemory& memory = surroundings_.memory;
    std::uint8_t* host = memory.ram_pointer(kScratch);
    if (host == nullptr) {
        return "the machine has too little RAM to start the CPU engine";
    }
    std::uint8_t saved[sizeof kCode];
    std::memcpy(saved, host, sizeof saved);
    std::memcpy(host, kCode, sizeof kCode);
    env_ = nullptr;
    const uc_err error = uc_emu_start(uc_, kScratch, kNever, 0, 0);
    std::memcpy(host, saved, sizeof saved);
    map_->memory_written(kScratch, sizeof kCode);
    halt_executed_ = false;
    if (error != UC_ERR_OK || env_ == nullptr) {
        return "the CPU engine did not show its state";
    }
    return {};
}

void UnicornCpu::reset() {
    halted_ = halt_executed_ = invalid_instruction_ = shutdown_ = stepping_ = false;
    time_stamp_offset_ = 0;
    CpuState fresh = CpuState::after_reset(model_.signature);
    fresh.a20 = true;
    set_state(fresh);
}

// Running ------------------------------------------------------------------------------------------------------------

CpuExit UnicornCpu::run() {
    const OverrideScope scope(*this);
    for (;;) {
        if (shutdown_) {
            shutdown_ = false;
            return CpuExit::Shutdown;
        }
        if (halted_) {
            return CpuExit::Halted;
        }
        if (stop_requested_.exchange(false)) {
            return CpuExit::Stopped;
        }
        if (interrupt_pending && can_take_interrupt()) {
            return CpuExit::Stopped;
        }
        if (buffer_nearly_full_) {
            uc_ctl_flush_tb(uc_);
            code_pages.reset();
            buffer_nearly_full_ = false;
            first_block_ = 0;
        }
        gather_flags();
        const bool stepped = step_over_shadow();
        running_ = true;
        ++statistics_.runs;
        const uc_err error = uc_emu_start(uc_, read_register(UC_X86_REG_EIP), kNever, 0, 0);
        running_ = false;
        if (stepped && stepping_) {
            Session session(*this);  // stopped or halted before the step's trap
            session->set_hidden_flags(session->hidden_flags() & ~hflag::kTrap);
            session.commit();
            stepping_ = false;
        }
        if (std::exchange(invalid_instruction_, false)) {
            Session session(*this);
            deliver(*session, {.vector = kInvalidOpcode});
            session.commit();
            continue;
        }
        if (std::exchange(halt_executed_, false)) {
            halted_ = true;
            continue;
        }
        if (error != UC_ERR_OK) {
            const CpuExit exit = finish_run(error);
            if (exit == CpuExit::Failed) {
                return exit;
            }
            continue;
        }
        if (!facts_.interrupt_window && !stop_requested_ && !interrupt_pending && !shutdown_) {
            // Without override 6 HLT looks like any stop; it left EIP behind its opcode.
            Session session(*this);
            LinearMemory memory(*session, surroundings_.memory, stored_);
            try {
                halted_ = session->cpl() == 0 &&
                          memory.read<std::uint8_t>(session->segment(kCs).base + session->eip() - 1) == 0xF4;
            } catch (const Fault&) {
                halted_ = false;
            }
        }
        if (!shutdown_ && !halted_) {
            stop_requested_ = false;
            return CpuExit::Stopped;
        }
    }
}

void UnicornCpu::gather_flags() {
    // When a run begins, the engine takes the arithmetic flags from EFLAGS as a whole and forgets their separate form,
    // which is what edits between runs have set.
    Session session(*this);
    session->set_system_flags(read_eflags());
    session.commit();
}

bool UnicornCpu::step_over_shadow() {
    if (!interrupt_pending) {
        return false;
    }
    Session session(*this);
    if (!session->interrupt_shadow() || (session->system_flags() & eflags::kInterrupt) == 0) {
        return false;
    }
    // One instruction must run before the interrupt is taken. The engine's single-step, asked for in the hidden flags
    // only, stops behind it without the guest seeing TF.
    stepping_ = true;
    debug_status_ = read_register(UC_X86_REG_DR6);
    session->set_hidden_flags(session->hidden_flags() | hflag::kTrap);
    session.commit();
    return true;
}

CpuExit UnicornCpu::finish_run(uc_err error) {
    if (error == UC_ERR_FETCH_UNMAPPED || error == UC_ERR_FETCH_PROT || error == UC_ERR_INSN_INVALID ||
        error == UC_ERR_READ_UNMAPPED || error == UC_ERR_WRITE_UNMAPPED || error == UC_ERR_EXCEPTION) {
        // The guest jumped to where there is no memory. Open bus reads FFh, and FFh FFh is no instruction.
        Session session(*this);
        deliver(*session, {.vector = kInvalidOpcode});
        session.commit();
        return CpuExit::Stopped;
    }
    failure_ = map_->failure().empty() ? fmt::format("the CPU engine stopped at EIP {:08X}h: {}",
                                                     read_register(UC_X86_REG_EIP), uc_strerror(error))
                                       : map_->failure();
    return CpuExit::Failed;
}

void UnicornCpu::stop_engine() {
    if (facts_.exact_stops) {
        uc_emu_stop(uc_);
    } else {
        stop_requested_ = true;  // on_block looks
    }
}

void UnicornCpu::on_block() {
    if (stop_requested_ || shutdown_) {
        uc_emu_stop(uc_);
    }
}

void UnicornCpu::request_stop() {
    stop_requested_ = true;
    if (facts_.exact_stops && running_) {
        uc_emu_stop(uc_);
    }
}

// Interrupts ---------------------------------------------------------------------------------------------------------

void UnicornCpu::deliver(EngineState& state, const Event& event) {
    if (event.kind == Event::Kind::Exception) {
        ++statistics_.exceptions;
    }
    const InterruptDelivery::Outcome outcome = delivery_.deliver(state, event);
    state.forget_exception();
    state.set_hidden_flags(state.hidden_flags() & ~hflag::kInterruptShadow);
    if (outcome == InterruptDelivery::Outcome::DeliveredAsDoubleFault) {
        ++statistics_.double_faults;
    } else if (outcome == InterruptDelivery::Outcome::Shutdown) {
        ++statistics_.shutdowns;
        shutdown_ = true;
        stop_engine();
    }
}

void UnicornCpu::on_interrupt(std::uint32_t vector) {
    Session session(*this);
    if (stepping_) {
        stepping_ = false;
        session->set_hidden_flags(session->hidden_flags() & ~hflag::kTrap);
        if (vector == kDebug && (session->system_flags() & eflags::kTrap) == 0) {
            session->forget_exception();
            session.commit();
            uc_reg_write(uc_, UC_X86_REG_DR6, &debug_status_);  // the engine has set BS
            stop_engine();
            return;
        }
    }
    if (vector == kInvalidOpcode) {
        invalid_instruction_ = false;  // the engine calls both hooks; one delivery is enough
    }
    Event event{.vector = static_cast<std::uint8_t>(vector), .error_code = session->error_code()};
    if (session->software_interrupt()) {
        // EIP is behind the instruction, which is CCh (INT3), CEh (INTO) or CDh with the vector.
        event.kind = Event::Kind::SoftwareInterrupt;
        event.instruction_eip = session->eip() - 2;
        ++statistics_.software_interrupts;
        if (vector == static_cast<std::uint8_t>(Vector::Breakpoint) ||
            vector == static_cast<std::uint8_t>(Vector::Overflow)) {
            LinearMemory memory(*session, surroundings_.memory, stored_);
            try {
                const auto last = memory.read<std::uint8_t>(session->segment(kCs).base + session->eip() - 1);
                event.instruction_eip += last == 0xCC || last == 0xCE ? 1 : 0;
            } catch (const Fault&) {
                log_category("cpu")->debug("code vanished under a software interrupt");
            }
        }
    }
    deliver(*session, event);
    session.commit();
}

void UnicornCpu::set_interrupt_request(bool asserted) {
    interrupt_pending = asserted;
    if (asserted && running_) {
        // With IF clear there is nothing to do until it is set, which override 6 notices.
        Session session(*this);
        if ((session->system_flags() & eflags::kInterrupt) != 0) {
            stop_engine();
        }
    }
}

void UnicornCpu::block_translated(const void* block) {
    const auto address = reinterpret_cast<std::uintptr_t>(block);
    if (first_block_ == 0 || address < first_block_) {
        first_block_ = address;
    }
    if (!buffer_nearly_full_ && address - first_block_ > kTranslationBuffer - kTranslationReserve) {
        buffer_nearly_full_ = true;
        stop_engine();
    }
}

void UnicornCpu::interrupt_window_may_open() {
    if (facts_.interrupt_window) {
        stop_engine();
    }
}

void UnicornCpu::triple_fault() {
    ++statistics_.shutdowns;
    shutdown_ = true;
    stop_engine();
}

bool UnicornCpu::can_take_interrupt() {
    Session session(*this);
    return (session->system_flags() & eflags::kInterrupt) != 0 && !session->interrupt_shadow();
}

void UnicornCpu::deliver_interrupt(std::uint8_t vector) {
    const OverrideScope scope(*this);
    halted_ = false;
    ++statistics_.external_interrupts;
    Session session(*this);
    deliver(*session, {.kind = Event::Kind::External, .vector = vector});
    session.commit();
}

void UnicornCpu::deliver_nmi() {
    deliver_interrupt(kNmi);
}

// What the engine asks -----------------------------------------------------------------------------------------------

std::uint32_t UnicornCpu::on_port_read(std::uint32_t port, int size) {
    ++statistics_.port_reads;
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

// Registers ----------------------------------------------------------------------------------------------------------

std::uint32_t UnicornCpu::read_register(int id) const {
    std::uint64_t value = 0;  // some registers are written 64 bits wide
    uc_reg_read(uc_, id, &value);
    return static_cast<std::uint32_t>(value);
}

std::uint32_t UnicornCpu::read_eflags() const {
    if (env_ != nullptr && engine_functions().read_eflags != nullptr) {
        const EngineState state(facts_.layout, env_);
        return static_cast<std::uint32_t>(engine_functions().read_eflags(env_)) |
               (state.system_flags() & (eflags::kVirtual8086 | eflags::kResume));
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
