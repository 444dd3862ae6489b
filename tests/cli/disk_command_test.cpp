// `vpc disk` as people's scripts see it: exit status, stdout, stderr, and what is in the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/cli/disk_command.h"
#include "ui/cli/disk_size.h"

namespace vpc::cli {
namespace {

using testing::DiskCommand;
using vpc::testing::installed;
using vpc::testing::Ran;

TEST(DiskSize, IsBytesOrANumberWithAUnit) {
    EXPECT_EQ(parse_size("512"), 512u);
    EXPECT_EQ(parse_size("3K"), 3072u);
    EXPECT_EQ(parse_size("512M"), 512u << 20);
    EXPECT_EQ(parse_size("2g"), std::uint64_t{2} << 30);
    EXPECT_EQ(parse_size("2GiB"), std::uint64_t{2} << 30);
    EXPECT_EQ(parse_size("2040G"), std::uint64_t{2040} << 30);
    EXPECT_EQ(parse_size("1TB"), std::uint64_t{1} << 40);
    for (const char* wrong : {"", "G", "-1", "1.5G", "2X", "2GG", "0x10", " 1", "1 G", "99999999999999999999", "2Gi"}) {
        EXPECT_FALSE(parse_size(wrong).has_value()) << wrong;
    }
    EXPECT_EQ(parse_size("16777216T").error(), "'16777216T' is larger than any disk");
    EXPECT_EQ(size_text(511), "511 bytes");
    EXPECT_EQ(size_text(3 << 20), "3.0 MiB");
    EXPECT_EQ(size_text(std::uint64_t{2040} << 30), "2.0 TiB");
}

TEST_F(DiskCommand, WrongUsageEndsWith2AndSaysWhatIsWrong) {
    EXPECT_EQ(vpc_disk("").status, 2);
    const Ran unknown = vpc_disk("nonsense a.vhd");
    EXPECT_EQ(unknown.status, 2);
    EXPECT_NE(unknown.output.find("'nonsense' is not a command of vpc disk"), std::string::npos) << unknown.output;
    EXPECT_EQ(vpc_disk("convert a b").status, 2) << "no type";
    EXPECT_EQ(vpc_disk("convert a b --type vmdk").status, 2);
    const Ran size = vpc_disk("convert a b --type dynamic --block-size 2X");
    EXPECT_EQ(size.status, 2);
    EXPECT_NE(size.output.find("'2X' is not a size"), std::string::npos) << size.output;
    EXPECT_EQ(vpc_disk("compare a b --progress loud").status, 2);
}

TEST_F(DiskCommand, EveryCommandExplainsItselfWithAnExample) {
    const Ran all = vpc_disk("--help");
    EXPECT_EQ(all.status, 0);
    for (const std::string command : {"compact", "compare", "convert", "create", "map", "merge", "merge-to"}) {
        EXPECT_NE(all.output.find("\n  " + command), std::string::npos) << command;
        const Ran help = vpc_disk(command + " --help");
        EXPECT_EQ(help.status, 0);
        EXPECT_NE(help.output.find("vpc disk " + command + " "), std::string::npos) << help.output;
    }
}

TEST_F(DiskCommand, ConvertsThereAndBack) {
    const std::string raw = make_raw(24);
    EXPECT_EQ(vpc_disk("convert disk.raw d.vhd --type dynamic").output, "");
    EXPECT_EQ(vpc_disk("convert d.vhd f.vhd --type FIXED --progress none").status, 0);
    EXPECT_EQ(vpc_disk("convert f.vhd back.raw --type raw").status, 0);
    EXPECT_EQ(contents("back.raw"), contents(raw));
    const Ran same = vpc_disk("compare d.vhd back.raw --json");
    EXPECT_EQ(same.status, 0);
    EXPECT_TRUE(nlohmann::json::parse(same.output)["equal"].get<bool>());
}

TEST_F(DiskCommand, NothingIsOverwrittenWithoutForce) {
    make_raw(4);
    folder_.write("target.vhd", std::vector<std::uint8_t>(7, 'x'));
    const Ran refused = vpc_disk("convert disk.raw target.vhd --type dynamic");
    EXPECT_EQ(refused.status, 1);
    EXPECT_NE(refused.output.find("target.vhd"), std::string::npos) << refused.output;
    EXPECT_EQ(std::count(refused.output.begin(), refused.output.end(), '\n'), 1) << refused.output;
    EXPECT_EQ(contents("target.vhd"), std::vector<std::uint8_t>(7, 'x'));
    EXPECT_EQ(vpc_disk("convert disk.raw target.vhd --type dynamic --force").status, 0);
    EXPECT_EQ(vpc_disk("compare disk.raw target.vhd").status, 0);
}

TEST_F(DiskCommand, CompareSaysWhereDisksDiffer) {
    make_raw(4);
    auto bytes = contents("disk.raw");
    bytes[3'000'001] ^= 1;
    folder_.write("other.raw", bytes);
    const Ran text = vpc_disk("compare disk.raw other.raw");
    EXPECT_EQ(text.status, 1);
    EXPECT_EQ(text.output, "the disks differ at byte 3000001\n");
    const auto json = nlohmann::json::parse(vpc_disk("compare disk.raw other.raw --json").output);
    EXPECT_FALSE(json["equal"].get<bool>());
    EXPECT_EQ(json["first_difference"], 3'000'001);
    EXPECT_EQ(json["first_size"], 4 << 20);
}

TEST_F(DiskCommand, MapCoversTheDiskWithoutGaps) {
    make_raw(24);
    ASSERT_EQ(vpc_disk("convert disk.raw d.vhd --type dynamic").status, 0);
    std::uint64_t end = 0;
    for (const auto& run : nlohmann::json::parse(vpc_disk("map d.vhd --json").output)) {
        EXPECT_EQ(run["start"], end);
        EXPECT_EQ(run["depth"], 0);
        EXPECT_EQ(run["data"].get<bool>(), end % (4 << 20) == 0) << "blocks of 2 MiB, every other one with data";
        end += run["length"].get<std::uint64_t>();
    }
    EXPECT_EQ(end, 24u << 20);
    EXPECT_NE(vpc_disk("map d.vhd").output.find("zeros"), std::string::npos);
}

TEST_F(DiskCommand, ProgressAsJsonRisesTo100AndEndsWithTheResult) {
    make_raw(64);
    const Ran ran = vpc_disk("convert disk.raw d.vhd --type dynamic --progress json");
    ASSERT_EQ(ran.status, 0) << ran.output;
    std::istringstream lines(ran.output);
    std::vector<nlohmann::json> objects;
    for (std::string line; std::getline(lines, line);) {
        objects.push_back(nlohmann::json::parse(line));
    }
    ASSERT_GT(objects.size(), 3u);
    int percent = -1;
    for (std::size_t i = 0; i < objects.size(); ++i) {
        const bool last = i + 1 == objects.size();
        EXPECT_EQ(objects[i]["task"], 1);
        EXPECT_EQ(objects[i]["description"], "Converting disk.raw");
        EXPECT_EQ(objects[i]["complete"], last);
        EXPECT_GE(objects[i]["percent"].get<int>(), percent);
        percent = objects[i]["percent"];
        EXPECT_EQ(percent == 100, last);
        EXPECT_EQ(objects[i].contains("result"), last);
    }
    EXPECT_EQ(objects.back()["result"], 0);
    EXPECT_EQ(objects.back()["error"], "0x00000000");

    const Ran failed = vpc_disk("convert disk.raw d.vhd --type dynamic --progress json 2>&-");
    EXPECT_EQ(failed.status, 1) << "whether its messages can be written or not";
    const auto result = nlohmann::json::parse(failed.output.substr(failed.output.rfind('{')));
    EXPECT_EQ(result["complete"], true);
    EXPECT_NE(result["result"], 0);
    EXPECT_EQ(result["error"], "0x800700B7") << "ERROR_ALREADY_EXISTS";
}

TEST_F(DiskCommand, ABarIsDrawnWhenAskedFor) {
    make_raw(8);
    const Ran ran = vpc_disk("convert disk.raw d.vhd --type dynamic --progress bar");
    EXPECT_EQ(ran.status, 0);
    EXPECT_NE(ran.output.find("\rConverting disk.raw [########################################] 100 %\n"),
              std::string::npos)
        << ran.output;
}

TEST_F(DiskCommand, CtrlCCancelsCleanly) {
    ASSERT_EQ(in_folder("head -c 256M /dev/urandom >disk.raw").status, 0);
    const auto before = std::filesystem::last_write_time(folder_ / "disk.raw");
    // The signal comes when the first object of progress has. Shells have what runs in the background ignore it.
    const Ran ran =
        in_folder("env --default-signal=INT " VPC_PROGRAM
                  " disk convert disk.raw d.vhd --type dynamic --progress json >out & pid=$!; "
                  "while [ ! -s out ] && kill -0 $pid; do :; done; kill -INT $pid; wait $pid; echo status $?");
    EXPECT_EQ(ran.output, "vpc: cancelled\nstatus 130\n");
    EXPECT_EQ(in_folder("ls -A").output, "disk.raw\nout\n") << "nothing half-made is left";
    EXPECT_EQ(std::filesystem::last_write_time(folder_ / "disk.raw"), before);
    EXPECT_NE(in_folder("tail -n 1 out").output.find("\"complete\":true,\"result\":1,\"error\":\"0x80004004\""),
              std::string::npos);
}

TEST_F(DiskCommand, CompactShrinksTheFileAndKeepsTheDisk) {
    if (!installed("mke2fs e2fsck debugfs")) {
        GTEST_SKIP() << "not all installed: mke2fs e2fsck debugfs";
    }
    ASSERT_EQ(
        in_folder("mkdir files; head -c 20000000 /dev/urandom >files/gone; head -c 3000000 /dev/urandom >files/kept; "
                  "truncate -s 64M disk.raw; mke2fs -q -F -t ext4 -d files disk.raw && "
                  "debugfs -w -R 'rm gone' disk.raw; e2fsck -fy disk.raw")
            .status,
        0);
    ASSERT_EQ(vpc_disk("convert disk.raw d.vhd --type dynamic").status, 0);
    EXPECT_EQ(vpc_disk("compact d.vhd").status, 0);
    EXPECT_EQ(vpc_disk("compare d.vhd disk.raw").status, 0);
    const Ran ran = vpc_disk("compact d.vhd --free-space --json");
    ASSERT_EQ(ran.status, 0) << ran.output;
    const auto result = nlohmann::json::parse(ran.output);
    EXPECT_GT(result["size_before"].get<std::uint64_t>(), result["size_after"].get<std::uint64_t>() + 6'000'000);
    EXPECT_EQ(result["size_after"], std::filesystem::file_size(folder_ / "d.vhd"));
    EXPECT_EQ(result["volumes"][0]["file_system"], "ext4");
    EXPECT_EQ(result["volumes"][0]["skipped"], "");
    ASSERT_EQ(vpc_disk("convert d.vhd back.raw --type raw").status, 0);
    EXPECT_EQ(in_folder("e2fsck -fn back.raw").status, 0);
    EXPECT_EQ(in_folder("debugfs -R 'cat kept' back.raw 2>/dev/null | cmp - files/kept").output, "");
}

/// Every failure is one line on stderr that names the file.
TEST_F(DiskCommand, ErrorsAreOneLineThatNamesTheFile) {
    make_raw(4);
    ASSERT_EQ(vpc_disk("convert disk.raw fixed.vhd --type fixed").status, 0);
    ASSERT_EQ(vpc_disk("convert disk.raw dynamic.vhd --type dynamic").status, 0);
    ASSERT_EQ(in_folder("mkdir folder; : >empty.vhd; cp dynamic.vhd cut.vhd; truncate -s 2000000 cut.vhd; "
                        "head -c 1000 /dev/zero >odd.vhd; printf vhdxfile | dd of=x.vhdx conv=sync 2>/dev/null")
                  .status,
              0);
    const std::pair<const char*, const char*> cases[] = {
        {"map missing.vhd", "missing.vhd"},
        {"map folder", "folder"},
        {"map empty.vhd", "empty.vhd"},
        {"map odd.vhd", "odd.vhd"},
        {"map x.vhdx", "x.vhdx"},
        {"compact fixed.vhd", "fixed.vhd"},
        {"compact disk.raw", "disk.raw"},
        {"compact missing.vhd", "missing.vhd"},
        {"compact cut.vhd", "cut.vhd"},
        {"compare disk.raw missing.vhd", "missing.vhd"},
        {"convert missing.vhd b --type raw", "missing.vhd"},
        {"convert disk.raw no/such/folder.vhd --type raw", "no/such"},
        {"convert disk.raw disk.raw --type raw --force", "disk.raw"},
    };
    for (const auto& [arguments, name] : cases) {
        const Ran ran = vpc_disk(arguments);
        EXPECT_EQ(ran.status, 1) << arguments;
        EXPECT_EQ(ran.output.rfind("vpc: ", 0), 0u) << ran.output;
        EXPECT_NE(ran.output.find(name), std::string::npos) << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
}

}  // namespace
}  // namespace vpc::cli
