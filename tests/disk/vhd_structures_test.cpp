#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "disk/raw_disk.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/footer.h"
#include "disk/vhd/geometry.h"
#include "tests/disk/image_builder.h"

namespace vpc::disk {
namespace {

using testing::make_footer;
using vhd::geometry_for;

Geometry chs(int cylinders, int heads, int sectors) {
    return {.cylinders = static_cast<std::uint16_t>(cylinders),
            .heads = static_cast<std::uint8_t>(heads),
            .sectors_per_track = static_cast<std::uint8_t>(sectors)};
}

class VhdGeometry : public ::testing::TestWithParam<std::tuple<std::uint64_t, Geometry>> {};

TEST_P(VhdGeometry, IsTheOneOtherProgramsStore) {
    const auto& [bytes, expected] = GetParam();
    EXPECT_EQ(geometry_for(bytes / kSectorSize), expected);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, VhdGeometry,
    ::testing::Values(std::tuple(34'304u, chs(0, 4, 17)), std::tuple(3'145'728u, chs(90, 4, 17)),
                      std::tuple(16'777'216u, chs(481, 4, 17)), std::tuple(104'857'600u, chs(1003, 12, 17)),
                      std::tuple(133'169'152u, chs(1019, 15, 17)), std::tuple(528'482'304u, chs(1024, 16, 63)),
                      std::tuple(536'870'912u, chs(1040, 16, 63)), std::tuple(1'073'741'824u, chs(2080, 16, 63)),
                      std::tuple(2'147'483'648u, chs(4161, 16, 63)), std::tuple(17'179'869'184u, chs(33288, 16, 63)),
                      std::tuple(33'822'350'848u, chs(65534, 16, 63)), std::tuple(33'822'351'360u, chs(16191, 16, 255)),
                      std::tuple(42'949'672'960u, chs(20560, 16, 255)),
                      std::tuple(136'365'211'648u, chs(65278, 16, 255)),
                      std::tuple(136'899'993'600u, chs(65535, 16, 255)),
                      std::tuple(2'190'433'320'960u, chs(65535, 16, 255))));

TEST(RawGeometry, Has16HeadsAnd63SectorsWithinWhatAtaCanSay) {
    EXPECT_EQ(raw_geometry(131'072), chs(130, 16, 63));
    EXPECT_EQ(raw_geometry(2880), chs(2, 16, 63));
    EXPECT_EQ(raw_geometry(1), chs(1, 16, 63));
    EXPECT_EQ(raw_geometry(16383u * 16 * 63), chs(16383, 16, 63));
    EXPECT_EQ(raw_geometry(0xFF000000), chs(16383, 16, 63));
}

TEST(Footer, HasItsFieldsWhereTheSpecificationPutsThem) {
    vhd::Footer footer;
    footer.features = 0x02030405;
    footer.file_format_version = 0x00010007;
    footer.data_offset = 0x1112131415161718;
    footer.time_stamp = 0x21222324;
    footer.creator_application = {'a', 'b', 'c', 'd'};
    footer.creator_version = 0x31323334;
    footer.creator_host_os = {'W', 'i', '2', 'k'};
    footer.original_size = 0x4142434445464748;
    footer.current_size = 0x5152535455565758;
    footer.disk_geometry = chs(0x6162, 0x63, 0x64);
    footer.disk_type = vhd::DiskType::Differencing;
    footer.unique_id = {0x71, 0x72};
    footer.saved_state = 0x81;
    footer.reserved[426] = 0x91;
    const vhd::FooterBytes bytes = vhd::serialise(footer);
    EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "conectix");
    EXPECT_EQ(bytes[8], 0x02);
    EXPECT_EQ(bytes[15], 0x07);
    EXPECT_EQ(bytes[16], 0x11);
    EXPECT_EQ(bytes[23], 0x18);
    EXPECT_EQ(bytes[24], 0x21);
    EXPECT_EQ(std::string(bytes.begin() + 28, bytes.begin() + 32), "abcd");
    EXPECT_EQ(bytes[35], 0x34);
    EXPECT_EQ(std::string(bytes.begin() + 36, bytes.begin() + 40), "Wi2k");
    EXPECT_EQ(bytes[40], 0x41);
    EXPECT_EQ(bytes[55], 0x58);
    EXPECT_EQ(bytes[56], 0x61);
    EXPECT_EQ(bytes[57], 0x62);
    EXPECT_EQ(bytes[58], 0x63);
    EXPECT_EQ(bytes[59], 0x64);
    EXPECT_EQ(bytes[63], 4);
    EXPECT_EQ(bytes[68], 0x71);
    EXPECT_EQ(bytes[84], 0x81);
    EXPECT_EQ(bytes[511], 0x91);

    vhd::Footer parsed = vhd::parse_footer(bytes);
    EXPECT_NE(parsed.checksum, 0u);
    parsed.checksum = 0;
    EXPECT_EQ(parsed, footer);
}

TEST(Footer, OfAnotherProgramHasTheChecksumThisOneComputes) {
    // A 64 MiB disk by qemu-img: every byte that is not zero.
    vhd::FooterBytes bytes = {};
    const std::uint8_t start[] = {0x63, 0x6f, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x78, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01,
                                  0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x32, 0x97, 0x88, 0x61,
                                  0x71, 0x65, 0x6d, 0x75, 0x00, 0x05, 0x00, 0x03, 0x57, 0x69, 0x32, 0x6b, 0x00, 0x00,
                                  0x00, 0x00, 0x04, 0x00, 0x40, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00, 0x40, 0x00,
                                  0x03, 0xc4, 0x08, 0x11, 0x00, 0x00, 0x00, 0x03, 0xff, 0xff, 0xed, 0xef, 0x6a, 0xb0,
                                  0xf5, 0xee, 0x0b, 0x57, 0x47, 0x4b, 0x89, 0x2c, 0x50, 0x73, 0xba, 0xa4, 0xae, 0xff};
    std::copy(std::begin(start), std::end(start), bytes.begin());
    EXPECT_TRUE(vhd::is_intact_footer(bytes));
    const vhd::Footer footer = vhd::parse_footer(bytes);
    EXPECT_EQ(footer.current_size, 131'104u * 512);
    EXPECT_EQ(footer.disk_geometry, chs(964, 8, 17));
    EXPECT_EQ(footer.disk_type, vhd::DiskType::Dynamic);
    EXPECT_EQ(vhd::serialise(footer), bytes);
}

TEST(Footer, IsNotIntactWithAnyByteChanged) {
    const vhd::FooterBytes good = vhd::serialise(make_footer(1000, vhd::DiskType::Dynamic));
    ASSERT_TRUE(vhd::is_intact_footer(good));
    for (std::size_t i = 0; i < good.size(); ++i) {
        vhd::FooterBytes bad = good;
        bad[i] ^= 0x80;
        EXPECT_FALSE(vhd::is_intact_footer(bad)) << "byte " << i;
    }
}

TEST(Footer, TimeBeginsIn2000AndStaysWithin32Bits) {
    EXPECT_EQ(vhd::time_from_unix(946'684'800), 0u);
    EXPECT_EQ(vhd::time_from_unix(946'684'801), 1u);
    EXPECT_EQ(vhd::time_from_unix(0), 0u);
    EXPECT_EQ(vhd::time_from_unix(std::numeric_limits<std::int64_t>::max()), 0xFFFFFFFFu);
    EXPECT_EQ(vhd::time_to_unix(0xFFFFFFFF), 946'684'800 + std::int64_t{0xFFFFFFFF});
}

TEST(Footer, CheckRefusesWhatNoReaderCanHandle) {
    const auto code = [](auto change) {
        vhd::Footer footer = make_footer(1000, vhd::DiskType::Dynamic);
        change(footer);
        const Status status = vhd::check_footer(footer, "'x'");
        return status ? std::optional<ErrorCode>() : status.error().code;
    };
    EXPECT_EQ(code([](vhd::Footer&) {}), std::nullopt);
    EXPECT_EQ(code([](vhd::Footer& f) { f.file_format_version = 0x00010005; }), std::nullopt);
    EXPECT_EQ(code([](vhd::Footer& f) { f.file_format_version = 0x00020000; }), ErrorCode::Unsupported);
    for (const std::uint32_t type : {0u, 1u, 5u, 6u, 0xFFFFFFFFu}) {
        EXPECT_EQ(code([type](vhd::Footer& f) { f.disk_type = static_cast<vhd::DiskType>(type); }),
                  ErrorCode::Unsupported);
    }
    EXPECT_EQ(code([](vhd::Footer& f) { f.current_size = 0; }), ErrorCode::Corrupt);
    EXPECT_EQ(code([](vhd::Footer& f) { f.current_size = vhd::kMaxDiskSize; }), std::nullopt);
    EXPECT_EQ(code([](vhd::Footer& f) { f.current_size = vhd::kMaxDiskSize + 512; }), ErrorCode::Unsupported);
}

TEST(DynamicHeader, HasItsFieldsWhereTheSpecificationPutsThem) {
    vhd::DynamicHeader header;
    header.table_offset = 0x1112131415161718;
    header.max_table_entries = 0x21222324;
    header.block_size = 0x31323334;
    header.parent_unique_id = {0x41};
    header.parent_time_stamp = 0x51525354;
    header.parent_unicode_name = {0x00, 'p'};
    header.parent_locator_entries[7] = {.platform_code = {'W', '2', 'r', 'u'},
                                        .platform_data_space = 0x61626364,
                                        .platform_data_length = 0x71727374,
                                        .platform_data_offset = 0x8182838485868788};
    header.reserved2[255] = 0x91;
    const vhd::DynamicHeaderBytes bytes = vhd::serialise(header);
    EXPECT_EQ(std::string(bytes.begin(), bytes.begin() + 8), "cxsparse");
    EXPECT_EQ(bytes[8], 0xFF);
    EXPECT_EQ(bytes[15], 0xFF);
    EXPECT_EQ(bytes[16], 0x11);
    EXPECT_EQ(bytes[25], 0x01);
    EXPECT_EQ(bytes[31], 0x24);
    EXPECT_EQ(bytes[32], 0x31);
    EXPECT_EQ(bytes[40], 0x41);
    EXPECT_EQ(bytes[56], 0x51);
    EXPECT_EQ(bytes[65], 'p');
    EXPECT_EQ(bytes[576 + 7 * 24], 'W');
    EXPECT_EQ(bytes[576 + 7 * 24 + 7], 0x64);
    EXPECT_EQ(bytes[576 + 7 * 24 + 11], 0x74);
    EXPECT_EQ(bytes[576 + 7 * 24 + 16], 0x81);
    EXPECT_EQ(bytes[1023], 0x91);
    EXPECT_TRUE(vhd::is_intact_dynamic_header(bytes));

    vhd::DynamicHeader parsed = vhd::parse_dynamic_header(bytes);
    parsed.checksum = 0;
    EXPECT_EQ(parsed, header);
}

TEST(DynamicHeader, BitmapsAndTablesFillWholeSectors) {
    EXPECT_EQ(vhd::bitmap_bytes(0x00200000), 512u);
    EXPECT_EQ(vhd::bitmap_bytes(0x00080000), 512u);
    EXPECT_EQ(vhd::bitmap_bytes(0x00400000), 1024u);
    EXPECT_EQ(vhd::bitmap_bytes(512), 512u);
    EXPECT_EQ(vhd::table_bytes(1), 512u);
    EXPECT_EQ(vhd::table_bytes(129), 1024u);
    EXPECT_EQ(vhd::table_bytes(1'044'480), 4'177'920u);
    EXPECT_EQ(vhd::needed_table_entries(vhd::kMaxDiskSize, vhd::kDefaultBlockSize), 1'044'480u);
}

}  // namespace
}  // namespace vpc::disk
