// Volumes whose own records may be out of date or wrong, and disks with partitions: what is not certain is not free.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "tests/disk/free_runs.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::disk {
namespace {

using testing::free_runs;
using testing::FreeRuns;
using testing::TemporaryFolder;
using vpc::testing::installed;
using vpc::testing::Ran;
using vpc::testing::shell;

using Bytes = std::vector<std::uint8_t>;

void store32(Bytes& bytes, std::size_t offset, std::uint64_t number) {
    for (std::size_t i = 0; i < 4; ++i) {
        bytes[offset + i] = static_cast<std::uint8_t>(number >> i * 8);
    }
}

class DoubtfulVolumes : public ::testing::Test {
  protected:
    /// A volume of so many sectors made by `command`, to which its file's name is added.
    Bytes make(std::uint64_t sectors, const std::string& command) {
        const auto path = folder_ / "volume";
        std::ofstream(path, std::ios::trunc).close();
        std::filesystem::resize_file(path, sectors * kSectorSize);
        const Ran made = shell(command + " " + path.string());
        EXPECT_EQ(made.status, 0) << made.output;
        return TemporaryFolder::read(path);
    }

    static FreeRuns look_at(const Bytes& bytes) {
        const auto disk = testing::open_bytes(bytes, OpenMode::ReadOnly);
        if (!disk) {
            ADD_FAILURE() << disk.error().message;
            return {};
        }
        return free_runs(**disk);
    }

    /// The only volume's reason, provided that nothing of it was handed out.
    static std::string why_skipped(const Bytes& bytes) {
        const FreeRuns found = look_at(bytes);
        EXPECT_TRUE(found.runs.empty());
        return found.report.volumes.size() == 1 ? found.report.volumes[0].skipped : "not one volume";
    }

    TemporaryFolder folder_;
};

struct Entry {
    std::uint8_t type = 0;
    std::uint64_t first = 0;
    std::uint64_t sectors = 0;
};

void write_table(Bytes& disk, std::uint64_t sector, const std::vector<Entry>& entries) {
    const std::size_t start = sector * kSectorSize;
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(start), kSectorSize, std::uint8_t{0});
    for (std::size_t i = 0; i < entries.size(); ++i) {
        disk[start + 446 + i * 16 + 4] = entries[i].type;
        store32(disk, start + 446 + i * 16 + 8, entries[i].first);
        store32(disk, start + 446 + i * 16 + 12, entries[i].sectors);
    }
    disk[start + 510] = 0x55;
    disk[start + 511] = 0xAA;
}

void put(Bytes& disk, std::uint64_t sector, const Bytes& volume) {
    std::copy(volume.begin(), volume.end(), disk.begin() + static_cast<std::ptrdiff_t>(sector * kSectorSize));
}

TEST_F(DoubtfulVolumes, PartitionsAndLogicalOnesAreFoundInOrder) {
    if (!installed("mkfs.fat mke2fs")) {
        GTEST_SKIP() << "not all installed: mkfs.fat mke2fs";
    }
    const Bytes fat = make(4000, "mkfs.fat -F 12");
    const Bytes ext = make(4000, "mke2fs -q -F -t ext2");
    Bytes disk(24'000 * kSectorSize);
    write_table(disk, 0, {{0x05, 10'000, 14'000}, {0x83, 5000, 4000}, {0x01, 63, 4000}});
    write_table(disk, 10'000, {{0x01, 63, 4000}, {0x05, 5000, 6000}});
    write_table(disk, 15'000, {{0x83, 63, 4000}});
    put(disk, 63, fat);
    put(disk, 5000, ext);
    put(disk, 10'063, fat);
    put(disk, 15'063, ext);
    const FreeRuns found = look_at(disk);
    ASSERT_EQ(found.report.volumes.size(), 4u);
    const std::vector<std::pair<std::uint64_t, std::string>> expected = {
        {63, "FAT12"}, {5000, "ext2"}, {10'063, "FAT12"}, {15'063, "ext2"}};
    for (std::size_t i = 0; i < 4; ++i) {
        const VolumeReport& volume = found.report.volumes[i];
        EXPECT_EQ(volume.first_sector, expected[i].first);
        EXPECT_EQ(volume.sectors, 4000u);
        EXPECT_EQ(volume.file_system, expected[i].second);
        EXPECT_EQ(volume.skipped, "");
        EXPECT_EQ(volume.free_sectors, found.report.volumes[i % 2].free_sectors);
        EXPECT_GT(volume.free_sectors, 3000u);
    }
    EXPECT_GE(found.runs.front().first, 63u);
}

TEST_F(DoubtfulVolumes, OverlappingAndForeignPartitionsAreLeftAlone) {
    if (!installed("mkfs.fat")) {
        GTEST_SKIP() << "not installed: mkfs.fat";
    }
    Bytes disk(24'000 * kSectorSize);
    put(disk, 63, make(4000, "mkfs.fat -F 12"));
    const auto doubts = [&](const std::vector<Entry>& entries) {
        write_table(disk, 0, entries);
        std::vector<std::string> result;
        for (const VolumeReport& volume : look_at(disk).report.volumes) {
            result.push_back(volume.skipped);
        }
        return result;
    };
    EXPECT_EQ(doubts({{0x01, 63, 4000}}), std::vector<std::string>{""});
    EXPECT_EQ(doubts({{0x01, 63, 4000}, {0x83, 4062, 10}}),
              (std::vector<std::string>{"it overlaps another partition", "it overlaps another partition"}));
    EXPECT_EQ(doubts({{0x42, 63, 4000}}), std::vector<std::string>{"it belongs to a Windows dynamic disk"});
    EXPECT_EQ(doubts({{0x01, 63, 30'000}}), std::vector<std::string>{"it reaches beyond the end of the disk"});
    EXPECT_EQ(doubts({{0xEE, 1, 0xFFFFFFFF}}),
              std::vector<std::string>{"a GUID partition table manages it, which is not supported"});
    EXPECT_EQ(doubts({{0x07, 10'000, 100}}), std::vector<std::string>{"it holds no file system that is known here"});
    // A chain of logical partitions that comes back to itself ends.
    write_table(disk, 20'000, {{0x83, 10, 10}, {0x05, 0, 100}});
    EXPECT_EQ(doubts({{0x01, 63, 4000}, {0x0F, 20'000, 4000}}),
              (std::vector<std::string>{"", "it holds no file system that is known here"}));
}

TEST_F(DoubtfulVolumes, FatThatIsInUseIsLeftAlone) {
    if (!installed("mkfs.fat")) {
        GTEST_SKIP() << "not installed: mkfs.fat";
    }
    Bytes clean = make(40'000, "mkfs.fat -F 16");
    ASSERT_EQ(look_at(clean).report.volumes.at(0).skipped, "");
    Bytes in_use = clean;
    const std::size_t table = std::size_t{clean[14]} * kSectorSize;
    in_use[table + 3] &= 0x7F;  // entry 1
    EXPECT_EQ(why_skipped(in_use), "it was not cleanly unmounted");
    Bytes marked = clean;
    marked[37] |= 1;
    EXPECT_EQ(why_skipped(marked), "it was not cleanly unmounted");
    // A cluster that one copy of the table says is used is not free.
    const std::size_t copy = table + (clean[22] + std::size_t{256} * clean[23]) * kSectorSize;
    Bytes differing = clean;
    differing[copy + 100 * 2] = 0xFF;
    EXPECT_EQ(look_at(differing).report.volumes.at(0).free_sectors + clean[13],
              look_at(clean).report.volumes.at(0).free_sectors);
}

TEST_F(DoubtfulVolumes, ExtThatWaitsForItsJournalOrForACheckIsLeftAlone) {
    if (!installed("mke2fs")) {
        GTEST_SKIP() << "not installed: mke2fs";
    }
    const Bytes clean = make(40'000, "mke2fs -q -F -t ext4");
    ASSERT_EQ(look_at(clean).report.volumes.at(0).skipped, "");
    Bytes journal = clean;
    journal[1024 + 0x60] |= 0x4;
    EXPECT_EQ(why_skipped(journal), "its journal waits to be replayed: mount and unmount it first");
    Bytes mounted = clean;
    mounted[1024 + 0x3A] = 0;
    EXPECT_EQ(why_skipped(mounted), "it was not cleanly unmounted: let e2fsck check it first");
    Bytes strange = clean;
    strange[1024 + 0x63] |= 0x80;
    EXPECT_EQ(why_skipped(strange), "it uses features of ext4 that are not supported");
}

/// Where the record of the master file table with this number is.
std::size_t mft_record(const Bytes& volume, std::size_t number) {
    const std::size_t cluster = std::size_t{volume[13]} * kSectorSize;
    return (volume[48] + 256u * volume[49]) * cluster + number * 1024;
}

TEST_F(DoubtfulVolumes, NtfsThatIsDirtyOrHasALogToReplayIsLeftAlone) {
    if (!installed("mkntfs ntfsfix")) {
        GTEST_SKIP() << "not all installed: mkntfs ntfsfix";
    }
    const Bytes clean = make(40'000, "mkntfs -q -F -Q");
    ASSERT_EQ(look_at(clean).report.volumes.at(0).skipped, "");
    ASSERT_EQ(shell("ntfsfix " + (folder_ / "volume").string()).status, 0) << "it sets the dirty flag";
    EXPECT_EQ(why_skipped(TemporaryFolder::read(folder_ / "volume")), "it is marked dirty: let Windows check it first");

    // The log's place, from the first of its runs, whose fields are little.
    std::size_t attribute = mft_record(clean, 2);
    attribute += clean[attribute + 20];
    while (clean[attribute] != 0x80) {
        attribute += clean[attribute + 4];
    }
    const std::size_t run = attribute + clean[attribute + 32];
    std::size_t cluster = 0;
    for (std::size_t i = clean[run] >> 4; i > 0; --i) {
        cluster = cluster << 8 | clean[run + (clean[run] & 0xFu) + i];
    }
    const std::size_t log = cluster * clean[13] * kSectorSize;
    ASSERT_TRUE(std::all_of(clean.begin() + static_cast<std::ptrdiff_t>(log),
                            clean.begin() + static_cast<std::ptrdiff_t>(log + 8192),
                            [](std::uint8_t byte) { return byte == 0xFF; }));
    const auto restart_page = [](std::uint8_t sequence, std::uint8_t flags) {
        Bytes page(4096);
        std::copy_n("RSTR", 4, page.begin());
        page[4] = 30;  // 9 fixups, all zeros as what they stand for
        page[6] = 9;
        page[17] = page[21] = 4096 >> 8;
        page[24] = 64;
        page[64] = sequence;
        page[64 + 14] = flags;
        return page;
    };
    const auto with_log = [&](std::uint8_t first, std::uint8_t first_flags, std::uint8_t second,
                              std::uint8_t second_flags) {
        Bytes volume = clean;
        const Bytes pages[] = {restart_page(first, first_flags), restart_page(second, second_flags)};
        std::copy(pages[0].begin(), pages[0].end(), volume.begin() + static_cast<std::ptrdiff_t>(log));
        std::copy(pages[1].begin(), pages[1].end(), volume.begin() + static_cast<std::ptrdiff_t>(log + 4096));
        return volume;
    };
    const std::string unclean = "it was not cleanly unmounted: let Windows start from it and shut down";
    EXPECT_EQ(look_at(with_log(1, 0, 2, 2)).report.volumes.at(0).skipped, "") << "the newer page says closed";
    EXPECT_EQ(why_skipped(with_log(2, 0, 1, 2)), unclean);
    EXPECT_EQ(why_skipped(with_log(1, 2, 1, 0)), unclean);
    Bytes torn = with_log(1, 2, 2, 2);
    torn[log + 1022] = torn[log + 4096 + 1022] = 9;
    EXPECT_EQ(why_skipped(torn), unclean);
}

/// Random damage: whatever comes of it, nothing beyond the volume is handed out, and it ends.
TEST_F(DoubtfulVolumes, DamageIsSurvived) {
    std::mt19937 random(1);
    for (const std::string command : {"mkfs.fat -F 16", "mkntfs -q -F -Q", "mke2fs -q -F -t ext4 -b 1024"}) {
        if (!installed(command.substr(0, command.find(' ')))) {
            continue;
        }
        const Bytes clean = make(20'000, command);
        std::vector<std::size_t> interesting;
        for (std::size_t i = 0; i < clean.size() && interesting.size() < 60'000; ++i) {
            if (clean[i] != 0 && clean[i] != 0xFF) {
                interesting.push_back(i);
            }
        }
        const auto contents = testing::MemoryContents::of(clean);
        for (int round = 0; round < 1500; ++round) {
            std::vector<std::pair<std::size_t, std::uint8_t>> undo;
            for (int i = 0; i < 1 + round % 4; ++i) {
                const std::size_t place = round % 2 == 0
                                              ? interesting[random() % std::min<std::size_t>(interesting.size(), 600)]
                                              : interesting[random() % interesting.size()];
                undo.emplace_back(place, clean[place]);
                const auto byte = static_cast<std::uint8_t>(random());
                contents->write(place, std::span(&byte, 1));
            }
            const auto disk = testing::open_contents(contents, OpenMode::ReadOnly);
            if (disk) {
                free_runs(**disk);
            }
            for (const auto& [place, byte] : undo) {
                contents->write(place, std::span(&byte, 1));
            }
        }
    }
}

}  // namespace
}  // namespace vpc::disk
