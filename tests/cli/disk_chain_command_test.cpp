// Making images and merging chains by `vpc disk create`, `merge` and `merge-to`.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "disk/open_image.h"
#include "disk/vhd/dynamic_disk.h"
#include "tests/cli/disk_command.h"
#include "tests/disk/image_builder.h"

namespace vpc::cli {
namespace {

using vpc::testing::installed;
using vpc::testing::Ran;

class ChainCommand : public testing::DiskCommand {
  protected:
    /// Fills `count` sectors of an image with one byte, as a guest does.
    void write(const std::string& name, std::uint64_t sector, std::uint64_t count, std::uint8_t byte) const {
        const auto image = disk::open_image(folder_ / name, disk::OpenMode::ReadWrite);
        ASSERT_TRUE(image.has_value()) << image.error().message;
        ASSERT_TRUE(disk::testing::write_sectors(**image, sector, count, byte));
        ASSERT_TRUE((*image)->flush());
    }

    /// base.vhd (dynamic) <- child.vhd <- leaf.vhd, each with something of its own, and model.raw, what the leaf holds.
    void make_chain() {
        make_raw(24);
        ASSERT_EQ(vpc_disk("convert disk.raw base.vhd --type dynamic").status, 0);
        ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd child.vhd").output, "");
        write("child.vhd", 5, 3000, 0x11);
        write("child.vhd", 30'000, 7, 0x12);
        ASSERT_EQ(vpc_disk("create --type differencing --parent child.vhd leaf.vhd").output, "");
        write("leaf.vhd", 100, 9, 0x21);
        write("leaf.vhd", 49'151, 1, 0x22);
        auto model = contents("disk.raw");
        for (const auto& [sector, count, byte] :
             {std::tuple(5, 3000, 0x11), {30'000, 7, 0x12}, {100, 9, 0x21}, {49'151, 1, 0x22}}) {
            std::fill_n(model.begin() + sector * 512, count * 512, static_cast<std::uint8_t>(byte));
        }
        folder_.write("model.raw", model);
    }

    bool exists(const std::string& name) const { return std::filesystem::exists(folder_ / name); }
};

TEST_F(ChainCommand, CreatesImagesOfEveryType) {
    for (const std::string type : {"dynamic", "fixed", "raw"}) {
        EXPECT_EQ(vpc_disk("create --type " + type + " --size 24M " + type + ".img").output, "") << type;
        const auto image = disk::open_image(folder_ / (type + ".img"), disk::OpenMode::ReadWrite);
        ASSERT_TRUE(image.has_value()) << image.error().message;
        EXPECT_EQ((*image)->sectors(), 24u << 11);
        EXPECT_EQ(disk::testing::read_sectors(**image, 24'000, 1), disk::testing::filled_sectors(1, 0));
    }
    EXPECT_EQ(std::filesystem::file_size(folder_ / "fixed.img"), (24u << 20) + 512);
    EXPECT_LT(std::filesystem::file_size(folder_ / "dynamic.img"), 10'000u);
    EXPECT_LE(std::stoul(in_folder("stat -c %b fixed.img").output) * 512, 64u << 10) << "sparse";
    EXPECT_EQ(vpc_disk("create --type fixed --size 8M --reserve reserved.vhd").output, "");
    EXPECT_GE(std::stoul(in_folder("stat -c %b reserved.vhd").output) * 512, 8u << 20);
    EXPECT_EQ(vpc_disk("create --type dynamic --size 24M --block-size 512K small.vhd").status, 0);
    const auto small = disk::open_image(folder_ / "small.vhd", disk::OpenMode::ReadOnly);
    EXPECT_EQ(dynamic_cast<disk::vhd::DynamicDisk&>(**small).header().block_size, 512u << 10);
}

TEST_F(ChainCommand, AnIndependentProgramOpensWhatIsCreated) {
    if (!installed("qemu-img")) {
        GTEST_SKIP() << "not installed: qemu-img";
    }
    for (const std::string size : {"3M", "127M", "2G", "2040G"}) {
        ASSERT_EQ(vpc_disk("create --type dynamic --size " + size + " --force d.vhd").status, 0);
        ASSERT_EQ(vpc_disk("create --type raw --size " + size + " --force d.raw").status, 0);
        EXPECT_EQ(in_folder("qemu-img compare -f vpc -F raw d.vhd d.raw").status, 0) << size;
    }
}

TEST_F(ChainCommand, CreatedChildrenStartAsTheirParent) {
    make_chain();
    ASSERT_EQ(vpc_disk("create --type differencing --parent leaf.vhd fresh.vhd").output, "");
    EXPECT_EQ(vpc_disk("compare fresh.vhd model.raw").output, "the disks are identical\n");
    // A larger child, and one of a raw disk.
    ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd --size 32M larger.vhd").output, "");
    const auto larger = nlohmann::json::parse(vpc_disk("compare larger.vhd disk.raw --json").output);
    EXPECT_EQ(larger["first_size"], 32 << 20);
    EXPECT_EQ(larger["first_difference"], nullptr);
    ASSERT_EQ(vpc_disk("create --type differencing --parent disk.raw of-raw.vhd").output, "");
    EXPECT_EQ(vpc_disk("compare of-raw.vhd disk.raw").status, 0);
    // A chain that lies elsewhere.
    ASSERT_EQ(in_folder("mkdir parents; mv base.vhd child.vhd parents/").status, 0);
    expect_failure("create --type differencing --parent leaf.vhd lost.vhd",
                   "the parent 'child.vhd' of 'leaf.vhd' is missing");
    EXPECT_FALSE(exists("lost.vhd"));
    EXPECT_EQ(vpc_disk("create --type differencing --parent leaf.vhd found.vhd --parent-folder parents").output, "");
    EXPECT_TRUE(exists("found.vhd"));
}

TEST_F(ChainCommand, WhatCannotBeCreatedIsWrongUsage) {
    for (const std::string wrong :
         {"--size 2G a.vhd", "--type dynamic a.vhd", "--type dynamic --size 0 a.vhd", "--type dynamic --size 2G",
          "--type differencing a.vhd", "--type dynamic --size 2G --parent b.vhd a.vhd",
          "--type dynamic --size 2G --reserve a.vhd", "--type dynamic --size 2X a.vhd",
          "--type dynamic --size 2G --block-size 4098M a.vhd", "--type differencing --parent b.vhd --reserve a.vhd"}) {
        const Ran ran = vpc_disk("create " + wrong);
        EXPECT_EQ(ran.status, 2) << wrong << ": " << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    expect_failure("create --type dynamic --size 2041G a.vhd", "2040 GiB");
    expect_failure("create --type fixed --size 1000 a.vhd", "multiple of 512");
    expect_failure("create --type dynamic --size 2G --block-size 3M a.vhd", "power of two");
    expect_failure("create --type dynamic --size 2040G --block-size 4K a.vhd", "larger blocks");
    EXPECT_FALSE(exists("a.vhd"));
}

TEST_F(ChainCommand, CreateOverwritesOnlyByForce) {
    make_chain();
    const auto before = contents("base.vhd");
    expect_failure("create --type dynamic --size 3M base.vhd", "base.vhd");
    expect_failure("create --type differencing --parent base.vhd --force base.vhd", "base.vhd");
    EXPECT_EQ(contents("base.vhd"), before);
    EXPECT_EQ(vpc_disk("create --type dynamic --size 3M --force base.vhd").status, 0);
    EXPECT_LT(std::filesystem::file_size(folder_ / "base.vhd"), 10'000u);
}

TEST_F(ChainCommand, MergesAChildIntoItsParent) {
    make_chain();
    EXPECT_EQ(vpc_disk("merge leaf.vhd").output, "");
    EXPECT_FALSE(exists("leaf.vhd"));
    EXPECT_EQ(vpc_disk("compare child.vhd model.raw").output, "the disks are identical\n");
    EXPECT_EQ(vpc_disk("compare base.vhd disk.raw").output, "the disks are identical\n") << "only one step";
    EXPECT_EQ(vpc_disk("merge child.vhd --keep").output, "");
    EXPECT_TRUE(exists("child.vhd"));
    EXPECT_EQ(vpc_disk("compare base.vhd model.raw").output, "the disks are identical\n");
    expect_failure("merge base.vhd", "not a differencing image");
}

TEST_F(ChainCommand, MergesAWholeChain) {
    make_chain();
    const Ran ran = vpc_disk("merge leaf.vhd --all --progress json");
    EXPECT_EQ(ran.status, 0);
    const auto last = nlohmann::json::parse(ran.output.substr(ran.output.rfind('{')));
    EXPECT_EQ(last["percent"], 100);
    EXPECT_EQ(last["result"], 0);
    EXPECT_EQ(in_folder("ls *.vhd").output, "base.vhd\n");
    EXPECT_EQ(vpc_disk("compare base.vhd model.raw").output, "the disks are identical\n");
}

TEST_F(ChainCommand, MergeRefusesToRuinOtherChildren) {
    make_chain();
    ASSERT_EQ(vpc_disk("create --type differencing --parent child.vhd sister.vhd").status, 0);
    const auto before = contents("child.vhd");
    expect_failure("merge leaf.vhd", "sister.vhd");
    EXPECT_EQ(contents("child.vhd"), before);
    EXPECT_EQ(vpc_disk("merge leaf.vhd --force").status, 0);
    EXPECT_EQ(vpc_disk("compare child.vhd model.raw").output, "the disks are identical\n");
}

TEST_F(ChainCommand, MergesAChildThatIsLargerThanItsParent) {
    make_chain();
    ASSERT_EQ(vpc_disk("resize leaf.vhd 4G").output, "");
    EXPECT_EQ(vpc_disk("merge leaf.vhd --all").output, "");
    ASSERT_EQ(in_folder("truncate -s 4G model.raw").status, 0);
    EXPECT_EQ(vpc_disk("compare base.vhd model.raw").output, "the disks are identical\n");
    EXPECT_EQ(nlohmann::json::parse(vpc_disk("info base.vhd --json").output)["virtual_size"], std::uint64_t{4} << 30);
    EXPECT_EQ(vpc_disk("check base.vhd").output, "no problems\n");
}

TEST_F(ChainCommand, MergesAChainIntoANewImage) {
    make_chain();
    const auto leaf = contents("leaf.vhd");
    const auto child = contents("child.vhd");
    const auto base = contents("base.vhd");
    for (const std::string type : {"dynamic", "fixed", "raw"}) {
        EXPECT_EQ(vpc_disk("merge-to leaf.vhd whole.img --force --type " + type).output, "") << type;
        EXPECT_EQ(in_folder("mkdir alone; cp whole.img alone; cd alone; " VPC_PROGRAM
                            " disk compare whole.img ../model.raw; rm -r ../alone")
                      .output,
                  "the disks are identical\n");
    }
    expect_failure("merge-to leaf.vhd whole.img --type fixed", "whole.img");
    expect_failure("merge-to leaf.vhd base.vhd --type fixed --force", "base.vhd");
    EXPECT_EQ(contents("leaf.vhd"), leaf);
    EXPECT_EQ(contents("child.vhd"), child);
    EXPECT_EQ(contents("base.vhd"), base);
}

TEST_F(ChainCommand, TellsAChildWhereItsParentIs) {
    make_chain();
    ASSERT_EQ(in_folder("mkdir images; mv base.vhd images/renamed.vhd").status, 0);
    expect_failure("map leaf.vhd", "the parent 'base.vhd' of ");
    EXPECT_EQ(vpc_disk("set-parent child.vhd images/renamed.vhd").output, "");
    EXPECT_EQ(vpc_disk("compare leaf.vhd model.raw").output, "the disks are identical\n");
    EXPECT_EQ(vpc_disk("check leaf.vhd 2>&-").status, 0);
    // Together they can be moved now.
    ASSERT_EQ(in_folder("mkdir moved; mv child.vhd leaf.vhd images moved").status, 0);
    EXPECT_EQ(vpc_disk("compare moved/leaf.vhd model.raw").output, "the disks are identical\n");
}

TEST_F(ChainCommand, TakesAnotherParentOnlyWhenAskedTo) {
    make_chain();
    ASSERT_EQ(vpc_disk("convert disk.raw other.vhd --type fixed").status, 0);
    const auto before = contents("child.vhd");
    expect_failure("set-parent child.vhd other.vhd", "has the id");
    EXPECT_EQ(contents("child.vhd"), before);
    const auto told =
        nlohmann::json::parse(vpc_disk("set-parent child.vhd other.vhd --ignore-id-mismatch --json").output);
    EXPECT_EQ(told["file"], "child.vhd");
    EXPECT_EQ(told["parent"], "other.vhd");
    EXPECT_NE(told["parent_id"], told["parent_id_before"]);
    const auto other = nlohmann::json::parse(vpc_disk("info other.vhd --json").output);
    EXPECT_EQ(told["parent_id"], other["unique_id"]);
    std::filesystem::remove(folder_ / "base.vhd");
    // leaf.vhd may notice that its parent has changed.
    EXPECT_EQ(vpc_disk("compare leaf.vhd model.raw 2>&-").output, "the disks are identical\n");
}

TEST_F(ChainCommand, AMergeThatCtrlCStopsCanBeRepeated) {
    ASSERT_EQ(vpc_disk("create --type fixed --size 128M base.vhd").status, 0);
    ASSERT_EQ(vpc_disk("create --type differencing --parent base.vhd child.vhd").status, 0);
    for (std::uint64_t sector = 0; sector < 128 << 11; sector += 4096) {
        write("child.vhd", sector, 4096, static_cast<std::uint8_t>(1 + sector / 4096));
    }
    ASSERT_EQ(vpc_disk("convert child.vhd model.vhd --type dynamic").status, 0);
    const Ran ran = in_folder("env --default-signal=INT " VPC_PROGRAM
                              " disk merge child.vhd --progress json >out & pid=$!; "
                              "while [ ! -s out ] && kill -0 $pid; do :; done; kill -INT $pid; wait $pid; "
                              "echo status $?");
    EXPECT_EQ(ran.output, "vpc: cancelled\nstatus 130\n");
    EXPECT_EQ(vpc_disk("compare child.vhd model.vhd 2>&-").output, "the disks are identical\n");
    EXPECT_EQ(vpc_disk("merge child.vhd").status, 0);
    EXPECT_EQ(vpc_disk("compare base.vhd model.vhd").output, "the disks are identical\n");
}

}  // namespace
}  // namespace vpc::cli
