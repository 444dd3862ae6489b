#include "devices/fw_cfg.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>
#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint16_t kBasePort = 0x510;
constexpr std::uint16_t kDmaPort = 0x514;

constexpr std::uint32_t kFeatures = 0x01 | 0x02;  // the traditional interface, DMA
constexpr std::uint16_t kWriteChannel = 0x4000;   // selector bit; writing was withdrawn from the interface
constexpr std::string_view kDmaSignature = "QEMU CFG";

// The DMA descriptor: control, length, 64-bit address, all big-endian.
constexpr std::size_t kDescriptorSize = 16;
constexpr std::uint32_t kDmaError = 0x01;
constexpr std::uint32_t kDmaRead = 0x02;
constexpr std::uint32_t kDmaSkip = 0x04;
constexpr std::uint32_t kDmaSelect = 0x08;
constexpr std::uint32_t kDmaWrite = 0x10;

/// How many zeros a DMA read past an item's end may store: a guest must not make us fill memory for minutes.
constexpr std::uint32_t kMostPadding = 1u << 20;

constexpr std::size_t kFileNameSize = 56;  // with the terminating zero

void put_big_endian(std::vector<std::uint8_t>& bytes, std::uint64_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) {
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

std::uint64_t big_endian(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) {
        value = value << 8 | byte;
    }
    return value;
}

std::uint32_t swap_bytes(std::uint32_t value) {
    return value << 24 | (value & 0xFF00) << 8 | (value >> 8 & 0xFF00) | value >> 24;
}

std::uint32_t dma_signature(std::uint16_t offset, unsigned size) {
    std::uint32_t value = 0;
    for (unsigned i = 0; i < size && offset + i < kDmaSignature.size(); ++i) {
        value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(kDmaSignature[offset + i])) << (8 * i);
    }
    return value;
}

}  // namespace

FwCfg::FwCfg(PortBus& ports, PhysicalMemory& memory) : memory_(memory), log_(log_category("fw_cfg")) {
    add_item(FwCfgItem::Signature, {'Q', 'E', 'M', 'U'});
    add_number(FwCfgItem::Id, 4, kFeatures);
    build_directory();
    // A word written to 510h selects; bytes are read at 511h. The data register is never written.
    ports_ = ports.claim(
        {.owner = "fw_cfg", .first = kBasePort, .count = 2, .widest = 2},
        {.read = [this](std::uint16_t offset,
                        unsigned size) { return offset == 1 && size == 1 ? next_byte() : std::uint8_t{0}; },
         .write =
             [this](std::uint16_t offset, std::uint32_t value, unsigned size) {
                 if (offset == 0 && size == 2) {
                     select(static_cast<std::uint16_t>(value));
                 }
             },
         .peek = [this](std::uint16_t offset,
                        unsigned size) { return offset == 1 && size == 1 ? peek_byte() : std::uint8_t{0}; }});
    dma_ports_ = ports.claim(
        {.owner = "fw_cfg DMA", .first = kDmaPort, .count = 8, .widest = 4},
        {.read = [](std::uint16_t offset, unsigned size) { return dma_signature(offset, size); },
         .write = [this](std::uint16_t offset, std::uint32_t value, unsigned size) { write_dma(offset, value, size); },
         .peek = [](std::uint16_t offset, unsigned size) { return dma_signature(offset, size); }});
}

void FwCfg::reset() {
    select(0);
    dma_address_ = 0;
}

// ---- items ---------------------------------------------------------------------------------------------------------

void FwCfg::add_item(std::uint16_t selector, std::vector<std::uint8_t> bytes) {
    items_[selector] = std::move(bytes);
}

void FwCfg::add_item(FwCfgItem item, std::vector<std::uint8_t> bytes) {
    add_item(static_cast<std::uint16_t>(item), std::move(bytes));
}

void FwCfg::add_number(FwCfgItem item, unsigned size, std::uint64_t value) {
    std::vector<std::uint8_t> bytes;
    for (unsigned i = 0; i < std::min(size, 8u); ++i) {
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    add_item(item, std::move(bytes));
}

void FwCfg::add_file(std::string name, std::vector<std::uint8_t> bytes) {
    name.resize(std::min(name.size(), kFileNameSize - 1));
    auto file = std::find_if(files_.begin(), files_.end(), [&](const File& known) { return known.name == name; });
    if (file == files_.end()) {
        const auto first = static_cast<std::size_t>(FwCfgItem::FirstFile);
        files_.push_back({.name = std::move(name), .selector = static_cast<std::uint16_t>(first + files_.size())});
        file = files_.end() - 1;
    }
    file->size = static_cast<std::uint32_t>(bytes.size());
    add_item(file->selector, std::move(bytes));
    build_directory();
}

void FwCfg::build_directory() {
    std::vector<std::uint8_t> directory;
    put_big_endian(directory, files_.size(), 4);
    for (const File& file : files_) {
        put_big_endian(directory, file.size, 4);
        put_big_endian(directory, file.selector, 2);
        put_big_endian(directory, 0, 2);
        directory.insert(directory.end(), file.name.begin(), file.name.end());
        directory.resize(directory.size() + kFileNameSize - file.name.size());
    }
    add_item(FwCfgItem::FileDirectory, std::move(directory));
}

void FwCfg::select(std::uint16_t selector) {
    selector_ = selector & static_cast<std::uint16_t>(~kWriteChannel);
    offset_ = 0;
}

const std::vector<std::uint8_t>& FwCfg::item() const {
    static const std::vector<std::uint8_t> kNone;
    const auto found = items_.find(selector_);
    return found != items_.end() ? found->second : kNone;
}

std::uint8_t FwCfg::peek_byte() const {
    const auto& bytes = item();
    return offset_ < bytes.size() ? bytes[offset_] : std::uint8_t{0};
}

std::uint8_t FwCfg::next_byte() {
    const std::uint8_t value = peek_byte();
    if (offset_ < item().size()) {
        ++offset_;
    }
    return value;
}

// ---- DMA -----------------------------------------------------------------------------------------------------------

void FwCfg::write_dma(std::uint16_t offset, std::uint32_t value, unsigned size) {
    if (size != 4) {
        return;
    }
    if (offset == 0) {
        dma_address_ = swap_bytes(value);
    } else if (offset == 4) {
        run_dma(std::uint64_t{std::exchange(dma_address_, 0u)} << 32 | swap_bytes(value));
    }
}

void FwCfg::run_dma(std::uint64_t descriptor) {
    std::array<std::uint8_t, kDescriptorSize> bytes{};
    memory_.read(descriptor, bytes);
    const std::span<const std::uint8_t> view(bytes);
    const auto control = static_cast<std::uint32_t>(big_endian(view.subspan(0, 4)));
    const auto length = static_cast<std::uint32_t>(big_endian(view.subspan(4, 4)));
    if ((control & kDmaSelect) != 0) {
        select(static_cast<std::uint16_t>(control >> 16));
    }
    const bool done = transfer(control, length, big_endian(view.subspan(8, 8)));
    const std::array<std::uint8_t, 4> result = {0, 0, 0, static_cast<std::uint8_t>(done ? 0 : kDmaError)};
    memory_.write(descriptor, result);
}

bool FwCfg::transfer(std::uint32_t control, std::uint32_t length, std::uint64_t address) {
    const std::span<const std::uint8_t> bytes(item());
    const std::span<const std::uint8_t> left = bytes.subspan(std::min<std::size_t>(offset_, bytes.size()));
    const std::span<const std::uint8_t> stored = left.first(std::min<std::size_t>(length, left.size()));
    if ((control & kDmaRead) != 0) {
        const std::size_t padding = length - stored.size();
        if (padding > kMostPadding || address > std::numeric_limits<std::uint32_t>::max()) {
            log_->debug("item {:X}h: refused a DMA read of {} bytes to {:X}h", selector_, length, address);
            return false;
        }
        memory_.write(address, stored);
        if (padding != 0) {
            memory_.write(address + stored.size(), std::vector<std::uint8_t>(padding));
        }
    } else if ((control & kDmaWrite) != 0) {
        return false;
    } else if ((control & kDmaSkip) == 0) {
        return true;  // nothing but a selection
    }
    offset_ += static_cast<std::uint32_t>(stored.size());
    return true;
}

void FwCfg::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(selector_);
        stream.field(offset_);
        stream.field(dma_address_);
    });
}

}  // namespace vpc::devices
