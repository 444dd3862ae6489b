#pragma once
#include <array>
#include <bitset>
#include <cstdint>
#include <memory>

#include "core/unicorn/engine_tlb.h"
#include "core/unicorn/repeated_strings.h"

namespace vpc::unicorn {

/// Replacement of some of the engine's internal functions, the one trick this project plays on a library.
///
/// Debian's build of Unicorn exports its internals and calls them through the PLT, so that a function of the same name
/// in the program is used instead, and dlsym(RTLD_NEXT) reaches the original. Without that, stops would be inexact,
/// self-modifying code would run stale or slowly, IN and OUT would ignore the I/O permission bitmap, a guest could
/// crash the host by arming DR7, the time stamp counter would be the host's, and REP MOVS would run a block for each
/// element. Nothing here is taken for granted: engine_probe.h proves each override with guest code before the first
/// machine starts, and names a fallback. Those around the translator are in translator_overrides.cpp.
///
/// The replaced functions find their machine through a thread-local pointer, which OverrideScope sets around every
/// call into the engine.
class OverrideClient {
  public:
    virtual ~OverrideClient() = default;

    /// RDTSC, RDMSR 10h and WRMSR 10h. `env` is the engine's processor state, live.
    virtual std::uint64_t time_stamp(void* env) = 0;
    virtual void set_time_stamp(std::uint64_t value) = 0;
    /// CR4.TSD is set and CPL is not 0.
    virtual bool time_stamp_forbidden(void* env) = 0;
    /// IN, OUT, INS, OUTS may reach `port` at the present privilege.
    virtual bool port_allowed(void* env, std::uint16_t port, unsigned size) = 0;
    /// Executes the REP MOVS or REP STOS at EIP. Asked for instructions that were translated as RDTSC, when
    /// `repeated_strings` is set.
    virtual RepeatedStringResult repeated_string(void* env) = 0;
    /// Executes SYSENTER in the state; false: #GP(0).
    virtual bool sysenter(void* env) = 0;
    /// STI, POPF or IRET is about to run while `interrupt_pending`.
    virtual void interrupt_window_may_open() = 0;
    virtual void halt() = 0;
    /// The engine met a fault while it believed a double fault to be going on.
    virtual void triple_fault() = 0;
    /// A block was translated; the engine put it at `block`, in its translation buffer, behind all earlier ones.
    virtual void block_translated(const void* block) = 0;
    /// FWAIT is about to run: report a pending x87 error if CR0.NE is clear.
    virtual void check_floating_point_error(void* env) = 0;

    /// An external interrupt waits for IF.
    bool interrupt_pending = false;

    /// The memory map is being changed, perhaps in the middle of an instruction.
    bool remapping = false;

    /// False when override 2 is not in place: `code_pages` means nothing then.
    bool code_is_watched = true;
    /// A bit per page of the engine's RAM addresses: "holds translated code". Covers 8 GiB of them.
    static constexpr std::size_t kWatchedPages = std::size_t{1} << 21;
    std::bitset<kWatchedPages> code_pages;
    /// Likewise: "stored to". The engine calls override 2 at a page's first store after the TLB was flushed, so that
    /// whoever clears a bit and flushes hears of the next store. Means nothing without override 2.
    std::bitset<kWatchedPages> written_pages;
    static std::size_t page_of(std::uint64_t ram_address) { return (ram_address >> 12) & (kWatchedPages - 1); }
    void mark_written(std::uint64_t ram_address) { written_pages[page_of(ram_address)] = true; }
    std::uint64_t last_store = ~std::uint64_t{0};
    std::uint64_t stores_to_code = 0;  ///< how many went to pages in `code_pages`
    void* engine_cpu = nullptr;
    void* engine_env = nullptr;  ///< the live state, once known

    /// Unknown: helpers take the engine's own way to memory.
    TlbLayout tlb;

    bool repeated_strings = false;

    /// Whether override 12 is wanted, and then: whether the TLB is so short of room that it should be flushed before
    /// the page at the linear address comes in.
    bool growing_tlb = false;
    bool tlb_wants_room(std::uint64_t address, unsigned mode);

    /// How often each override was called, for the probe.
    struct Calls {
        unsigned repeated_string = 0;
        unsigned breakpoint_insert = 0;
        unsigned protect_code = 0;
    } calls;

  private:
    std::array<std::uint64_t, kTlbModes> evictions_{};  // pages that drove out others, per mode
};

/// Makes `client` the machine of this thread until the end of the scope; scopes nest.
class OverrideScope {
  public:
    explicit OverrideScope(OverrideClient& client);
    ~OverrideScope();
    OverrideScope(const OverrideScope&) = delete;
    OverrideScope& operator=(const OverrideScope&) = delete;

  private:
    OverrideClient* previous_;
};

/// Engine functions that are called, not replaced. Any may be null in a build that does not export it.
struct EngineFunctions {
    /// Drops translations of [first, last) in engine RAM addresses. `engine` is the uc_engine.
    void (*invalidate_range)(void* engine, std::uint64_t first, std::uint64_t last) = nullptr;
    /// Engine RAM address of host memory that was mapped.
    std::uint64_t (*ram_address)(void* engine, void* host) = nullptr;
    EngineMemory memory;
    /// All of EFLAGS but VM and RF.
    std::uint64_t (*read_eflags)(void* env) = nullptr;
};
const EngineFunctions& engine_functions();

/// Whether the dynamic linker gives the engine our functions. False in a program that links this module wrongly.
bool overrides_are_linked();

}  // namespace vpc::unicorn
