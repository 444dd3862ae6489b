#pragma once
#include <unicorn/unicorn.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/physical_memory.h"
#include "core/unicorn/engine_overrides.h"

namespace vpc::unicorn {

/// Keeps the engine's memory map equal to PhysicalMemory's: RAM and ROM are mapped with host pointers, everything else
/// that page tables reach is one kind of I/O that asks PhysicalMemory.
///
/// The first map is built at once in `attach`, since cutting a large I/O region afterwards is slow in the engine; below
/// 4 GiB, where PCI devices are placed later, I/O is mapped in pieces for the same reason.
class MemoryMap final : public MemoryObserver {
  public:
    MemoryMap(uc_engine* uc, PhysicalMemory& memory, OverrideClient& client, std::uint64_t& io_accesses);
    ~MemoryMap() override;
    /// Maps everything. Returns an error for people, or an empty string.
    std::string attach();

    void range_changed(std::uint64_t first, std::uint64_t size, std::uint8_t* read, std::uint8_t* write) override;
    void memory_written(std::uint64_t first, std::uint64_t size) override;
    void take_written_pages(std::uint64_t first, std::vector<bool>& pages) override;
    /// A store of the CPU to ROM.
    void store_to_rom(std::uint64_t address, unsigned size, std::uint64_t value);

    /// The last mapping failure, for Cpu::failure; empty if there was none.
    const std::string& failure() const { return failure_; }

  private:
    struct Segment {
        MemoryMap* map = nullptr;  // the engine hands the segment back in its I/O callbacks
        std::uint64_t first = 0;
        std::uint64_t size = 0;
        std::uint8_t* read = nullptr;  // null: I/O
        bool writable = false;
        std::uint64_t ram_address = 0;  // the engine's own address of `read`
    };
    void map_segment(Segment segment);
    void map_hole(std::uint64_t first, std::uint64_t end);
    void cut(std::uint64_t first, std::uint64_t size);
    const Segment& segment_at(std::uint64_t address);
    bool may_hold_code(std::uint64_t ram_address) const;
    void drop_translations(std::uint64_t ram_address, std::uint64_t size);
    void check(uc_err error, const Segment& segment, const char* what);
    static std::uint64_t io_read(uc_engine*, std::uint64_t offset, unsigned size, void* segment);
    static void io_write(uc_engine*, std::uint64_t offset, unsigned size, std::uint64_t value, void* segment);

    uc_engine* uc_;
    PhysicalMemory& memory_;
    OverrideClient& client_;
    std::uint64_t& io_accesses_;
    std::map<std::uint64_t, std::unique_ptr<Segment>> segments_;  // by first address
    const Segment* recent_ = nullptr;                             // of segment_at
    bool attached_ = false;
    std::string failure_;
};

}  // namespace vpc::unicorn
