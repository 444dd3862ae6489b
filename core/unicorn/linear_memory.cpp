#include "core/unicorn/linear_memory.h"

namespace vpc::unicorn {
namespace {

// Page table entry bits (Intel SDM volume 3, 4.3 and 4.4).
constexpr std::uint32_t kPresent = 1u << 0;
constexpr std::uint32_t kWritable = 1u << 1;
constexpr std::uint32_t kAccessed = 1u << 5;
constexpr std::uint32_t kDirty = 1u << 6;
constexpr std::uint32_t kLargePage = 1u << 7;

// Page fault error code bits. Bit 2 (user) stays clear: these are supervisor accesses.
constexpr std::uint32_t kFaultPresent = 1u << 0;
constexpr std::uint32_t kFaultWrite = 1u << 1;
constexpr std::uint32_t kFaultReserved = 1u << 3;

constexpr std::uint32_t kPageMask = 0xFFF;

}  // namespace

LinearMemory::LinearMemory(const EngineState& state, PhysicalMemory& memory,
                           const std::function<void(std::uint64_t, std::uint64_t)>& stored)
    : state_(state),
      memory_(memory),
      stored_(stored),
      paging_((state.cr(0) & cr0::kPaging) != 0),
      write_protect_((state.cr(0) & cr0::kWriteProtect) != 0),
      cr4_(state.cr(4)),
      a20_mask_(0xFFFFFFFF00000000u | state.a20_mask()) {}

void LinearMemory::page_fault(std::uint32_t address, Access access, bool present, bool reserved) {
    std::uint32_t code = present ? kFaultPresent : 0;
    code |= access == Access::Write ? kFaultWrite : 0;
    code |= reserved ? kFaultReserved : 0;
    throw Fault{Vector::PageFault, code, address};
}

std::uint32_t LinearMemory::load_entry(std::uint64_t address) {
    std::uint32_t value = 0;
    if (const std::uint8_t* host = memory_.ram_pointer(address)) {
        std::memcpy(&value, host, sizeof value);
        return value;
    }
    return memory_.read_bus(address, sizeof value);
}

void LinearMemory::store_entry(std::uint64_t address, std::uint32_t value) {
    memory_.write_bus(address, value, sizeof value);
    stored_(address, sizeof value);
}

std::uint64_t LinearMemory::walk(std::uint32_t address, Access access) {
    const std::uint64_t directory_at = ((state_.cr(3) & ~kPageMask) + (address >> 22) * 4) & a20_mask_;
    const std::uint32_t directory = load_entry(directory_at);
    if ((directory & kPresent) == 0) {
        page_fault(address, access, false);
    }
    const bool large = (directory & kLargePage) != 0 && (cr4_ & cr4::kPageSizeExtension) != 0;
    std::uint64_t entry_at = directory_at;
    std::uint32_t entry = directory;
    std::uint32_t rights = directory;
    if (!large) {
        entry_at = ((directory & ~kPageMask) + ((address >> 12) & 0x3FF) * 4) & a20_mask_;
        entry = load_entry(entry_at);
        if ((entry & kPresent) == 0) {
            page_fault(address, access, false);
        }
        rights &= entry;
    }
    if (access == Access::Write && write_protect_ && (rights & kWritable) == 0) {
        page_fault(address, access, true);
    }
    if (!large && (directory & kAccessed) == 0) {
        store_entry(directory_at, directory | kAccessed);
    }
    const std::uint32_t marked = entry | kAccessed | (access == Access::Write ? kDirty : 0);
    if (marked != entry) {
        store_entry(entry_at, marked);
    }
    if (large) {
        // PSE-36 bits 13-20 would give addresses above 4 GiB, where this PC has nothing.
        const std::uint64_t above = static_cast<std::uint64_t>((entry >> 13) & 0xFF) << 32;
        return above | (entry & 0xFFC00000) | (address & 0x003FF000);
    }
    return entry & ~kPageMask;
}

std::uint64_t LinearMemory::walk_pae(std::uint32_t address, Access access) {
    const auto load64 = [&](std::uint64_t at) {
        return load_entry(at) | static_cast<std::uint64_t>(load_entry(at + 4)) << 32;
    };
    constexpr std::uint64_t kFrame = 0x0000000FFFFFF000;     // a Pentium III has 36 address bits
    constexpr std::uint64_t kReserved = 0xFFFFFFF000000000;  // no execute-disable bit either

    const std::uint64_t pointer_at = ((state_.cr(3) & ~0x1Fu) + (address >> 30) * 8) & a20_mask_;
    const std::uint64_t pointer = load64(pointer_at);
    if ((pointer & kPresent) == 0) {
        page_fault(address, access, false);
    }
    const std::uint64_t directory_at = ((pointer & kFrame) + ((address >> 21) & 0x1FF) * 8) & a20_mask_;
    const std::uint64_t directory = load64(directory_at);
    if ((directory & kPresent) == 0) {
        page_fault(address, access, false);
    }
    if ((directory & kReserved) != 0) {
        page_fault(address, access, true, true);
    }
    const bool large = (directory & kLargePage) != 0;
    std::uint64_t entry_at = directory_at;
    std::uint64_t entry = directory;
    std::uint64_t rights = directory;
    if (!large) {
        entry_at = ((directory & kFrame) + ((address >> 12) & 0x1FF) * 8) & a20_mask_;
        entry = load64(entry_at);
        if ((entry & kPresent) == 0) {
            page_fault(address, access, false);
        }
        if ((entry & kReserved) != 0) {
            page_fault(address, access, true, true);
        }
        rights &= entry;
    }
    if (access == Access::Write && write_protect_ && (rights & kWritable) == 0) {
        page_fault(address, access, true);
    }
    if (!large && (directory & kAccessed) == 0) {
        store_entry(directory_at, static_cast<std::uint32_t>(directory) | kAccessed);
    }
    const auto low = static_cast<std::uint32_t>(entry);
    const std::uint32_t marked = low | kAccessed | (access == Access::Write ? kDirty : 0);
    if (marked != low) {
        store_entry(entry_at, marked);
    }
    return large ? (entry & kFrame & ~0x1FFFFFull) | (address & 0x001FF000) : entry & kFrame;
}

std::uint64_t LinearMemory::translate(std::uint32_t address, Access access) {
    if (!paging_) {
        return address & a20_mask_;
    }
    const std::uint32_t page = address & ~kPageMask;
    Translation& recent = recent_[(address >> 12) % recent_.size()];
    if (recent.page != page || (access == Access::Write && !recent.writable)) {
        const bool pae = (cr4_ & cr4::kPhysicalAddressExtension) != 0;
        const std::uint64_t physical = pae ? walk_pae(address, access) : walk(address, access);
        recent = {.page = page, .writable = access == Access::Write, .physical = physical & a20_mask_};
    }
    return recent.physical | (address & kPageMask);
}

template <typename T>
T LinearMemory::read(std::uint32_t address) {
    if (const std::uint8_t* host = state_.supervisor_memory(address, sizeof(T), TlbAccess::Load)) {
        T value;
        std::memcpy(&value, host, sizeof value);
        return value;
    }
    if ((address & kPageMask) > kPageMask + 1 - sizeof(T)) {
        T value = 0;
        for (unsigned i = 0; i < sizeof(T); ++i) {
            value = static_cast<T>(value | static_cast<T>(read<std::uint8_t>(address + i)) << (8 * i));
        }
        return value;
    }
    const std::uint64_t physical = translate(address, Access::Read);
    if (const std::uint8_t* host = memory_.ram_pointer(physical)) {
        T value;
        std::memcpy(&value, host, sizeof value);
        return value;
    }
    return static_cast<T>(memory_.read_bus(physical, sizeof(T)));
}

template <typename T>
void LinearMemory::write(std::uint32_t address, T value) {
    if (std::uint8_t* host = state_.supervisor_memory(address, sizeof(T), TlbAccess::Store)) {
        std::memcpy(host, &value, sizeof value);
        return;
    }
    if ((address & kPageMask) > kPageMask + 1 - sizeof(T)) {
        translate(address + sizeof(T) - 1, Access::Write);  // a fault on the second page must leave the first alone
        for (unsigned i = 0; i < sizeof(T); ++i) {
            write<std::uint8_t>(address + i, static_cast<std::uint8_t>(value >> (8 * i)));
        }
        return;
    }
    const std::uint64_t physical = translate(address, Access::Write);
    if (std::uint8_t* host = memory_.ram_pointer(physical)) {
        std::memcpy(host, &value, sizeof value);
    } else {
        memory_.write_bus(physical, value, sizeof(T));
    }
    stored_(physical, sizeof(T));
}

template std::uint8_t LinearMemory::read(std::uint32_t);
template std::uint16_t LinearMemory::read(std::uint32_t);
template std::uint32_t LinearMemory::read(std::uint32_t);
template void LinearMemory::write(std::uint32_t, std::uint8_t);
template void LinearMemory::write(std::uint32_t, std::uint16_t);
template void LinearMemory::write(std::uint32_t, std::uint32_t);

}  // namespace vpc::unicorn
