#pragma once
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>

#include "core/cpu.h"
#include "core/kicker.h"

namespace vpc::unicorn {
struct EngineFacts;
}

namespace vpc::test {

// Where things lie in a Guest's memory.
inline constexpr std::uint32_t kGdt = 0x1000;
inline constexpr std::uint32_t kIdt = 0x2000;
inline constexpr std::uint32_t kTss = 0x3000;      ///< the task that runs; room for a whole I/O permission bit map
inline constexpr std::uint32_t kTaskTss = 0x5400;  ///< of the task that task gates lead to, 32-bit
inline constexpr std::uint32_t kTask16Tss = 0x5600;
inline constexpr std::uint32_t kInnerStack = 0x6000;  ///< top of the stack for CPL 0 in the TSS
inline constexpr std::uint32_t kStack = 0x7000;       ///< top of the stack that code at CPL 0 begins with
inline constexpr std::uint32_t kTaskStack = 0x7800;
inline constexpr std::uint32_t kHandlers = 0x8000;  ///< a HLT every 16 bytes, one for each vector
inline constexpr std::uint32_t kUserStack = 0xA000;
inline constexpr std::uint32_t kData = 0xB000;
inline constexpr std::uint32_t kTaskCode = 0xC000;
inline constexpr std::uint32_t kCode = 0x10000;  ///< where guests begin
inline constexpr std::uint32_t kPageDirectory = 0x20000;
inline constexpr std::uint32_t kPageTable = 0x21000;
inline constexpr std::uint32_t kMemory = 8u << 20;

// Selectors of the descriptor table that Guest::protected_mode builds.
inline constexpr std::uint16_t kCode32 = 0x08;
inline constexpr std::uint16_t kData32 = 0x10;
inline constexpr std::uint16_t kUserCode = 0x1B;
inline constexpr std::uint16_t kUserData = 0x23;
inline constexpr std::uint16_t kTssSelector = 0x28;
inline constexpr std::uint16_t kConforming = 0x30;
inline constexpr std::uint16_t kCode16 = 0x38;
inline constexpr std::uint16_t kData16 = 0x40;
inline constexpr std::uint16_t kTaskSelector = 0x48;
inline constexpr std::uint16_t kTask16Selector = 0x50;
inline constexpr std::uint16_t kAbsentData = 0x58;
inline constexpr std::uint16_t kAbsentCode = 0x60;
inline constexpr std::uint16_t kRing1Code = 0x68;
inline constexpr std::uint16_t kRing1Data = 0x70;
inline constexpr std::uint16_t kSpare = 0x78;
inline constexpr std::uint16_t kBeyondGdt = 0x7F8;

// Gate types, with the present bit.
inline constexpr std::uint8_t kTaskGate = 0x85;
inline constexpr std::uint8_t kInterruptGate16 = 0x86;
inline constexpr std::uint8_t kTrapGate16 = 0x87;
inline constexpr std::uint8_t kInterruptGate32 = 0x8E;
inline constexpr std::uint8_t kTrapGate32 = 0x8F;

/// The address of the HLT that every gate of a fresh Guest leads to.
constexpr std::uint32_t handler_of(unsigned vector) {
    return kHandlers + 16 * vector;
}

/// A processor with eight megabytes of RAM, ports and a clock that tests move by hand. Tests store machine code at
/// kCode, edit `start` and run until the guest halts.
class Guest {
  public:
    explicit Guest(const CpuModel& model = default_cpu_model());
    /// On an engine that proved `facts` and no more: the fallbacks are used.
    explicit Guest(const unicorn::EngineFacts& facts);
    ~Guest();
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;

    // Each prepares memory and `start` for code at kCode.
    void real_mode();                       ///< CS=1000h, everything else 0
    void protected_mode(unsigned cpl = 0);  ///< flat, 32-bit; 256 interrupt gates of DPL 0; 41h has DPL 3
    void protected_mode_16();               ///< 16-bit code and stack based at 0 and kCode
    void virtual_8086(unsigned iopl);       ///< CS=1000h, SS=900h:1000h, ES DS FS GS = 1111h, 2222h, 3333h, 4444h
    /// Maps the first 4 MiB to themselves with `rights` in each entry, by 4 KiB pages. Entries are in page_entry.
    void paging(std::uint32_t rights = 7);
    std::uint32_t page_entry(std::uint32_t address) const { return load32(kPageTable + (address >> 12) * 4); }
    void set_page_entry(std::uint32_t address, std::uint32_t entry) {
        store32(kPageTable + (address >> 12) * 4, entry);
    }

    void descriptor(std::uint16_t selector, std::uint32_t base, std::uint32_t raw_limit, std::uint16_t attributes);
    void gate(unsigned vector, std::uint8_t type, std::uint16_t selector, std::uint32_t offset, unsigned dpl = 0);
    /// Fills in the task that kTaskSelector or kTask16Selector name: it halts at kTaskCode.
    void task32(std::uint32_t task_eflags = 2);
    void task16();

    void store(std::uint32_t address, std::initializer_list<std::uint8_t> bytes);
    void code(std::initializer_list<std::uint8_t> bytes) { store(kCode, bytes); }
    void store16(std::uint32_t address, std::uint16_t value);
    void store32(std::uint32_t address, std::uint32_t value);
    std::uint8_t load8(std::uint32_t address) const;
    std::uint16_t load16(std::uint32_t address) const;
    std::uint32_t load32(std::uint32_t address) const;

    /// Puts `start` in and resumes.
    CpuExit run();
    /// Runs until the guest halts for good or shuts down; interrupts that were asked for are delivered on the way.
    /// A guest that does neither for two seconds yields Stopped.
    CpuExit resume();
    /// INTR, with what the interrupt controller will answer. Stays until it is delivered.
    void request_interrupt(std::uint8_t vector);
    /// The machine's processor after `run`.
    CpuState state() { return cpu->state(); }
    std::uint32_t reg(unsigned index) { return state().general[index]; }
    /// The vector whose handler the guest halted in, or -1.
    int handler();
    /// The word `index` places above the stack pointer.
    std::uint32_t stacked32(unsigned index);
    std::uint16_t stacked16(unsigned index);

    Nanoseconds host_time = 0;
    PhysicalMemory memory{kMemory};
    PortBus ports;
    VirtualClock clock{[this] { return host_time; }};
    int floating_point_errors = 0;
    std::unique_ptr<Cpu> cpu;
    CpuState start;

  private:
    void begin(const CpuModel& model);

    PhysicalMemory* view_ = &memory;  // reading guest memory is no change of the guest
    std::optional<std::uint8_t> interrupt_;
    std::unique_ptr<Kicker> watchdog_;
};

}  // namespace vpc::test
