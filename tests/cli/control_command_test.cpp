// Machines that another process runs, as people's scripts see them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "tests/cli/controlled_machine.h"

namespace vpc::cli {
namespace {

using testing::echoing_disk;
using vpc::testing::Ran;
using vpc::testing::shell;

class ControlCommand : public testing::ControlledMachine {};

TEST_F(ControlCommand, ReachesAMachineByItsLinkAndByItsFile) {
    std::filesystem::create_directory(folder_ / "old");
    std::filesystem::rename(folder_ / "data/vpc/a.vmc", folder_ / "old/a.vmc");
    ASSERT_EQ(vpc("register old/a.vmc").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    for (const char* other : {"a", "old/a.vmc", "data/vpc/a.vmc"}) {
        for (const char* command : {"start --headless ", "run --headless --time-limit 1 "}) {
            const Ran ran = vpc(command + std::string(other));
            EXPECT_EQ(ran.status, 1) << other;
            EXPECT_NE(ran.output.find("The machine is running"), std::string::npos) << ran.output;
        }
        EXPECT_EQ(vpc("pause " + std::string(other)).status, 0);
        EXPECT_EQ(vpc("resume " + std::string(other)).status, 0);
    }
    EXPECT_EQ(vpc("unregister a").status, 1);
    EXPECT_EQ(vpc("save data/vpc/a.vmc").status, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "old/a.vsv"));
    EXPECT_EQ(state(), "saved");
    ASSERT_EQ(vpc("start old/a.vmc --headless").status, 0);
    EXPECT_EQ(state(), "running");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "old/a.vsv"));
    EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "data/vpc/a.vmc"));
}

TEST_F(ControlCommand, StartsPausesSavesGoesOnAndTurnsOff) {
    Ran ran = vpc("start a --headless --progress json");
    ASSERT_EQ(ran.status, 0) << ran.output;
    EXPECT_NE(ran.output.find(R"("percent":100,"complete":true,"result":0,"error":"0x00000000"})"), std::string::npos);
    EXPECT_EQ(state(), "running");
    wait_for_guest();
    EXPECT_EQ(vpc("type a 'hello'").status, 0);
    EXPECT_TRUE(logs("hello"));

    EXPECT_EQ(vpc("pause a").status, 0);
    EXPECT_EQ(state(), "paused");
    ran = vpc("pause a");
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.output, "vpc: a: it is paused already\n");
    EXPECT_EQ(vpc("screenshot a paused.png").status, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "paused.png"));
    EXPECT_EQ(vpc("resume a").status, 0);
    EXPECT_EQ(vpc("resume a").output, "vpc: a: it is not paused\n");
    EXPECT_EQ(vpc("screenshot a running.png").status, 0);
    EXPECT_TRUE(std::filesystem::exists(folder_ / "running.png"));
    EXPECT_EQ(vpc("type a 'x{WAIT 0.1}y'").status, 0);
    EXPECT_TRUE(logs("xy"));

    ran = vpc("save a --progress json");
    EXPECT_EQ(ran.status, 0) << ran.output;
    EXPECT_NE(ran.output.find("Saving the state of a"), std::string::npos);
    EXPECT_EQ(state(), "saved");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(state(), "running");
    EXPECT_EQ(vpc("type a 'goes on'").status, 0);
    EXPECT_TRUE(logs("goes on"));
    EXPECT_EQ(log(), "goes on") << "the guest did not boot again, whose BIOS says nothing but drops keys";

    EXPECT_EQ(vpc("reset a").status, 0);
    EXPECT_EQ(vpc("turnoff a").status, 0);
    EXPECT_EQ(state(), "turned_off");
    for (const char* command : {"pause", "resume", "save", "reset", "turnoff"}) {
        ran = vpc(std::string(command) + " a");
        EXPECT_EQ(ran.status, 1) << command;
        EXPECT_EQ(ran.output, "vpc: a: the machine is not running\n");
    }
}

TEST_F(ControlCommand, ASecondStartIsRefused) {
    ASSERT_EQ(vpc("start a --headless").status, 0);
    for (const char* command : {"start a --headless", "run a --headless --time-limit 1"}) {
        const Ran ran = vpc(command);
        EXPECT_EQ(ran.status, 1);
        EXPECT_NE(ran.output.find("The machine is running"), std::string::npos) << ran.output;
    }
    EXPECT_EQ(vpc("set a --memory 32").status, 1);
    EXPECT_EQ(vpc("remove a").status, 1);
    EXPECT_EQ(state(), "running");
}

TEST_F(ControlCommand, AFailedStartSaysWhy) {
    ASSERT_EQ(vpc("create b --memory 16 --hda c.img").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    Ran ran = vpc("start b --headless");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("c.img"), std::string::npos) << ran.output;
    EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    EXPECT_EQ(vpc("save a").status, 0);
    std::ofstream(folder_ / "c.img", std::ios::in | std::ios::binary) << "changed";
    ran = vpc("start a --headless");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("was changed after the machine was saved"), std::string::npos) << ran.output;
    EXPECT_EQ(state(), "saved");
    EXPECT_EQ(vpc("set b --serial stdio").status, 0);
    ran = vpc("start b --headless");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("COM1 is 'stdio'"), std::string::npos) << ran.output;
    EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    ran = vpc("start b --host-key NONE");
    EXPECT_EQ(ran.status, 2);
    EXPECT_NE(ran.output.find("'NONE' is not the name of one key"), std::string::npos) << ran.output;
}

/// A disk whose boot sector sends back what comes over COM1, each byte one higher.
std::vector<std::uint8_t> answering_disk() {
    constexpr std::array<std::uint8_t, 16> kCode{
        0xBA, 0xFD, 0x03,  // MOV DX,3FDh
        0xEC,              // IN AL,DX: line status
        0xA8, 0x01,        // TEST AL,1: data ready
        0x74, 0xFB,        // JZ to the IN
        0xBA, 0xF8, 0x03,  // MOV DX,3F8h
        0xEC,              // IN AL,DX
        0x40,              // INC AX
        0xEE,              // OUT DX,AL
        0xEB, 0xF0,        // JMP to the beginning
    };
    std::vector<std::uint8_t> disk = echoing_disk();
    std::copy(kCode.begin(), kCode.end(), disk.begin());
    return disk;
}

/// Sends 'G' until 'H' comes back. False: not in a minute.
bool answers(int port) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (std::chrono::steady_clock::now() < end) {
        if (::write(port, "G", 1) != 1) {
            return false;
        }
        pollfd ready{.fd = port, .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, 100) > 0) {
            char got = 0;
            return ::read(port, &got, 1) == 1 && got == 'H';
        }
    }
    return false;
}

TEST_F(ControlCommand, SerialPortsOfStartedMachinesAreTerminalsAndSockets) {
    folder_.write("d.img", answering_disk());
    ASSERT_EQ(vpc("create b --memory 16 --boot c --hda d.img --serial unix:com1.sock").status, 0);
    ASSERT_EQ(vpc("start b --headless").status, 0);
    const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    const std::string path = (folder_ / "com1.sock").string();
    ASSERT_LT(path.size(), sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    ASSERT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(answers(socket));
    ::close(socket);

    ASSERT_EQ(vpc("save b").status, 0);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "com1.sock"));
    ASSERT_EQ(vpc("discard-state b").status, 0);
    ASSERT_EQ(vpc("set b --serial pty").status, 0);
    const Ran ran = vpc("start b --headless");
    ASSERT_EQ(ran.status, 0) << ran.output;
    const std::size_t name = ran.output.find("vpc: COM1 is /dev/pts/");
    ASSERT_NE(name, std::string::npos) << ran.output;
    const std::string terminal = ran.output.substr(name + 13, ran.output.find('\n', name) - name - 13);
    const int port = ::open(terminal.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ASSERT_GE(port, 0) << terminal;
    EXPECT_TRUE(answers(port));
    ASSERT_EQ(vpc("save b").status, 0);
    ::close(port);
    ASSERT_EQ(vpc("start b --headless").status, 0) << "and it goes on with another terminal";
}

TEST_F(ControlCommand, ListsAndCancelsTasks) {
    EXPECT_EQ(vpc("tasks").output, "");
    EXPECT_EQ(vpc("tasks --json").output, "[]\n");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    ASSERT_EQ(vpc("reset a").status, 0);
    const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
    ASSERT_EQ(tasks.size(), 2u);
    EXPECT_EQ(tasks[0]["description"], "Starting a");
    EXPECT_EQ(tasks[1]["description"], "Resetting a");
    EXPECT_EQ(tasks[1]["machine"], "a");
    EXPECT_EQ(tasks[1]["percent"], 100);
    EXPECT_EQ(tasks[1]["error"], "0x00000000");
    const auto id = tasks[1]["id"].get<std::string>();
    EXPECT_NE(vpc("tasks").output.find(id), std::string::npos);
    const Ran watch = in_folder(VPC_PROGRAM
                                " tasks --watch > watch & for i in $(seq 600); do grep -q 'Resetting a' watch "
                                "&& break; sleep 0.05; done; kill $!; cat watch");
    EXPECT_NE(watch.output.find("Resetting a"), std::string::npos) << watch.output;
    Ran ran = vpc("cancel " + id);
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("has ended already"), std::string::npos) << ran.output;
    EXPECT_EQ(vpc("cancel 1.1").status, 1);
    for (const char* nonsense : {"x", "1", "1.", ".1", "1.x", "1.1.1"}) {
        EXPECT_EQ(vpc(std::string("cancel ") + nonsense).status, 2) << nonsense;
    }
}

TEST_F(ControlCommand, RefusesKeysAndFilesThatCannotBe) {
    ASSERT_EQ(vpc("start a --headless").status, 0);
    for (const char* arguments : {"type a '{NOSUCHKEY}'", "type a '{EJECT cd}'", "screenshot a none/here.png"}) {
        const Ran ran = vpc(arguments);
        EXPECT_EQ(ran.status, 1) << arguments;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    EXPECT_EQ(state(), "running");
}

TEST_F(ControlCommand, ChangesDisksAndKeepsThemInTheSavedState) {
    folder_.write("a.img", std::vector<std::uint8_t>(1440 * 1024));
    folder_.write("small.img", std::vector<std::uint8_t>(1000 * 1024));
    folder_.write("cd.iso", std::vector<std::uint8_t>(1 << 20));
    EXPECT_EQ(vpc("insert a a a.img").status, 1) << "it does not run";
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("eject a cd").output, "vpc: a: The drive is empty\n");
    EXPECT_EQ(vpc("insert a cd cd.iso").status, 0);
    EXPECT_EQ(vpc("insert a a a.img").status, 0);
    for (const char* arguments : {"insert a a small.img", "insert a a none.img", "insert a b a.img"}) {
        const Ran ran = vpc(arguments);
        EXPECT_EQ(ran.status, 1) << arguments;
        EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    }
    EXPECT_EQ(vpc("insert a z a.img").status, 2);
    EXPECT_EQ(vpc("pause a").status, 0);
    EXPECT_EQ(vpc("eject a cd").output, "vpc: a: The machine is paused\n");
    ASSERT_EQ(vpc("save a").status, 0);
    Ran ran = vpc("start a --headless");
    ASSERT_EQ(ran.status, 0) << ran.output;
    EXPECT_NE(vpc("disk map a.img").status, 0) << "the machine has the floppy disk";
    EXPECT_EQ(vpc("eject a a").status, 0);
    EXPECT_EQ(vpc("disk map a.img").status, 0);
    EXPECT_EQ(vpc("eject a cd").status, 0);
    EXPECT_EQ(vpc("save a").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("insert a cd cd.iso").status, 0);
    EXPECT_EQ(vpc("save a").status, 0);
    std::filesystem::remove(folder_ / "cd.iso");
    ran = vpc("start a --headless");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("cd.iso"), std::string::npos) << ran.output;
    EXPECT_EQ(state(), "saved");
}

// The echoing guest has neither an agent nor a driver for its power button.
TEST_F(ControlCommand, AGuestWithoutAgentIsToldOf) {
    EXPECT_EQ(vpc("shutdown a").output, "vpc: a: the machine is not running\n");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    Ran ran = vpc("shutdown a --time-limit 0.2");
    EXPECT_EQ(ran.status, 124);
    EXPECT_EQ(ran.output,
              "vpc: a: It took too long: no agent answers on COM2, and the guest does not follow its power button\n");
    for (const char* command : {"restart a", "logoff a"}) {
        ran = vpc(command);
        EXPECT_EQ(ran.status, 124) << command;
        EXPECT_NE(ran.output.find("there is no answer from an agent on COM2"), std::string::npos) << ran.output;
    }
    ran = vpc("guest-info a --json");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("The guest's agent does not answer"), std::string::npos) << ran.output;
    EXPECT_EQ(vpc("shutdown a --time-limit 0").status, 2);
    EXPECT_EQ(vpc("pause a").status, 0);
    EXPECT_EQ(vpc("shutdown a").output, "vpc: a: The machine is paused\n");
    EXPECT_EQ(state(), "paused");
}

TEST_F(ControlCommand, ASavedStateIsDiscarded) {
    EXPECT_EQ(vpc("discard-state a").output, "vpc: a: Nothing is saved\n");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("discard-state a").output, "vpc: a: The machine is running\n");
    ASSERT_EQ(vpc("save a").status, 0);
    EXPECT_EQ(vpc("discard-state a").status, 0);
    EXPECT_EQ(state(), "turned_off");
    EXPECT_FALSE(std::filesystem::exists(folder_ / "data/vpc/a.vsv"));
}

// The guest writes nothing: what is tested is where the undo disks are, and who remembers them.
TEST_F(ControlCommand, UndoDisksAreKeptCommittedAndDiscarded) {
    const auto undo = [&] {
        return nlohmann::json::parse(vpc("show a --json").output)["undo_disks"][0].get<std::string>();
    };
    const auto files = [&] { return in_folder("ls data/vpc/*.vud 2>/dev/null | wc -l").output; };
    ASSERT_EQ(vpc("set a --undo true").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_NE(undo().find("VirtualPCUndo_c_0_0_"), std::string::npos);
    EXPECT_EQ(vpc("start a --headless").output, "vpc: a: The machine is running\n") << "the lock is the new file's";
    EXPECT_EQ(vpc("turnoff a").status, 0);
    const std::string kept = undo();
    EXPECT_FALSE(kept.empty());
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(undo(), kept);
    const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
    const auto id = tasks[0]["id"].get<std::string>();
    ASSERT_EQ(shell("kill -9 " + id.substr(0, id.find('.'))).status, 0);
    EXPECT_EQ(state_when_dead(), "turned_off");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(undo(), kept);
    EXPECT_EQ(vpc("turnoff a --undo nonsense").status, 2);
    EXPECT_EQ(vpc("merge-undo a").output, "vpc: a: The machine is running\n");
    EXPECT_EQ(vpc("save a").status, 0);
    EXPECT_EQ(vpc("discard-undo a").output, "vpc: a: The machine is running or saved\n");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("turnoff a --undo commit").status, 0);
    EXPECT_EQ(undo(), "");
    EXPECT_EQ(files(), "0\n");
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("turnoff a --undo discard").status, 0);
    EXPECT_EQ(files(), "0\n");
    for (const char* command : {"merge-undo a --progress json", "discard-undo a", "set a --undo false"}) {
        ASSERT_EQ(vpc("start a --headless").status, 0);
        EXPECT_EQ(vpc("turnoff a --undo keep").status, 0);
        EXPECT_EQ(files(), "1\n");
        const Ran ran = vpc(command);
        EXPECT_EQ(ran.status, 0) << ran.output;
        EXPECT_EQ(files(), "0\n") << command;
    }
    EXPECT_EQ(undo(), "");
    ASSERT_EQ(vpc("set a --undo true").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(vpc("turnoff a").status, 0);
    EXPECT_EQ(vpc("remove a").status, 0);
    EXPECT_EQ(files(), "0\n");
}

TEST_F(ControlCommand, AChangedDiskIsTakenOnRequestOnly) {
    ASSERT_EQ(vpc("set a --undo true").status, 0);
    ASSERT_EQ(vpc("start a --headless").status, 0);
    ASSERT_EQ(vpc("turnoff a --undo keep").status, 0);
    std::filesystem::last_write_time(folder_ / "c.img",
                                     std::filesystem::last_write_time(folder_ / "c.img") + std::chrono::hours(1));
    const Ran ran = vpc("start a --headless");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("was changed after its undo disk"), std::string::npos) << ran.output;
    EXPECT_EQ(vpc("start a --headless --fix-parents").status, 0);
    EXPECT_EQ(vpc("turnoff a").status, 0);
    EXPECT_EQ(vpc("start a --headless").status, 0) << "it was recorded";
}

TEST_F(ControlCommand, AKilledProcessLeavesNothingInTheWay) {
    ASSERT_EQ(vpc("start a --headless").status, 0);
    const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
    const auto id = tasks[0]["id"].get<std::string>();
    const std::string process = id.substr(0, id.find('.'));
    ASSERT_EQ(shell("kill -9 " + process).status, 0);
    // Its socket is left alone until all its threads are dead: who asks it meanwhile would remove the socket.
    ASSERT_EQ(shell("for i in $(seq 1000); do grep -qs '^State:.[^ZX]' /proc/" + process +
                    "/task/*/status || exit 0; sleep 0.02; done; exit 1")
                  .status,
              0);
    EXPECT_NE(in_folder("ls run/vpc").output.find(".sock"), std::string::npos);
    EXPECT_EQ(vpc("pause a").output, "vpc: a: the machine is not running\n");
    EXPECT_EQ(in_folder("ls run/vpc").output.find(".sock"), std::string::npos);
    EXPECT_EQ(state(), "turned_off");
    EXPECT_EQ(vpc("start a --headless").status, 0);
    EXPECT_EQ(state(), "running");
}

// The old state or the new one starts, or the machine was never saved: at whatever moment Save is killed.
TEST_F(ControlCommand, KilledWhileSavingTheMachineStartsAgain) {
    ASSERT_EQ(vpc("set a --memory 64").status, 0);
    for (int i = 0; i < 8; ++i) {
        ASSERT_EQ(vpc("start a --headless").status, 0) << i;
        const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
        const auto id = tasks[0]["id"].get<std::string>();
        const std::string process = id.substr(0, id.find('.'));
        in_folder(VPC_PROGRAM " save a >/dev/null 2>&1 & sleep 0.0" + std::to_string(1 + i) + "; kill -9 " + process +
                  "; wait");
        const std::string after = state_when_dead();
        EXPECT_TRUE(after == "saved" || after == "turned_off") << after;
        EXPECT_EQ(in_folder("ls -A data/vpc | grep -v '^a.v[ms][cv]$'").output, "") << "half a state";
    }
}

}  // namespace
}  // namespace vpc::cli
