#include "core/physical_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

#include "core/log.h"

namespace vpc {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kIsaHole = 0xA0000;
constexpr std::uint64_t kWindows = 0xC0000;
constexpr std::uint64_t kHighMemory = 0x100000;
constexpr std::uint64_t kEnd = 0x1'0000'0000;

std::uint64_t round_up(std::uint64_t size) {
    return (size + kPage - 1) & ~(kPage - 1);
}

}  // namespace

PhysicalMemory::PhysicalMemory(std::uint64_t ram_size) : ram_size_(ram_size), open_bus_(kHighMemory - kWindows, 0xFF) {
    // The part under the windows exists even on a machine with less RAM, so that pointers into it are always valid.
    const std::uint64_t allocated = std::max(ram_size, kHighMemory);
    void* memory = mmap(nullptr, allocated, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::bad_alloc();
    }
    ram_ = static_cast<std::uint8_t*>(memory);
    const auto add_ram = [&](std::uint64_t first, std::uint64_t end) {
        if (first < end) {
            insert(std::make_unique<Range>(Range{
                .owner = "RAM", .first = first, .size = end - first, .read = ram_ + first, .write = ram_ + first}));
        }
    };
    add_ram(0, std::min(ram_size, kIsaHole));
    add_ram(kHighMemory, ram_size);
    for (std::uint64_t page = kWindows; page < kHighMemory; page += kPage) {
        insert(std::make_unique<Range>(
            Range{.owner = "window", .first = page, .size = kPage, .read = open_bus_.data() + (page - kWindows)}));
    }
}

PhysicalMemory::~PhysicalMemory() {
    munmap(ram_, std::max(ram_size_, kHighMemory));
}

const PhysicalMemory::Range* PhysicalMemory::find(std::uint64_t address) const {
    if (recent_ != nullptr && address - recent_->first < recent_->size) {
        return recent_;
    }
    const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), address,
                                        [](std::uint64_t a, const auto& range) { return a < range->first; });
    if (after == ranges_.begin()) {
        return nullptr;
    }
    const Range* range = std::prev(after)->get();
    if (address - range->first >= range->size) {
        return nullptr;
    }
    recent_ = range;
    return range;
}

void PhysicalMemory::tell(const Range& range) const {
    if (observer_ != nullptr) {
        observer_->range_changed(range.first, range.size, range.read, range.write);
    }
}

std::string PhysicalMemory::conflict(const Range& range) const {
    if (range.size == 0 || range.first % kPage != 0 || range.size % kPage != 0) {
        return fmt::format("{}: {:08X}h+{:X}h is not made of whole pages", range.owner, range.first, range.size);
    }
    if (range.size > kEnd - range.first) {
        return fmt::format("{}: {:08X}h+{:X}h does not end within 4 GiB", range.owner, range.first, range.size);
    }
    for (const auto& other : ranges_) {
        if (range.first < other->first + other->size && other->first < range.first + range.size) {
            return fmt::format("{} wants {:08X}h+{:X}h, part of which {} owns", range.owner, range.first, range.size,
                               other->owner);
        }
    }
    return {};
}

void PhysicalMemory::insert(std::unique_ptr<Range> range) {
    if (const std::string problem = conflict(*range); !problem.empty()) {
        throw BusConflict(problem);
    }
    const auto place = std::upper_bound(ranges_.begin(), ranges_.end(), range->first,
                                        [](std::uint64_t a, const auto& r) { return a < r->first; });
    const auto inserted = ranges_.insert(place, std::move(range));
    tell(**inserted);
}

std::uint8_t* PhysicalMemory::map_rom(std::string owner, std::uint32_t first, std::span<const std::uint8_t> contents) {
    auto range =
        std::make_unique<Range>(Range{.owner = std::move(owner), .first = first, .size = round_up(contents.size())});
    range->rom.assign(contents.begin(), contents.end());
    range->rom.resize(range->size, 0xFF);
    range->read = range->rom.data();
    std::uint8_t* host = range->read;
    insert(std::move(range));
    return host;
}

void PhysicalMemory::map_mmio(std::string owner, std::uint32_t first, std::uint32_t size, MmioHandlers handlers) {
    insert(std::make_unique<Range>(
        Range{.owner = std::move(owner), .first = first, .size = size, .handlers = std::move(handlers)}));
}

bool PhysicalMemory::try_map_ram(std::string owner, std::uint32_t first, std::uint32_t size, std::uint8_t* memory) {
    auto range = std::make_unique<Range>(
        Range{.owner = std::move(owner), .first = first, .size = size, .read = memory, .write = memory});
    if (const std::string problem = conflict(*range); !problem.empty()) {
        log_category("memory")->warn("{}", problem);
        return false;
    }
    range->written.resize(size / kPage);
    insert(std::move(range));
    return true;
}

void PhysicalMemory::mark_written(const Range& range, std::uint64_t offset, std::size_t count) {
    if (!range.written.empty()) {
        for (std::uint64_t page = offset / kPage; page <= (offset + count - 1) / kPage; ++page) {
            range.written[page] = true;
        }
    }
}

void PhysicalMemory::take_written_pages(std::uint32_t first, std::vector<bool>& pages) {
    const Range* range = find(first);
    if (range == nullptr || range->written.empty() || pages.size() > (range->first + range->size - first) / kPage) {
        throw std::logic_error(fmt::format("{:08X}h is not within a chip's memory", first));
    }
    const std::size_t offset = (first - range->first) / kPage;
    for (std::size_t page = 0; page < pages.size(); ++page) {
        if (range->written[offset + page]) {
            range->written[offset + page] = false;
            pages[page] = true;
        }
    }
    if (observer_ != nullptr) {
        observer_->take_written_pages(first, pages);
    }
}

void PhysicalMemory::unmap(std::uint32_t first) {
    recent_ = nullptr;
    const auto found =
        std::find_if(ranges_.begin(), ranges_.end(), [&](const auto& range) { return range->first == first; });
    if (found == ranges_.end()) {
        return;
    }
    const std::unique_ptr<Range> range = std::move(*found);
    ranges_.erase(found);
    if (observer_ != nullptr) {
        observer_->range_changed(range->first, range->size, nullptr, nullptr);
    }
}

void PhysicalMemory::set_window(std::uint32_t first, std::uint32_t size, Window window) {
    if (first < kWindows || size > kHighMemory - first || first % kPage != 0 || size % kPage != 0) {
        throw std::logic_error(fmt::format("no window can lie at {:05X}h+{:X}h", first, size));
    }
    for (std::uint64_t offset = 0; offset < size; offset += kPage) {
        auto* range = const_cast<Range*>(find(first + offset));
        range->read = window.read != nullptr ? window.read + offset : open_bus_.data() + (first + offset - kWindows);
        range->write = window.write != nullptr ? window.write + offset : nullptr;
    }
    if (observer_ != nullptr) {
        std::uint8_t* read = window.read != nullptr ? window.read : open_bus_.data() + (first - kWindows);
        observer_->range_changed(first, size, read, window.write);
    }
}

void PhysicalMemory::read(std::uint64_t address, std::span<std::uint8_t> to) {
    while (!to.empty()) {
        const Range* range = find(address);
        std::size_t count = std::min<std::uint64_t>(to.size(), kPage - address % kPage);
        if (range != nullptr && range->read != nullptr) {
            count = std::min<std::uint64_t>(to.size(), range->first + range->size - address);
            std::memcpy(to.data(), range->read + (address - range->first), count);
        } else {
            for (std::size_t i = 0; i < count; ++i) {
                to[i] = static_cast<std::uint8_t>(read_bus(address + i, 1));
            }
        }
        address += count;
        to = to.subspan(count);
    }
}

void PhysicalMemory::write(std::uint64_t address, std::span<const std::uint8_t> from) {
    while (!from.empty()) {
        const Range* range = find(address);
        std::size_t count = std::min<std::uint64_t>(from.size(), kPage - address % kPage);
        if (range != nullptr && range->write != nullptr) {
            count = std::min<std::uint64_t>(from.size(), range->first + range->size - address);
            std::memcpy(range->write + (address - range->first), from.data(), count);
            mark_written(*range, address - range->first, count);
            if (observer_ != nullptr) {
                observer_->memory_written(address, count);
            }
        } else {
            for (std::size_t i = 0; i < count; ++i) {
                write_bus(address + i, from[i], 1);
            }
        }
        address += count;
        from = from.subspan(count);
    }
}

std::uint32_t PhysicalMemory::read_bus(std::uint64_t address, unsigned size) {
    const Range* range = find(address);
    if (range == nullptr || address - range->first > range->size - size) {
        ++unowned_reads_;
        return 0xFFFFFFFFu >> (32 - 8 * size);
    }
    const auto offset = static_cast<std::uint32_t>(address - range->first);
    if (range->read != nullptr) {
        std::uint32_t value = 0;
        std::memcpy(&value, range->read + offset, size);
        return value;
    }
    if (!range->handlers.read) {
        return 0xFFFFFFFFu >> (32 - 8 * size);
    }
    if (offset % size != 0) {
        std::uint32_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= (range->handlers.read(offset + i, 1) & 0xFF) << (8 * i);
        }
        return value;
    }
    return range->handlers.read(offset, size) & (0xFFFFFFFFu >> (32 - 8 * size));
}

void PhysicalMemory::write_bus(std::uint64_t address, std::uint32_t value, unsigned size) {
    const Range* range = find(address);
    if (range == nullptr || address - range->first > range->size - size) {
        ++unowned_writes_;
        return;
    }
    const auto offset = static_cast<std::uint32_t>(address - range->first);
    if (range->write != nullptr) {
        std::memcpy(range->write + offset, &value, size);
        mark_written(*range, offset, size);
    } else if (range->handlers.write && offset % size != 0) {
        for (unsigned i = 0; i < size; ++i) {
            range->handlers.write(offset + i, (value >> (8 * i)) & 0xFF, 1);
        }
    } else if (range->handlers.write) {
        range->handlers.write(offset, value & (0xFFFFFFFFu >> (32 - 8 * size)), size);
    }
}

std::uint8_t* PhysicalMemory::read_pointer(std::uint64_t address) const {
    const Range* range = find(address);
    return range != nullptr && range->read != nullptr ? range->read + (address - range->first) : nullptr;
}

std::uint8_t* PhysicalMemory::write_pointer(std::uint64_t address) const {
    const Range* range = find(address);
    return range != nullptr && range->write != nullptr ? range->write + (address - range->first) : nullptr;
}

void PhysicalMemory::set_observer(MemoryObserver* observer) {
    observer_ = observer;
    if (observer == nullptr) {
        return;
    }
    // Neighbouring windows onto one buffer are told as one range: the observer's map stays small.
    for (std::size_t i = 0; i < ranges_.size();) {
        const Range& first = *ranges_[i];
        std::uint64_t size = first.size;
        for (++i; i < ranges_.size(); ++i) {
            const Range& next = *ranges_[i];
            const bool joined = next.first == first.first + size && first.read != nullptr &&
                                next.read == first.read + size &&
                                next.write == (first.write != nullptr ? first.write + size : nullptr);
            if (!joined) {
                break;
            }
            size += next.size;
        }
        observer->range_changed(first.first, size, first.read, first.write);
    }
}

}  // namespace vpc
