#include "core/unicorn/unicorn_cpu.h"

#include <fmt/format.h>

#include <utility>

#include "core/log.h"
#include "core/unicorn/unicorn_cpu_session.h"

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

UnicornCpu::UnicornCpu(const CpuModel& model, CpuSurroundings surroundings, const EngineFacts& facts)
    : model_(model),
      surroundings_(std::move(surroundings)),
      facts_(facts),
      delivery_(surroundings_.memory, {.stored = stored_,
                                       .flush_tlb = [this] { uc_ctl_flush_tlb(uc_); },
                                       .read_eflags = [this] { return read_eflags(); }}) {
    code_is_watched = facts.self_modifying_code;
    tlb = facts.layout.tlb;
    repeated_strings = facts.repeated_strings;
    growing_tlb = facts.growing_tlb && tlb.known();
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
        engine_stopping_ = false;
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
        error == UC_ERR_EXCEPTION) {
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
        engine_stopping_ = true;
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

}  // namespace vpc::unicorn
