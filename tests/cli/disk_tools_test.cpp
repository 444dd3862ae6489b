// Programs that nobody here wrote read what `vpc disk` makes, and make what it reads: qemu-img, vhdiinfo, libvhdi, and
// the file systems' own checks after every operation.
#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "disk/open_image.h"
#include "disk/operations/undo_disk.h"
#include "tests/cli/disk_command.h"
#include "tests/disk/image_builder.h"
#include "tests/disk/libvhdi_reader.h"

namespace vpc::cli {
namespace {

using disk::testing::LibvhdiReader;
using vpc::testing::installed;
using vpc::testing::Ran;
using Bytes = std::vector<std::uint8_t>;

struct Size {
    const char* text;
    std::uint64_t bytes;
};

class DiskSizes : public testing::DiskCommand, public ::testing::WithParamInterface<Size> {
  protected:
    /// A raw disk of that size with something at its start, in its middle and at its end.
    void make_sparse(std::uint64_t size) const {
        std::ofstream raw(folder_ / "disk.raw", std::ios::binary);
        for (const std::uint64_t place : {std::uint64_t{0}, size / 3, size - 4096}) {
            raw.seekp(static_cast<std::streamoff>(place / 512 * 512));
            raw << std::string(4096, static_cast<char>('a' + place % 23));
        }
    }
};

TEST_P(DiskSizes, QemuImgAndThisProgramReadEachOthersImages) {
    if (!installed("qemu-img vhdiinfo")) {
        GTEST_SKIP() << "not all installed: qemu-img vhdiinfo";
    }
    const auto& [text, bytes] = GetParam();
    make_sparse(bytes);
    for (const std::string type : {"dynamic", "fixed"}) {
        ASSERT_EQ(
            in_folder("qemu-img convert -f raw -O vpc -o force_size=on,subformat=" + type + " disk.raw theirs.vhd")
                .status,
            0);
        EXPECT_EQ(vpc_disk("compare theirs.vhd disk.raw").output, "the disks are identical\n") << type;
        EXPECT_EQ(vpc_disk("check theirs.vhd --progress none").status, 0) << type;
        ASSERT_EQ(vpc_disk("convert disk.raw ours.vhd --force --type " + type).output, "");
        EXPECT_EQ(in_folder("qemu-img compare -f raw -F vpc disk.raw ours.vhd").output, "Images are identical.\n")
            << type;
        EXPECT_LT(std::stoull(in_folder("stat -c %b ours.vhd").output) * 512, 20u << 20) << "holes stay holes";
        const std::string info = in_folder("vhdiinfo ours.vhd").output;
        EXPECT_NE(info.find("(" + std::to_string(bytes) + " bytes)"), std::string::npos) << info;
        EXPECT_NE(info.find(type == "fixed" ? "Fixed" : "Dynamic"), std::string::npos) << info;
        const LibvhdiReader reader({folder_ / "ours.vhd"});
        EXPECT_EQ(reader.size(), bytes);
        for (const std::uint64_t place : {std::uint64_t{0}, bytes / 3, bytes - 4096}) {
            EXPECT_EQ(reader.read(place / 512 * 512, 4096), Bytes(4096, static_cast<std::uint8_t>('a' + place % 23)))
                << type << " at " << place;
        }
    }
    ASSERT_EQ(vpc_disk("create --type dynamic --size " + std::string(text) + " empty.vhd").output, "");
    const Ran info = in_folder("qemu-img info -f vpc --output=json empty.vhd");
    EXPECT_NE(info.output.find("\"virtual-size\": " + std::to_string(bytes)), std::string::npos) << info.output;
    // It rounds sizes up to whole cylinders unless it is told not to.
    ASSERT_EQ(
        in_folder("qemu-img create -q -f vpc rounded.vhd " + std::string(text == std::string("2040G") ? "2G" : text))
            .status,
        0);
    EXPECT_EQ(vpc_disk("check rounded.vhd").status, 0);
    ASSERT_EQ(vpc_disk("convert rounded.vhd again.vhd --type dynamic").status, 0);
    EXPECT_EQ(in_folder("qemu-img compare -f vpc -F vpc rounded.vhd again.vhd").status, 0);
}

INSTANTIATE_TEST_SUITE_P(Sizes, DiskSizes,
                         ::testing::Values(Size{"3M", std::uint64_t{3} << 20}, Size{"127M", std::uint64_t{127} << 20},
                                           Size{"2G", std::uint64_t{2} << 30}, Size{"127G", std::uint64_t{127} << 30},
                                           Size{"2040G", std::uint64_t{2040} << 30}),
                         [](const auto& each) { return std::string("Of") + each.param.text; });

class Libvhdi : public testing::DiskCommand {};

/// It takes all sectors of a bitmap's byte from the image once it has met a set bit. Where it disagrees, the bytes of
/// the parent are right.
TEST_F(Libvhdi, MisreadsDifferencingImagesThatAreReadRightHere) {
    ASSERT_EQ(vpc_disk("create --type fixed --size 4M base.vhd").status, 0);
    const auto fill = [&](const std::string& name, std::uint64_t sector, std::uint64_t count, std::uint8_t byte) {
        const auto image = disk::open_image(folder_ / name, disk::OpenMode::ReadWrite);
        ASSERT_TRUE(image.has_value());
        ASSERT_TRUE(disk::testing::write_sectors(**image, sector, count, byte));
    };
    fill("base.vhd", 0, 64, 0xBB);
    ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd child.vhd").status, 0);
    fill("child.vhd", 0, 1, 0xCC);   // a bitmap of 80h
    fill("child.vhd", 23, 1, 0xCC);  // of 01h
    const auto child = disk::open_image(folder_ / "child.vhd", disk::OpenMode::ReadOnly);
    ASSERT_TRUE(child.has_value());
    const LibvhdiReader other({folder_ / "child.vhd", folder_ / "base.vhd"});
    ASSERT_TRUE(other.good());
    for (std::uint64_t sector = 0; sector < 64; ++sector) {
        const std::uint8_t right = sector == 0 || sector == 23 ? 0xCC : 0xBB;
        EXPECT_EQ(disk::testing::read_sectors(**child, sector, 1), Bytes(512, right)) << sector;
        const std::uint8_t theirs = sector >= 1 && sector <= 7 ? 0 : right;  // the parent's data are lost to it
        EXPECT_EQ(other.read(sector * 512, 512), Bytes(512, theirs)) << sector;
    }
}

struct FileSystem {
    const char* name;
    const char* tools;
    const char* make;     ///< the volume v.raw
    const char* add;      ///< puts the file $F into v.raw
    const char* remove;   ///< takes it away
    const char* check;    ///< of v.raw
    const char* extract;  ///< prints the file $F
};

const FileSystem kFileSystems[] = {
    {"Fat16", "mkfs.fat fsck.fat mcopy mdel", "truncate -s 40M v.raw && mkfs.fat -F 16 v.raw", "mcopy -i v.raw $F ::$F",
     "mdel -i v.raw ::$F", "fsck.fat -n v.raw", "mtype -i v.raw ::$F"},
    {"Ntfs", "mkntfs ntfsfix ntfscp ntfscat", "truncate -s 40M v.raw && mkntfs -q -F -Q v.raw",
     "ntfscp -q -f v.raw $F $F", "ntfscp -q -f v.raw /dev/null $F", "ntfsfix -n v.raw", "ntfscat -f v.raw $F"},
    {"Ext4", "mke2fs e2fsck debugfs", "truncate -s 40M v.raw && mke2fs -q -F -t ext4 v.raw",
     "debugfs -w -R \"write $F $F\" v.raw", "debugfs -w -R \"rm $F\" v.raw", "e2fsck -fn v.raw",
     "debugfs -R \"cat $F\" v.raw 2>/dev/null"},
};

class Volumes : public testing::DiskCommand, public ::testing::WithParamInterface<FileSystem> {
  protected:
    Ran tool(const char* command, const std::string& file = "") const {
        return in_folder("F=" + file + "; export MTOOLS_SKIP_CHECK=1; " + command);
    }

    /// The file system's own check finds nothing, and these files have their contents, on the disk that qemu-img finds
    /// in the image.
    void expect_sound(const std::string& image, const std::vector<std::string>& files, const std::string& after) const {
        ASSERT_EQ(vpc_disk("check " + image).status, 0) << after;
        ASSERT_EQ(in_folder("qemu-img convert -f vpc -O raw " + image + " v.raw").status, 0) << after;
        // The volume ends where it did, however large its disk has become: NTFS looks for a copy of its start there.
        ASSERT_EQ(in_folder("truncate -s 40M v.raw").status, 0) << after;
        const Ran checked = tool(GetParam().check);
        EXPECT_EQ(checked.status, 0) << after << ": " << checked.output;
        for (const std::string& file : files) {
            EXPECT_EQ(tool((std::string(GetParam().extract) + " | cmp - $F").c_str(), file).output, "")
                << after << ": " << file;
        }
    }

    /// Makes an image hold what a raw disk does, as a guest would: only sectors that change are written.
    void write_changes(const disk::Result<std::unique_ptr<disk::BlockDevice>>& device, const std::string& raw) const {
        ASSERT_TRUE(device.has_value()) << device.error().message;
        const Bytes wanted = contents(raw);
        std::array<std::uint8_t, 512> there = {};
        for (std::uint64_t sector = 0; sector < wanted.size() / 512; ++sector) {
            const auto bytes = std::span(wanted).subspan(sector * 512, 512);
            ASSERT_TRUE((*device)->read(sector, disk::Buffer(there)));
            if (!std::equal(bytes.begin(), bytes.end(), there.begin())) {
                ASSERT_TRUE((*device)->write(sector, bytes));
            }
        }
        ASSERT_TRUE((*device)->flush());
    }
};

TEST_P(Volumes, AreSoundForTheirOwnToolsAfterEveryOperation) {
    const FileSystem& kind = GetParam();
    if (!installed(kind.tools + std::string(" qemu-img"))) {
        GTEST_SKIP() << "not all installed: qemu-img " << kind.tools;
    }
    ASSERT_EQ(in_folder("head -c 1500000 /dev/urandom >one; head -c 12000000 /dev/urandom >gone; "
                        "head -c 700000 /dev/urandom >two; head -c 800000 /dev/urandom >three")
                  .status,
              0);
    ASSERT_EQ(tool(kind.make).status, 0);
    for (const std::string file : {"one", "gone"}) {
        ASSERT_EQ(tool(kind.add, file).status, 0) << file;
    }
    ASSERT_EQ(tool(kind.remove, "gone").status, 0);
    ASSERT_EQ(vpc_disk("convert v.raw d.vhd --type dynamic").output, "");
    expect_sound("d.vhd", {"one"}, "convert to dynamic");
    const auto before = std::filesystem::file_size(folder_ / "d.vhd");
    ASSERT_EQ(vpc_disk("compact d.vhd").status, 0);
    expect_sound("d.vhd", {"one"}, "compact");
    ASSERT_EQ(vpc_disk("compact d.vhd --free-space").status, 0);
    expect_sound("d.vhd", {"one"}, "compact --free-space");
    if (kind.name != std::string("Ntfs")) {  // of which the file is emptied, not deleted
        EXPECT_LT(std::filesystem::file_size(folder_ / "d.vhd") + 8'000'000, before) << "the deleted file's blocks";
    }
    ASSERT_EQ(vpc_disk("convert d.vhd f.vhd --type fixed").output, "");
    expect_sound("f.vhd", {"one"}, "convert to fixed");

    // A child that gets another file.
    ASSERT_EQ(vpc_disk("create --type differencing --parent d.vhd child.vhd").output, "");
    ASSERT_EQ(tool(kind.add, "two").status, 0);  // v.raw is the fixed image's disk
    write_changes(disk::open_image(folder_ / "child.vhd", disk::OpenMode::ReadWrite), "v.raw");
    ASSERT_EQ(vpc_disk("merge-to child.vhd whole.vhd --type dynamic").output, "");
    expect_sound("whole.vhd", {"one", "two"}, "merge-to");
    expect_sound("d.vhd", {"one"}, "merge-to: the parent");
    ASSERT_EQ(vpc_disk("compact child.vhd --free-space").status, 0);
    ASSERT_EQ(vpc_disk("merge child.vhd").output, "");
    expect_sound("d.vhd", {"one", "two"}, "merge");

    ASSERT_EQ(vpc_disk("resize d.vhd 9G").status, 0);  // for which the table has to grow
    expect_sound("d.vhd", {"one", "two"}, "resize");
    ASSERT_EQ(in_folder("truncate -s -512 d.vhd").status, 0);  // the footer
    ASSERT_EQ(vpc_disk("check d.vhd").status, 1);
    ASSERT_EQ(vpc_disk("check d.vhd --repair").status, 0);
    expect_sound("d.vhd", {"one", "two"}, "repair");

    // A session with an undo disk.
    const auto undo = disk::begin_undo_disk(folder_ / "d.vhd", {}, {});
    ASSERT_TRUE(undo.has_value()) << undo.error().message;
    ASSERT_EQ(tool(kind.add, "three").status, 0);
    write_changes(disk::open_undo_disk(*undo, folder_ / "d.vhd"), "v.raw");
    const auto committed = disk::commit_undo_disk(*undo, folder_ / "d.vhd", {}, {});
    ASSERT_TRUE(committed.has_value()) << committed.error().message;
    expect_sound("d.vhd", {"one", "two", "three"}, "undo commit");
}

INSTANTIATE_TEST_SUITE_P(OfTheTime, Volumes, ::testing::ValuesIn(kFileSystems),
                         [](const auto& each) { return std::string(each.param.name); });

}  // namespace
}  // namespace vpc::cli
