#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "core/physical_memory.h"
#include "core/unicorn/descriptor.h"
#include "core/unicorn/engine_state.h"
#include "core/unicorn/linear_memory.h"

namespace vpc::unicorn {

/// Something that interrupts the instruction stream.
struct Event {
    enum class Kind {
        Exception,
        SoftwareInterrupt,  ///< INT n, INT3, INTO: gates are checked against CPL
        External,           ///< INTR and NMI
    };
    Kind kind = Kind::Exception;
    std::uint8_t vector = 0;
    std::uint32_t error_code = 0;  ///< used when the vector has one
    /// For software interrupts: EIP of the instruction itself, where a fault of its delivery returns to. The state's
    /// EIP is behind it.
    std::uint32_t instruction_eip = 0;
};

/// Carries an event to the guest's handler, as the processor does: Intel SDM volume 3, chapters 6 (interrupts), 7
/// (task gates) and 20 (virtual-8086). Everything an i686 system can meet: real mode, 16- and 32-bit gates and task
/// state segments, all privilege changes, task gates, faults on the way, double faults.
///
/// Two things differ from the manual on purpose, both as QEMU does it: RF is not set in the pushed flags of faults
/// (instruction breakpoints are not armed, and a set RF makes the engine translate the block anew), and virtual-8086
/// mode extensions do not exist (CPUID does not offer them).
class InterruptDelivery {
  public:
    struct Hooks {
        /// Guest memory was stored to.
        std::function<void(std::uint64_t address, std::uint64_t size)> stored;
        /// CR3 changed (task switch).
        std::function<void()> flush_tlb;
        /// All of EFLAGS; the engine keeps the arithmetic part in a form of its own.
        std::function<std::uint32_t()> read_eflags;
    };
    InterruptDelivery(PhysicalMemory& memory, Hooks hooks);

    enum class Outcome {
        Delivered,
        DeliveredAsDoubleFault,
        Shutdown,  ///< triple fault; the state is the one in which the last fault happened
    };
    /// Changes `state` so that guest execution continues in the handler.
    Outcome deliver(EngineState& state, const Event& event);

  private:
    void attempt(EngineState& state, const Event& event);
    void real_mode(EngineState& state, LinearMemory& memory, const Event& event);
    void protected_mode(EngineState& state, LinearMemory& memory, const Event& event);

    PhysicalMemory& memory_;
    Hooks hooks_;
};

/// Whether the processor pushes an error code with this exception.
bool has_error_code(std::uint8_t vector);

/// Fetches a descriptor from the GDT or LDT; nullopt when the selector lies outside the table.
std::optional<Descriptor> fetch_descriptor(const EngineState& state, LinearMemory& memory, std::uint16_t selector);
/// Linear address of the descriptor, which must exist.
std::uint32_t descriptor_address(const EngineState& state, std::uint16_t selector);

/// Where the processor pushes: a stack segment with its pointer, checked against the segment's limit.
class Stack {
  public:
    /// `error_code` goes with the stack fault that a push outside the limit raises.
    Stack(const SegmentRegister& segment, std::uint32_t pointer, std::uint32_t error_code);
    void push(LinearMemory& memory, std::uint32_t value, bool wide);
    /// ESP after the pushes: with a 16-bit stack the upper half stays what it was.
    std::uint32_t pointer() const { return pointer_; }

  private:
    SegmentRegister segment_;
    std::uint32_t pointer_;
    std::uint32_t mask_;
    std::uint32_t error_code_;
};

}  // namespace vpc::unicorn
