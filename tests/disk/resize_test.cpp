// Disks that become larger and smaller: contents, geometry, what is refused, and power failures at every moment.
#include "disk/operations/resize.h"

#include <gtest/gtest.h>

#include <functional>
#include <iostream>

#include "disk/log.h"
#include "disk/open_image.h"
#include "disk/operations/check.h"
#include "disk/operations/create.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/disk/crash_simulator.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::disk {
namespace {

using testing::build_dynamic;
using testing::build_fixed;
using testing::FileOperations;
using testing::MemoryContents;
using testing::MemoryFile;
using testing::open_bytes;
using testing::read_sectors;
using testing::RecordingFile;
using testing::TemporaryFolder;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSectors = 403;
/// More than the 128 blocks of 8 sectors that a table of one sector has entries for.
constexpr std::uint64_t kManySectors = 5000;

/// A differencing image over build_fixed(kSectors), with data of its own.
Bytes build_child() {
    const TemporaryFolder folder;
    const auto parent = folder.write("parent.vhd", build_fixed(kSectors));
    const auto child = folder / "child.vhd";
    EXPECT_TRUE(
        create_image({.file = child, .type = ImageType::Differencing, .parent = parent, .block_size = 4096}, {}));
    {
        const auto device = open_image(child, OpenMode::ReadWrite);
        EXPECT_TRUE(testing::write_sectors(**device, 20, 30, 0x42));
        EXPECT_TRUE(testing::write_sectors(**device, kSectors - 2, 2, 0x43));
        EXPECT_TRUE((*device)->flush());
    }
    return TemporaryFolder::read(child);
}

/// With something between its table and its first block that this program does not know.
Bytes with_unknown_bytes() {
    Bytes bytes = build_dynamic({.sectors = kSectors, .blocks = {{3}}});
    bytes.insert(bytes.begin() + 2048, 512, std::uint8_t{'x'});
    vhd::store_big_endian(bytes, 1536 + 3 * 4, std::uint32_t{2560 / 512});
    return bytes;
}

struct Case {
    const char* name;
    std::function<Bytes()> image;
    std::uint64_t new_sectors;
    bool child = false;
};

const std::vector<Case>& cases() {
    const auto dynamic = [](bool aligned) {
        return [aligned] {
            return build_dynamic({.sectors = kSectors, .aligned = aligned, .blocks = {{3}, {9, 0x3C}, {50}, {1}}});
        };
    };
    const auto empty = [] { return build_dynamic({.sectors = kSectors}); };
    // Data only in front, so that something can be cut off.
    const auto front = [] { return build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}}}); };
    const auto fixed_front = [] {
        Bytes image = build_fixed(kSectors);
        std::fill(image.begin() + 100 * 512, image.begin() + kSectors * 512, std::uint8_t{0});
        return image;
    };
    static const std::vector<Case> kCases = {
        {"DynamicALittle", dynamic(false), 600},
        {"DynamicWithinItsLastBlock", dynamic(false), kSectors + 2},
        {"DynamicALot", dynamic(false), kManySectors},
        {"AlignedDynamicALot", dynamic(true), kManySectors},
        {"EmptyDynamicALot", empty, kManySectors},
        {"DynamicWithUnknownBytesALot", with_unknown_bytes, kManySectors},
        {"DynamicSmaller", front, 101},
        {"Fixed", [] { return build_fixed(kSectors); }, kManySectors},
        {"FixedByASector", [] { return build_fixed(kSectors); }, kSectors + 1},
        {"FixedSmaller", fixed_front, 200},
        {"Raw", [] { return Bytes(kSectors * 512, 7); }, kManySectors},
        {"RawSmaller",
         [] {
             Bytes bytes(kSectors * 512);
             bytes[99 * 512] = 1;
             return bytes;
         },
         100},
        {"ChildALittle", build_child, 600, true},
        {"ChildALot", build_child, kManySectors, true},
    };
    return kCases;
}

class Resize : public ::testing::TestWithParam<Case> {
  protected:
    void SetUp() override {
        log().set_level(spdlog::level::off);
        image_ = GetParam().image();
        const auto device = open(MemoryContents::of(image_), OpenMode::ReadOnly);
        ASSERT_TRUE(device.has_value()) << device.error().message;
        sectors_ = (*device)->sectors();
        expected_ = read_sectors(**device, 0, sectors_);
        expected_.resize(GetParam().new_sectors * 512);
    }
    void TearDown() override { log().set_level(spdlog::level::warn); }

    static std::unique_ptr<BlockDevice> parent() {
        return GetParam().child ? std::move(*open_bytes(build_fixed(kSectors), OpenMode::ReadOnly)) : nullptr;
    }
    static Result<std::unique_ptr<BlockDevice>> open(const std::shared_ptr<MemoryContents>& contents, OpenMode mode) {
        return open_image(std::make_unique<MemoryFile>(contents), mode, parent());
    }
    static Status resize_in_memory(std::unique_ptr<File> file, std::uint64_t sectors) {
        WorkMeter meter({}, 1);
        return resize_file(*file, parent(), sectors * 512, meter);
    }
    static std::uint64_t size_now(const std::shared_ptr<MemoryContents>& contents) {
        const auto device = open(contents, OpenMode::ReadOnly);
        return device ? (*device)->sectors() : 0;
    }

    Bytes image_;
    std::uint64_t sectors_ = 0;
    Bytes expected_;  ///< on the disk afterwards
};

TEST_P(Resize, KeepsTheContentsAndUpdatesTheGeometry) {
    const auto contents = MemoryContents::of(image_);
    const auto before = open(contents, OpenMode::ReadOnly);
    const auto status = resize_in_memory(std::make_unique<MemoryFile>(contents), GetParam().new_sectors);
    ASSERT_TRUE(status.has_value()) << status.error().message;
    const auto device = open(contents, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value()) << device.error().message;
    EXPECT_EQ((*device)->sectors(), GetParam().new_sectors);
    EXPECT_EQ(read_sectors(**device, 0, GetParam().new_sectors), expected_);
    EXPECT_EQ((*device)->unique_id(), (*before)->unique_id());
    if (const auto* image = dynamic_cast<const vhd::Image*>(device->get())) {
        EXPECT_EQ(image->footer().disk_geometry, vhd::geometry_for(GetParam().new_sectors));
        EXPECT_EQ(image->footer().original_size, kSectors * 512);
        EXPECT_TRUE(testing::ends_with_footer(*contents));
    }
    if (const auto* disk = dynamic_cast<const vhd::DynamicDisk*>(device->get())) {
        EXPECT_EQ(disk->footer().data_offset, 512u);
        EXPECT_EQ(contents->size % 4096 == 0, image_.size() % 4096 == 0) << "the layout stays what it was";
    }
    // New sectors take writes, the last one too.
    ASSERT_TRUE(testing::write_sectors(**device, GetParam().new_sectors - 1, 1, 0x99));
    ASSERT_TRUE((*device)->flush());
    EXPECT_EQ(read_sectors(**device, GetParam().new_sectors - 1, 1), testing::filled_sectors(1, 0x99));
    WorkMeter meter({}, 1);
    const TemporaryFolder folder;
    const auto checked = check(folder.write("a.vhd", contents->bytes()), {}, {});
    ASSERT_TRUE(checked.has_value());
    for (const Finding& finding : checked->findings) {
        EXPECT_TRUE(!finding.problem || finding.kind == FindingKind::ParentProblem) << finding.text;
    }
}

TEST_P(Resize, APowerFailureAtAnyMomentLeavesTheOldOrTheNewSize) {
    const auto before = MemoryContents::of(image_);
    const auto work = std::make_shared<MemoryContents>(*before);
    const auto operations = std::make_shared<FileOperations>();
    ASSERT_TRUE(resize_in_memory(std::make_unique<RecordingFile>(work, operations), GetParam().new_sectors));
    const bool fixed = std::string(GetParam().name).find("Fixed") != std::string::npos;
    const std::uint64_t doubtful = fixed ? std::min(sectors_, GetParam().new_sectors) : ~std::uint64_t{0};
    const auto report = testing::simulate_crashes(
        *before, *operations, 1, [](const auto&) {},
        [&](const MemoryContents& left) -> std::string {
            const auto copy = std::make_shared<MemoryContents>(left);
            {
                const auto device = open(copy, OpenMode::ReadWrite);
                if (!device) {
                    return "does not open: " + device.error().message;
                }
                const std::uint64_t now = (*device)->sectors();
                if (now != sectors_ && now != GetParam().new_sectors) {
                    return "has " + std::to_string(now) + " sectors";
                }
                const Bytes disk = read_sectors(**device, 0, now);
                for (std::uint64_t sector = 0; sector < now; ++sector) {
                    const bool there = sector * 512 < expected_.size();
                    if (sector != doubtful &&
                        !std::equal(disk.begin() + static_cast<std::ptrdiff_t>(sector * 512),
                                    disk.begin() + static_cast<std::ptrdiff_t>(sector * 512 + 512),
                                    there ? expected_.begin() + static_cast<std::ptrdiff_t>(sector * 512)
                                          : Bytes(512).begin())) {
                        return "wrong contents of sector " + std::to_string(sector);
                    }
                }
            }
            if (auto again = resize_in_memory(std::make_unique<MemoryFile>(copy), GetParam().new_sectors); !again) {
                return "cannot be repeated: " + again.error().message;
            }
            return size_now(copy) == GetParam().new_sectors ? "" : "wrong size after repeating it";
        });
    ASSERT_EQ(report.wrong, "");
    std::cout << "resize of " << GetParam().name << ": " << report.states
              << " crash points, lost writes 0, unopenable images 0\n";
}

INSTANTIATE_TEST_SUITE_P(Cases, Resize, ::testing::ValuesIn(cases()),
                         [](const auto& tested) { return std::string(tested.param.name); });

class ResizeFiles : public ::testing::Test {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
    Error error_of(const std::filesystem::path& image, std::uint64_t size) {
        const Bytes before = TemporaryFolder::read(image);
        const auto status = resize(image, size, {}, {});
        EXPECT_FALSE(status.has_value());
        EXPECT_EQ(TemporaryFolder::read(image), before) << "refused before anything is changed";
        return status ? Error{} : status.error();
    }
    TemporaryFolder folder_;
};

TEST_F(ResizeFiles, ATailInUseIsNotCutOff) {
    for (const Bytes& bytes :
         {build_fixed(kSectors), build_dynamic({.sectors = kSectors, .blocks = {{50}}}), Bytes(kSectors * 512, 7)}) {
        const Error error = error_of(folder_.write("a.vhd", bytes), 200 * 512);
        EXPECT_EQ(error.code, ErrorCode::Unsupported);
        EXPECT_NE(error.message.find("has something at byte"), std::string::npos) << error.message;
    }
}

TEST_F(ResizeFiles, SizesThatCannotBeAreRefused) {
    const auto dynamic = folder_.write("d.vhd", build_dynamic({.sectors = kSectors}));
    EXPECT_NE(error_of(dynamic, 0).message.find("choose a multiple of 512"), std::string::npos);
    EXPECT_NE(error_of(dynamic, 1000).message.find("choose a multiple of 512"), std::string::npos);
    EXPECT_NE(error_of(dynamic, vhd::kMaxDiskSize + 512).message.find("at most 2040 GiB"), std::string::npos);
    EXPECT_NE(error_of(dynamic, vhd::kMaxDiskSize).message.find("convert it to larger ones"), std::string::npos);
}

TEST_F(ResizeFiles, WhatIsUnknownBehindTheTableStays) {
    const auto path = folder_.write("d.vhd", with_unknown_bytes());
    ASSERT_TRUE(resize(path, kManySectors * 512, {}, {}));
    const Bytes bytes = TemporaryFolder::read(path);
    EXPECT_EQ(Bytes(bytes.begin() + 2048, bytes.begin() + 2560), Bytes(512, 'x'));
    EXPECT_GT(vhd::parse_dynamic_header(std::span(bytes).subspan(512)).table_offset, 2560u);
    EXPECT_TRUE(check(path, {}, {})->clean());
}

TEST_F(ResizeFiles, DifferencingImagesDoNotShrinkAndParentsDoNotChange) {
    const auto parent = folder_.write("parent.vhd", build_fixed(kSectors));
    const auto child = folder_ / "child.vhd";
    ASSERT_TRUE(create_image({.file = child, .type = ImageType::Differencing, .parent = parent}, {}));
    EXPECT_NE(error_of(child, 100 * 512).message.find("cannot be made smaller"), std::string::npos);
    const Error error = error_of(parent, 1000 * 512);
    EXPECT_EQ(error.code, ErrorCode::InUse);
    EXPECT_NE(error.message.find("child.vhd"), std::string::npos);
    // A parent that is larger already: made so behind the child's back.
    WorkMeter meter({}, 1);
    ASSERT_TRUE(resize_parent(parent, 1000 * 512, {}, meter));
    EXPECT_NE(error_of(child, 600 * 512).message.find("its parent is larger already"), std::string::npos);
    std::filesystem::remove(parent);
    EXPECT_EQ(error_of(child, 600 * 512).code, ErrorCode::NotFound);
}

TEST_F(ResizeFiles, ImagesInUseOrDamagedAreRefused) {
    const auto path = folder_.write("a.vhd", build_fixed(kSectors));
    {
        const auto reader = open_image(path, OpenMode::ReadOnly);
        EXPECT_EQ(error_of(path, 600 * 512).code, ErrorCode::InUse);
    }
    Bytes damaged = build_dynamic({.sectors = kSectors});
    damaged[512 + 36] ^= 1;
    EXPECT_EQ(error_of(folder_.write("d.vhd", damaged), 600 * 512).code, ErrorCode::Corrupt);
    EXPECT_EQ(resize(folder_ / "missing.vhd", 512, {}, {}).error().code, ErrorCode::NotFound);
}

TEST_F(ResizeFiles, TheSameSizeIsNothingToDo) {
    const auto path = folder_.write("a.vhd", build_fixed(kSectors));
    const Bytes before = TemporaryFolder::read(path);
    EXPECT_TRUE(resize(path, kSectors * 512, {}, {}));
    EXPECT_EQ(TemporaryFolder::read(path), before);
}

/// Thousands of images that end with zeros are raw ones all the same.
TEST_F(ResizeFiles, ARawImageWithAHoleAtItsEndStaysRaw) {
    Bytes bytes(64 * 512, 3);
    const auto path = folder_.write("a.img", bytes);
    std::filesystem::resize_file(path, 1 << 20);
    const auto device = open_image(path, OpenMode::ReadWrite);
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ((*device)->sectors(), 2048u);
}

}  // namespace
}  // namespace vpc::disk
