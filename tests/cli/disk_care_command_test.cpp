// `vpc disk info`, `check` and `resize` as people's scripts see them.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "disk/log.h"
#include "disk/operations/create.h"
#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::cli {
namespace {

using disk::ImageType;
using disk::testing::TemporaryFolder;
using vpc::testing::Ran;
using vpc::testing::shell;

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20;

class DiskCare : public ::testing::Test {
  protected:
    Ran vpc_disk(const std::string& arguments) const {
        return shell("cd " + folder_.path().string() + " && " VPC_PROGRAM " disk " + arguments);
    }
    nlohmann::json json_of(const std::string& arguments, int status = 0) const {
        const Ran ran = vpc_disk(arguments + " --json");
        EXPECT_EQ(ran.status, status) << ran.output;
        return nlohmann::json::parse(ran.output, nullptr, false);
    }
    /// One line on stderr that names the file.
    void expect_error(const std::string& arguments, const std::string& text) const {
        const Ran ran = vpc_disk(arguments);
        EXPECT_EQ(ran.status, 1) << arguments;
        EXPECT_EQ(ran.output.rfind("vpc: ", 0), 0u) << ran.output;
        EXPECT_NE(ran.output.find(text), std::string::npos) << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    void create(const std::string& name, ImageType type, std::uint64_t size, const std::string& parent = "") const {
        disk::NewImage image = {.file = folder_ / name, .type = type, .size = size};
        if (!parent.empty()) {
            image.parent = folder_ / parent;
        }
        const auto status = disk::create_image(image, {});
        ASSERT_TRUE(status.has_value()) << status.error().message;
    }

    TemporaryFolder folder_;
};

TEST_F(DiskCare, CheckSaysEverythingOnce) {
    create("root.vhd", ImageType::Dynamic, 64 * kMiB);
    create("leaf.vhd", ImageType::Differencing, 0, "root.vhd");
    const auto root = folder_ / "root.vhd";
    std::filesystem::last_write_time(root, std::filesystem::last_write_time(root) + std::chrono::hours(1));
    auto bytes = TemporaryFolder::read(folder_ / "leaf.vhd");
    bytes[bytes.size() - 412] ^= 0x40;
    folder_.write("leaf.vhd", bytes);
    const Ran ran = vpc_disk("check leaf.vhd");  // both of its outputs
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 2) << ran.output;
    EXPECT_NE(ran.output.find("problem: "), std::string::npos) << ran.output;
    EXPECT_NE(ran.output.find("note: the parent "), std::string::npos) << ran.output;
}

TEST_F(DiskCare, InfoTellsThatAVhdIsNone) {
    folder_.write("disk.vhd", std::vector<std::uint8_t>(4096, 1));
    EXPECT_NE(vpc_disk("info disk.vhd").output.find("taken for a raw disk"), std::string::npos);
    const auto info = json_of("info disk.vhd");
    EXPECT_EQ(info["format"], "raw");
    EXPECT_NE(info["note"].get<std::string>().find("a copy of it should be restored"), std::string::npos);
    folder_.write("disk.img", std::vector<std::uint8_t>(4096, 1));
    EXPECT_EQ(json_of("info disk.img")["note"], nullptr);
}

TEST_F(DiskCare, InfoShowsWhatAnImageIs) {
    create("root.vhd", ImageType::Dynamic, 64 * kMiB);
    create("leaf.vhd", ImageType::Differencing, 0, "root.vhd");
    const auto info = json_of("info leaf.vhd");
    EXPECT_EQ(info["file"], "leaf.vhd");
    EXPECT_EQ(info["format"], "vhd");
    EXPECT_EQ(info["type"], "differencing");
    EXPECT_EQ(info["virtual_size"], 64 * kMiB);
    EXPECT_EQ(info["file_size"], std::filesystem::file_size(folder_ / "leaf.vhd"));
    EXPECT_EQ(info["block_size"], 2 * kMiB);
    EXPECT_EQ(info["blocks"], 32);
    EXPECT_EQ(info["blocks_allocated"], 0);
    EXPECT_EQ(info["geometry"]["sectors_per_track"], 17);
    EXPECT_EQ(info["creator"]["application"], "win");
    EXPECT_EQ(info["saved_state"], false);
    ASSERT_EQ(info["parents"].size(), 1u);
    EXPECT_EQ(info["parents"][0]["matches"], true);
    EXPECT_EQ(info["parents"][0]["unique_id"], json_of("info root.vhd")["unique_id"]);

    const Ran text = vpc_disk("info leaf.vhd");
    EXPECT_EQ(text.status, 0);
    EXPECT_NE(text.output.find("64.0 MiB (67108864 bytes)"), std::string::npos) << text.output;
    EXPECT_NE(text.output.find("VHD, differencing"), std::string::npos) << text.output;
}

TEST_F(DiskCare, InfoShowsThatAParentIsMissing) {
    create("root.vhd", ImageType::Fixed, 4 * kMiB);
    create("leaf.vhd", ImageType::Differencing, 0, "root.vhd");
    std::filesystem::remove(folder_ / "root.vhd");
    const auto info = json_of("info leaf.vhd");
    ASSERT_EQ(info["parents"].size(), 1u);
    EXPECT_EQ(info["parents"][0]["file"], "root.vhd");
    EXPECT_EQ(info["parents"][0]["matches"], false);
    EXPECT_NE(info["parents"][0]["problem"].get<std::string>().find("is missing"), std::string::npos);
    EXPECT_NE(vpc_disk("info leaf.vhd").output.find("parent:           missing: "), std::string::npos);
}

TEST_F(DiskCare, InfoOfNoImageIsAnError) {
    folder_.write("empty.vhd", {});
    expect_error("info missing.vhd", "'missing.vhd'");
    expect_error("info empty.vhd", "'empty.vhd' is empty");
    EXPECT_EQ(vpc_disk("info").status, 2);
}

TEST_F(DiskCare, CheckFindsAndRepairs) {
    create("d.vhd", ImageType::Dynamic, 64 * kMiB);
    EXPECT_EQ(vpc_disk("check d.vhd").output, "no problems\n");
    const auto whole = TemporaryFolder::read(folder_ / "d.vhd");
    auto bytes = whole;
    bytes[bytes.size() - 1] ^= 1;
    folder_.write("d.vhd", bytes);

    const auto found = json_of("check d.vhd", 1);
    EXPECT_EQ(found["clean"], false);
    EXPECT_EQ(found["type"], "dynamic");
    ASSERT_EQ(found["findings"].size(), 1u);
    EXPECT_EQ(found["findings"][0]["kind"], "footer_damaged");
    EXPECT_EQ(found["findings"][0]["severity"], "problem");
    EXPECT_EQ(found["findings"][0]["repairable"], "yes");
    const Ran text = vpc_disk("check d.vhd");
    EXPECT_EQ(text.status, 1);
    EXPECT_EQ(text.output,
              "problem: the checksum of the footer is wrong; its copy is intact (--repair puts it right)\n");
    EXPECT_EQ(TemporaryFolder::read(folder_ / "d.vhd"), bytes) << "a check writes nothing";

    const Ran repaired = vpc_disk("check d.vhd --repair");
    EXPECT_EQ(repaired.status, 0);
    EXPECT_EQ(repaired.output,
              "repaired: the checksum of the footer is wrong; its copy is intact\n"
              "what was replaced is in d.vhd.replaced\nno problems\n");
    EXPECT_EQ(TemporaryFolder::read(folder_ / "d.vhd"), whole);
    const auto again = json_of("check d.vhd --repair");
    EXPECT_EQ(again["clean"], true);
    EXPECT_EQ(again["side_file"], nullptr);
}

TEST_F(DiskCare, CheckGivesUpOnlyWhatItIsAllowedTo) {
    create("d.vhd", ImageType::Dynamic, 64 * kMiB);
    auto bytes = TemporaryFolder::read(folder_ / "d.vhd");
    bytes[1536] = 0x10;  // the first entry of the table points far beyond the end
    folder_.write("d.vhd", bytes);
    const Ran kept = vpc_disk("check d.vhd --repair");
    EXPECT_EQ(kept.status, 1);
    EXPECT_NE(kept.output.find("problem: block 0 lies outside the file"), std::string::npos) << kept.output;
    EXPECT_NE(kept.output.find("(--repair --accept-loss gives it up)"), std::string::npos) << kept.output;
    EXPECT_EQ(vpc_disk("check d.vhd --repair --accept-loss").status, 0);
    EXPECT_EQ(vpc_disk("check d.vhd").status, 0);
    EXPECT_EQ(vpc_disk("check d.vhd --accept-loss").status, 2) << "needs --repair";
}

TEST_F(DiskCare, CheckOfNoImageIsAnError) {
    folder_.write("empty.vhd", {});
    folder_.write("x.qcow2", std::vector<std::uint8_t>{'Q', 'F', 'I', 0xFB});
    std::filesystem::resize_file(folder_ / "x.qcow2", 4096);
    expect_error("check missing.vhd", "'missing.vhd'");
    expect_error("check empty.vhd", "'empty.vhd' is empty");
    expect_error("check x.qcow2", "'x.qcow2' is a QCOW image");
    expect_error("check . --repair", "is a directory");
}

TEST_F(DiskCare, AVhdxIsShownAndNeitherCheckedNorResized) {
    if (!vpc::testing::installed("qemu-img")) {
        GTEST_SKIP() << "not installed: qemu-img";
    }
    ASSERT_EQ(shell("cd " + folder_.path().string() + " && qemu-img create -q -f vhdx x.vhdx 8M").status, 0);
    const auto info = json_of("info x.vhdx");
    EXPECT_EQ(info["format"], "vhdx");
    EXPECT_EQ(info["virtual_size"], 8 * kMiB);
    expect_error("check x.vhdx", "'x.vhdx' is a VHDX image, which is only read, not checked");
    expect_error("check x.vhdx --repair", "'x.vhdx' is a VHDX image");
    expect_error("resize x.vhdx 16M", "'x.vhdx'");
}

TEST_F(DiskCare, ResizeGrowsAndShrinks) {
    for (const auto type : {ImageType::Raw, ImageType::Fixed, ImageType::Dynamic}) {
        const std::string name = "d" + std::to_string(static_cast<int>(type));
        create(name, type, 64 * kMiB);
        EXPECT_EQ(vpc_disk("resize " + name + " 40G").output, "");
        EXPECT_EQ(json_of("info " + name)["virtual_size"], 40960 * kMiB);
        EXPECT_EQ(vpc_disk("check " + name + " >/dev/null").status, 0);
        if (vpc::testing::installed("qemu-img")) {
            const char* format = type == ImageType::Raw ? "raw" : "vpc";
            const Ran other =
                shell("cd " + folder_.path().string() + " && qemu-img info -f " + format + " --output json " + name);
            const auto seen = nlohmann::json::parse(other.output, nullptr, false);
            EXPECT_EQ(seen["virtual-size"], 40960 * kMiB) << other.output;
        }
        EXPECT_EQ(vpc_disk("resize " + name + " 65M").status, 0);
        EXPECT_EQ(json_of("info " + name)["virtual_size"], 65 * kMiB);
    }
}

TEST_F(DiskCare, ResizeSaysWhatItCannotDo) {
    create("d.vhd", ImageType::Dynamic, 64 * kMiB);
    folder_.write("full.img", std::vector<std::uint8_t>(kMiB, 1));
    expect_error("resize full.img 512K", "'full.img' has something at byte 524288 of its disk");
    expect_error("resize d.vhd 1000", "choose a multiple of 512");
    expect_error("resize d.vhd 3T", "at most 2040 GiB");
    expect_error("resize missing.vhd 1G", "'missing.vhd'");
    EXPECT_EQ(vpc_disk("resize d.vhd 2X").status, 2);
    EXPECT_EQ(vpc_disk("resize d.vhd").status, 2);
}

}  // namespace
}  // namespace vpc::cli
