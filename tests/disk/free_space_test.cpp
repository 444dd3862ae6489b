// Volumes made by the file systems' own tools. What is called free is overwritten, and the tools must still find every
// file and no damage; how much is free must be what they say.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <random>

#include "disk/volume/free_space.h"
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

/// How each kind is made and looked into. IMG and DIR stand for the volume and a folder with files.
struct Kind {
    const char* name;
    const char* file_system;
    std::uint64_t sectors;
    const char* tools;
    const char* make;
    const char* check;
    const char* extract;     ///< prints the checksums of files f1 and f3 (f2 is deleted again)
    const char* free_bytes;  ///< prints the tool's own figure
};

constexpr const char* kFatExtract = "for f in f1 f3; do mtype -i IMG ::$f | md5sum; done";
constexpr const char* kFatFree =
    "minfo -i IMG :: >/dev/null; mdir -i IMG :: | sed -n 's/ *\\([0-9 ]*\\) bytes free/\\1/p' "
    "| tr -d ' '";
constexpr const char* kExtExtract = "for f in f1 f3; do debugfs -R \"cat $f\" IMG 2>/dev/null | md5sum; done";
constexpr const char* kExtFree =
    "dumpe2fs -h IMG 2>/dev/null | awk '/^Free blocks/{f=$3} /^Block size/{b=$3} "
    "END{print f*b}'";
#define VPC_MAKE_FAT(OPTIONS)                                                            \
    "mkfs.fat " OPTIONS                                                                  \
    " IMG && mcopy -i IMG DIR/f1 DIR/f2 ::/ && mdel -i IMG ::/f2 && mmd -i IMG ::/d && " \
    "mcopy -i IMG DIR/f2 ::/d && mcopy -i IMG DIR/f3 ::/"
#define VPC_MAKE_EXT(OPTIONS) \
    "mke2fs -q -F " OPTIONS " -d DIR IMG && debugfs -w -R 'rm f2' IMG && { e2fsck -fy IMG; [ $? -le 1 ]; }"

const Kind kKinds[] = {
    {"Fat12", "FAT12", 2880, "mkfs.fat mcopy fsck.fat", VPC_MAKE_FAT("-F 12"), "fsck.fat -n IMG", kFatExtract,
     kFatFree},
    {"Fat16", "FAT16", 40'000, "mkfs.fat mcopy fsck.fat", VPC_MAKE_FAT("-F 16"), "fsck.fat -n IMG", kFatExtract,
     kFatFree},
    {"Fat16OneCopy", "FAT16", 40'000, "mkfs.fat mcopy fsck.fat", VPC_MAKE_FAT("-F 16 -f 1 -s 8"), "fsck.fat -n IMG",
     kFatExtract, kFatFree},
    {"Fat32", "FAT32", 70'000, "mkfs.fat mcopy fsck.fat", VPC_MAKE_FAT("-F 32 -s 1"), "fsck.fat -n IMG", kFatExtract,
     kFatFree},
    {"Ntfs", "NTFS", 40'000, "mkntfs ntfscp ntfscat ntfsfix",
     "mkntfs -q -F -Q IMG && for f in f1 f3; do ntfscp -f IMG DIR/$f $f; done", "ntfsfix -n IMG",
     "for f in f1 f3; do ntfscat -f IMG $f | md5sum; done",
     "ntfsinfo -f -m IMG | awk '/Free Clusters/{f=$3} /Cluster Size/{c=$3} END{print f*c}'"},
    {"NtfsSmallClusters", "NTFS", 40'000, "mkntfs ntfscp ntfscat ntfsfix",
     "mkntfs -q -F -Q -c 512 IMG && for f in f1 f3; do ntfscp -f IMG DIR/$f $f; done", "ntfsfix -n IMG",
     "for f in f1 f3; do ntfscat -f IMG $f | md5sum; done",
     "ntfsinfo -f -m IMG | awk '/Free Clusters/{f=$3} /Cluster Size/{c=$3} END{print f*c}'"},
    {"Ext2", "ext2", 40'000, "mke2fs e2fsck debugfs", VPC_MAKE_EXT("-t ext2 -b 1024"), "e2fsck -fn IMG", kExtExtract,
     kExtFree},
    {"Ext3", "ext3", 60'000, "mke2fs e2fsck debugfs", VPC_MAKE_EXT("-t ext3 -b 2048"), "e2fsck -fn IMG", kExtExtract,
     kExtFree},
    {"Ext4", "ext4", 100'000, "mke2fs e2fsck debugfs", VPC_MAKE_EXT("-t ext4 -b 1024"), "e2fsck -fn IMG", kExtExtract,
     kExtFree},
    {"Ext4Uninit32Bit", "ext4", 100'000, "mke2fs e2fsck debugfs",
     VPC_MAKE_EXT("-t ext4 -b 1024 -O ^64bit,^metadata_csum,uninit_bg"), "e2fsck -fn IMG", kExtExtract, kExtFree},
    {"Ext4MetaBg", "ext4", 100'000, "mke2fs e2fsck debugfs",
     VPC_MAKE_EXT("-t ext4 -b 1024 -O meta_bg,^resize_inode,^flex_bg"), "e2fsck -fn IMG", kExtExtract, kExtFree},
    {"Ext4BigAlloc", "ext4", 160'000, "mke2fs e2fsck debugfs", VPC_MAKE_EXT("-t ext4 -b 1024 -O bigalloc -C 16384"),
     "e2fsck -fn IMG", kExtExtract, kExtFree},
    {"Ext4SparseSuper2", "ext4", 100'000, "mke2fs e2fsck debugfs", VPC_MAKE_EXT("-t ext4 -b 1024 -O sparse_super2"),
     "e2fsck -fn IMG", kExtExtract, kExtFree},
};

class FreeSpace : public ::testing::TestWithParam<Kind> {
  protected:
    /// Replaces the placeholders; every command runs on the file `volume`.
    std::string with_names(std::string command) const {
        for (const auto& [mark, name] :
             {std::pair<std::string, std::string>{"IMG", volume_.string()}, {"DIR", (folder_ / "files").string()}}) {
            for (std::size_t at = 0; (at = command.find(mark, at)) != std::string::npos; at += name.size()) {
                command.replace(at, mark.size(), name);
            }
        }
        return command;
    }

    void make(const Kind& kind) {
        std::filesystem::create_directory(folder_ / "files");
        std::uint64_t size = 90'000;
        for (const char* name : {"files/f1", "files/f2", "files/f3"}) {
            Bytes bytes(size);
            std::generate(bytes.begin(), bytes.end(), [this] { return static_cast<std::uint8_t>(random_()); });
            folder_.write(name, bytes);
            size *= 2;
        }
        std::ofstream(volume_).close();
        std::filesystem::resize_file(volume_, kind.sectors * kSectorSize);
        const Ran made = shell(with_names(kind.make));
        ASSERT_EQ(made.status, 0) << made.output;
    }

    TemporaryFolder folder_;
    std::filesystem::path volume_ = folder_ / "volume";
    std::mt19937 random_{5};
};

TEST_P(FreeSpace, IsWhatTheFileSystemsOwnToolsSayAndHoldsNothingOfTheirs) {
    const Kind& kind = GetParam();
    if (!installed(kind.tools)) {
        GTEST_SKIP() << "not all installed: " << kind.tools;
    }
    make(kind);
    if (HasFatalFailure()) {
        return;
    }
    const std::string files = shell(with_names("for f in f1 f3; do md5sum <DIR/$f; done")).output;
    ASSERT_EQ(shell(with_names(kind.extract)).output, files);
    const std::string free_bytes = shell(with_names(kind.free_bytes)).output;
    {
        const auto disk = open_image(volume_, OpenMode::ReadWrite);
        ASSERT_TRUE(disk.has_value()) << disk.error().message;
        const FreeRuns found = free_runs(**disk);
        ASSERT_EQ(found.report.volumes.size(), 1u);
        const VolumeReport& volume = found.report.volumes[0];
        EXPECT_EQ(volume.file_system, kind.file_system);
        EXPECT_EQ(volume.skipped, "");
        EXPECT_EQ(volume.first_sector, 0u);
        EXPECT_EQ(std::to_string(volume.free_sectors * kSectorSize) + "\n", free_bytes);
        for (const auto& [sector, count] : found.runs) {
            ASSERT_TRUE(testing::write_sectors(**disk, sector, count, 0xA5));
        }
    }
    const Ran checked = shell(with_names(kind.check));
    EXPECT_EQ(checked.status, 0) << checked.output;
    EXPECT_EQ(shell(with_names(kind.extract)).output, files);
}

INSTANTIATE_TEST_SUITE_P(Volumes, FreeSpace, ::testing::ValuesIn(kKinds),
                         [](const auto& kind) { return kind.param.name; });

}  // namespace
}  // namespace vpc::disk
