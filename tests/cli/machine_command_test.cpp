// The registered machines as people's scripts see them: exit status, stdout, stderr, and what is in the files.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/disk/temporary_folder.h"
#include "tests/shell.h"

namespace vpc::cli {
namespace {

using vpc::testing::Ran;
using vpc::testing::shell;

class MachineCommand : public ::testing::Test {
  protected:
    /// Runs `vpc ARGUMENTS` in the folder, which also holds the machines.
    Ran vpc(const std::string& arguments) const {
        return shell("cd " + folder_.path().string() + " && XDG_DATA_HOME=$PWD/data " VPC_PROGRAM " " + arguments);
    }
    nlohmann::json show(const std::string& name) const {
        return nlohmann::json::parse(vpc("show '" + name + "' --json").output, nullptr, false);
    }
    void make_raw(const std::string& name) const { folder_.write(name, std::vector<std::uint8_t>(1 << 20)); }
    std::string path(const std::string& name) const { return (folder_ / name).string(); }

    disk::testing::TemporaryFolder folder_;
};

TEST_F(MachineCommand, CreatesShowsAndLists) {
    make_raw("c.img");
    make_raw("cd.iso");
    const Ran created = vpc("create 'Old PC' --memory 64 --hda c.img --cdrom cd.iso --boot dc --serial file:log");
    ASSERT_EQ(created.status, 0) << created.output;
    EXPECT_EQ(created.output, "");
    const auto shown = show("old pc");
    EXPECT_EQ(shown["name"], "Old PC");
    EXPECT_EQ(shown["memory"], 64);
    EXPECT_EQ(shown["hda"], path("c.img"));
    EXPECT_EQ(shown["cdrom_drive"], "hdc");
    EXPECT_EQ(shown["cdrom"], path("cd.iso"));
    EXPECT_EQ(shown["boot"], "dc");
    EXPECT_EQ(shown["serial"][0], "file:" + path("log"));
    EXPECT_EQ(shown["state"], "turned_off");
    EXPECT_EQ(shown["file"], path("data/vpc/Old PC.vmc"));
    EXPECT_EQ(shown["undo"], false);
    EXPECT_NE(vpc("show 'Old PC'").output.find("memory       64\n"), std::string::npos);

    EXPECT_EQ(vpc("create b --undo true --time-sync off").status, 0);
    EXPECT_EQ(show("b")["undo"], true);
    EXPECT_EQ(show("b")["time_sync"], false);
    EXPECT_EQ(vpc("list").output, "turned_off  b\nturned_off  Old PC\n");
    const auto listed = nlohmann::json::parse(vpc("list --json").output);
    ASSERT_EQ(listed.size(), 2u);
    EXPECT_EQ(listed[1]["name"], "Old PC");
    EXPECT_EQ(listed[1]["state"], "turned_off");
}

TEST_F(MachineCommand, SetChangesWhatIsGivenAndKeepsTheRest) {
    make_raw("c.img");
    make_raw("cd.iso");
    ASSERT_EQ(vpc("create a --memory 64 --hda c.img --cdrom cd.iso --serial null --serial file:x").status, 0);
    ASSERT_EQ(vpc("set a --memory 32 --cdrom ''").status, 0);
    auto shown = show("a");
    EXPECT_EQ(shown["memory"], 32);
    EXPECT_EQ(shown["hda"], path("c.img"));
    EXPECT_EQ(shown["cdrom_drive"], "hdc");
    EXPECT_EQ(shown["cdrom"], "");
    EXPECT_EQ(shown["serial"][1], "file:" + path("x"));
    ASSERT_EQ(vpc("set a --hdc c.img --hda ''").status, 0);
    shown = show("a");
    EXPECT_FALSE(shown.contains("hda"));
    EXPECT_EQ(shown["hdc"], path("c.img"));
    EXPECT_EQ(shown["cdrom_drive"], "hda") << "the drive makes room";
    ASSERT_EQ(vpc("set a --undo true").status, 0);
    EXPECT_EQ(show("a")["undo"], true);
    EXPECT_EQ(show("a")["memory"], 32);
    EXPECT_EQ(show("a")["time_sync"], true);
    ASSERT_EQ(vpc("set a --time-sync off").status, 0);
    EXPECT_EQ(show("a")["time_sync"], false);
    ASSERT_EQ(vpc("set a --boot c").status, 0);
    EXPECT_EQ(show("a")["time_sync"], false);
    EXPECT_NE(vpc("show a").output.find("time_sync    false\n"), std::string::npos);
    ASSERT_EQ(vpc("set a --time-sync on").status, 0);
    EXPECT_EQ(show("a")["time_sync"], true);
    EXPECT_EQ(vpc("set a --time-sync maybe").status, 2);
    EXPECT_EQ(vpc("set a --memory 99999").status, 2);
    EXPECT_EQ(vpc("set a --serial nonsense").status, 2);
    EXPECT_EQ(show("a")["memory"], 32);
}

TEST_F(MachineCommand, RenamesAndRemoves) {
    make_raw("c.img");
    ASSERT_EQ(vpc("create a --hda c.img").status, 0);
    ASSERT_EQ(vpc("rename a b").status, 0);
    EXPECT_EQ(vpc("show a").status, 1);
    EXPECT_EQ(show("b")["hda"], path("c.img"));
    EXPECT_EQ(vpc("remove b").status, 0);
    EXPECT_EQ(vpc("list").output, "");
    EXPECT_TRUE(std::filesystem::exists(path("c.img")));
}

TEST_F(MachineCommand, RegistersAndUnregistersWhatIsElsewhere) {
    make_raw("c.img");
    ASSERT_EQ(vpc("create a --hda c.img").status, 0);
    std::filesystem::create_directory(folder_ / "old");
    std::filesystem::rename(path("data/vpc/a.vmc"), path("old/Old PC.vmc"));
    const Ran registered = vpc("register 'old/Old PC.vmc' --name b");
    ASSERT_EQ(registered.status, 0) << registered.output;
    EXPECT_EQ(registered.output, "");
    EXPECT_EQ(vpc("list").output, "turned_off  b\n");
    EXPECT_EQ(show("b")["file"], path("old/Old PC.vmc"));
    EXPECT_EQ(show("b")["link"], path("data/vpc/b.vmc"));
    EXPECT_EQ(show("b")["hda"], path("c.img"));
    ASSERT_EQ(vpc("set b --memory 64").status, 0);
    EXPECT_EQ(show("./data/vpc/b.vmc")["memory"], 64);
    EXPECT_EQ(show("old/Old PC.vmc")["memory"], 64);
    EXPECT_TRUE(std::filesystem::is_symlink(path("data/vpc/b.vmc")));
    ASSERT_EQ(vpc("rename b c").status, 0);

    std::filesystem::rename(path("old"), path("moved"));
    EXPECT_EQ(vpc("list").output,
              "missing     c ('" + path("old/Old PC.vmc") + "' is not there; put it back, or 'vpc unregister' it)\n");
    EXPECT_EQ(nlohmann::json::parse(vpc("list --json").output)[0]["state"], "missing");
    for (const char* command : {"show c", "set c --memory 32", "run c --headless", "start c --headless", "rename c d",
                                "remove c", "save c", "merge-undo c"}) {
        const Ran ran = vpc(command);
        EXPECT_EQ(ran.status, 1) << command;
        EXPECT_NE(ran.output.find("Old PC.vmc', which is not there; put it back, or unregister the machine\n"),
                  std::string::npos)
            << command << ": " << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    EXPECT_EQ(vpc("unregister c").status, 0);
    EXPECT_EQ(vpc("list").output, "");

    ASSERT_EQ(vpc("register 'moved/Old PC.vmc'").status, 0);
    EXPECT_EQ(vpc("remove 'Old PC'").status, 0);
    EXPECT_FALSE(std::filesystem::exists(path("moved/Old PC.vmc")));
    EXPECT_TRUE(std::filesystem::is_empty(path("data/vpc")));
}

TEST_F(MachineCommand, ErrorsAreOneLine) {
    ASSERT_EQ(vpc("create a").status, 0);
    const std::tuple<const char*, int, const char*> cases[] = {
        {"create a", 1, "taken"},
        {"create A", 1, "taken"},
        {"create 'x/y'", 1, "not allowed"},
        {"create ''", 1, "empty"},
        {"show none", 1, "no such machine"},
        {"set none --memory 32", 1, "no such machine"},
        {"rename none b", 1, "no such machine"},
        {"remove none", 1, "no such machine"},
        {"run none", 1, "no such machine"},
        {"show ./none.vmc", 1, "not there"},
        {"create", 2, "NAME"},
        {"register", 2, "FILE"},
        {"register none.vmc", 1, "was not found"},
        {"register data/vpc/a.vmc --name b", 1, "registered as 'a'"},
        {"unregister none", 1, "no such machine"},
        {"unregister a", 1, "remove the machine to delete it, or move its files elsewhere"},
    };
    for (const auto& [arguments, status, text] : cases) {
        const Ran ran = vpc(arguments);
        EXPECT_EQ(ran.status, status) << arguments << ": " << ran.output;
        EXPECT_NE(ran.output.find(text), std::string::npos) << arguments << ": " << ran.output;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
}

// A hard disk without a boot sector: the machine's BIOS says so, whatever drive it has.
TEST_F(MachineCommand, RunsWithTheOptionsOverTheConfiguration) {
    make_raw("c.img");
    ASSERT_EQ(vpc("create a --memory 32 --hda c.img").status, 0);
    const Ran ran = vpc("run a --headless --boot c --time-limit 60 --until-screen 'not a bootable disk' --stats");
    EXPECT_EQ(ran.status, 0) << ran.output;
}

TEST_F(MachineCommand, RunNamesEveryMissingFile) {
    make_raw("c.img");
    make_raw("d.img");
    make_raw("f.img");
    ASSERT_EQ(vpc("create a --hda c.img --hdb d.img --cdrom f.img").status, 0);
    std::filesystem::remove(path("c.img"));
    std::filesystem::remove(path("f.img"));
    const Ran ran = vpc("run a --headless --time-limit 1");
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 2) << ran.output;
    EXPECT_NE(ran.output.find("hda '" + path("c.img") + "' is missing"), std::string::npos) << ran.output;
    EXPECT_NE(ran.output.find("cdrom '" + path("f.img") + "' is missing"), std::string::npos) << ran.output;
    const Ran without = vpc("run a --headless --hda d.img --hdb '' --cdrom '' --time-limit 0.1");
    EXPECT_EQ(without.status, 124) << without.output;
}

TEST_F(MachineCommand, ADamagedSavedStateIsNotRun) {
    ASSERT_EQ(vpc("create a").status, 0);
    std::ofstream(path("data/vpc/a.vsv")) << "state";
    const Ran ran = vpc("run a --undo --headless --time-limit 0.1");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("a.vsv"), std::string::npos) << ran.output;
    EXPECT_EQ(nlohmann::json::parse(vpc("list --json").output)[0]["state"], "saved");
    EXPECT_EQ(vpc("set a --memory 64").status, 1);
}

TEST_F(MachineCommand, OneProcessRunsAMachine) {
    ASSERT_EQ(vpc("create a").status, 0);
    const Ran ran = shell("cd " + folder_.path().string() +
                          "; export XDG_DATA_HOME=$PWD/data; " VPC_PROGRAM
                          " run a --headless --time-limit 30 & first=$!; for i in $(seq 200); do " VPC_PROGRAM
                          " list | grep -q running && break; sleep 0.1; done; " VPC_PROGRAM
                          " run a --headless --time-limit 1; echo status $?; " VPC_PROGRAM
                          " remove a; echo status $?; kill -INT $first; wait $first; echo status $?");
    EXPECT_NE(ran.output.find("The machine is running\nstatus 1\nvpc: a: The machine is running\nstatus 1\n"),
              std::string::npos)
        << ran.output;
    EXPECT_NE(ran.output.find("status 130"), std::string::npos) << ran.output;
}

}  // namespace
}  // namespace vpc::cli
