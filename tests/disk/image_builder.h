#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "disk/open_image.h"
#include "disk/vhd/big_endian.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/footer.h"
#include "disk/vhd/geometry.h"
#include "tests/disk/memory_file.h"

namespace vpc::disk::testing {

inline vhd::Footer make_footer(std::uint64_t sectors, vhd::DiskType type) {
    vhd::Footer footer;
    footer.data_offset = type == vhd::DiskType::Fixed ? vhd::kNoNextStructure : 512;
    footer.creator_application = {'t', 'e', 's', 't'};
    footer.creator_host_os = {'W', 'i', '2', 'k'};
    footer.original_size = footer.current_size = sectors * kSectorSize;
    footer.disk_geometry = vhd::geometry_for(sectors);
    footer.disk_type = type;
    for (std::size_t i = 0; i < footer.unique_id.size(); ++i) {
        footer.unique_id[i] = static_cast<std::uint8_t>(0xA0 + i);
    }
    return footer;
}

/// The byte that fills a sector of a built image.
inline std::uint8_t built_byte(std::uint64_t sector) {
    return static_cast<std::uint8_t>(1 + sector % 199);
}

inline std::vector<std::uint8_t> build_fixed(std::uint64_t sectors) {
    std::vector<std::uint8_t> bytes;
    for (std::uint64_t sector = 0; sector < sectors; ++sector) {
        bytes.insert(bytes.end(), kSectorSize, built_byte(sector));
    }
    const auto footer = vhd::serialise(make_footer(sectors, vhd::DiskType::Fixed));
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    return bytes;
}

struct BuiltBlock {
    std::uint32_t index = 0;
    std::uint8_t bitmap = 0xFF;  ///< every byte of the bitmap
};

struct DynamicImage {
    std::uint64_t sectors = 256;
    std::uint32_t block_size = 4096;
    bool aligned = false;
    std::vector<BuiltBlock> blocks;   ///< in the order in which they lie in the file
    std::uint8_t unwritten_byte = 0;  ///< stored in sectors whose bit is 0
};

/// Footer copy, dynamic disk header, table, blocks, footer. Written sectors are filled with their built_byte().
inline std::vector<std::uint8_t> build_dynamic(const DynamicImage& image) {
    const auto footer = vhd::serialise(make_footer(image.sectors, vhd::DiskType::Dynamic));
    vhd::DynamicHeader header;
    header.table_offset = 1536;
    header.block_size = image.block_size;
    header.max_table_entries =
        static_cast<std::uint32_t>(vhd::needed_table_entries(image.sectors * kSectorSize, image.block_size));
    const auto header_bytes = vhd::serialise(header);

    std::vector<std::uint8_t> bytes(footer.begin(), footer.end());
    bytes.insert(bytes.end(), header_bytes.begin(), header_bytes.end());
    bytes.resize(1536 + vhd::table_bytes(header.max_table_entries), 0xFF);
    const std::uint32_t bitmap = vhd::bitmap_bytes(image.block_size);
    const auto pad_before = [&](std::size_t length) {
        while (image.aligned && (bytes.size() + length) % 4096 != 0) {
            bytes.push_back(0);
        }
    };
    for (const BuiltBlock& block : image.blocks) {
        pad_before(bitmap);
        vhd::store_big_endian(bytes, 1536 + std::size_t{block.index} * 4,
                              static_cast<std::uint32_t>(bytes.size() / kSectorSize));
        bytes.insert(bytes.end(), bitmap, block.bitmap);
        for (std::uint32_t i = 0; i < image.block_size / kSectorSize; ++i) {
            const bool written = (block.bitmap & 0x80 >> i % 8) != 0;
            bytes.insert(bytes.end(), kSectorSize,
                         written ? built_byte(std::uint64_t{block.index} * image.block_size / kSectorSize + i)
                                 : image.unwritten_byte);
        }
    }
    pad_before(vhd::kFooterSize);
    bytes.insert(bytes.end(), footer.begin(), footer.end());
    return bytes;
}

/// build_dynamic(), made a child: the first of images with the id of make_footer(), any other of the one before.
inline std::vector<std::uint8_t> build_child(const DynamicImage& image, std::uint8_t generation = 1) {
    const auto id_of = [](std::uint8_t number) {
        auto id = make_footer(1, vhd::DiskType::Fixed).unique_id;
        id[0] = number == 0 ? id[0] : number;
        return id;
    };
    std::vector<std::uint8_t> bytes = build_dynamic(image);
    vhd::Footer footer = make_footer(image.sectors, vhd::DiskType::Differencing);
    footer.unique_id = id_of(generation);
    const auto footer_bytes = vhd::serialise(footer);
    std::copy(footer_bytes.begin(), footer_bytes.end(), bytes.begin());
    std::copy(footer_bytes.begin(), footer_bytes.end(), bytes.end() - 512);
    vhd::DynamicHeader header = vhd::parse_dynamic_header(std::span(bytes).subspan(512, 1024));
    header.parent_unique_id = id_of(static_cast<std::uint8_t>(generation - 1));
    const auto header_bytes = vhd::serialise(header);
    std::copy(header_bytes.begin(), header_bytes.end(), bytes.begin() + 512);
    return bytes;
}

inline Result<std::unique_ptr<BlockDevice>> open_contents(const std::shared_ptr<MemoryContents>& contents,
                                                          OpenMode mode) {
    return open_image(std::make_unique<MemoryFile>(contents), mode);
}

inline Result<std::unique_ptr<BlockDevice>> open_bytes(const std::vector<std::uint8_t>& bytes, OpenMode mode) {
    return open_contents(MemoryContents::of(bytes), mode);
}

inline bool ends_with_footer(const MemoryContents& contents) {
    vhd::FooterBytes end = {};
    contents.read(contents.size - end.size(), end);
    return vhd::is_intact_footer(end);
}

/// `count` sectors of a device; empty when reading fails.
inline std::vector<std::uint8_t> read_sectors(BlockDevice& device, std::uint64_t sector, std::uint64_t count) {
    std::vector<std::uint8_t> bytes(count * kSectorSize, 0xCC);
    return device.read(sector, Buffer(bytes)) ? bytes : std::vector<std::uint8_t>();
}

/// Fills `count` sectors with one byte.
inline Status write_sectors(BlockDevice& device, std::uint64_t sector, std::uint64_t count, std::uint8_t byte) {
    const std::vector<std::uint8_t> bytes(count * kSectorSize, byte);
    return device.write(sector, ConstBuffer(bytes));
}

inline std::vector<std::uint8_t> filled_sectors(std::uint64_t count, std::uint8_t byte) {
    return std::vector<std::uint8_t>(count * kSectorSize, byte);
}

}  // namespace vpc::disk::testing
