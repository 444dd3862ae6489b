#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include "core/cpu_state.h"
#include "core/physical_memory.h"
#include "core/unicorn/engine_state.h"

namespace vpc::unicorn {

/// An exception met while the processor does something of its own accord (delivering an interrupt, switching tasks).
/// Thrown inside this folder only; it never leaves a hook.
struct Fault {
    Vector vector;
    std::uint32_t error_code;
    std::uint32_t linear_address = 0;  ///< for page faults: goes to CR2
};

/// The guest's linear addresses as the processor's own accesses see them: supervisor privilege, through the page
/// tables, setting accessed and dirty bits. Made anew for each use: translations are remembered only for its life.
class LinearMemory {
  public:
    /// `stored` hears of every physical address written to.
    LinearMemory(const EngineState& state, PhysicalMemory& memory,
                 const std::function<void(std::uint64_t address, std::uint64_t size)>& stored);
    LinearMemory(const EngineState&, PhysicalMemory&,
                 std::function<void(std::uint64_t, std::uint64_t)>&&) = delete;  // `stored` is kept by reference

    /// Little-endian; T is uint8_t, uint16_t or uint32_t. They throw Fault.
    template <typename T>
    T read(std::uint32_t address);
    template <typename T>
    void write(std::uint32_t address, T value);

  private:
    enum class Access { Read, Write };
    struct Translation {
        std::uint32_t page = 1;  // never a page's address: empty
        bool writable = false;
        std::uint64_t physical = 0;
    };
    std::uint64_t translate(std::uint32_t address, Access access);
    std::uint64_t walk(std::uint32_t address, Access access);
    std::uint64_t walk_pae(std::uint32_t address, Access access);
    std::uint32_t load_entry(std::uint64_t address);
    void store_entry(std::uint64_t address, std::uint32_t value);
    [[noreturn]] static void page_fault(std::uint32_t address, Access access, bool present, bool reserved = false);

    const EngineState& state_;
    PhysicalMemory& memory_;
    const std::function<void(std::uint64_t, std::uint64_t)>& stored_;
    bool paging_;
    bool write_protect_;
    std::uint32_t cr4_;
    std::uint64_t a20_mask_;
    std::array<Translation, 4> recent_;
};

}  // namespace vpc::unicorn
