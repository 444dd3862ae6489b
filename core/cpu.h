#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "core/cpu_model.h"
#include "core/cpu_state.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"

namespace vpc {

/// Why Cpu::run came back.
enum class CpuExit {
    Stopped,   ///< somebody asked, or there may be an interrupt to deliver
    Halted,    ///< HLT: nothing to do until an interrupt
    Shutdown,  ///< triple fault: the board resets
    Failed,    ///< the engine gave up; Cpu::failure says why. The machine cannot go on.
};

/// Counters since the CPU was made, for statistics.
struct CpuStatistics {
    std::uint64_t runs = 0;                 ///< times the engine was entered
    std::uint64_t exceptions = 0;           ///< delivered to the guest, software interrupts not counted
    std::uint64_t software_interrupts = 0;  ///< INT n, INT3, INTO delivered
    std::uint64_t external_interrupts = 0;
    std::uint64_t double_faults = 0;
    std::uint64_t shutdowns = 0;
    std::uint64_t port_reads = 0;
    std::uint64_t port_writes = 0;
    std::uint64_t memory_mapped_accesses = 0;
};

/// What a CPU is built into. The buses and the clock must outlive it.
struct CpuSurroundings {
    PhysicalMemory& memory;
    PortBus& ports;
    VirtualClock& clock;
    /// An unmasked x87 error with CR0.NE clear: the FERR# pin, which a PC wires to IRQ 13. Asserted only.
    std::function<void()> floating_point_error;
};

/// One x86 processor. It executes guest code, and delivers exceptions and software interrupts on its own; external
/// interrupts are delivered by whoever runs it.
///
/// All members belong to the machine's thread, except `request_stop`.
class Cpu {
  public:
    virtual ~Cpu() = default;

    /// Runs guest code until there is a reason to come back. Returns at once with Halted while the CPU is halted. A
    /// guest that reads ports makes it return by itself when an event of the clock is due.
    virtual CpuExit run() = 0;
    /// Makes the current run, or the next one if none is going on, return soon. Any thread; repeat it until the run
    /// has ended, since a request that meets the engine while it starts can be lost.
    virtual void request_stop() = 0;

    /// The INTR pin. While it is asserted, run returns as soon as the guest can be interrupted.
    virtual void set_interrupt_request(bool asserted) = 0;
    /// IF is set and the instruction before was none of STI, MOV SS, POP SS.
    virtual bool can_take_interrupt() = 0;
    /// Whether run comes back by itself as soon as a pending interrupt can be taken. If not, the caller has to ask for
    /// a stop now and then and look.
    virtual bool announces_interrupt_window() const = 0;
    /// Delivers an external interrupt; ends a halt. Only when can_take_interrupt().
    virtual void deliver_interrupt(std::uint8_t vector) = 0;
    /// Delivers an NMI regardless of IF; ends a halt.
    virtual void deliver_nmi() = 0;

    virtual void reset() = 0;
    virtual bool halted() const = 0;
    /// The A20M# pin: while disabled, bit 20 of every physical address is 0.
    virtual void set_a20(bool enabled) = 0;

    virtual CpuState state() = 0;
    /// One general register. Unlike state, also from within a port access that the CPU is executing; what IN reads is
    /// written to EAX afterwards.
    virtual std::uint32_t general(GeneralRegister which) = 0;
    virtual void set_general(GeneralRegister which, std::uint32_t value) = 0;
    virtual void set_state(const CpuState& state) = 0;

    virtual const CpuStatistics& statistics() const = 0;
    /// After CpuExit::Failed: one line for people.
    virtual std::string failure() const = 0;
};

/// What drives the guest's code: for `vpc --version` and bug reports.
struct CpuEngineInfo {
    std::string name;       ///< "Unicorn Engine 2.1.1"
    std::string overrides;  ///< which of the engine's functions are replaced and proven, by name
};
/// Probes the engine, once per process. The error is one line for people: why it cannot be driven.
tl::expected<CpuEngineInfo, std::string> cpu_engine_info();

/// The error is one line for people.
tl::expected<std::unique_ptr<Cpu>, std::string> make_cpu(const CpuModel& model, CpuSurroundings surroundings);

}  // namespace vpc
