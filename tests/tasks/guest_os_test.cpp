#include <gtest/gtest.h>

#include "tests/tasks/bridge_machine.h"

namespace vpc::tasks {
namespace {

using std::chrono::milliseconds;
using testing::BridgeMachine;
using Json = nlohmann::json;
using Task = std::shared_ptr<IVMTask>;

constexpr milliseconds kShort{1000};
const std::string kSwitchOff = "\x01";
const std::string kReset = "\x02";

void wait(const Task& task) {
    task->WaitForCompletion(60'000);
    ASSERT_TRUE(task->IsComplete());
}

TEST(GuestOS, ShutsDownThroughTheAgent) {
    BridgeMachine guest;
    Json mode;
    guest.commands["guest-shutdown"] = [&](const Json& arguments) {
        mode = arguments;
        return kSwitchOff;
    };
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Shutdown(false, task), HResult::S_OK);
    EXPECT_EQ(task->Description(), "Shutting down the guest of bridge");
    wait(task);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_EQ(task->PercentCompleted(), 100);
    EXPECT_EQ(guest.machine->State(), VMVMState::TurnedOff);
    EXPECT_EQ(mode, (Json{{"mode", "powerdown"}}));
}

TEST(GuestOS, RestartsThroughTheAgent) {
    BridgeMachine guest;
    Json mode;
    guest.commands["guest-shutdown"] = [&](const Json& arguments) {
        mode = arguments;
        return kReset;
    };
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Restart(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_EQ(guest.machine->State(), VMVMState::Running);
    EXPECT_EQ(mode, (Json{{"mode", "reboot"}}));
    bool beating = false;
    EXPECT_EQ(guest.machine->GuestOS().IsHeartbeating(beating), HResult::S_OK);
    EXPECT_TRUE(beating) << "the agent is there again";
}

TEST(GuestOS, WithoutAnAgentThePowerButtonIsPressed) {
    BridgeMachine guest;
    guest.agent = false;
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Shutdown(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_EQ(guest.machine->State(), VMVMState::TurnedOff);
}

TEST(GuestOS, WithoutAnAgentNothingElseIsPossible) {
    BridgeMachine guest;
    guest.agent = false;
    guest.start();
    GuestOS os = guest.machine->GuestOS();
    Task task;
    ASSERT_EQ(os.Restart(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::VM_E_ADDITIONS_NOT_AVAIL);
    EXPECT_EQ(task->Result(), VMTaskResult::TimeOutError);
    ASSERT_EQ(os.Logoff(task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::VM_E_ADDITIONS_NOT_AVAIL);
    EXPECT_EQ(task->Result(), VMTaskResult::TimeOutError);
    bool beating = true;
    EXPECT_EQ(os.IsHeartbeating(beating), HResult::S_OK);
    EXPECT_FALSE(beating);
    bool can = true;
    EXPECT_EQ(os.CanShutdown(can), HResult::S_OK);
    EXPECT_FALSE(can);
    std::string name;
    EXPECT_EQ(os.ComputerName(name), HResult::VM_E_ADDITIONS_NOT_AVAIL);
}

TEST(GuestOS, AGuestThatDoesNotFollowIsATimeOut) {
    BridgeMachine guest;
    guest.commands["guest-shutdown"] = [](const Json&) { return ""; };
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Shutdown(false, task, kShort), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::VM_E_TIMED_OUT);
    EXPECT_EQ(task->Result(), VMTaskResult::TimeOutError);
    EXPECT_LT(task->PercentCompleted(), 100);
    EXPECT_EQ(guest.machine->State(), VMVMState::Running);
}

TEST(GuestOS, WaitingForTheGuestCanBeCancelledAndAborted) {
    BridgeMachine guest;
    guest.commands["guest-shutdown"] = [](const Json&) { return ""; };
    guest.start();
    GuestOS os = guest.machine->GuestOS();
    Task task;
    ASSERT_EQ(os.Shutdown(false, task), HResult::S_OK);
    ASSERT_TRUE(guest.was_asked("guest-shutdown"));
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(guest.machine->State(), VMVMState::Running);

    Task aborted;
    ASSERT_EQ(os.Shutdown(false, aborted), HResult::S_OK);
    while (aborted->PercentCompleted() < 60) {  // it waits for the guest
        std::this_thread::sleep_for(milliseconds(1));
    }
    ASSERT_EQ(guest.machine->TurnOff(task), HResult::S_OK);
    wait(task);
    wait(aborted);
    EXPECT_EQ(aborted->Result(), VMTaskResult::ShutdownAbort);
    EXPECT_EQ(aborted->Error(), HResult::VM_E_VM_NOT_RUNNING);
}

TEST(GuestOS, ARefusalOfTheAgentIsToldWithItsReason) {
    BridgeMachine guest;
    guest.commands["guest-shutdown"] = BridgeMachine::failing("GenericError", "the reason\nand more");
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Shutdown(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::ERROR_NOT_READY);
    EXPECT_EQ(task->ErrorDescription(), "The device is not ready: the reason and more");
    EXPECT_EQ(guest.machine->State(), VMVMState::Running);
}

TEST(GuestOS, AnAgentThatMayNotShutDownLeavesThePowerButton) {
    BridgeMachine guest;
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Restart(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::VM_E_ADDITIONS_FEATURE_NOT_AVAIL);
    ASSERT_EQ(guest.machine->GuestOS().Shutdown(false, task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_EQ(guest.machine->State(), VMVMState::TurnedOff);
}

TEST(GuestOS, IsForRunningMachinesOnly) {
    BridgeMachine guest;
    guest.start();
    GuestOS os = guest.machine->GuestOS();
    ASSERT_EQ(guest.machine->Pause(), HResult::S_OK);
    Task task;
    bool beating = false;
    EXPECT_EQ(os.Shutdown(false, task), HResult::VM_E_VM_PAUSED);
    ASSERT_EQ(guest.machine->TurnOff(task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(os.Shutdown(false, task), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(os.Restart(true, task), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(os.Logoff(task), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(os.IsHeartbeating(beating), HResult::VM_E_VM_NOT_RUNNING);
}

TEST(GuestOS, LogsOffEverybody) {
    BridgeMachine guest;
    std::vector<std::string> users{"ann", "bob"};
    Json executed;
    guest.commands["guest-get-users"] = [&](const Json&) {
        Json list = Json::array();
        for (const std::string& user : users) {
            list.push_back({{"user", user}, {"login-time", 1.5}});
        }
        return Json{{"return", list}}.dump() + "\n";
    };
    guest.commands["guest-exec"] = [&](const Json& arguments) {
        executed = arguments;
        return std::string("{\"return\":{\"pid\":7}}\n");
    };
    int looks = 0;
    guest.commands["guest-exec-status"] = [&](const Json& arguments) {
        EXPECT_EQ(arguments, (Json{{"pid", 7}}));
        const bool exited = ++looks > 1;
        if (exited) {
            users.pop_back();
        }
        return Json{{"return", {{"exited", exited}}}}.dump() + "\n";
    };
    guest.start();
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Logoff(task, kShort), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Result(), VMTaskResult::TimeOutError);
    EXPECT_EQ(task->ErrorDescription(), "It took too long: 1 of 2 users are still logged on");
    EXPECT_EQ(task->PercentCompleted(), 50);
    EXPECT_EQ(executed["path"], "/bin/sh");
    EXPECT_EQ(executed["arg"][3], "ann");
    EXPECT_EQ(executed["arg"][4], "bob");

    looks = 1;
    ASSERT_EQ(guest.machine->GuestOS().Logoff(task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    ASSERT_EQ(guest.machine->GuestOS().Logoff(task), HResult::S_OK);
    wait(task);
    EXPECT_EQ(task->Error(), HResult::ERROR_NO_SUCH_LOGON_SESSION);
}

TEST(GuestOS, TellsWhatTheAgentTells) {
    BridgeMachine guest;
    guest.commands["guest-info"] = BridgeMachine::returning(
        {{"version", "7.2.0"},
         {"supported_commands",
          {{{"name", "guest-shutdown"}, {"enabled", true}}, {{"name", "guest-exec"}, {"enabled", false}}}}});
    guest.commands["guest-get-host-name"] = BridgeMachine::returning({{"host-name", "den"}});
    guest.commands["guest-get-osinfo"] = BridgeMachine::returning(
        {{"id", "debian"}, {"pretty-name", "Debian GNU/Linux"}, {"version-id", "12"}, {"kernel-release", "6.1"}});
    guest.commands["guest-get-time"] = BridgeMachine::returning(5'000'000'000);
    guest.start();
    const GuestOS os = guest.machine->GuestOS();
    GuestInformation all;
    ASSERT_EQ(os.information(all).error, HResult::S_OK);
    EXPECT_EQ(all.agent_version, "7.2.0");
    EXPECT_EQ(all.commands, (std::vector<std::string>{"guest-shutdown"}));
    EXPECT_EQ(all.computer_name, "den");
    EXPECT_EQ(all.os_name, "Debian GNU/Linux");
    EXPECT_EQ(all.os_version, "12");
    EXPECT_EQ(all.kernel_release, "6.1");
    EXPECT_TRUE(all.users.empty());  // a command that is not there
    EXPECT_EQ(all.unix_time, 5);
    bool can = false;
    EXPECT_EQ(os.CanShutdown(can), HResult::S_OK);
    EXPECT_TRUE(can);
}

TEST(GuestOS, AHeartThatStopsIsNoticedAndTheClockIsSet) {
    BridgeMachine guest;
    std::atomic<bool> alive = true;
    guest.commands["guest-ping"] = [&](const Json&) { return alive ? "{\"return\":{}}\n" : ""; };
    guest.commands["guest-get-time"] = BridgeMachine::returning(900'000'000'000'000'000);
    std::atomic<std::int64_t> set = 0;
    guest.commands["guest-set-time"] = [&](const Json& arguments) {
        set = arguments.value("time", std::int64_t{0});
        return "{\"return\":{}}\n";
    };
    guest.start();
    const GuestOS os = guest.machine->GuestOS();
    EXPECT_TRUE(guest.asked().empty()) << "nothing goes down the cable before somebody asks";
    bool beating = false;
    EXPECT_EQ(os.IsHeartbeating(beating), HResult::S_OK);
    EXPECT_TRUE(beating);
    ASSERT_TRUE(guest.was_asked("guest-set-time"));
    EXPECT_EQ(set, 1'000'000'000'000'000'000);
    std::int32_t percent = 0;
    EXPECT_EQ(os.HeartbeatPercentage(percent), HResult::S_OK);
    EXPECT_EQ(percent, 100);
    alive = false;
    for (int i = 0; i < 1000 && beating; ++i) {
        std::this_thread::sleep_for(milliseconds(10));
        EXPECT_EQ(os.IsHeartbeating(beating), HResult::S_OK);
    }
    EXPECT_FALSE(beating);
    EXPECT_EQ(os.HeartbeatPercentage(percent), HResult::S_OK);
    EXPECT_LT(percent, 100);
}

TEST(GuestOS, SetsTheClockOnlyIfItMay) {
    BridgeMachine guest;
    guest.commands["guest-get-time"] = BridgeMachine::returning(900'000'000'000'000'000);
    guest.commands["guest-set-time"] = BridgeMachine::returning(Json::object());
    bool fails = false;
    std::vector<bool> kept;
    guest.settings.host_time_sync_changed = [&](bool enabled) -> disk::Status {
        if (fails) {
            return disk::fail(disk::ErrorCode::NoSpace, "full");
        }
        kept.push_back(enabled);
        return {};
    };
    guest.start();
    GuestOS os = guest.machine->GuestOS();
    EXPECT_TRUE(os.IsHostTimeSyncEnabled());
    EXPECT_EQ(os.IsHostTimeSyncEnabled(false), HResult::VM_E_PREF_VM_ACTIVE);
    Task task;
    ASSERT_EQ(guest.machine->Save(task), HResult::S_OK);
    wait(task);
    ASSERT_EQ(guest.machine->State(), VMVMState::Saved);
    EXPECT_EQ(os.IsHostTimeSyncEnabled(false), HResult::VM_E_PREF_VM_ACTIVE);
    ASSERT_EQ(guest.machine->DiscardSavedState(), HResult::S_OK);
    fails = true;
    EXPECT_EQ(os.IsHostTimeSyncEnabled(false), HResult::ERROR_DISK_FULL);
    EXPECT_TRUE(os.IsHostTimeSyncEnabled());
    fails = false;
    EXPECT_EQ(os.IsHostTimeSyncEnabled(false), HResult::S_OK);
    EXPECT_FALSE(os.IsHostTimeSyncEnabled());
    EXPECT_EQ(kept, std::vector<bool>{false});
    EXPECT_EQ(guest.machine->State(), VMVMState::TurnedOff);

    guest.start_again();
    bool beating = false;
    EXPECT_EQ(os.IsHeartbeating(beating), HResult::S_OK);
    EXPECT_TRUE(beating);
    EXPECT_TRUE(guest.was_asked("guest-ping", 2)) << "its heart beats";
    const auto asked = guest.asked();
    EXPECT_EQ(std::count(asked.begin(), asked.end(), "guest-get-time"), 0);
}

// What a hostile guest may send: none of it does more than spoil the one answer.
TEST(GuestOS, HostileAnswersHarmNothing) {
    BridgeMachine guest;
    const std::vector<std::string> hostile{
        "nonsense\n",
        "{}\n",
        "[1]\n",
        "\n",
        "{\"return\":" + std::string(5000, '[') + "\n",
        "{\"error\":7}\n",
        "{\"error\":{\"class\":7,\"desc\":[]}}\n",
        "{\"return\":\"\xFE\xFD\"}\n",
        "\xFF\xFF\n",
        "{\"return\":{\"users\":1,\"version\":2,\"supported_commands\":3,\"pid\":\"x\"}}\n",
    };
    std::size_t next = 0;
    const auto answer = [&](const Json&) { return hostile[next % hostile.size()]; };
    for (const char* command :
         {"guest-info", "guest-get-osinfo", "guest-get-host-name", "guest-get-users", "guest-get-time", "guest-exec"}) {
        guest.commands[command] = answer;
    }
    guest.start();
    const GuestOS os = guest.machine->GuestOS();
    for (; next < hostile.size(); ++next) {
        GuestInformation all;
        os.information(all);
        EXPECT_EQ(all.agent_version, "");
    }
    guest.commands["guest-get-users"] = BridgeMachine::returning({{{"user", "ann"}}});
    next = hostile.size() - 1;
    Task task;
    ASSERT_EQ(guest.machine->GuestOS().Logoff(task, kShort), HResult::S_OK);
    wait(task);
    EXPECT_NE(task->Result(), VMTaskResult::Success);
    guest.commands["guest-info"] = BridgeMachine::returning({{"version", "1"}});
    std::string version;
    EXPECT_EQ(os.IntegrationComponentsVersion(version), HResult::S_OK);  // whatever the others talk
    EXPECT_EQ(version, "1");
}

// An answer that never ends costs a limited amount of memory, and the next call works.
TEST(GuestAgent, DropsWhatIsTooLongAndGoesOn) {
    std::string sent;
    GuestAgent* cable = nullptr;
    bool endless = true;
    GuestAgent agent([&] {
        std::array<std::uint8_t, 200> bytes{};
        const std::size_t count = cable->take(bytes);
        sent.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
        const auto send = [&](std::string_view text) {
            for (const char byte : text) {
                cable->receive(static_cast<std::uint8_t>(byte));
            }
        };
        const bool delimited = !sent.empty() && sent[0] == '\xFF';
        const Json message = Json::parse(sent.substr(delimited ? 1 : 0), nullptr, false);
        if (message.value("execute", "") == "guest-sync-delimited") {
            send("left over from somebody before\n{\"return\":1}\n\xFF{\"return\":" +
                 message["arguments"]["id"].dump() + "}\n");
        } else if (endless) {
            send(std::string(3 * GuestAgent::kLongestAnswer, 'x'));
        } else {
            send("{\"return\":42}\n");
        }
    });
    cable = &agent;
    auto answer = agent.call("guest-ping", {}, milliseconds(20));
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().kind, GuestAgent::Error::Kind::Silent);
    endless = false;
    answer = agent.call("guest-ping", {}, milliseconds(60'000));
    ASSERT_TRUE(answer);
    EXPECT_EQ(*answer, 42);
    agent.unplug();
    EXPECT_EQ(agent.call("guest-ping", {}, milliseconds(60'000)).error().kind, GuestAgent::Error::Kind::Unplugged);
}

}  // namespace
}  // namespace vpc::tasks
