#include "devices/piix4_bus_master.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

// Register offsets.
constexpr unsigned kCommand = 0;
constexpr unsigned kStatus = 2;
constexpr unsigned kTable = 4;

// BMICX.
constexpr std::uint8_t kStart = 0x01;      // SSBM
constexpr std::uint8_t kDirection = 0x08;  // RWCON: 1 writes to memory

// BMISX.
constexpr std::uint8_t kActive = 0x01;
constexpr std::uint8_t kDmaError = 0x02;
constexpr std::uint8_t kInterrupt = 0x04;
constexpr std::uint8_t kDriveCapable = 0x60;  // drives 0 and 1 are set up for DMA: software's notes

constexpr std::uint32_t kEndOfTable = 0x80000000;
constexpr std::uint32_t kRegionSize = 0x10000;

}  // namespace

std::uint8_t Piix4BusMaster::read(unsigned offset) const {
    switch (offset) {
        case kCommand:
            return command_;
        case kStatus:
            return status_;
        case kTable:
        case kTable + 1:
        case kTable + 2:
        case kTable + 3:
            return static_cast<std::uint8_t>(table_ >> (8 * (offset - kTable)));
        default:
            return 0;
    }
}

void Piix4BusMaster::write(unsigned offset, std::uint8_t value) {
    if (offset == kCommand) {
        const bool starts = (value & kStart) != 0 && (command_ & kStart) == 0;
        command_ = value & (kStart | kDirection);
        if (starts) {
            descriptor_ = table_;
            remaining_ = 0;
            last_ = false;
            status_ |= kActive;
        } else if ((command_ & kStart) == 0) {
            status_ = static_cast<std::uint8_t>(status_ & ~kActive);
        }
    } else if (offset == kStatus) {
        const unsigned cleared = value & (kDmaError | kInterrupt);
        status_ = static_cast<std::uint8_t>((status_ & ~cleared & ~kDriveCapable) | (value & kDriveCapable));
    } else if (offset >= kTable) {
        const unsigned shift = 8 * (offset - kTable);
        table_ = ((table_ & ~(0xFFu << shift)) | static_cast<std::uint32_t>(value) << shift) & ~3u;
    }
}

void Piix4BusMaster::device_interrupted() {
    status_ |= kInterrupt;
}

bool Piix4BusMaster::running() const {
    return enabled_ && (command_ & kStart) != 0 && (status_ & kActive) != 0;
}

std::size_t Piix4BusMaster::transfer(std::span<std::uint8_t> data, bool to_memory) {
    std::size_t done = 0;
    while (running() && done < data.size()) {
        if (remaining_ == 0 && !fetch_descriptor()) {
            stop_with_error();
            break;
        }
        const std::size_t count = std::min<std::size_t>(remaining_, data.size() - done);
        if (!move(data.subspan(done, count), to_memory)) {
            stop_with_error();
            break;
        }
        done += count;
        address_ += count;
        remaining_ -= static_cast<std::uint32_t>(count);
        if (remaining_ == 0 && last_) {
            status_ = static_cast<std::uint8_t>(status_ & ~kActive);
        }
    }
    return done;
}

bool Piix4BusMaster::fetch_descriptor() {
    // Descriptors are aligned to 4, so that one can lie across two pages.
    if (memory_.read_pointer(descriptor_) == nullptr ||
        memory_.read_pointer(std::uint64_t{descriptor_} + 4) == nullptr) {
        return false;
    }
    std::array<std::uint8_t, 8> bytes{};
    memory_.read(descriptor_, bytes);
    std::array<std::uint32_t, 2> words{};
    std::memcpy(words.data(), bytes.data(), sizeof words);
    descriptor_ += static_cast<std::uint32_t>(sizeof words);
    address_ = words[0] & ~1u;
    const std::uint32_t length = words[1] & 0xFFFE;
    remaining_ = length != 0 ? length : kRegionSize;
    last_ = (words[1] & kEndOfTable) != 0;
    return true;
}

/// False when part of the region has no owner.
bool Piix4BusMaster::move(std::span<std::uint8_t> data, bool to_memory) {
    const std::uint64_t misses = memory_.unowned_reads() + memory_.unowned_writes();
    if (to_memory) {
        memory_.write(address_, data);
    } else {
        memory_.read(address_, data);
    }
    return memory_.unowned_reads() + memory_.unowned_writes() == misses;
}

void Piix4BusMaster::stop_with_error() {
    status_ = static_cast<std::uint8_t>((status_ & ~kActive) | kDmaError);
}

void Piix4BusMaster::reset() {
    command_ = 0;
    status_ = 0;
    table_ = 0;
    descriptor_ = 0;
    address_ = 0;
    remaining_ = 0;
    last_ = false;
}

void Piix4BusMaster::serialize(StateStream& stream) {
    stream.field(command_);
    stream.field(status_);
    stream.field(table_);
    stream.field(descriptor_);
    stream.field(address_);
    stream.field(remaining_);
    stream.field(last_);
    command_ &= kStart | kDirection;
    status_ &= kActive | kDmaError | kInterrupt | kDriveCapable;
    table_ &= ~3u;
    descriptor_ &= ~3u;
    if (stream.loading() && (remaining_ > kRegionSize || address_ > 0x100000000)) {
        reset();
        stream.refuse("a bus master's region is out of range");
    }
}

}  // namespace vpc::devices
