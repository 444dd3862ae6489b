// What machines are called in commands.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/disk/temporary_folder.h"
#include "ui/cli/machine_file.h"

namespace vpc::cli {
namespace {

TEST(MachineFile, CommandsFindAMachineByTheNameThatTheyAreTold) {
    const disk::testing::TemporaryFolder folder;
    const char* before = std::getenv("XDG_DATA_HOME");
    const std::string kept = before != nullptr ? before : "";
    ::setenv("XDG_DATA_HOME", folder.path().c_str(), 1);
    std::filesystem::create_directories(folder / "vpc");
    std::filesystem::create_directories(folder / "elsewhere");
    for (const char* file : {"vpc/xp.vmc", "elsewhere/xp.vmc", "elsewhere/dos.vmc"}) {
        folder.write(file, {});
        const auto machine = find_machine((folder / file).string());
        ASSERT_TRUE(machine) << machine.error();
        const std::string name = name_for_commands(*machine);
        EXPECT_EQ(name == "xp", std::string(file) == "vpc/xp.vmc") << name;
        const auto again = find_machine(name);
        ASSERT_TRUE(again) << again.error();
        EXPECT_EQ(again->file, machine->file);
    }
    before != nullptr ? ::setenv("XDG_DATA_HOME", kept.c_str(), 1) : ::unsetenv("XDG_DATA_HOME");
}

}  // namespace
}  // namespace vpc::cli
