#include "disk/vhd/block_table.h"

#include <algorithm>
#include <array>
#include <span>

#include "disk/vhd/big_endian.h"
#include "disk/vhd/dynamic_header.h"

namespace vpc::disk::vhd {
namespace {

constexpr std::uint32_t kEntriesPerSector = kSectorSize / 4;
/// How much of the table is read or written at once.
constexpr std::uint32_t kChunkSectors = 128;

}  // namespace

Result<BlockTable> BlockTable::load(File& file, std::uint64_t offset, std::uint32_t entries) {
    BlockTable table;
    table.offset_ = offset;
    table.entries_ = entries;
    table.table_.reserve(table_bytes(entries) / 4);
    std::array<std::uint8_t, kChunkSectors * kSectorSize> chunk;
    for (std::uint64_t done = 0; done < table_bytes(entries);) {
        const auto length = std::min<std::size_t>(chunk.size(), table_bytes(entries) - done);
        if (auto status = file.read(offset + done, std::span(chunk).first(length)); !status) {
            return tl::unexpected<Error>(status.error());
        }
        for (std::size_t i = 0; i < length; i += 4) {
            table.table_.push_back(load_big_endian<std::uint32_t>(chunk, i));
        }
        done += length;
    }
    return table;
}

void BlockTable::set(std::uint32_t block, std::uint32_t sector) {
    table_[block] = sector;
    dirty_sectors_.insert(block / kEntriesPerSector);
}

Status BlockTable::write_dirty(File& file) {
    std::vector<std::uint8_t> chunk;
    for (auto first = dirty_sectors_.begin(); first != dirty_sectors_.end();) {
        auto next = first;
        std::uint32_t count = 0;
        while (next != dirty_sectors_.end() && *next == *first + count && count < kChunkSectors) {
            ++next;
            ++count;
        }
        chunk.resize(std::size_t{count} * kSectorSize);
        for (std::size_t i = 0; i < chunk.size() / 4; ++i) {
            store_big_endian(chunk, i * 4, table_[std::size_t{*first} * kEntriesPerSector + i]);
        }
        if (auto status = file.write(offset_ + std::uint64_t{*first} * kSectorSize, ConstBuffer(chunk)); !status) {
            return status;
        }
        first = next;
    }
    dirty_sectors_.clear();
    return {};
}

}  // namespace vpc::disk::vhd
