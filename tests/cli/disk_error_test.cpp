// Every way in which `vpc disk` is refused, one by one: status 1, one line on stderr that names the file and says what
// to do, and every file as it was.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <span>
#include <tuple>

#include "disk/open_image.h"
#include "disk/vhd/footer.h"
#include "tests/cli/disk_command.h"
#include "tests/disk/image_builder.h"

namespace vpc::cli {
namespace {

using vpc::testing::Ran;
using Bytes = std::vector<std::uint8_t>;

class DiskErrors : public testing::DiskCommand {
  protected:
    void SetUp() override {
        make_raw(8);
        ASSERT_EQ(vpc_disk("convert disk.raw fixed.vhd --type fixed").status, 0);
        ASSERT_EQ(vpc_disk("convert disk.raw dynamic.vhd --type dynamic").status, 0);
    }

    /// Adds child.vhd, whose parent is base.vhd, another image of the disk.
    void make_child() {
        ASSERT_EQ(vpc_disk("convert disk.raw base.vhd --type dynamic").status, 0);
        ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd child.vhd").status, 0);
    }

    std::map<std::string, Bytes> all_files() const {
        std::map<std::string, Bytes> files;
        for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
            files[entry.path().filename().string()] = contents(entry.path().filename().string());
        }
        return files;
    }

    /// The command is refused with a line that names `file`, and says this: what is wrong, and what to do.
    void expect_refused(const std::string& arguments, const std::string& file, const std::string& wrong,
                        const std::string& to_do) const {
        const auto before = all_files();
        const Ran ran = expect_failure(arguments, file);
        EXPECT_NE(ran.output.find(wrong), std::string::npos) << arguments << ": " << ran.output;
        EXPECT_NE(ran.output.find(to_do), std::string::npos) << arguments << ": " << ran.output;
        EXPECT_TRUE(all_files() == before) << arguments << " changed something";
    }

    /// Changes bytes of an image.
    void damage(const std::string& name, std::size_t offset, std::uint8_t change) const {
        Bytes bytes = contents(name);
        bytes[offset] ^= change;
        folder_.write(name, bytes);
    }
    void set_footer(const std::string& name, const std::function<void(disk::vhd::Footer&)>& change) const {
        Bytes bytes = contents(name);
        const auto place = bytes.end() - disk::vhd::kFooterSize;
        auto footer = disk::vhd::parse_footer(std::span(bytes).last(disk::vhd::kFooterSize));
        change(footer);
        const auto changed = disk::vhd::serialise(footer);
        std::copy(changed.begin(), changed.end(), place);
        if (footer.disk_type != disk::vhd::DiskType::Fixed) {
            std::copy(changed.begin(), changed.end(), bytes.begin());
        }
        folder_.write(name, bytes);
    }
};

TEST_F(DiskErrors, InUse) {
    make_child();
    const auto user = disk::open_image(folder_ / "dynamic.vhd", disk::OpenMode::ReadWrite);
    ASSERT_TRUE(user.has_value());
    for (const std::string command : {"map dynamic.vhd", "compact dynamic.vhd",
                                      "convert dynamic.vhd new.vhd --type fixed", "compare disk.raw dynamic.vhd",
                                      "check dynamic.vhd", "create --type differencing --parent dynamic.vhd new.vhd",
                                      "convert disk.raw dynamic.vhd --type raw --force"}) {
        expect_refused(command, "dynamic.vhd'", "is in use", "close it there first");
    }
    const auto parent_user = disk::open_image(folder_ / "base.vhd", disk::OpenMode::ReadWrite);
    ASSERT_TRUE(parent_user.has_value());
    for (const std::string command : {"map child.vhd", "merge child.vhd", "merge-to child.vhd new.vhd --type fixed"}) {
        expect_refused(command, "base.vhd'", "is in use", "close it there first");
    }
}

TEST_F(DiskErrors, InUseByAReader) {
    const auto reader = disk::open_image(folder_ / "dynamic.vhd", disk::OpenMode::ReadOnly);
    ASSERT_TRUE(reader.has_value());
    expect_refused("compact dynamic.vhd", "'dynamic.vhd'", "is in use", "close it there first");
    EXPECT_EQ(vpc_disk("compare dynamic.vhd disk.raw").status, 0) << "many may read";
}

TEST_F(DiskErrors, InSavedState) {
    set_footer("dynamic.vhd", [](auto& footer) { footer.saved_state = 1; });
    expect_refused("compact dynamic.vhd", "'dynamic.vhd'", "saved state", "resume that machine or discard");
    EXPECT_EQ(vpc_disk("compare dynamic.vhd disk.raw").status, 0);
}

TEST_F(DiskErrors, ParentMissing) {
    make_child();
    std::filesystem::remove(folder_ / "base.vhd");
    for (const std::string command :
         {"map child.vhd", "merge child.vhd", "compact child.vhd", "merge-to child.vhd new.vhd --type fixed"}) {
        expect_refused(command, "'child.vhd'", "the parent 'base.vhd'", "put it into the same folder");
    }
}

TEST_F(DiskErrors, ParentMismatch) {
    make_child();
    set_footer("base.vhd", [](auto& footer) { footer.unique_id[3] ^= 0x10; });
    for (const std::string command : {"map child.vhd", "merge child.vhd"}) {
        expect_refused(command, "'child.vhd'", "has the id", "put the right one there");
    }
}

TEST_F(DiskErrors, ParentsInACircle) {
    make_child();
    ASSERT_EQ(vpc_disk("create --type differencing --parent child.vhd leaf.vhd").status, 0);
    // The child's parent becomes the leaf.
    ASSERT_EQ(in_folder("cp leaf.vhd base.vhd").status, 0);
    const Bytes child = contents("child.vhd");
    set_footer("base.vhd", [&](auto& footer) {
        // The id that the child has recorded: 40 bytes into its dynamic header.
        std::copy_n(child.begin() + 512 + 40, 16, footer.unique_id.begin());
    });
    const Ran ran = vpc_disk("map leaf.vhd");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("circle"), std::string::npos) << ran.output;
}

TEST_F(DiskErrors, ParentsThatCannotBeSet) {
    make_child();
    ASSERT_EQ(vpc_disk("create --type differencing --parent child.vhd leaf.vhd").status, 0);
    ASSERT_EQ(vpc_disk("create --type dynamic --size 9M larger.vhd").status, 0);
    for (const auto& [arguments, file, wrong, to_do] :
         {std::tuple("child.vhd child.vhd", "'child.vhd'", "its own parent", "name another image"),
          {"child.vhd leaf.vhd", "'child.vhd'", "among the parents of 'leaf.vhd'", "name another image"},
          {"child.vhd fixed.vhd", "'child.vhd'", "'fixed.vhd' has the id", "name the right one"},
          {"child.vhd larger.vhd -u", "'child.vhd'", "'larger.vhd' has a disk of 9437184 bytes", "made for"},
          {"child.vhd missing.vhd", "'missing.vhd'", "No such file", "check the path"},
          {"missing.vhd base.vhd", "'missing.vhd'", "No such file", "check the path"},
          {"fixed.vhd base.vhd", "'fixed.vhd'", "not a differencing image", "no parent"},
          {"disk.raw base.vhd", "'disk.raw'", "not a differencing image", "no parent"}}) {
        expect_refused(std::string("set-parent ") + arguments, file, wrong, to_do);
    }
    set_footer("child.vhd", [](auto& footer) { footer.saved_state = 1; });
    expect_refused("set-parent child.vhd base.vhd", "'child.vhd'", "saved state", "resume that machine or discard");
    set_footer("child.vhd", [](auto& footer) { footer.saved_state = 0; });
    {
        const auto reader = disk::open_image(folder_ / "child.vhd", disk::OpenMode::ReadOnly);
        expect_refused("set-parent child.vhd base.vhd", "'child.vhd'", "is in use", "close it there first");
    }
    const auto user = disk::open_image(folder_ / "base.vhd", disk::OpenMode::ReadWrite);
    expect_refused("set-parent child.vhd base.vhd", "'base.vhd'", "is in use", "close it there first");
    damage("child.vhd", 512 + 800, 0x01);
    ASSERT_EQ(in_folder("cp base.vhd unused.vhd").status, 0);
    expect_refused("set-parent child.vhd unused.vhd", "'child.vhd'", "checksum of its dynamic disk header",
                   "repair it first");
}

TEST_F(DiskErrors, WrongType) {
    for (const std::string name : {"fixed.vhd", "disk.raw"}) {
        expect_refused("compact " + name, "'" + name + "'", "has no blocks", "convert it");
        expect_refused("merge " + name, "'" + name + "'", "not a differencing image", "no parent");
    }
}

TEST_F(DiskErrors, NotAnImage) {
    ASSERT_EQ(in_folder("mkdir folder; : >empty.vhd; printf short >short.vhd; head -c 1000 /dev/zero >odd.vhd; "
                        "mkfifo pipe; printf 'QFI\\373' | dd of=x.qcow2 conv=sync status=none")
                  .status,
              0);
    for (const auto& [name, wrong, to_do] : {std::tuple("folder", "is a directory", "name the file"),
                                             {"pipe", "is a pipe", "name the file"},
                                             {"/dev/null", "is a device", "name the file"},
                                             {"empty.vhd", "is empty", "restore a copy"},
                                             {"short.vhd", "shorter than a sector", "restore a copy"},
                                             {"odd.vhd", "1000 bytes", "cut off"},
                                             {"x.qcow2", "QCOW", "convert it"},
                                             {"missing.vhd", "No such file", "check the path"},
                                             {"fixed.vhd/x", "Not a directory", "check the path"}}) {
        for (const std::string command : {"map ", "compact "}) {
            const Ran ran = vpc_disk(command + name);
            EXPECT_EQ(ran.status, 1);
            for (const std::string part : {name, wrong, to_do}) {
                EXPECT_NE(ran.output.find(part), std::string::npos) << command << name << ": " << ran.output;
            }
            EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
        }
    }
}

TEST_F(DiskErrors, VhdOfAnUnknownKind) {
    set_footer("fixed.vhd", [](auto& footer) { footer.disk_type = static_cast<disk::vhd::DiskType>(7); });
    expect_refused("map fixed.vhd", "'fixed.vhd'", "unknown type 7", "known are 2 (fixed)");
    set_footer("dynamic.vhd", [](auto& footer) { footer.file_format_version = 0x00020000; });
    expect_refused("map dynamic.vhd", "'dynamic.vhd'", "version 2.0", "only version 1 is known");
}

TEST_F(DiskErrors, BadChecksumWithAGoodCopy) {
    damage("dynamic.vhd", contents("dynamic.vhd").size() - 512 + 100, 0x40);
    expect_refused("compact dynamic.vhd", "'dynamic.vhd'", "is a damaged VHD", "repair it first");
    const Ran read = vpc_disk("compare dynamic.vhd disk.raw 2>warning");
    EXPECT_EQ(read.output, "the disks are identical\n") << "reading goes on, by the copy";
    EXPECT_NE(in_folder("cat warning").output.find("damaged"), std::string::npos);
    EXPECT_EQ(vpc_disk("check dynamic.vhd --repair").status, 0);
    EXPECT_EQ(vpc_disk("compact dynamic.vhd").status, 0);
    EXPECT_EQ(vpc_disk("compare dynamic.vhd disk.raw").output, "the disks are identical\n");
}

TEST_F(DiskErrors, BadChecksumWithoutACopy) {
    damage("fixed.vhd", contents("fixed.vhd").size() - 512 + 100, 0x40);
    make_child();
    expect_refused("convert disk.raw fixed.vhd --type fixed", "'fixed.vhd'", "exists already", "--force");
    const auto writable = disk::open_image(folder_ / "fixed.vhd", disk::OpenMode::ReadWrite);
    ASSERT_FALSE(writable.has_value());
    EXPECT_NE(writable.error().message.find("repair it first"), std::string::npos);
    EXPECT_EQ(vpc_disk("compare fixed.vhd disk.raw 2>&-").output, "the disks are identical\n");
}

TEST_F(DiskErrors, BadChecksumOfTheHeader) {
    damage("dynamic.vhd", 512 + 800, 0x01);  // bytes that say nothing
    expect_refused("compact dynamic.vhd", "'dynamic.vhd'", "the checksum of its dynamic disk header",
                   "repair it first");
}

TEST_F(DiskErrors, Truncated) {
    std::filesystem::resize_file(folder_ / "dynamic.vhd", 3'000'320);
    expect_refused("compact dynamic.vhd", "'dynamic.vhd'", "is a damaged VHD", "repair it first");
    expect_failure("compare dynamic.vhd disk.raw 2>&1 | tail -n 1; exit 1", "contents are lost");
    Bytes fixed = contents("fixed.vhd");
    fixed.erase(fixed.begin() + 512, fixed.begin() + 1024);
    folder_.write("fixed.vhd", fixed);
    expect_refused("map fixed.vhd", "'fixed.vhd'", "8388608 bytes, but only 8388096 are there", "restore a copy");
}

TEST_F(DiskErrors, DamagedStructures) {
    set_footer("dynamic.vhd", [](auto& footer) { footer.data_offset = std::uint64_t{1} << 40; });
    expect_refused("map dynamic.vhd", "'dynamic.vhd'", "outside the file", "restore a copy");
}

TEST_F(DiskErrors, TooSmallAndTooLarge) {
    expect_refused("create --type fixed --size 100 new.vhd", "100 bytes", "is not possible", "choose a multiple");
    expect_refused("create --type dynamic --size 2041G new.vhd", "is too large for a VHD", "choose at most 2040 GiB",
                   "or a raw image");
    expect_refused("create --type differencing --parent dynamic.vhd --size 1M new.vhd", "smaller than its parent",
                   "choose 8388608", "or more");
    ASSERT_EQ(in_folder("truncate -s 2041G large.raw").status, 0);
    for (const std::string type : {"dynamic", "fixed"}) {
        expect_failure("convert large.raw new.vhd --type " + type, "at most 2040 GiB; convert it to a raw image");
        EXPECT_FALSE(std::filesystem::exists(folder_ / "new.vhd"));
    }
    expect_failure("create --type differencing --parent large.raw new.vhd", "is too large for a VHD");
    std::filesystem::remove(folder_ / "large.raw");
}

TEST_F(DiskErrors, TargetExists) {
    make_child();
    for (const std::string command :
         {"create --type fixed --size 4M dynamic.vhd", "convert disk.raw dynamic.vhd --type fixed",
          "merge-to child.vhd dynamic.vhd --type raw"}) {
        expect_refused(command, "'dynamic.vhd'", "exists already",
                       "choose another name, or have it replaced by --force");
    }
}

TEST_F(DiskErrors, NoSuchFolder) {
    for (const std::string command :
         {"create --type fixed --size 4M no/new.vhd", "convert disk.raw no/new.vhd --type raw"}) {
        expect_refused(command, "'no/new.vhd'", "No such file or directory", "check the path");
    }
}

/// A limit for the size of files stands in for file systems that have one, such as FAT.
TEST_F(DiskErrors, FileTooLargeForTheHost) {
    make_child();
    const auto before = all_files();
    for (const std::string command :
         {"convert disk.raw new.raw --type raw", "convert disk.raw new.vhd --type dynamic",
          "create --type fixed --size 8M new.vhd", "create --type fixed --reserve --size 8M new.vhd"}) {
        const Ran ran = in_folder("ulimit -f 2048; " VPC_PROGRAM " disk " + command);
        EXPECT_EQ(ran.status, 1) << command << ": " << ran.output;
        EXPECT_NE(ran.output.find("File too large; put it on a file system"), std::string::npos) << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
        EXPECT_TRUE(all_files() == before) << command;
    }
}

/// In a small file system of its own, which needs no privileges where the host allows user namespaces.
TEST_F(DiskErrors, HostDiskFull) {
    const auto in_small = [&](const std::string& command) {
        return in_folder("mkdir -p small; unshare -rm sh -c 'mount -t tmpfs -o size=6m none small && { " + command +
                         "; }'");
    };
    if (in_small("true").status != 0) {
        GTEST_SKIP() << "the host allows no file systems of one's own";
    }
    for (const std::string command :
         {"convert dynamic.vhd small/new.vhd --type dynamic", "convert disk.raw small/new.raw --type raw --reserve",
          "create --type fixed --reserve --size 8M small/new.vhd"}) {
        ASSERT_EQ(in_folder("head -c 8M /dev/urandom >disk.raw").status, 0);
        ASSERT_EQ(vpc_disk("convert disk.raw dynamic.vhd --type dynamic --force").status, 0);
        const Ran ran = in_small(VPC_PROGRAM " disk " + command + "; echo status $?; ls -A small");
        EXPECT_NE(ran.output.find("No space left on device; make room"), std::string::npos) << ran.output;
        EXPECT_NE(ran.output.find("\nstatus 1\n"), std::string::npos) << ran.output;
        EXPECT_TRUE(ran.output.ends_with("status 1\n")) << "nothing half-made is left: " << ran.output;
    }
    // A parent without room for what its child holds: refused before anything is written.
    ASSERT_EQ(vpc_disk("create --type dynamic --size 8M --force base.vhd").status, 0);
    ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd --force child.vhd").status, 0);
    {
        const auto child = disk::open_image(folder_ / "child.vhd", disk::OpenMode::ReadWrite);
        ASSERT_TRUE(child.has_value());
        ASSERT_TRUE(disk::testing::write_sectors(**child, 0, 8 << 11, 0x42));
    }
    const Ran ran = in_folder(
        "unshare -rm sh -c 'mount -t tmpfs -o size=12m none small && cp base.vhd child.vhd small && cd small "
        "&& " VPC_PROGRAM
        " disk merge child.vhd; echo status $?; cmp child.vhd ../child.vhd && cmp base.vhd ../base.vhd'");
    EXPECT_NE(ran.output.find("make room there\nstatus 1\n"), std::string::npos) << ran.output;
    EXPECT_TRUE(ran.output.ends_with("status 1\n")) << "both are as they were: " << ran.output;
}

TEST_F(DiskErrors, ReadOnlyMedium) {
    const auto in_read_only = [&](const std::string& command) {
        return in_folder(
            "unshare -rm sh -c 'mount --bind . . && mount -o remount,ro,bind . && cd . && cd \"$PWD\" && " + command +
            "'");
    };
    if (in_read_only("true").status != 0) {
        GTEST_SKIP() << "the host allows no file systems of one's own";
    }
    make_child();
    for (const std::string command :
         {"compact dynamic.vhd", "merge child.vhd", "set-parent child.vhd base.vhd", "check dynamic.vhd --repair"}) {
        const Ran ran = in_read_only(VPC_PROGRAM " disk " + command);
        EXPECT_EQ(ran.status, 1) << command << ": " << ran.output;
        EXPECT_NE(ran.output.find("Read-only file system; copy the image to a writable place"), std::string::npos)
            << command << ": " << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    const Ran ran = in_read_only(VPC_PROGRAM " disk convert disk.raw new.vhd --type fixed");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("cannot create 'new.vhd': Read-only file system; choose"), std::string::npos)
        << ran.output;
    EXPECT_EQ(in_read_only(VPC_PROGRAM " disk compare disk.raw dynamic.vhd").status, 0) << "reading is fine";
}

TEST_F(DiskErrors, NoPermission) {
    std::string as_user;
    if (::geteuid() == 0) {
        as_user = "setpriv --reuid=65534 --clear-groups ";
        std::filesystem::permissions(folder_.path(), std::filesystem::perms::others_exec,
                                     std::filesystem::perm_options::add);
        if (in_folder(as_user + VPC_PROGRAM " disk --help").status != 0) {
            GTEST_SKIP() << "an unprivileged user cannot reach the program here";
        }
    }
    std::filesystem::permissions(folder_ / "dynamic.vhd", std::filesystem::perms(0444));
    std::filesystem::permissions(folder_ / "fixed.vhd", std::filesystem::perms(0));
    const auto refused = [&](const std::string& command, const std::string& message) {
        const Ran ran = in_folder(as_user + VPC_PROGRAM " disk " + command);
        EXPECT_EQ(ran.status, 1) << ran.output;
        EXPECT_EQ(ran.output, "vpc: " + message + "\n");
    };
    refused(
        "compact dynamic.vhd",
        "cannot open for writing 'dynamic.vhd': Permission denied; change the file's permissions, or open it without "
        "writing");
    refused("map fixed.vhd", "cannot open 'fixed.vhd': Permission denied; change the file's permissions");
}

}  // namespace
}  // namespace vpc::cli
