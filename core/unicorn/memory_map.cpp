#include "core/unicorn/memory_map.h"

#include <fmt/format.h>

#include <algorithm>

namespace vpc::unicorn {
namespace {

// As many address bits as the engine takes from page tables. An access to where nothing is mapped would leave an error
// behind in the engine, which goes on with the block; and a mapping made then, by the block's next OUT, would fail and
// leave freed memory in the engine's list.
constexpr std::uint64_t kEnd = std::uint64_t{1} << 52;
constexpr std::uint64_t kPage = 4096;
// Cutting an I/O region costs the engine about 60 ns for each of its pages. Where PCI devices' memory comes and goes,
// the regions are therefore smaller from the start: 2 ms for a piece, where the whole takes a second.
constexpr std::uint64_t kPciEnd = 0x1'0000'0000;
constexpr std::uint64_t kHolePiece = 128 << 20;

}  // namespace

MemoryMap::MemoryMap(uc_engine* uc, PhysicalMemory& memory, OverrideClient& client, std::uint64_t& io_accesses)
    : uc_(uc), memory_(memory), client_(client), io_accesses_(io_accesses) {}

MemoryMap::~MemoryMap() {
    memory_.set_observer(nullptr);
}

std::string MemoryMap::attach() {
    memory_.set_observer(this);  // collects the ranges
    std::uint64_t free_from = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> holes;
    for (const auto& [first, segment] : segments_) {
        if (first > free_from) {
            holes.emplace_back(free_from, first - free_from);
        }
        free_from = first + segment->size;
    }
    holes.emplace_back(free_from, kEnd - free_from);
    attached_ = true;
    auto collected = std::move(segments_);
    segments_.clear();
    for (auto& [first, segment] : collected) {
        map_segment(*segment);
    }
    for (const auto& [first, size] : holes) {
        map_hole(first, first + size);
    }
    return failure_;
}

void MemoryMap::map_hole(std::uint64_t first, std::uint64_t end) {
    while (first < end) {
        const std::uint64_t next = first < kPciEnd ? std::min((first / kHolePiece + 1) * kHolePiece, end) : end;
        map_segment({.map = this, .first = first, .size = next - first});
        first = next;
    }
}

void MemoryMap::range_changed(std::uint64_t first, std::uint64_t size, std::uint8_t* read, std::uint8_t* write) {
    const Segment wanted{.map = this, .first = first, .size = size, .read = read, .writable = read && write == read};
    if (!attached_) {
        if (read != nullptr) {
            segments_[first] = std::make_unique<Segment>(wanted);
        }
        return;
    }
    const auto after = segments_.upper_bound(first);
    const Segment& present = *std::prev(after)->second;
    const bool inside = first + size <= present.first + present.size;
    if (inside && read == nullptr && present.read == nullptr) {
        return;  // I/O already: who answers is looked up at each access
    }
    const OverrideScope scope(client_);
    client_.remapping = true;
    cut(first, size);
    map_segment(wanted);
    client_.remapping = false;
}

void MemoryMap::cut(std::uint64_t first, std::uint64_t size) {
    const std::uint64_t end = first + size;
    recent_ = nullptr;
    auto it = std::prev(segments_.upper_bound(first));
    while (it != segments_.end() && it->second->first < end) {
        const Segment old = *it->second;
        if (old.read != nullptr) {
            // The engine gives its RAM addresses to later mappings, and would run what was translated there.
            drop_translations(old.ram_address, old.size);
        }
        check(uc_mem_unmap(uc_, old.first, old.size), old, "unmap");
        it = segments_.erase(it);
        const std::uint64_t old_end = old.first + old.size;
        const auto piece = [&](std::uint64_t from, std::uint64_t to) {
            Segment part = old;
            part.first = from;
            part.size = to - from;
            part.read = old.read != nullptr ? old.read + (from - old.first) : nullptr;
            map_segment(part);
        };
        if (old.first < first) {
            piece(old.first, first);
        }
        if (old_end > end) {
            piece(end, old_end);
        }
        it = segments_.lower_bound(std::max(first, old.first));
        if (old_end >= end) {
            break;
        }
    }
}

void MemoryMap::map_segment(Segment segment) {
    const OverrideScope scope(client_);
    auto owned = std::make_unique<Segment>(segment);
    Segment& kept = *owned;
    segments_[segment.first] = std::move(owned);
    if (kept.read == nullptr) {
        check(uc_mmio_map(uc_, kept.first, kept.size, io_read, &kept, io_write, &kept), kept, "map I/O at");
        return;
    }
    const std::uint32_t rights = kept.writable ? UC_PROT_ALL : UC_PROT_READ | UC_PROT_EXEC;
    check(uc_mem_map_ptr(uc_, kept.first, kept.size, rights, kept.read), kept, "map memory at");
    if (!kept.writable) {
        // The rights given with the mapping only call the hook; the region must also be told to discard stores.
        check(uc_mem_protect(uc_, kept.first, kept.size, rights), kept, "write-protect");
    }
    if (const auto ram_address = engine_functions().ram_address; ram_address != nullptr && failure_.empty()) {
        kept.ram_address = ram_address(uc_, kept.read);
    }
}

void MemoryMap::check(uc_err error, const Segment& segment, const char* what) {
    if (error != UC_ERR_OK && failure_.empty()) {
        failure_ = fmt::format("the CPU engine cannot {} {:08X}h+{:X}h: {}", what, segment.first, segment.size,
                               uc_strerror(error));
    }
}

const MemoryMap::Segment& MemoryMap::segment_at(std::uint64_t address) {
    // Interrupt delivery stores to the same few places over and over.
    if (recent_ == nullptr || address - recent_->first >= recent_->size) {
        recent_ = std::prev(segments_.upper_bound(address))->second.get();
    }
    return *recent_;
}

bool MemoryMap::may_hold_code(std::uint64_t ram_address) const {
    return !client_.code_is_watched || client_.code_pages[OverrideClient::page_of(ram_address)];
}

void MemoryMap::drop_translations(std::uint64_t ram_address, std::uint64_t size) {
    if (const auto invalidate = engine_functions().invalidate_range; invalidate != nullptr) {
        invalidate(uc_, ram_address, ram_address + size);
    } else {
        uc_ctl_flush_tb(uc_);  // clears the whole translation buffer: a last resort
    }
}

void MemoryMap::memory_written(std::uint64_t first, std::uint64_t size) {
    const std::uint64_t end = first + size;
    while (first < end) {
        const Segment& segment = segment_at(first);
        const std::uint64_t page_end = std::min((first | (kPage - 1)) + 1, end);
        const std::uint64_t ram_address = segment.ram_address + (first - segment.first);
        if (segment.read != nullptr) {
            client_.mark_written(ram_address);  // interrupt delivery stores into whatever the stack is
            if (may_hold_code(ram_address)) {
                const OverrideScope scope(client_);
                drop_translations(ram_address, page_end - first);
            }
        }
        first = page_end;
    }
}

void MemoryMap::take_written_pages(std::uint64_t first, std::vector<bool>& pages) {
    if (!client_.code_is_watched) {
        pages.assign(pages.size(), true);  // the engine tells nothing
        return;
    }
    bool any = false;
    for (std::size_t page = 0; page < pages.size(); ++page) {
        const std::uint64_t address = first + page * kPage;
        const Segment& segment = segment_at(address);
        auto written = client_.written_pages[OverrideClient::page_of(segment.ram_address + (address - segment.first))];
        if (written) {
            written = false;
            pages[page] = true;
            any = true;
        }
    }
    if (any) {
        // The first store to a page after this tells again.
        const OverrideScope scope(client_);
        uc_ctl_flush_tlb(uc_);
    }
}

void MemoryMap::store_to_rom(std::uint64_t address, unsigned size, std::uint64_t value) {
    for (unsigned done = 0; done < size;) {
        const unsigned part = (address + done) % 4 == 0 && size - done >= 4 ? 4 : 1;
        memory_.write_bus(address + done, static_cast<std::uint32_t>(value >> (8 * done)), part);
        done += part;
    }
    memory_written(address, size);
}

std::uint64_t MemoryMap::io_read(uc_engine*, std::uint64_t offset, unsigned size, void* context) {
    const auto& segment = *static_cast<Segment*>(context);
    ++segment.map->io_accesses_;
    const std::uint64_t address = segment.first + offset;
    if (size == 8) {
        const std::uint64_t low = segment.map->memory_.read_bus(address, 4);
        return low | static_cast<std::uint64_t>(segment.map->memory_.read_bus(address + 4, 4)) << 32;
    }
    return segment.map->memory_.read_bus(address, size);
}

void MemoryMap::io_write(uc_engine*, std::uint64_t offset, unsigned size, std::uint64_t value, void* context) {
    const auto& segment = *static_cast<Segment*>(context);
    ++segment.map->io_accesses_;
    const std::uint64_t address = segment.first + offset;
    if (size == 8) {
        segment.map->memory_.write_bus(address, static_cast<std::uint32_t>(value), 4);
        segment.map->memory_.write_bus(address + 4, static_cast<std::uint32_t>(value >> 32), 4);
        return;
    }
    segment.map->memory_.write_bus(address, static_cast<std::uint32_t>(value), size);
}

}  // namespace vpc::unicorn
