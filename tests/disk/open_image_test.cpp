#include "disk/open_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "disk/vhd/dynamic_disk.h"
#include "disk/vhd/fixed_disk.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::built_byte;
using testing::filled_sectors;
using testing::make_footer;
using testing::MemoryContents;
using testing::open_bytes;
using testing::open_contents;
using testing::read_sectors;
using testing::write_sectors;

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kHeader = 512;
constexpr std::size_t kTable = 1536;

/// What opening these bytes fails with, or nothing.
std::optional<ErrorCode> failure(const Bytes& bytes, OpenMode mode) {
    const auto device = open_bytes(bytes, mode);
    if (device) {
        return std::nullopt;
    }
    EXPECT_NE(device.error().message.find("'memory'"), std::string::npos) << device.error().message;
    EXPECT_EQ(device.error().message.find('\n'), std::string::npos);
    return device.error().code;
}

void put(Bytes& bytes, std::size_t offset, std::span<const std::uint8_t> what) {
    std::copy(what.begin(), what.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
}

/// Three blocks of eight sectors; nothing else allocated.
Bytes small_dynamic() {
    return build_dynamic({.sectors = 100, .blocks = {{2}, {0}, {12}}});
}

/// Rewrites both footers of a dynamic image, or the only one of a fixed image.
Bytes with_footer(Bytes bytes, const std::function<void(vhd::Footer&)>& change) {
    vhd::Footer footer = vhd::parse_footer(std::span(bytes).last(512));
    change(footer);
    const auto changed = vhd::serialise(footer);
    put(bytes, bytes.size() - 512, changed);
    if (footer.disk_type != vhd::DiskType::Fixed) {
        put(bytes, 0, changed);
    }
    return bytes;
}

Bytes with_header(Bytes bytes, const std::function<void(vhd::DynamicHeader&)>& change) {
    vhd::DynamicHeader header = vhd::parse_dynamic_header(std::span(bytes).subspan(kHeader, 1024));
    change(header);
    put(bytes, kHeader, vhd::serialise(header));
    return bytes;
}

Bytes with_table_entry(Bytes bytes, std::size_t block, std::uint32_t value) {
    vhd::store_big_endian(bytes, kTable + block * 4, value);
    return bytes;
}

TEST(OpenImage, AnythingMadeOfWholeSectorsIsRaw) {
    Bytes bytes(1008 * 512 * 3);
    bytes[512] = 0x77;
    const auto device = open_bytes(bytes, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 3024u);
    EXPECT_EQ((*device)->geometry(), (Geometry{.cylinders = 3, .heads = 16, .sectors_per_track = 63}));
    EXPECT_EQ((*device)->unique_id(), (std::array<std::uint8_t, 16>{}));
    EXPECT_FALSE((*device)->read_only());
    EXPECT_EQ(read_sectors(**device, 1, 1)[0], 0x77);
}

TEST(OpenImage, RefusesRawFilesThatAreNotMadeOfWholeSectors) {
    EXPECT_EQ(failure(Bytes(1000), OpenMode::ReadOnly), ErrorCode::NotAnImage);
    EXPECT_EQ(failure(Bytes(1023), OpenMode::ReadOnly), ErrorCode::NotAnImage);
    EXPECT_EQ(failure(Bytes(1), OpenMode::ReadOnly), ErrorCode::NotAnImage);
    EXPECT_EQ(failure({}, OpenMode::ReadOnly), ErrorCode::NotAnImage);
}

TEST(OpenImage, FixedVhdIsKnownByItsFooter) {
    const auto device = open_bytes(build_fixed(2000), OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    EXPECT_NE(dynamic_cast<vhd::FixedDisk*>(device->get()), nullptr);
    EXPECT_EQ((*device)->sectors(), 2000u);
    EXPECT_EQ((*device)->unique_id()[1], 0xA1);
    EXPECT_EQ((*device)->geometry(), vhd::geometry_for(2000));
    EXPECT_EQ(read_sectors(**device, 1999, 1), filled_sectors(1, built_byte(1999)));
    EXPECT_EQ(read_sectors(**device, 2000, 1), Bytes());
}

TEST(OpenImage, DynamicVhdIsKnownByItsFooter) {
    const auto device = open_bytes(small_dynamic(), OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_NE(dynamic_cast<vhd::DynamicDisk*>(device->get()), nullptr);
    EXPECT_EQ((*device)->sectors(), 100u);
    EXPECT_EQ((*device)->unique_id()[15], 0xAF);
    EXPECT_EQ(read_sectors(**device, 17, 1), filled_sectors(1, built_byte(17)));
    EXPECT_EQ(read_sectors(**device, 8, 8), filled_sectors(8, 0));
}

TEST(OpenImage, ReportsTheCurrentSizeNeverTheOriginalOne) {
    const auto device =
        open_bytes(with_footer(build_fixed(2000), [](vhd::Footer& f) { f.original_size = 512; }), OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 2000u);
}

TEST(OpenImage, ComputesTheGeometryWhereTheStoredOneIsOnlyAMark) {
    const auto bytes =
        with_footer(build_fixed(2000), [](vhd::Footer& f) { f.disk_geometry = vhd::kSaturatedGeometry; });
    const auto device = open_bytes(bytes, OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->geometry(), vhd::geometry_for(2000));
}

TEST(OpenImage, FooterOf511BytesIsPadded) {
    Bytes fixed = build_fixed(2000);
    fixed.pop_back();
    const auto device = open_bytes(fixed, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 2000u);
    EXPECT_TRUE(write_sectors(**device, 1999, 1, 0x55));

    Bytes dynamic = small_dynamic();
    dynamic.pop_back();
    const auto contents = MemoryContents::of(dynamic);
    {
        const auto opened = open_contents(contents, OpenMode::ReadWrite);
        ASSERT_TRUE(opened.has_value());
        ASSERT_TRUE(write_sectors(**opened, 30, 1, 0x55));
    }
    EXPECT_EQ(contents->size % 512, 0u) << "a moved footer has its last byte";
    const auto again = open_contents(contents, OpenMode::ReadWrite);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(read_sectors(**again, 30, 1), filled_sectors(1, 0x55));
    EXPECT_EQ(read_sectors(**again, 96, 1), filled_sectors(1, built_byte(96)));
}

TEST(OpenImage, GuestDataThatLooksLikeAVhdStaysRaw) {
    const auto is_raw = [](const Bytes& bytes) {
        const auto device = open_bytes(bytes, OpenMode::ReadWrite);
        return device && (*device)->sectors() == bytes.size() / 512;
    };
    Bytes word(8192);
    put(word, 0, vhd::kFooterCookie);
    EXPECT_TRUE(is_raw(word));
    Bytes fixed_footer_first(8192);
    put(fixed_footer_first, 0, vhd::serialise(make_footer(16, vhd::DiskType::Fixed)));
    EXPECT_TRUE(is_raw(fixed_footer_first));
    Bytes copy_without_header(8192);
    put(copy_without_header, 0, vhd::serialise(make_footer(16, vhd::DiskType::Dynamic)));
    EXPECT_TRUE(is_raw(copy_without_header));
    Bytes damaged_copy(8192);
    put(damaged_copy, 0, vhd::serialise(make_footer(16, vhd::DiskType::Dynamic)));
    put(damaged_copy, kHeader, vhd::kDynamicHeaderCookie);
    damaged_copy[100] = 1;
    EXPECT_TRUE(is_raw(damaged_copy));
}

TEST(OpenImage, FixedVhdMayHoldAVhdInItsFirstSectors) {
    Bytes bytes = build_fixed(2000);
    put(bytes, 0, small_dynamic());
    const auto device = open_bytes(bytes, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 2000u);
}

TEST(OpenImage, LostFooterIsReplacedByTheCopyForReadingOnly) {
    for (const auto& damage : std::vector<std::function<void(Bytes&)>>{
             [](Bytes& b) { b[b.size() - 512] ^= 1; }, [](Bytes& b) { b[b.size() - 1] ^= 1; },
             [](Bytes& b) { b.erase(b.end() - 512, b.end()); }, [](Bytes& b) { b.resize(b.size() + 700, 0x11); }}) {
        Bytes bytes = small_dynamic();
        damage(bytes);
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), ErrorCode::Corrupt);
        const auto device = open_bytes(bytes, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        EXPECT_EQ((*device)->sectors(), 100u);
        EXPECT_EQ(read_sectors(**device, 96, 4), [] {
            Bytes expected;
            for (std::uint64_t sector = 96; sector < 100; ++sector) {
                expected.insert(expected.end(), 512, built_byte(sector));
            }
            return expected;
        }());
    }
}

TEST(OpenImage, FooterIsPutBackWhereAPowerFailureLeftZeros) {
    Bytes bytes = small_dynamic();
    bytes.resize(bytes.size() + 5 * 512);
    const auto contents = MemoryContents::of(bytes);
    EXPECT_TRUE(open_contents(contents, OpenMode::ReadOnly).has_value());
    EXPECT_EQ(contents->bytes(), bytes) << "reading changes nothing";
    EXPECT_TRUE(open_contents(contents, OpenMode::ReadWrite).has_value());
    EXPECT_EQ(contents->size, bytes.size());
    EXPECT_TRUE(testing::ends_with_footer(*contents));
}

TEST(OpenImage, WithBothFootersIntactTheOneAtTheEndCounts) {
    Bytes bytes = small_dynamic();
    put(bytes, 0, vhd::serialise(make_footer(50, vhd::DiskType::Dynamic)));
    const auto device = open_bytes(bytes, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 100u);
}

TEST(OpenImage, DamagedCopyAloneDoesNotMatter) {
    Bytes bytes = small_dynamic();
    std::fill_n(bytes.begin(), 512, std::uint8_t{0xEE});
    EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), std::nullopt);
}

TEST(OpenImage, WrongChecksumEverywhereAllowsReadingOnly) {
    Bytes dynamic = small_dynamic();
    dynamic[200] ^= 1;
    dynamic[dynamic.size() - 200] ^= 1;
    Bytes fixed = build_fixed(2000);
    fixed[fixed.size() - 200] ^= 1;
    Bytes fixed_511 = fixed;
    fixed_511.pop_back();
    for (const Bytes& bytes : {dynamic, fixed, fixed_511}) {
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), ErrorCode::Corrupt);
        const auto device = open_bytes(bytes, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        EXPECT_EQ(read_sectors(**device, 17, 1), filled_sectors(1, built_byte(17)));
    }
    Bytes no_end = small_dynamic();
    no_end.erase(no_end.end() - 512, no_end.end());
    no_end[200] ^= 1;
    EXPECT_EQ(failure(no_end, OpenMode::ReadWrite), ErrorCode::Corrupt);
    EXPECT_EQ(failure(no_end, OpenMode::ReadOnly), std::nullopt);
}

TEST(OpenImage, FieldsThatNoReaderCanHandleAreRefused) {
    const auto footer_failure = [](const std::function<void(vhd::Footer&)>& change) {
        const Bytes bytes = with_footer(small_dynamic(), change);
        const auto reading = failure(bytes, OpenMode::ReadOnly);
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), reading);
        return reading;
    };
    EXPECT_EQ(footer_failure([](auto& f) { f.disk_type = vhd::DiskType::Differencing; }), ErrorCode::Unsupported);
    EXPECT_EQ(footer_failure([](auto& f) { f.disk_type = static_cast<vhd::DiskType>(5); }), ErrorCode::Unsupported);
    EXPECT_EQ(footer_failure([](auto& f) { f.file_format_version = 0x00020000; }), ErrorCode::Unsupported);
    EXPECT_EQ(footer_failure([](auto& f) { f.current_size = 0; }), ErrorCode::Corrupt);
    EXPECT_EQ(footer_failure([](auto& f) { f.current_size = ~std::uint64_t{0}; }), ErrorCode::Unsupported);
    EXPECT_EQ(footer_failure([](auto& f) { f.current_size = 105 * 512; }), ErrorCode::Corrupt) << "short table";
    for (const std::uint64_t offset :
         {std::uint64_t{0}, std::uint64_t{700}, std::uint64_t{1} << 40, ~std::uint64_t{0}, std::uint64_t{1536}}) {
        EXPECT_EQ(footer_failure([=](auto& f) { f.data_offset = offset; }), ErrorCode::Corrupt) << offset;
    }

    const auto header_failure = [](const std::function<void(vhd::DynamicHeader&)>& change) {
        const Bytes bytes = with_header(small_dynamic(), change);
        const auto reading = failure(bytes, OpenMode::ReadOnly);
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), reading);
        return reading;
    };
    EXPECT_EQ(header_failure([](auto& h) { h.cookie[0] = 'x'; }), ErrorCode::Corrupt);
    EXPECT_EQ(header_failure([](auto& h) { h.header_version = 0x00020000; }), ErrorCode::Unsupported);
    for (const std::uint32_t size : {0u, 256u, 4097u, 0xFFFFFFFFu}) {
        EXPECT_EQ(header_failure([=](auto& h) { h.block_size = size; }), ErrorCode::Corrupt) << size;
    }
    EXPECT_EQ(header_failure([](auto& h) { h.block_size = 0x20000000; }), ErrorCode::Unsupported);
    EXPECT_EQ(header_failure([](auto& h) { h.max_table_entries = 12; }), ErrorCode::Corrupt);
    EXPECT_EQ(header_failure([](auto& h) { h.max_table_entries = 0xFFFFFFFF; }), ErrorCode::Unsupported);
    EXPECT_EQ(header_failure([](auto& h) { h.max_table_entries = vhd::kMaxTableEntries; }), ErrorCode::Corrupt);
    for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{512}, std::uint64_t{1024}, std::uint64_t{1537},
                                       std::uint64_t{1} << 40, ~std::uint64_t{511}}) {
        EXPECT_EQ(header_failure([=](auto& h) { h.table_offset = offset; }), ErrorCode::Corrupt) << offset;
    }
}

TEST(OpenImage, WrongHeaderChecksumAllowsReadingOnly) {
    Bytes bytes = small_dynamic();
    bytes[kHeader + 1000] = 1;
    EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), ErrorCode::Corrupt);
    EXPECT_EQ(failure(bytes, OpenMode::ReadOnly), std::nullopt);
}

TEST(OpenImage, BlockInTheWrongPlaceAllowsReadingTheOthersOnly) {
    const Bytes good = small_dynamic();
    const auto end = static_cast<std::uint32_t>(good.size() / 512);
    // Blocks 2, 0, 12 begin at sectors 4, 13 and 22; a block takes 9.
    for (const std::uint32_t entry : {0u, 1u, 3u, 4u, 12u, 14u, end - 9, end - 1, end, 0xFFFFFFFEu}) {
        const Bytes bytes = with_table_entry(good, 0, entry);
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), ErrorCode::Corrupt) << entry;
        const auto device = open_bytes(bytes, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value()) << entry;
        EXPECT_EQ(read_sectors(**device, 96, 1), filled_sectors(1, built_byte(96)));
    }
    const auto device = open_bytes(with_table_entry(good, 0, end), OpenMode::ReadOnly);
    ASSERT_TRUE(device.has_value());
    Bytes sector(512);
    const Status status = (*device)->read(3, Buffer(sector));
    ASSERT_FALSE(status.has_value());
    EXPECT_EQ(status.error().code, ErrorCode::Corrupt);
}

TEST(OpenImage, TableEntriesBehindTheEndOfTheDiskDoNotMatter) {
    Bytes bytes = with_header(small_dynamic(), [](auto& h) { h.max_table_entries = 100; });
    for (std::size_t block = 13; block < 100; ++block) {
        bytes = with_table_entry(bytes, block, 0);
    }
    EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), std::nullopt);
}

TEST(OpenImage, FixedVhdThatIsTooShortIsCorrupt) {
    const Bytes bytes = with_footer(build_fixed(2000), [](vhd::Footer& f) { f.current_size = 2001 * 512; });
    EXPECT_EQ(failure(bytes, OpenMode::ReadOnly), ErrorCode::Corrupt);
    EXPECT_EQ(failure(with_footer(build_fixed(2000), [](vhd::Footer& f) { f.current_size = 2000 * 512 + 5; }),
                      OpenMode::ReadOnly),
              std::nullopt)
        << "bytes that fill no sector are not part of the disk";
}

TEST(OpenImage, DiskOfASavedMachineCanOnlyBeRead) {
    for (const Bytes& image : {small_dynamic(), build_fixed(2000)}) {
        const Bytes bytes = with_footer(image, [](vhd::Footer& f) { f.saved_state = 1; });
        EXPECT_EQ(failure(bytes, OpenMode::ReadWrite), ErrorCode::InUse);
        EXPECT_EQ(failure(bytes, OpenMode::ReadOnly), std::nullopt);
    }
}

TEST(OpenImage, OtherFormatsAreNotTakenForRaw) {
    for (const auto& [offset, signature] :
         std::vector<std::pair<std::size_t, std::string>>{{0, "QFI\xFB"}, {0, "KDMV"}, {64, "\x7F\x10\xDA\xBE"}}) {
        Bytes bytes(1 << 20);
        std::copy(signature.begin(), signature.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset));
        EXPECT_EQ(failure(bytes, OpenMode::ReadOnly), ErrorCode::Unsupported) << signature;
    }
}

TEST(OpenImage, ReadOnlyDevicesRefuseToWrite) {
    for (const Bytes& bytes : {small_dynamic(), build_fixed(100), Bytes(51200)}) {
        const auto device = open_bytes(bytes, OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value());
        EXPECT_TRUE((*device)->read_only());
        const Status status = write_sectors(**device, 0, 1, 1);
        ASSERT_FALSE(status.has_value());
        EXPECT_EQ(status.error().code, ErrorCode::ReadOnly);
        EXPECT_TRUE((*device)->flush().has_value());
    }
}

TEST(OpenImage, NothingBeyondTheEndOfTheDiskCanBeTouched) {
    for (const Bytes& bytes : {small_dynamic(), build_fixed(100), Bytes(51200)}) {
        const auto contents = MemoryContents::of(bytes);
        const auto device = open_contents(contents, OpenMode::ReadWrite);
        ASSERT_TRUE(device.has_value());
        ASSERT_EQ((*device)->sectors(), 100u);
        for (const auto& [sector, count] : std::vector<std::pair<std::uint64_t, std::uint64_t>>{
                 {100, 1}, {99, 2}, {0, 101}, {~std::uint64_t{0}, 1}}) {
            const Status written = write_sectors(**device, sector, count, 1);
            ASSERT_FALSE(written.has_value());
            EXPECT_EQ(written.error().code, ErrorCode::OutOfRange);
            EXPECT_EQ(read_sectors(**device, sector, count), Bytes());
            EXPECT_FALSE((*device)->discard(sector, count).has_value());
        }
        Bytes odd(100);
        EXPECT_FALSE((*device)->write(0, ConstBuffer(odd)).has_value());
        EXPECT_TRUE((*device)->discard(0, 100).has_value());
        EXPECT_EQ(contents->bytes(), bytes);
    }
}

}  // namespace
}  // namespace vpc::disk
