#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/port_bus.h"  // BusConflict

namespace vpc {

/// What a chip does on a range of addresses: `offset` counts from the range's start, `size` is 1, 2 or 4 and the
/// access is aligned to it (wider and unaligned ones are cut).
struct MmioHandlers {
    std::function<std::uint32_t(std::uint32_t offset, unsigned size)> read;
    std::function<void(std::uint32_t offset, std::uint32_t value, unsigned size)> write;
};

/// Hears of every change to the map and of every store that did not come from the CPU. The CPU implements it.
class MemoryObserver {
  public:
    virtual ~MemoryObserver() = default;
    /// [first, first + size) now reads from `read` and writes to `write`, host memory that stays valid until the
    /// range is changed again. Null `read`: every access goes through PhysicalMemory::read and write. `write` equal to
    /// `read` is RAM; anything else is ROM to the CPU, whose stores go through PhysicalMemory::write.
    /// All values are multiples of 4096.
    virtual void range_changed(std::uint64_t first, std::uint64_t size, std::uint8_t* read, std::uint8_t* write) = 0;
    /// Somebody other than the CPU (DMA, a loader, a debugger) stored here: translations are out of date.
    virtual void memory_written(std::uint64_t first, std::uint64_t size) = 0;
    /// Sets pages[n] for each page n from `first` on into which the CPU may have stored since it was asked last, or
    /// since the pages were mapped. `first` is a multiple of 4096; the pages are all RAM.
    virtual void take_written_pages(std::uint64_t first, std::vector<bool>& pages) = 0;
};

/// The guest's 4 GiB of physical addresses: RAM, ROM, and ranges that chips answer. What nobody owns reads as all ones
/// and swallows writes. Ranges are multiples of 4 KiB and never overlap, except that RAM below 1 MiB may be covered by
/// windows (`set_window`), as the host bridge's PAM registers do.
///
/// Host pointers into it are stable for its whole life. Machine's thread only.
class PhysicalMemory {
  public:
    /// Allocates zeroed RAM at 0. `ram_size` is in bytes and a multiple of 4096; the host commits pages as the guest
    /// touches them. Throws std::bad_alloc when the host refuses.
    explicit PhysicalMemory(std::uint64_t ram_size);
    PhysicalMemory(const PhysicalMemory&) = delete;
    PhysicalMemory& operator=(const PhysicalMemory&) = delete;
    ~PhysicalMemory();

    std::uint64_t ram_size() const { return ram_size_; }
    /// All RAM, including what lies hidden under windows.
    std::uint8_t* ram() { return ram_; }

    /// Read-only contents, kept by the memory; padded with FFh to a multiple of 4096. Returns the host copy, for
    /// windows onto it. Throws BusConflict.
    std::uint8_t* map_rom(std::string owner, std::uint32_t first, std::span<const std::uint8_t> contents);
    /// Throws BusConflict. The range must not be RAM, unless it lies in the ISA hole A0000h-BFFFFh.
    void map_mmio(std::string owner, std::uint32_t first, std::uint32_t size, MmioHandlers handlers);
    /// A chip's own memory, which guest and bus masters read and write without asking it. `memory` is `size` bytes,
    /// page-aligned, and stays valid until unmap; it must be mapped at one place at a time (a second host mapping of
    /// the same pages may be mapped elsewhere). `first` may have been placed by the guest: false, and a line in the
    /// log, when part of the range has an owner or lies outside the 4 GiB.
    [[nodiscard]] bool try_map_ram(std::string owner, std::uint32_t first, std::uint32_t size, std::uint8_t* memory);
    /// Sets pages[n] for each 4 KiB page n from `first` on that somebody may have stored to since the last call or
    /// since the range was mapped. The pages must lie in one range of try_map_ram. Costs nothing while the guest does
    /// not store there.
    void take_written_pages(std::uint32_t first, std::vector<bool>& pages);
    void unmap(std::uint32_t first);

    /// Where a window below 1 MiB reads from and writes to.
    struct Window {
        std::uint8_t* read = nullptr;   ///< null: open bus
        std::uint8_t* write = nullptr;  ///< null: writes vanish
    };
    /// Lays a window over [first, first + size), which must lie within C0000h-FFFFFh.
    void set_window(std::uint32_t first, std::uint32_t size, Window window);

    /// Accesses as a bus master makes them (DMA, page walks, loaders), any size and alignment. Stores tell the
    /// observer.
    void read(std::uint64_t address, std::span<std::uint8_t> to);
    void write(std::uint64_t address, std::span<const std::uint8_t> from);
    /// 1, 2 or 4 bytes; what the CPU's accesses outside RAM come to. Stores do not tell the observer.
    std::uint32_t read_bus(std::uint64_t address, unsigned size);
    void write_bus(std::uint64_t address, std::uint32_t value, unsigned size);

    /// Host memory behind one byte of plain RAM, or null for anything else: the fast way for page walks and DMA.
    std::uint8_t* ram_pointer(std::uint64_t address) {
        return address < ram_size_ && (address < 0xA0000 || address >= 0x100000) ? ram_ + address : nullptr;
    }
    /// Host memory behind one page for reading (or writing), or null when it is no RAM or ROM (RAM).
    std::uint8_t* read_pointer(std::uint64_t address) const;
    std::uint8_t* write_pointer(std::uint64_t address) const;

    /// At most one; told of the whole map at once. Null removes it.
    void set_observer(MemoryObserver* observer);

    std::uint64_t unowned_reads() const { return unowned_reads_; }
    std::uint64_t unowned_writes() const { return unowned_writes_; }

  private:
    struct Range {
        std::string owner;
        std::uint64_t first = 0;
        std::uint64_t size = 0;
        std::uint8_t* read = nullptr;
        std::uint8_t* write = nullptr;
        MmioHandlers handlers;
        std::vector<std::uint8_t> rom;
        mutable std::vector<bool> written;  // of a chip's memory: pages stored to by others than the CPU
    };
    const Range* find(std::uint64_t address) const;
    std::string conflict(const Range& range) const;
    static void mark_written(const Range& range, std::uint64_t offset, std::size_t count);
    void insert(std::unique_ptr<Range> range);
    void tell(const Range& range) const;

    std::uint64_t ram_size_;
    std::uint8_t* ram_ = nullptr;
    std::vector<std::uint8_t> open_bus_;          // all ones: what windows onto nothing read from
    std::vector<std::unique_ptr<Range>> ranges_;  // sorted by address, disjoint
    mutable const Range* recent_ = nullptr;       // of find()
    MemoryObserver* observer_ = nullptr;
    std::uint64_t unowned_reads_ = 0;
    std::uint64_t unowned_writes_ = 0;
};

}  // namespace vpc
