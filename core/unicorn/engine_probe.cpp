#include "core/unicorn/engine_probe.h"

#include <fmt/format.h>
#include <unicorn/unicorn.h>

#include <initializer_list>
#include <vector>

#include "core/log.h"
#include "core/unicorn/engine_overrides.h"
#include "core/unicorn/state_layout_probe.h"
#include "core/unicorn/unicorn_cpu.h"

namespace vpc::unicorn {
namespace {

constexpr std::uint32_t kCode = 0x1000;
constexpr std::uint32_t kStack = 0x6000;
constexpr std::uint32_t kGdt = 0x4000;
constexpr std::uint32_t kIdt = 0x5000;
constexpr std::uint32_t kTss = 0x5800;
constexpr std::uint16_t kFlatCode = 0x08;
constexpr std::uint16_t kFlatData = 0x10;

/// A machine of one megabyte and one port, on which guest code of a few bytes shows what the engine does with it.
class ProofMachine {
  public:
    explicit ProofMachine(const EngineFacts& facts) : facts_(facts) {
        claim_ = ports_.claim({.owner = "probe", .first = 0x80, .count = 1},
                              {.read = [](std::uint16_t, unsigned) { return 0u; },
                               .write =
                                   [this](std::uint16_t, std::uint32_t, unsigned) {
                                       if (stop_at_port_) {
                                           cpu_->request_stop();
                                       }
                                   }});
    }

    std::string start() {
        auto made = UnicornCpu::make(default_cpu_model(), {memory_, ports_, clock_, {}}, facts_);
        if (!made) {
            return made.error();
        }
        cpu_ = std::move(*made);
        // GDT: null, flat code, flat data; IDT: a 32-bit interrupt gate for #GP to a HLT.
        store(kGdt + 8, {0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0, 0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0});
        store(kIdt + 13 * 8, {0x00, 0x20, kFlatCode, 0, 0, 0x8E, 0, 0});
        store(0x2000, {0xF4});
        store(kTss + 0x66, {0x68, 0x00});  // the I/O permission bit map would start behind the limit
        return {};
    }

    /// Runs 32-bit code at kCode until it halts, is shut down or has come back `limit` times.
    CpuExit run(std::initializer_list<std::uint8_t> code, std::uint8_t cpl = 0, int limit = 100) {
        store(kCode, code);
        CpuState state = CpuState::after_reset(0);
        for (SegmentRegister& segment : state.segments) {
            segment = {.selector = static_cast<std::uint16_t>(kFlatData | cpl),
                       .limit = 0xFFFFFFFF,
                       .attributes = static_cast<std::uint16_t>(0xC093 | cpl << 5)};
        }
        state.segments[kCs].selector = static_cast<std::uint16_t>(kFlatCode | cpl);
        state.segments[kCs].attributes = static_cast<std::uint16_t>(0xC09B | cpl << 5);
        state.cpl = cpl;
        state.cr0 |= cr0::kProtectionEnable;
        state.eip = kCode;
        state.general[kEsp] = kStack;
        state.gdtr = {.base = kGdt, .limit = 23};
        state.idtr = {.base = kIdt, .limit = 14 * 8 - 1};
        state.tr = {.base = kTss, .limit = 0x67, .attributes = 0x8B};
        cpu_->set_state(state);
        CpuExit exit = CpuExit::Stopped;
        for (int i = 0; i < limit && exit == CpuExit::Stopped; ++i) {
            exit = cpu_->run();
            if (cpu_->interrupt_pending && cpu_->can_take_interrupt()) {
                break;
            }
        }
        return exit;
    }

    std::uint32_t word(std::uint32_t address) {
        std::uint32_t value = 0;
        std::memcpy(&value, memory_.ram() + address, sizeof value);
        return value;
    }
    void store(std::uint32_t address, std::initializer_list<std::uint8_t> bytes) {
        memory_.write(address, {bytes.begin(), bytes.size()});
    }
    UnicornCpu& cpu() { return *cpu_; }
    const std::uint8_t* ram() { return memory_.ram(); }
    void stop_at_port(bool stop) { stop_at_port_ = stop; }
    void set_time(Nanoseconds time) { host_time_ = time; }
    void start_clock() { clock_.resume(); }

  private:
    const EngineFacts& facts_;
    PhysicalMemory memory_{1 << 20};
    PortBus ports_;
    Nanoseconds host_time_ = 0;
    VirtualClock clock_{[this] { return host_time_; }};
    PortBus::Claim claim_;
    std::unique_ptr<UnicornCpu> cpu_;
    bool stop_at_port_ = false;
};

/// A stop from inside a block must neither skip nor repeat any of it.
bool proves_exact_stops(ProofMachine& machine) {
    machine.stop_at_port(true);
    const CpuExit exit = machine.run({
        0x31, 0xC9,                                // XOR ECX,ECX
        0xFF, 0x05, 0x00, 0x30, 0x00, 0x00,        // INC DWORD [3000h]
        0xE6, 0x80,                                // OUT 80h,AL: asks for a stop
        0xFF, 0x05, 0x04, 0x30, 0x00, 0x00,        // INC DWORD [3004h]
        0xFF, 0x05, 0x08, 0x30, 0x00, 0x00,        // INC DWORD [3008h]
        0x41, 0x83, 0xF9, 0x08, 0x72, 0xE5, 0xF4,  // INC ECX; CMP ECX,8; JB; HLT
    });
    machine.stop_at_port(false);
    return exit == CpuExit::Halted && machine.word(0x3000) == 8 && machine.word(0x3004) == 8 &&
           machine.word(0x3008) == 8;
}

/// A routine patched before each call, with data in the same page.
bool proves_self_modifying_code(ProofMachine& machine) {
    machine.store(0x3800, {0xB0, 0x00, 0xC3});  // MOV AL,imm8; RET
    const CpuExit exit = machine.run({
        0x31, 0xC9, 0x31, 0xDB,                    // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0x0D, 0x01, 0x38, 0x00, 0x00,        // MOV [3801h],CL
        0xFF, 0x05, 0x00, 0x39, 0x00, 0x00,        // INC DWORD [3900h]
        0xE8, 0xEB, 0x27, 0x00, 0x00,              // CALL 3800h
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,              // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xE4, 0xF4,  // INC ECX; CMP ECX,100; JB; HLT
    });
    return exit == CpuExit::Halted && machine.cpu().state().general[kEbx] == 4950;
}

/// IN at CPL 3 with IOPL 0 and no bit map faults, and the port is not read.
bool proves_port_permission(ProofMachine& machine) {
    const std::uint64_t reads = machine.cpu().statistics().port_reads;
    const CpuExit exit = machine.run({0xE4, 0x80, 0xF4}, 3);  // IN AL,80h; without a usable TSS the #GP shuts down
    return exit == CpuExit::Shutdown && machine.cpu().statistics().port_reads == reads;
}

bool proves_virtual_time_stamp(ProofMachine& machine) {
    constexpr Nanoseconds kTime = 0x12345678;
    machine.start_clock();
    machine.set_time(kTime);
    return machine.run({0x0F, 0x31, 0xF4}) == CpuExit::Halted &&  // RDTSC; HLT
           machine.cpu().state().general[kEax] == kTime;
}

/// With an interrupt pending, STI; NOP; … comes back behind the NOP, and only there.
bool proves_interrupt_window(ProofMachine& machine) {
    machine.cpu().set_interrupt_request(true);
    const CpuExit exit = machine.run({
        0x31, 0xC9, 0xFB, 0x90,                                     // XOR ECX,ECX; STI; NOP
        0x41, 0x81, 0xF9, 0x00, 0x00, 0x10, 0x00, 0x72, 0xF7, 0xF4  // INC ECX; CMP ECX,100000h; JB; HLT
    });
    machine.cpu().set_interrupt_request(false);
    const CpuState state = machine.cpu().state();
    return exit == CpuExit::Stopped && state.general[kEcx] == 0 && state.eip == kCode + 4;
}

/// A replaced helper that leaves wrongly would lose the address of the instruction that faults in it.
bool proves_exact_faults(ProofMachine& machine) {
    const CpuExit exit = machine.run({
        0x9C, 0x68, 0xF8, 0x07, 0x00, 0x00,  // PUSHFD; PUSH 7F8h: no such selector
        0x68, 0x00, 0x00, 0x00, 0x00, 0xCF,  // PUSH 0; IRETD
    });
    const std::uint32_t esp = machine.cpu().state().general[kEsp];
    return exit == CpuExit::Halted && machine.word(esp) == 0x7F8 && machine.word(esp + 4) == kCode + 11;
}

/// ZF behind a LOOPE whose count has run out is that of the instruction in front of it.
bool proves_loop_flags(ProofMachine& machine) {
    return machine.run({
               0xB8, 0x01, 0x00, 0x00, 0x00, 0xB9, 0x01, 0x00, 0x00, 0x00,  // MOV EAX,1; MOV ECX,1
               0x48, 0xE1, 0x00, 0x0F, 0x94, 0xC3, 0xF4,                    // DEC EAX; LOOPE; SETE BL; HLT
           }) == CpuExit::Halted &&
           (machine.cpu().state().general[kEbx] & 0xFF) == 1;
}

/// DR7 with an armed execution breakpoint crashes an engine in which override 4 is not in place.
bool survives_breakpoints(ProofMachine& machine) {
    return machine.run({
               0xB8, 0x01, 0x04, 0x00, 0x00, 0x0F, 0x23, 0xF8,  // MOV EAX,401h; MOV DR7,EAX
               0x31, 0xC0, 0x0F, 0x23, 0xF8, 0xF4,              // XOR EAX,EAX; MOV DR7,EAX; HLT
           }) == CpuExit::Halted;
}

/// Where override 4 is in place, an armed port breakpoint does not stop an IN either.
bool ignores_port_breakpoints(ProofMachine& machine) {
    return machine.run({
               0xB8, 0x80, 0x00, 0x00, 0x00, 0x0F, 0x23, 0xC0,              // MOV EAX,80h; MOV DR0,EAX
               0xB8, 0x01, 0x04, 0x02, 0x00, 0x0F, 0x23, 0xF8, 0xE4, 0x80,  // MOV EAX,20401h; MOV DR7,EAX; IN AL,80h
               0x31, 0xC0, 0x0F, 0x23, 0xF8, 0xF4,                          // XOR EAX,EAX; MOV DR7,EAX; HLT
           }) == CpuExit::Halted &&
           machine.cpu().state().general[kEax] == 0;  // it came behind the IN
}

/// A page is loaded from and stored to, twice since the first store only marks it dirty; another is left alone.
TlbLayout find_tlb(ProofMachine& machine) {
    constexpr std::uint32_t kUsed = 0x8000;
    constexpr std::uint32_t kUnused = 0x9000;
    const CpuExit exit = machine.run({
        0xA1, 0x00, 0x80, 0x00, 0x00,                                // MOV EAX,[8000h]
        0xA3, 0x00, 0x80, 0x00, 0x00, 0xA3, 0x04, 0x80, 0x00, 0x00,  // MOV [8000h],EAX; MOV [8004h],EAX
        0xF4,                                                        // HLT
    });
    return exit == CpuExit::Halted ? find_tlb_layout(machine.cpu().live_state(), kUsed, kUnused, machine.ram() + kUsed)
                                   : TlbLayout{};
}

/// With look-ups in the TLB: helpers still fault where they should, and stores to code are still seen.
bool proves_tlb(const EngineFacts& facts) {
    ProofMachine machine(facts);
    return machine.start().empty() && proves_exact_faults(machine) && proves_self_modifying_code(machine) &&
           proves_port_permission(machine);
}

/// REP STOS and REP MOVS over page borders, upwards and downwards; one that overwrites what stands behind it; and RDTSC
/// itself.
bool proves_repeated_strings(const EngineFacts& facts) {
    ProofMachine machine(facts);
    if (!machine.start().empty()) {
        return false;
    }
    machine.store(0x8FF0, {1, 2, 3, 4});
    const CpuExit exit = machine.run({
        0xBF, 0xF4, 0x8F, 0x00, 0x00, 0xBE, 0xF0, 0x8F, 0x00, 0x00,  // MOV EDI,8FF4h; MOV ESI,8FF0h
        0xB9, 0x1C, 0x00, 0x00, 0x00, 0xF3, 0xA4,                    // MOV ECX,28; REP MOVSB: spreads the pattern
        0xBF, 0x00, 0xA0, 0x00, 0x00, 0xBE, 0x0C, 0x90, 0x00, 0x00,  // MOV EDI,A000h; MOV ESI,900Ch
        0xB9, 0x08, 0x00, 0x00, 0x00, 0xFD, 0xF3, 0xA5, 0xFC,        // MOV ECX,8; STD; REP MOVSD; CLD
        0xB8, 0x40, 0x40, 0x40, 0x40, 0xBF, 0x38, 0x10, 0x00, 0x00,  // MOV EAX,40404040h; MOV EDI,1038h
        0xB9, 0x03, 0x00, 0x00, 0x00, 0x90, 0x90, 0x90,              // MOV ECX,3; NOP; NOP; NOP
        0xF3, 0xAA, 0x90, 0x90, 0x90, 0xF4,                          // REP STOSB: makes the three INC EAX; HLT
    });
    const CpuState state = machine.cpu().state();
    return exit == CpuExit::Halted && machine.cpu().calls.repeated_string >= 3 && machine.word(0x900C) == 0x04030201 &&
           machine.word(0xA000) == 0x04030201 && machine.word(0x9FE4) == 0x04030201 && state.general[kEcx] == 0 &&
           state.general[kEsi] == 0x8FEC && state.general[kEdi] == 0x103B && state.general[kEax] == 0x40404043 &&
           proves_virtual_time_stamp(machine) && proves_self_modifying_code(machine);
}

/// 768 pages, all the same one, are read eight times. They get room and keep their contents.
bool proves_growing_tlb(const EngineFacts& facts) {
    constexpr std::uint32_t kPages = 768;
    ProofMachine machine(facts);
    if (!machine.start().empty()) {
        return false;
    }
    machine.store(0x8000, {3});
    machine.store(0x20000, {0x03, 0x00, 0x02, 0x00});  // page directory: its own page table
    for (std::uint32_t page = 1; page < 1024; ++page) {
        const std::uint32_t physical = page < 256 ? page : 8;
        machine.store(0x20000 + page * 4, {0x03, std::uint8_t(physical << 4), std::uint8_t(physical >> 4), 0x00});
    }
    const CpuExit exit = machine.run({
        0xB8, 0x00, 0x00, 0x02, 0x00, 0x0F, 0x22, 0xD8,              // MOV EAX,20000h; MOV CR3,EAX
        0x0F, 0x20, 0xC0, 0x0D, 0x00, 0x00, 0x00, 0x80,              // MOV EAX,CR0; OR EAX,80000000h
        0x0F, 0x22, 0xC0, 0x31, 0xD2, 0xB9, 0x08, 0x00, 0x00, 0x00,  // MOV CR0,EAX; XOR EDX,EDX; MOV ECX,8
        0xBB, 0x00, 0x00, 0x10, 0x00, 0x03, 0x13,                    // MOV EBX,100000h; ADD EDX,[EBX]
        0x81, 0xC3, 0x00, 0x10, 0x00, 0x00,                          // ADD EBX,1000h
        0x81, 0xFB, 0x00, 0x00, 0x40, 0x00, 0x72, 0xF0,              // CMP EBX,400000h; JB
        0x49, 0x75, 0xE8, 0xF4,                                      // DEC ECX; JNZ; HLT
    });
    return exit == CpuExit::Halted && machine.cpu().state().general[kEdx] == 8 * kPages * 3 &&
           tlb_table(facts.layout.tlb, machine.cpu().live_state(), kTlbSupervisor).entries(facts.layout.tlb) > kPages &&
           proves_self_modifying_code(machine);
}

tl::expected<EngineFacts, std::string> probe() {
    unsigned major = 0;
    unsigned minor = 0;
    const unsigned version = uc_version(&major, &minor);
    EngineFacts facts;
    facts.version = fmt::format("{}.{}.{}", major, minor, (version >> 8) & 0xFF);
    const auto refuse = [&](const std::string& why) {
        return tl::unexpected(
            fmt::format("Unicorn Engine {} cannot be used: {}. Install libunicorn2t64 2.1.1 (run ./setup.sh).",
                        facts.version, why));
    };
    if (version < UC_MAKE_VERSION(2, 1)) {
        return refuse("versions before 2.1.1 have no working paging");
    }
    const bool fragile = ((version >> 8) & 0xFF) < 2 && minor == 1;  // 2.1.0 and 2.1.1
    const bool linked = overrides_are_linked();
    if (fragile && !linked) {
        return refuse(
            "a guest could crash the host, since this program's override of its breakpoints is not linked in");
    }
    tl::expected<StateLayout, std::string> layout = find_state_layout();
    if (!layout) {
        return refuse(layout.error());
    }
    facts.layout = *layout;
    facts.direct_state = facts.exact_stops = facts.self_modifying_code = linked;
    facts.port_permission = facts.virtual_time_stamp = facts.interrupt_window = linked;

    ProofMachine machine(facts);
    if (const std::string problem = machine.start(); !problem.empty()) {
        return refuse(problem);
    }
    EngineFacts proven = facts;
    proven.exact_stops = linked && proves_exact_stops(machine);
    proven.self_modifying_code = linked && proves_self_modifying_code(machine);
    proven.port_permission = linked && proves_port_permission(machine);
    proven.virtual_time_stamp = linked && proves_virtual_time_stamp(machine);
    proven.interrupt_window = linked && proves_interrupt_window(machine);
    proven.loop_flags = proves_loop_flags(machine);
    if (linked && !proves_exact_faults(machine)) {
        return refuse("faults in replaced functions lose their address");
    }
    if (!survives_breakpoints(machine) || (linked && !ignores_port_breakpoints(machine))) {
        return refuse("debug registers do not work");
    }
    if (linked && proven.self_modifying_code) {
        EngineFacts with_tlb = proven;
        with_tlb.layout.tlb = find_tlb(machine);
        if (with_tlb.layout.tlb.known() && proves_tlb(with_tlb)) {
            proven = with_tlb;
        }
    }
    if (proven.layout.tlb.known() && proven.exact_stops && proven.virtual_time_stamp) {
        EngineFacts with_strings = proven;
        with_strings.repeated_strings = true;
        proven.repeated_strings = proves_repeated_strings(with_strings);
    }
    if (proven.layout.tlb.known()) {
        EngineFacts with_growing_tlb = proven;
        with_growing_tlb.growing_tlb = true;
        proven.growing_tlb = proves_growing_tlb(with_growing_tlb);
    }
    log_category("cpu")->debug("Unicorn Engine {}: {}", proven.version, proven.describe());
    return proven;
}

}  // namespace

std::string EngineFacts::describe() const {
    std::string text;
    const auto add = [&](bool active, const char* what) {
        if (active) {
            text += (text.empty() ? "" : ", ") + std::string(what);
        }
    };
    add(exact_stops, "exact stops");
    add(self_modifying_code, "self-modifying code");
    add(port_permission, "port permission");
    add(direct_state, "in-place state");
    add(virtual_time_stamp, "virtual time stamp counter");
    add(interrupt_window, "interrupt window");
    add(layout.tlb.known(), "TLB look-ups");
    add(repeated_strings, "repeated strings");
    add(growing_tlb, "growing TLB");
    add(loop_flags, "flags of loops");
    return text.empty() ? "none" : text;
}

const tl::expected<EngineFacts, std::string>& engine_facts() {
    static const tl::expected<EngineFacts, std::string> kFacts = probe();
    return kFacts;
}

}  // namespace vpc::unicorn

namespace vpc {

tl::expected<CpuEngineInfo, std::string> cpu_engine_info() {
    const auto& facts = unicorn::engine_facts();
    if (!facts) {
        return tl::unexpected(facts.error());
    }
    return CpuEngineInfo{.name = "Unicorn Engine " + facts->version, .overrides = facts->describe()};
}

tl::expected<std::unique_ptr<Cpu>, std::string> make_cpu(const CpuModel& model, CpuSurroundings surroundings) {
    const auto& facts = unicorn::engine_facts();
    if (!facts) {
        return tl::unexpected(facts.error());
    }
    auto made = unicorn::UnicornCpu::make(model, std::move(surroundings), *facts);
    if (!made) {
        return tl::unexpected(made.error());
    }
    return std::unique_ptr<Cpu>(std::move(*made));
}

}  // namespace vpc
