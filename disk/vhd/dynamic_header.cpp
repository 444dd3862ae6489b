#include "disk/vhd/dynamic_header.h"

#include <algorithm>
#include <bit>

#include "disk/vhd/big_endian.h"

namespace vpc::disk::vhd {
namespace {

enum Offset : std::size_t {
    kCookie = 0,
    kDataOffset = 8,
    kTableOffset = 16,
    kVersion = 24,
    kMaxEntries = 28,
    kBlockSize = 32,
    kChecksum = 36,
    kParentUniqueId = 40,
    kParentTimeStamp = 56,
    kReserved = 60,
    kParentUnicodeName = 64,
    kParentLocators = 576,
    kReserved2 = 768,
};

enum LocatorOffset : std::size_t {
    kPlatformCode = 0,
    kPlatformDataSpace = 4,
    kPlatformDataLength = 8,
    kLocatorReserved = 12,
    kPlatformDataOffset = 16,
    kLocatorSize = 24,
};

}  // namespace

DynamicHeader parse_dynamic_header(std::span<const std::uint8_t> bytes) {
    const auto load_bytes = [bytes](std::size_t offset, auto& field) {
        std::copy_n(bytes.begin() + offset, field.size(), field.begin());
    };
    DynamicHeader header;
    load_bytes(kCookie, header.cookie);
    header.data_offset = load_big_endian<std::uint64_t>(bytes, kDataOffset);
    header.table_offset = load_big_endian<std::uint64_t>(bytes, kTableOffset);
    header.header_version = load_big_endian<std::uint32_t>(bytes, kVersion);
    header.max_table_entries = load_big_endian<std::uint32_t>(bytes, kMaxEntries);
    header.block_size = load_big_endian<std::uint32_t>(bytes, kBlockSize);
    header.checksum = load_big_endian<std::uint32_t>(bytes, kChecksum);
    load_bytes(kParentUniqueId, header.parent_unique_id);
    header.parent_time_stamp = load_big_endian<std::uint32_t>(bytes, kParentTimeStamp);
    header.reserved = load_big_endian<std::uint32_t>(bytes, kReserved);
    load_bytes(kParentUnicodeName, header.parent_unicode_name);
    for (std::size_t i = 0; i < header.parent_locator_entries.size(); ++i) {
        ParentLocatorEntry& entry = header.parent_locator_entries[i];
        const auto source = bytes.subspan(kParentLocators + i * kLocatorSize, kLocatorSize);
        std::transform(source.begin(), source.begin() + 4, entry.platform_code.begin(),
                       [](std::uint8_t byte) { return static_cast<char>(byte); });
        entry.platform_data_space = load_big_endian<std::uint32_t>(source, kPlatformDataSpace);
        entry.platform_data_length = load_big_endian<std::uint32_t>(source, kPlatformDataLength);
        entry.reserved = load_big_endian<std::uint32_t>(source, kLocatorReserved);
        entry.platform_data_offset = load_big_endian<std::uint64_t>(source, kPlatformDataOffset);
    }
    load_bytes(kReserved2, header.reserved2);
    return header;
}

DynamicHeaderBytes serialise(const DynamicHeader& header) {
    DynamicHeaderBytes bytes = {};
    const auto store_bytes = [&bytes](std::size_t offset, const auto& field) {
        std::copy(field.begin(), field.end(), bytes.begin() + offset);
    };
    store_bytes(kCookie, header.cookie);
    store_big_endian(bytes, kDataOffset, header.data_offset);
    store_big_endian(bytes, kTableOffset, header.table_offset);
    store_big_endian(bytes, kVersion, header.header_version);
    store_big_endian(bytes, kMaxEntries, header.max_table_entries);
    store_big_endian(bytes, kBlockSize, header.block_size);
    store_bytes(kParentUniqueId, header.parent_unique_id);
    store_big_endian(bytes, kParentTimeStamp, header.parent_time_stamp);
    store_big_endian(bytes, kReserved, header.reserved);
    store_bytes(kParentUnicodeName, header.parent_unicode_name);
    for (std::size_t i = 0; i < header.parent_locator_entries.size(); ++i) {
        const ParentLocatorEntry& entry = header.parent_locator_entries[i];
        const auto target = std::span(bytes).subspan(kParentLocators + i * kLocatorSize, kLocatorSize);
        std::transform(entry.platform_code.begin(), entry.platform_code.end(), target.begin(),
                       [](char value) { return static_cast<std::uint8_t>(value); });
        store_big_endian(target, kPlatformDataSpace, entry.platform_data_space);
        store_big_endian(target, kPlatformDataLength, entry.platform_data_length);
        store_big_endian(target, kLocatorReserved, entry.reserved);
        store_big_endian(target, kPlatformDataOffset, entry.platform_data_offset);
    }
    store_bytes(kReserved2, header.reserved2);
    store_big_endian(bytes, kChecksum, checksum_of(bytes, kChecksum));
    return bytes;
}

bool is_intact_dynamic_header(std::span<const std::uint8_t> bytes) {
    return bytes.size() == kDynamicHeaderSize &&
           std::equal(kDynamicHeaderCookie.begin(), kDynamicHeaderCookie.end(), bytes.begin()) &&
           load_big_endian<std::uint32_t>(bytes, kChecksum) == checksum_of(bytes, kChecksum);
}

std::vector<FileRange> structures_of(const DynamicHeader& header, const Footer& footer) {
    std::vector<FileRange> ranges = {
        {.begin = 0, .end = kFooterSize},
        {.begin = footer.data_offset, .end = footer.data_offset + kDynamicHeaderSize},
        {.begin = header.table_offset, .end = header.table_offset + table_bytes(header.max_table_entries)},
    };
    for (const ParentLocatorEntry& entry : header.parent_locator_entries) {
        // The room reserved for a path is no help here: some programs count it in sectors, others in bytes. And offsets
        // that would overflow point nowhere.
        const bool used = entry.platform_code != FourCc{} && entry.platform_data_length > 0;
        if (footer.disk_type == DiskType::Differencing && used && entry.platform_data_offset < kMaxDiskSize * 2) {
            ranges.push_back(
                {.begin = entry.platform_data_offset, .end = entry.platform_data_offset + entry.platform_data_length});
        }
    }
    return ranges;
}

Status check_dynamic_header(const DynamicHeader& header, const Footer& footer, std::uint64_t end,
                            const std::string& name) {
    const auto damaged = [&name](const std::string& what) {
        return fail(ErrorCode::Corrupt, name + " is damaged: " + what + "; restore a copy of it");
    };
    if (header.header_version != kHeaderVersion) {
        return fail(
            ErrorCode::Unsupported,
            name + " has a dynamic disk header of an unknown version; convert it with the program that made it");
    }
    if (!std::has_single_bit(header.block_size) || header.block_size < kMinBlockSize) {
        return damaged("its block size of " + std::to_string(header.block_size) + " bytes is not a power of two");
    }
    if (header.block_size > kMaxBlockSize || header.max_table_entries > kMaxTableEntries) {
        return fail(ErrorCode::Unsupported, name + " uses " + std::to_string(header.max_table_entries) + " blocks of " +
                                                std::to_string(header.block_size) + " bytes; at most " +
                                                std::to_string(kMaxTableEntries) + " of at most " +
                                                std::to_string(kMaxBlockSize) +
                                                " are supported; convert it with the program that made it");
    }
    if (header.max_table_entries < needed_table_entries(footer.current_size, header.block_size)) {
        return damaged("its block allocation table is too short for the size of the disk");
    }
    // The offset of the dynamic header was checked before this header could be read.
    const std::uint64_t header_end = footer.data_offset + kDynamicHeaderSize;
    const std::uint64_t length = table_bytes(header.max_table_entries);
    if (header.table_offset % kSectorSize != 0 || header.table_offset < kFooterSize || header.table_offset > end ||
        length > end - header.table_offset) {
        return damaged("its block allocation table lies outside the file");
    }
    if (header.table_offset < header_end && footer.data_offset < header.table_offset + length) {
        return damaged("its block allocation table overlaps the dynamic disk header");
    }
    return {};
}

}  // namespace vpc::disk::vhd
