// `vpc run NAME`: a registered machine in the foreground is the same machine as one that was started.
#include "tests/cli/controlled_machine.h"

namespace vpc::cli {
namespace {

using vpc::testing::Ran;

class ForegroundMachine : public testing::ControlledMachine {
  protected:
    /// Begins `vpc run a`; what it prints goes to a file.
    void run(const std::string& arguments = {}) const {
        in_folder("(" VPC_PROGRAM " run a --headless --time-limit 120 --stats " + arguments +
                  "; echo status $?) > run.out 2>&1 &");
        // A machine that another process has is called running before it can be asked.
        for (int i = 0; i < 1000; ++i) {
            const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
            if (tasks.is_array() && !tasks.empty() && tasks[0]["complete"] == true) {
                return;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        FAIL() << in_folder("cat run.out").output;
    }
    /// What it printed, once it has ended.
    std::string output() const {
        std::string text;
        for (int i = 0; i < 6000 && text.find("status ") == std::string::npos; ++i) {
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
            text = in_folder("cat run.out").output;
        }
        return text;
    }
    bool ended(const std::string& how, int status = 0) const {
        const std::string text = output();
        return text.find(R"("ended_by":")" + how + '"') != std::string::npos &&
               text.find("status " + std::to_string(status)) != std::string::npos;
    }
    std::string undo_disk() const {
        return nlohmann::json::parse(vpc("show a --json").output)["undo_disks"][0].get<std::string>();
    }
};

TEST_F(ForegroundMachine, IsControlledByOtherProcesses) {
    run();
    wait_for_guest();
    EXPECT_EQ(vpc("type a hello").status, 0);
    EXPECT_TRUE(logs("hello"));
    EXPECT_EQ(vpc("pause a").status, 0);
    EXPECT_EQ(state(), "paused");
    EXPECT_EQ(vpc("screenshot a paused.png").status, 0);
    EXPECT_EQ(vpc("resume a").status, 0);
    EXPECT_EQ(vpc("reset a").status, 0);
    const auto tasks = nlohmann::json::parse(vpc("tasks --json").output, nullptr, false);
    ASSERT_EQ(tasks.size(), 2u);
    EXPECT_EQ(tasks[0]["description"], "Starting a");
    EXPECT_EQ(tasks[1]["description"], "Resetting a");
    EXPECT_EQ(vpc("turnoff a").status, 0);
    EXPECT_EQ(state(), "turned_off");
    EXPECT_TRUE(ended("turned off")) << output();
}

TEST_F(ForegroundMachine, IsSavedAndGoesOn) {
    run();
    wait_for_guest();
    EXPECT_EQ(vpc("save a").status, 0);
    EXPECT_TRUE(ended("saved")) << output();
    EXPECT_EQ(state(), "saved");
    run("--until-serial 'on$'");
    EXPECT_EQ(vpc("type a 'goes on'").status, 0);
    EXPECT_TRUE(ended("serial match")) << output();
    EXPECT_EQ(log(), "goes on") << "the guest did not boot again, whose BIOS says nothing but drops keys";
    EXPECT_EQ(state(), "turned_off");
}

TEST_F(ForegroundMachine, IsNotSavedWhenItsChangesAreThrownAway) {
    run();
    wait_for_guest();
    EXPECT_EQ(vpc("save a").status, 0);
    EXPECT_TRUE(ended("saved")) << output();
    run("--undo");
    EXPECT_EQ(vpc("type a yes").status, 0);
    EXPECT_TRUE(logs("yes"));
    const Ran ran = vpc("save a");
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.output, "vpc: a: it is not saved, since its changes are to be thrown away; 'vpc turnoff' ends it\n");
    EXPECT_EQ(vpc("turnoff a").status, 0);
    EXPECT_TRUE(ended("turned off")) << output();
    EXPECT_EQ(state(), "saved") << "as before";
}

TEST_F(ForegroundMachine, UsesItsUndoDisks) {
    ASSERT_EQ(vpc("set a --undo true").status, 0);
    EXPECT_EQ(vpc("run a --headless --undo --time-limit 0.1").status, 124);
    EXPECT_EQ(undo_disk(), "") << "none is begun for changes that are thrown away";
    EXPECT_EQ(vpc("run a --headless --time-limit 0.1").status, 124);
    const std::string kept = undo_disk();
    EXPECT_TRUE(std::filesystem::exists(kept)) << kept;
    run();
    EXPECT_EQ(undo_disk(), kept);
    EXPECT_EQ(vpc("turnoff a --undo commit").status, 0);
    EXPECT_TRUE(ended("turned off")) << output();
    EXPECT_EQ(undo_disk(), "");
    EXPECT_FALSE(std::filesystem::exists(kept));
}

TEST_F(ForegroundMachine, SaysWhichTerminalItsPortIs) {
    const Ran ran = vpc("run a --headless --serial null --serial pty --time-limit 0.1");
    EXPECT_EQ(ran.status, 124);
    EXPECT_NE(ran.output.find("vpc: COM2 is /dev/pts/"), std::string::npos) << ran.output;
}

TEST_F(ForegroundMachine, ASavedStateThatDoesNotFitIsRefusedInOneLine) {
    run();
    EXPECT_EQ(vpc("save a").status, 0);
    EXPECT_TRUE(ended("saved")) << output();
    const Ran ran = vpc("run a --headless --memory 32");
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.output.find("memory"), std::string::npos) << ran.output;
    EXPECT_EQ(std::count(ran.output.begin(), ran.output.end(), '\n'), 1) << ran.output;
    EXPECT_EQ(state(), "saved");
}

}  // namespace
}  // namespace vpc::cli
