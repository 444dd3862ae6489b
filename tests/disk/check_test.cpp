// Every kind of damage: what check() says of it, what repair() does about it, and that its side file undoes it.
#include "disk/operations/check.h"

#include <gtest/gtest.h>

#include <functional>
#include <iostream>
#include <sstream>

#include "disk/log.h"
#include "disk/operations/create.h"
#include "disk/operations/repair.h"
#include "disk/operations/repair_steps.h"
#include "disk/vhd/examination.h"
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
using enum FindingKind;

constexpr std::uint64_t kSectors = 403;
/// Of the images here: 512 bytes of footer copy, 1024 of header, 512 of table.
constexpr std::size_t kTable = 1536;
constexpr std::size_t kFirstBlock = 2048;
constexpr std::size_t kSlot = 512 + 4096;

Bytes dynamic() {
    return build_dynamic({.sectors = kSectors, .blocks = {{3}, {9}, {50}}});
}

void set_entry(Bytes& image, std::uint32_t block, std::uint32_t sector) {
    vhd::store_big_endian(image, kTable + std::size_t{block} * 4, sector);
}

void change_footers(Bytes& image, const std::function<void(vhd::Footer&)>& change) {
    auto footer = vhd::parse_footer(std::span(image).last(512));
    change(footer);
    const auto bytes = vhd::serialise(footer);
    std::copy(bytes.begin(), bytes.end(), image.end() - 512);
    if (footer.disk_type != vhd::DiskType::Fixed) {
        std::copy(bytes.begin(), bytes.end(), image.begin());
    }
}

Bytes contents_of(const Bytes& image, OpenMode mode) {
    const auto device = open_bytes(image, mode);
    return device ? read_sectors(**device, 0, (*device)->sectors()) : Bytes();
}

Bytes undo(Bytes image, const Bytes& side) {
    std::istringstream in(std::string(side.begin(), side.end()));
    std::string word;
    std::uint64_t size = 0;
    int version = 0;
    in >> word >> version >> word >> size;
    EXPECT_EQ(version, 1);
    image.resize(std::max<std::size_t>(image.size(), size));
    for (std::size_t offset = 0, length = 0; in >> word >> offset >> length;) {
        in.get();
        in.read(reinterpret_cast<char*>(image.data() + offset), static_cast<std::streamsize>(length));
    }
    image.resize(size);
    return image;
}

struct Damage {
    const char* name;
    std::function<Bytes()> image;
    FindingKind kind;
    Remedy remedy = Remedy::Lossless;
    /// Sectors of the disk that are lost, as far as the repair gives something up.
    std::uint64_t lost_from = 0;
    std::uint64_t lost_to = 0;
};

const std::vector<Damage>& damages() {
    static const std::vector<Damage> kDamages = {
        {"NoFooter",
         [] {
             Bytes image = dynamic();
             image.resize(image.size() - 512);
             return image;
         },
         FooterMissing},
        {"NoFooterOfAnAlignedImage",
         [] {
             Bytes image = build_dynamic({.sectors = kSectors, .aligned = true, .blocks = {{3}, {9}}});
             image.resize(image.size() - 512 - 100);
             return image;
         },
         FooterMissing},
        {"ZerosForAFooter",
         [] {
             Bytes image = dynamic();
             std::fill(image.end() - 512, image.end(), std::uint8_t{0});
             return image;
         },
         FooterMissing},
        {"WrongFooterChecksum",
         [] {
             Bytes image = dynamic();
             image[image.size() - 100] ^= 1;
             return image;
         },
         FooterDamaged},
        {"WrongChecksumOfAFixedFooter",
         [] {
             Bytes image = build_fixed(kSectors);
             image[image.size() - 448] ^= 1;
             return image;
         },
         FooterDamaged},
        {"BothFooterChecksums",
         [] {
             Bytes image = dynamic();
             image[64] ^= 1;
             image[image.size() - 448] ^= 1;
             return image;
         },
         FooterDamaged},
        {"FootersThatDiffer",
         [] {
             Bytes image = dynamic();
             image[64] ^= 1;
             image[image.size() - 447] ^= 1;
             return image;
         },
         FooterDamaged, Remedy::None},
        {"NoCopy",
         [] {
             Bytes image = dynamic();
             std::fill_n(image.begin(), 512, std::uint8_t{0x55});
             return image;
         },
         CopyDamaged},
        {"AnotherCopy",
         [] {
             Bytes image = dynamic();
             auto footer = vhd::parse_footer(image);
             footer.time_stamp = 77;
             const auto bytes = vhd::serialise(footer);
             std::copy(bytes.begin(), bytes.end(), image.begin());
             return image;
         },
         CopyDiffers},
        {"BytesBehindTheFooter",
         [] {
             Bytes image = dynamic();
             image.insert(image.end(), 3000, std::uint8_t{'j'});
             return image;
         },
         TrailingBytes},
        {"BytesBehindAFixedFooter",
         [] {
             Bytes image = build_fixed(kSectors);
             image.resize(image.size() + 4096);
             return image;
         },
         TrailingBytes},
        {"HeaderChecksum",
         [] {
             Bytes image = dynamic();
             image[512 + 36] ^= 1;
             return image;
         },
         FindingKind::HeaderChecksum},
        {"HeaderChecksumAndTable",
         [] {
             Bytes image = dynamic();
             image[512 + 36] ^= 1;
             set_entry(image, 3, static_cast<std::uint32_t>((kFirstBlock + kSlot) / 512));
             return image;
         },
         FindingKind::HeaderChecksum, Remedy::None},
        {"NoHeader",
         [] {
             Bytes image = dynamic();
             image[512] = 'x';
             return image;
         },
         HeaderDamaged, Remedy::None},
        {"BlockSize",
         [] {
             Bytes image = dynamic();
             image[512 + 35] = 3;
             return image;
         },
         HeaderDamaged, Remedy::None},
        {"UnknownType",
         [] {
             Bytes image = dynamic();
             change_footers(image, [](vhd::Footer& footer) { footer.disk_type = static_cast<vhd::DiskType>(5); });
             return image;
         },
         HeaderDamaged, Remedy::None},
        {"WildBlock",
         [] {
             Bytes image = dynamic();
             set_entry(image, 9, 0x12345678);
             return image;
         },
         BlockOutside, Remedy::Lossy, 72, 80},
        {"BlockOnTheHeader",
         [] {
             Bytes image = dynamic();
             set_entry(image, 9, 1);
             return image;
         },
         BlockOnStructures, Remedy::Lossy, 72, 80},
        {"TwoBlocksInOnePlace",
         [] {
             Bytes image = dynamic();
             set_entry(image, 9, kFirstBlock / 512);
             return image;
         },
         BlocksOverlap, Remedy::None},
        {"LastBlockCutWhereTheDiskEnds",
         [] {
             Bytes image = dynamic();  // of the last block, 3 sectors belong to the disk
             image.erase(image.end() - 512 - 2048, image.end() - 512);
             return image;
         },
         BlockTruncated},
        {"LastBlockCut",
         [] {
             Bytes image = build_dynamic({.sectors = kSectors, .blocks = {{3}, {50}, {9}}});
             image.erase(image.end() - 512 - 1024, image.end() - 512);
             return image;
         },
         BlockTruncated, Remedy::Lossy, 78, 80},
        {"FixedDiskCut",
         [] {
             Bytes image = build_fixed(kSectors);
             image.erase(image.end() - 1024, image.end() - 512);
             return image;
         },
         DiskTruncated, Remedy::Lossy, 402, 403},
        {"DataInUnwrittenSectors",
         [] {
             return build_dynamic({.sectors = kSectors, .blocks = {{3}, {9, 0x0F}, {50}}, .unwritten_byte = 0x77});
         },
         BitmapIncomplete},
        {"RawImageOfOddSize", [] { return Bytes(5000, 7); }, DiskTruncated, Remedy::None},
        {"NothingButAHeader",
         [] {
             Bytes image = dynamic();
             std::fill_n(image.begin(), 8, std::uint8_t{0});
             image.resize(image.size() - 512);
             return image;
         },
         HeaderDamaged, Remedy::None},
    };
    return kDamages;
}

/// What a damaged image was before.
Bytes undamaged(const std::string& name) {
    if (name.find("Fixed") != std::string::npos) {
        return build_fixed(kSectors);
    }
    Bytes image = dynamic();
    if (name == "NoFooterOfAnAlignedImage") {
        image = build_dynamic({.sectors = kSectors, .aligned = true, .blocks = {{3}, {9}}});
    } else if (name == "DataInUnwrittenSectors") {
        std::fill_n(image.begin() + kFirstBlock + kSlot + 512, 4 * 512, std::uint8_t{0x77});
    }
    return image;
}

class Check : public ::testing::TestWithParam<Damage> {
  protected:
    void SetUp() override { log().set_level(spdlog::level::off); }
    void TearDown() override { log().set_level(spdlog::level::warn); }
    TemporaryFolder folder_;
};

const Finding* find(const CheckReport& report, FindingKind kind) {
    for (const Finding& finding : report.findings) {
        if (finding.kind == kind && finding.problem) {
            return &finding;
        }
    }
    return nullptr;
}

TEST_P(Check, SaysWhatIsWrongAndRepairPutsItRight) {
    const Damage& damage = GetParam();
    const Bytes image = damage.image();
    const auto path = folder_.write("image.vhd", image);
    const auto report = check(path, {}, {});
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(TemporaryFolder::read(path), image) << "a check writes nothing";
    const Finding* finding = find(*report, damage.kind);
    ASSERT_NE(finding, nullptr) << (report->findings.empty() ? "nothing" : report->findings[0].text);
    EXPECT_EQ(finding->remedy, damage.remedy) << finding->text;
    EXPECT_EQ(finding->text.find('\n'), std::string::npos);

    const auto repaired = repair(path, {}, {});
    ASSERT_TRUE(repaired.has_value()) << repaired.error().message;
    if (damage.remedy != Remedy::Lossless) {
        EXPECT_FALSE(repaired->after.clean()) << "nothing is given up unasked";
        EXPECT_NE(find(repaired->after, damage.kind), nullptr);
    }
    auto last = repaired;
    if (damage.remedy == Remedy::Lossy) {
        last = repair(path, {.accept_loss = true}, {});
        ASSERT_TRUE(last.has_value()) << last.error().message;
    }
    if (damage.remedy == Remedy::None) {
        EXPECT_EQ(TemporaryFolder::read(path), image);
        EXPECT_TRUE(last->side_file.empty());
        return;
    }
    EXPECT_TRUE(last->after.clean()) << last->after.findings[0].text;
    EXPECT_TRUE(check(path, {}, {})->clean());
    const Bytes now = TemporaryFolder::read(path);
    const Bytes disk = contents_of(now, OpenMode::ReadWrite);
    ASSERT_EQ(disk.size(), kSectors * 512) << "it opens for writing";
    const Bytes whole = contents_of(undamaged(damage.name), OpenMode::ReadOnly);
    for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
        const bool lost = sector >= damage.lost_from && sector < damage.lost_to;
        ASSERT_EQ(disk[sector * 512], lost ? 0 : whole[sector * 512]) << "sector " << sector;
    }
    if (!last->side_file.empty()) {
        EXPECT_EQ(undo(now, TemporaryFolder::read(last->side_file)), image);
        EXPECT_EQ(last->side_file, folder_ / "image.vhd.replaced");
    }
}

/// After a power failure in the middle the repair can be done again, with the same end.
TEST_P(Check, ARepairSurvivesPowerFailures) {
    const Damage& damage = GetParam();
    const Bytes image = damage.image();
    const auto repair_in_memory = [](std::unique_ptr<File> file) -> Status {
        WorkMeter meter({}, 1);
        const auto examination = vhd::examine(*file, true, meter);
        return examination ? carry_out_steps(*file, *examination, meter)
                           : Status(tl::unexpected<Error>(examination.error()));
    };
    const auto before = MemoryContents::of(image);
    const auto work = std::make_shared<MemoryContents>(*before);
    const auto operations = std::make_shared<FileOperations>();
    ASSERT_TRUE(repair_in_memory(std::make_unique<RecordingFile>(work, operations)));
    // In sectors that were lost before, a power failure may leave anything.
    const auto kept = [&damage](const MemoryContents& contents) {
        Bytes disk = contents_of(contents.bytes(), OpenMode::ReadOnly);
        if (disk.size() >= damage.lost_to * 512) {
            std::fill(disk.begin() + static_cast<std::ptrdiff_t>(damage.lost_from * 512),
                      disk.begin() + static_cast<std::ptrdiff_t>(damage.lost_to * 512), std::uint8_t{0});
        }
        return disk;
    };
    const Bytes expected = kept(*work);
    const auto report = testing::simulate_crashes(
        *before, *operations, 1, [](const auto&) {},
        [&](const MemoryContents& left) -> std::string {
            const auto copy = std::make_shared<MemoryContents>(left);
            if (auto again = repair_in_memory(std::make_unique<MemoryFile>(copy)); !again) {
                return "cannot be repaired again: " + again.error().message;
            }
            WorkMeter meter({}, 1);
            MemoryFile file(copy);
            const auto after = vhd::examine(file, false, meter);
            if (damage.remedy != Remedy::None && (!after || !after->report.clean())) {
                return "not repaired: " + (after ? after->report.findings[0].text : after.error().message);
            }
            return kept(*copy) == expected ? "" : "wrong contents";
        });
    ASSERT_EQ(report.wrong, "");
    std::cout << "repair of " << damage.name << ": " << report.states
              << " crash points, lost writes 0, unopenable images 0\n";
}

INSTANTIATE_TEST_SUITE_P(Damages, Check, ::testing::ValuesIn(damages()),
                         [](const auto& tested) { return std::string(tested.param.name); });

class CheckFiles : public Check {};

TEST_F(CheckFiles, NewImagesOfEveryTypeAreClean) {
    for (const auto type : {ImageType::Raw, ImageType::Fixed, ImageType::Dynamic}) {
        const auto path = folder_ / ("new" + std::to_string(static_cast<int>(type)));
        ASSERT_TRUE(create_image({.file = path, .type = type, .size = 5 << 20}, {}));
        const auto report = check(path, {}, {});
        ASSERT_TRUE(report.has_value());
        EXPECT_TRUE(report->clean());
        EXPECT_EQ(report->type, type);
        const Bytes before = TemporaryFolder::read(path);
        EXPECT_TRUE(repair(path, {}, {})->side_file.empty());
        EXPECT_EQ(TemporaryFolder::read(path), before);
    }
}

TEST_F(CheckFiles, DataInUnwrittenSectorsOfADynamicImageIsMarkedWritten) {
    const auto path = folder_.write(
        "a.vhd", build_dynamic({.sectors = kSectors, .blocks = {{3}, {9, 0x0F}}, .unwritten_byte = 0x77}));
    const auto report = check(path, {}, {});
    ASSERT_NE(find(*report, BitmapIncomplete), nullptr);
    EXPECT_NE(find(*report, BitmapIncomplete)->text.find("4 sectors"), std::string::npos);
    const auto repaired = repair(path, {}, {});
    ASSERT_TRUE(repaired.has_value());
    EXPECT_TRUE(repaired->after.clean());
    const Bytes disk = contents_of(TemporaryFolder::read(path), OpenMode::ReadOnly);
    EXPECT_EQ(disk[72 * 512], 0x77);
    EXPECT_EQ(disk[76 * 512], testing::built_byte(76));
}

TEST_F(CheckFiles, ParentsAreLookedAtToo) {
    const auto parent = folder_.write("parent.vhd", build_fixed(kSectors));
    const auto child = folder_ / "child.vhd";
    ASSERT_TRUE(create_image({.file = child, .type = ImageType::Differencing, .parent = parent}, {}));
    EXPECT_TRUE(check(child, {}, {})->clean());
    std::filesystem::last_write_time(parent, std::filesystem::last_write_time(parent) + std::chrono::hours(1));
    auto report = check(child, {}, {});
    EXPECT_TRUE(report->clean());
    EXPECT_EQ(report->findings.at(0).kind, ParentChanged);
    std::filesystem::remove(parent);
    report = check(child, {}, {});
    ASSERT_NE(find(*report, ParentProblem), nullptr);
    EXPECT_EQ(find(*report, ParentProblem)->remedy, Remedy::None);
    EXPECT_FALSE(repair(child, {}, {})->after.clean());
    // A path outside the file.
    Bytes bytes = TemporaryFolder::read(child);
    auto header = vhd::parse_dynamic_header(std::span(bytes).subspan(512, 1024));
    header.parent_locator_entries[1].platform_data_offset = 1 << 30;
    const auto header_bytes = vhd::serialise(header);
    std::copy(header_bytes.begin(), header_bytes.end(), bytes.begin() + 512);
    folder_.write("child.vhd", bytes);
    EXPECT_NE(find(*check(child, {}, {}), LocatorOutside), nullptr);
}

TEST_F(CheckFiles, NotesAreNoProblems) {
    Bytes bytes = dynamic();
    change_footers(bytes, [](vhd::Footer& footer) {
        footer.saved_state = 1;
        footer.unique_id = {};
        footer.time_stamp = 0xFFFFFFF0;
        footer.reserved[0] = 1;
    });
    const auto report = check(folder_.write("a.vhd", bytes), {}, {});
    ASSERT_TRUE(report.has_value());
    EXPECT_TRUE(report->clean());
    EXPECT_EQ(report->findings.size(), 4u);
    Bytes old = build_fixed(kSectors);
    old.pop_back();
    EXPECT_TRUE(check(folder_.write("old.vhd", old), {}, {})->clean());
    Bytes gap = dynamic();
    set_entry(gap, 3, 0xFFFFFFFF);
    set_entry(gap, 9, 0xFFFFFFFF);
    set_entry(gap, 0, kFirstBlock / 512);
    EXPECT_EQ(check(folder_.write("gap.vhd", gap), {}, {})->findings.at(0).kind, UnusedSpace);
}

TEST_F(CheckFiles, ManyFindingsOfAKindAreCounted) {
    Bytes bytes = dynamic();
    for (std::uint32_t block = 0; block < 51; ++block) {
        set_entry(bytes, block, 0x00100000 + block * 9);
    }
    const auto report = check(folder_.write("a.vhd", bytes), {}, {});
    ASSERT_EQ(report->findings.size(), kMaxFindingsOfAKind + 1);
    EXPECT_EQ(report->findings.back().text, "35 more blocks have the same fault");
}

/// A file that counts what is read.
class CountingFile final : public MemoryFile {
  public:
    using MemoryFile::MemoryFile;
    using MemoryFile::read;
    Status read(std::uint64_t offset, std::span<const Buffer> buffers) override {
        for (const Buffer buffer : buffers) {
            bytes_read += buffer.size();
        }
        return MemoryFile::read(offset, buffers);
    }
    std::uint64_t bytes_read = 0;
};

/// A million blocks of 2 MiB, the table full of `sector`, which is followed by `end` bytes and a footer.
std::shared_ptr<MemoryContents> million_blocks(std::uint32_t sector, std::uint64_t end) {
    constexpr std::uint32_t kBlocks = 1000000;
    auto image = build_dynamic({.sectors = std::uint64_t{kBlocks} * 4096, .block_size = 2 << 20});
    const Bytes footer(image.end() - 512, image.end());
    for (std::uint32_t block = 0; block < kBlocks; ++block) {
        set_entry(image, block, sector);
    }
    image.resize(image.size() - 512);
    auto contents = MemoryContents::of(image);
    contents->write(image.size() + end, footer);
    return contents;
}

TEST(CheckBlocks, AMillionThatShareOnePlaceAreNotReadOneByOne) {
    const std::uint32_t place = (8 << 20) / 512;
    const auto contents = million_blocks(place, 16 << 20);
    contents->write(std::uint64_t{place} * 512 + 512, Bytes(1 << 20, 0x11));  // data that the bitmap does not know
    CountingFile file(contents);
    WorkMeter meter({}, 1);
    const auto found = vhd::examine(file, true, meter);
    ASSERT_TRUE(found.has_value());
    ASSERT_FALSE(found->report.findings.empty());
    EXPECT_EQ(found->report.findings.front().kind, BlocksOverlap);
    EXPECT_EQ(found->report.findings.back().text,
              std::to_string(1000000 - 1 - kMaxFindingsOfAKind) + " more blocks have the same fault");
    EXPECT_LT(file.bytes_read, 8u << 20) << "header and table";
    EXPECT_TRUE(found->steps.empty());
}

TEST(CheckBlocks, HolesOfALargeFileAreNotRead) {
    auto image = build_dynamic({.sectors = 1 << 20, .block_size = 256 << 20, .blocks = {}});
    set_entry(image, 0, 8);
    set_entry(image, 1, 8 + ((256 << 20) + (64 << 10)) / 512);
    const Bytes footer(image.end() - 512, image.end());
    image.resize(image.size() - 512);
    const auto contents = MemoryContents::of(image);
    contents->write(600 << 20, footer);
    contents->write((400 << 20) + 512, Bytes(512, 0x11));
    CountingFile file(contents);
    WorkMeter meter({}, 1);
    const auto found = vhd::examine(file, false, meter);
    ASSERT_TRUE(found.has_value());
    ASSERT_NE(find(found->report, BitmapIncomplete), nullptr);
    EXPECT_NE(find(found->report, BitmapIncomplete)->text.find("in 1 sectors"), std::string::npos);
    EXPECT_LT(file.bytes_read, 4u << 20);
}

TEST(CheckBlocks, AMillionBadOnesCanBeStoppedBetween) {
    MemoryFile file(million_blocks(0x70000000, 0));
    std::stop_source stop;
    int reports = 0;
    const auto stop_soon = [&](const Progress&) {
        if (++reports == 2) {
            stop.request_stop();
        }
    };
    WorkMeter meter({.progress = stop_soon, .stop = stop.get_token()}, 1);
    const auto found = vhd::examine(file, false, meter);
    if (found) {  // a fast machine
        EXPECT_EQ(found->report.findings.front().kind, BlockOutside);
    } else {
        EXPECT_EQ(found.error().code, ErrorCode::Cancelled);
    }
    WorkMeter whole({}, 1);
    const auto all = vhd::examine(file, true, whole);
    ASSERT_TRUE(all.has_value());
    EXPECT_EQ(all->report.findings.back().text,
              std::to_string(1000000 - kMaxFindingsOfAKind) + " more blocks have the same fault");
    EXPECT_EQ(all->steps.size(), 1000000u / 128 + 2) << "every sector of the table, and a barrier";
}

TEST_F(CheckFiles, WhatIsNoImageOrInUseIsAnError) {
    EXPECT_EQ(check(folder_ / "missing.vhd", {}, {}).error().code, ErrorCode::NotFound);
    EXPECT_EQ(check(folder_.path(), {}, {}).error().code, ErrorCode::NotAnImage);
    EXPECT_EQ(check(folder_.write("empty.vhd", {}), {}, {}).error().code, ErrorCode::NotAnImage);
    const auto path = folder_.write("a.vhd", dynamic());
    const auto reader = open_image(path, OpenMode::ReadOnly);
    EXPECT_TRUE(check(path, {}, {}).has_value());
    EXPECT_EQ(repair(path, {}, {}).error().code, ErrorCode::InUse);
    EXPECT_STREQ(name_of(BlocksOverlap), "blocks_overlap");
}

TEST_F(CheckFiles, ARepairIsStoppedBeforeItBegins) {
    std::stop_source stop;
    stop.request_stop();
    const auto path = folder_.write("a.vhd", build_dynamic({.sectors = kSectors, .blocks = {{3}, {9, 0x0F}}}));
    EXPECT_EQ(check(path, {}, {.stop = stop.get_token()}).error().code, ErrorCode::Cancelled);
    EXPECT_EQ(repair(path, {}, {.stop = stop.get_token()}).error().code, ErrorCode::Cancelled);
}

}  // namespace
}  // namespace vpc::disk
