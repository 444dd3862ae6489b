#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>

#include "disk/block_device.h"
#include "tests/tasks/counting_machine.h"

namespace vpc::tasks {
namespace {

using testing::CountingMachine;
using enum VMVMState;
using States = std::vector<VMVMState>;
using Task = std::shared_ptr<IVMTask>;
using Method = HResult (VirtualMachine::*)(Task&);

/// Calls the method and waits; the error of the method or of its task.
HResult run(const std::shared_ptr<VirtualMachine>& machine, Method method, Task& task) {
    const HResult at_once = (machine.get()->*method)(task);
    if (at_once != HResult::S_OK) {
        return at_once;
    }
    task->WaitForCompletion(-1);
    return task->Error();
}
HResult run(const std::shared_ptr<VirtualMachine>& machine, Method method) {
    Task task;
    return run(machine, method, task);
}

TEST(VirtualMachine, StandsStillBetweenTwoInstructions) {
    CountingMachine counter;
    std::shared_ptr<VirtualMachine> machine;
    std::atomic<int> looks = 0;
    std::size_t sent_at_last_look = 0;
    counter.settings.serial[0] = [&, send = counter.settings.serial[0]](std::uint8_t byte) {
        send(byte);
        if (byte == 99) {
            machine->stand_still();
        }
    };
    counter.settings.last_look = [&](devices::Board&) {
        ++looks;
        sent_at_last_look = counter.sent().size();
    };
    machine = counter.make();
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_TRUE(counter.wait_until_sent(100));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(machine->State(), Running);
    EXPECT_EQ(looks, 0);
    EXPECT_EQ(run(machine, &VirtualMachine::TurnOff), HResult::S_OK);
    EXPECT_EQ(looks, 1);
    EXPECT_EQ(sent_at_last_look, 100u);
    EXPECT_EQ(counter.sent().size(), 100u);
    EXPECT_FALSE(machine->ended_by_itself());
}

TEST(VirtualMachine, PausesResumesAndTurnsOff) {
    CountingMachine counter;
    const auto machine = counter.make();
    EXPECT_EQ(machine->State(), TurnedOff);
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(counter.events(), (States{TurningOn, Running}));
    ASSERT_TRUE(counter.wait_for_bytes(300));

    EXPECT_EQ(machine->Pause(), HResult::S_OK);
    EXPECT_EQ(machine->Pause(), HResult::E_FAIL);
    const std::size_t standing = counter.sent().size();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(counter.sent().size(), standing);
    EXPECT_EQ(machine->Resume(), HResult::S_OK);
    EXPECT_EQ(machine->Resume(), HResult::E_FAIL);
    EXPECT_TRUE(counter.wait_for_bytes(300));
    EXPECT_EQ(counter.events(), (States{Paused, Running}));

    EXPECT_EQ(run(machine, &VirtualMachine::TurnOff), HResult::S_OK);
    EXPECT_EQ(counter.events(), (States{TurningOff, DeleteMachine, TurnedOff}));
    EXPECT_TRUE(counter.counted_right());
    EXPECT_FALSE(machine->post([](devices::Board&) {}));
}

TEST(VirtualMachine, RefusesWhatItsStateDoesNotAllow) {
    CountingMachine counter;
    const auto machine = counter.make();
    std::filesystem::path file;
    for (const Method method : {&VirtualMachine::Save, &VirtualMachine::TurnOff, &VirtualMachine::Reset}) {
        EXPECT_EQ(run(machine, method), HResult::VM_E_VM_NOT_RUNNING);
    }
    EXPECT_EQ(machine->Pause(), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(machine->Resume(), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(machine->DiscardSavedState(), HResult::VM_E_VM_NO_SAVED_STATE);
    EXPECT_EQ(machine->SavedStateFilePath(file), HResult::VM_E_VM_NO_SAVED_STATE);

    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::VM_E_VM_RUNNING);
    EXPECT_EQ(machine->DiscardSavedState(), HResult::VM_E_VM_RUNNING);

    ASSERT_EQ(run(machine, &VirtualMachine::Save), HResult::S_OK);
    for (const Method method : {&VirtualMachine::Save, &VirtualMachine::TurnOff, &VirtualMachine::Reset}) {
        EXPECT_EQ(run(machine, method), HResult::VM_E_VM_NOT_RUNNING);
    }
    EXPECT_EQ(machine->Pause(), HResult::VM_E_VM_NOT_RUNNING);
    EXPECT_EQ(machine->State(), Saved);
}

TEST(VirtualMachine, CannotBeCancelledWhereItMakesNoSense) {
    CountingMachine counter;
    const auto machine = counter.make();
    Task task;
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_EQ(machine->Reset(task), HResult::S_OK);
    EXPECT_NE(task->Cancel(), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
}

// A task that waits for a thread when it is cancelled still has to give the machine back.
TEST(VirtualMachine, ACancelBeforeTheTasksTurnLeavesTheMachineUsable) {
    CountingMachine counter;
    const auto machine = counter.make();
    std::promise<void> gate;
    const std::shared_future<void> open = gate.get_future().share();
    for (std::size_t i = 0; i < Worker::kThreads; ++i) {
        counter.worker.start({}, [open](TaskControl&) {
            open.wait();
            return Outcome{};
        });
    }
    Task task;
    ASSERT_EQ(machine->Startup(task), HResult::S_OK);
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    gate.set_value();
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(machine->State(), TurnedOff);
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
}

TEST(VirtualMachine, ResetStartsTheGuestAgain) {
    CountingMachine counter;
    const auto machine = counter.make();
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_TRUE(counter.wait_for_bytes(10));
    ASSERT_EQ(machine->Pause(), HResult::S_OK);
    const std::size_t before = counter.sent().size();
    counter.events();
    EXPECT_EQ(run(machine, &VirtualMachine::Reset), HResult::S_OK);
    EXPECT_EQ(counter.events(), (States{TurningOff, DeleteMachine, TurningOn, Running}));
    ASSERT_TRUE(counter.wait_for_bytes(300));
    EXPECT_EQ(run(machine, &VirtualMachine::TurnOff), HResult::S_OK);
    EXPECT_TRUE(counter.counted_right(before));
}

TEST(VirtualMachine, GoesOnWhereItWasSaved) {
    CountingMachine counter;
    auto machine = counter.make();
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    counter.events();
    for (int round = 0; round < 10; ++round) {
        ASSERT_TRUE(counter.wait_for_bytes(static_cast<std::size_t>(1 + 37 * round)));
        if (round % 3 == 2) {
            ASSERT_EQ(machine->Pause(), HResult::S_OK);
            counter.events();
        }
        Task task;
        ASSERT_EQ(run(machine, &VirtualMachine::Save, task), HResult::S_OK);
        EXPECT_EQ(task->PercentCompleted(), 100);
        EXPECT_EQ(counter.events(), (States{Saving, TurningOff, DeleteMachine, Saved}));
        EXPECT_TRUE(std::filesystem::exists(counter.settings.saved_state));
        if (round % 2 == 0) {
            machine = counter.make();  // as another process would
            EXPECT_EQ(machine->State(), Saved);
        }
        ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
        EXPECT_EQ(counter.events(), (States{TurningOn, Restoring, Running}));
        EXPECT_FALSE(std::filesystem::exists(counter.settings.saved_state));
    }
    ASSERT_TRUE(counter.wait_for_bytes(300));
    EXPECT_EQ(run(machine, &VirtualMachine::TurnOff), HResult::S_OK);
    EXPECT_TRUE(counter.counted_right());
}

TEST(VirtualMachine, ACancelledSaveRunsOn) {
    CountingMachine counter;
    counter.settings.memory = 256;
    const auto machine = counter.make();
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    // Something to write, so that the cancel comes in the middle.
    machine->post([](devices::Board& board) {
        for (std::size_t i = 0x200000; i < 0x8000000; ++i) {
            board.memory().ram()[i] = static_cast<std::uint8_t>(i * 2654435761u >> 16);
        }
    });
    ASSERT_TRUE(counter.wait_for_bytes(10));
    counter.events();
    Task task;
    std::promise<void> reached;
    std::promise<void> cancelled;
    ASSERT_EQ(machine->Save(task), HResult::S_OK);
    task->OnProgress([&, stands = false](std::int32_t) mutable {
        if (!std::exchange(stands, true)) {
            reached.set_value();
            cancelled.get_future().wait();
        }
    });
    reached.get_future().wait();
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    cancelled.set_value();
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    const States events = counter.events();
    EXPECT_EQ(events, (States{Saving, Running}));
    EXPECT_FALSE(std::filesystem::exists(counter.settings.saved_state));
    EXPECT_TRUE(counter.wait_for_bytes(300));
    EXPECT_EQ(run(machine, &VirtualMachine::TurnOff), HResult::S_OK);
    EXPECT_TRUE(counter.counted_right());
}

TEST(VirtualMachine, AFailedSaveRunsOn) {
    CountingMachine counter;
    counter.settings.saved_state = counter.folder / "missing" / "counter.vsv";
    const auto machine = counter.make();
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    Task task;
    EXPECT_EQ(run(machine, &VirtualMachine::Save, task), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_NE(task->ErrorDescription().find("missing"), std::string::npos) << task->ErrorDescription();
    EXPECT_EQ(machine->State(), Running);
    EXPECT_TRUE(counter.wait_for_bytes(300));
    EXPECT_TRUE(counter.counted_right());
}

TEST(VirtualMachine, ReportsDisksThatCannotBeOpened) {
    CountingMachine counter;
    const auto machine = counter.make();
    Task task;
    {
        const auto other = disk::open_image(counter.disk(), disk::OpenMode::ReadWrite);
        ASSERT_TRUE(other);
        EXPECT_EQ(run(machine, &VirtualMachine::Startup, task), HResult::ERROR_SHARING_VIOLATION);
        EXPECT_EQ(counter.events(), (States{TurningOn, TurningOff, TurnedOff}));
    }
    std::filesystem::remove(counter.disk());
    EXPECT_EQ(run(machine, &VirtualMachine::Startup, task), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(machine->State(), TurnedOff);
}

class SavedMachine : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto machine = counter.make();
        ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
        ASSERT_TRUE(counter.wait_for_bytes(20));
        ASSERT_EQ(run(machine, &VirtualMachine::Save), HResult::S_OK);
        saved_at = counter.sent().size();
    }
    /// Why a start is refused; the state has to be still there.
    std::string refusal() {
        const auto machine = counter.make();
        Task task;
        if (run(machine, &VirtualMachine::Startup, task) == HResult::S_OK) {
            return "it was not";
        }
        EXPECT_EQ(task->Result(), VMTaskResult::IncompatibleSavedStateError);
        EXPECT_EQ(task->Error(), HResult::VM_E_PREF_SAVED_STATE_BAD_VERSION);
        EXPECT_EQ(machine->State(), Saved);
        EXPECT_TRUE(std::filesystem::exists(counter.settings.saved_state));
        return task->ErrorDescription();
    }
    CountingMachine counter;
    std::size_t saved_at = 0;
};

TEST_F(SavedMachine, IsNotResumedOnAChangedDisk) {
    {
        auto image = disk::open_image(counter.disk(), disk::OpenMode::ReadWrite);
        ASSERT_TRUE(image);
        std::vector<std::uint8_t> sector(512, 1);
        ASSERT_TRUE((*image)->write(7, disk::ConstBuffer(sector)));
    }
    EXPECT_NE(refusal().find("was changed after the machine was saved"), std::string::npos);
}

TEST_F(SavedMachine, IsNotResumedInAnotherMachine) {
    counter.settings.memory = 8;
    EXPECT_NE(refusal().find("had 4 MiB of memory when it was saved and has 8 now"), std::string::npos);
    counter.settings.memory = 4;
    counter.settings.bios[100] ^= 1;
    EXPECT_NE(refusal().find("firmware"), std::string::npos);
    counter.settings.bios[100] ^= 1;
    counter.settings.disks[1] = counter.settings.disks[0];
    std::swap(counter.settings.disks[0], counter.settings.disks[2]);
    counter.settings.disks[1].clear();
    EXPECT_NE(refusal().find("hda: there was a disk"), std::string::npos);
    std::swap(counter.settings.disks[0], counter.settings.disks[2]);
    EXPECT_EQ(run(counter.make(), &VirtualMachine::Startup), HResult::S_OK);
}

TEST_F(SavedMachine, IsResumedUnharmedOrNotAtAllFromADamagedFile) {
    const auto whole = disk::testing::TemporaryFolder::read(counter.settings.saved_state);
    const auto store = [&](const std::vector<std::uint8_t>& bytes) {
        std::ofstream(counter.settings.saved_state, std::ios::binary | std::ios::trunc)
            .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    for (const std::size_t size : {std::size_t{0}, std::size_t{10}, whole.size() / 2, whole.size() - 1}) {
        store({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)});
        EXPECT_NE(refusal(), "it was not") << size;
    }
    int unharmed = 0;
    for (std::size_t position = 0; position < whole.size(); position += 1 + whole.size() / 60) {
        std::vector<std::uint8_t> damaged = whole;
        damaged[position] ^= 0x10;
        store(damaged);
        // Some bits of a compressed frame do not matter, such as those of the window size. Then nothing is damaged.
        const std::size_t before = counter.sent().size();
        const auto machine = counter.make();
        Task task;
        if (run(machine, &VirtualMachine::Startup, task) == HResult::S_OK) {
            ++unharmed;
            EXPECT_TRUE(counter.wait_for_bytes(20));
            run(machine, &VirtualMachine::TurnOff);
            EXPECT_TRUE(counter.counted_right(before, saved_at)) << position;
        } else {
            EXPECT_EQ(task->Result(), VMTaskResult::IncompatibleSavedStateError) << position;
        }
    }
    EXPECT_LT(unharmed, 6);
    store(whole);
    EXPECT_EQ(run(counter.make(), &VirtualMachine::Startup), HResult::S_OK);
}

TEST_F(SavedMachine, CanBeDiscarded) {
    const auto machine = counter.make();
    std::filesystem::path file;
    EXPECT_EQ(machine->SavedStateFilePath(file), HResult::S_OK);
    EXPECT_EQ(file, counter.settings.saved_state);
    EXPECT_EQ(machine->DiscardSavedState(), HResult::S_OK);
    EXPECT_EQ(machine->State(), TurnedOff);
    EXPECT_FALSE(std::filesystem::exists(file));
    const std::size_t before = counter.sent().size();
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_TRUE(counter.wait_for_bytes(20));
    EXPECT_TRUE(counter.counted_right(before));  // a cold start
}

/// Makes the work of a machine's task stand still where it reaches a state for the first time.
class Stop {
  public:
    explicit Stop(VMVMState at) : at_(at) {}
    std::function<void(VMVMState)> listener() {
        return [this](VMVMState state) {
            if (state == at_ && !std::exchange(reached_once_, true)) {
                reached_.set_value();
                go_on_.get_future().wait();
            }
        };
    }
    void wait() { reached_.get_future().wait(); }
    void go_on() { go_on_.set_value(); }

  private:
    const VMVMState at_;
    bool reached_once_ = false;
    std::promise<void> reached_;
    std::promise<void> go_on_;
};

TEST_F(SavedMachine, AStartThatIsCancelledStaysSaved) {
    const auto machine = counter.make();
    Stop stop(Restoring);
    machine->OnStateChange(stop.listener());
    Task task;
    ASSERT_EQ(machine->Startup(task), HResult::S_OK);
    stop.wait();
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    stop.go_on();
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(machine->State(), Saved);
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_TRUE(counter.wait_for_bytes(300));
    EXPECT_TRUE(counter.counted_right());
}

TEST_F(SavedMachine, AStartCannotBeCancelledOnceTheGuestIsToRun) {
    const auto machine = counter.make();
    Stop stop(Running);
    machine->OnStateChange(stop.listener());
    Task task;
    ASSERT_EQ(machine->Startup(task), HResult::S_OK);
    stop.wait();
    EXPECT_EQ(task->Cancel(), HResult::E_FAIL);
    EXPECT_FALSE(task->IsCancelable());
    stop.go_on();
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
    EXPECT_EQ(machine->State(), Running);
    ASSERT_TRUE(counter.wait_for_bytes(300));
    EXPECT_TRUE(counter.counted_right());
}

TEST_F(SavedMachine, ASaveCannotBeCancelledOnceTheMachineGoesDown) {
    const auto machine = counter.make();
    Stop stop(TurningOff);
    machine->OnStateChange(stop.listener());
    ASSERT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    Task task;
    ASSERT_EQ(machine->Save(task), HResult::S_OK);
    stop.wait();
    EXPECT_EQ(task->Cancel(), HResult::E_FAIL);
    stop.go_on();
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
    EXPECT_EQ(machine->State(), Saved);
    EXPECT_EQ(run(machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_TRUE(counter.wait_for_bytes(300));
    EXPECT_TRUE(counter.counted_right());
}

// Everybody presses every button; the machine's states stay those of one machine.
TEST(VirtualMachine, IsPressedFromManyThreads) {
    CountingMachine counter;
    const auto machine = counter.make();
    std::vector<std::thread> threads;
    for (unsigned seed = 0; seed < 4; ++seed) {
        threads.emplace_back([&, seed] {
            constexpr Method kMethods[] = {&VirtualMachine::Startup, &VirtualMachine::Save, &VirtualMachine::TurnOff,
                                           &VirtualMachine::Reset};
            for (unsigned i = 0; i < 12; ++i) {
                const unsigned choice = (seed * 7 + i * 5) % 7;
                if (choice < 4) {
                    run(machine, kMethods[choice]);
                } else if (choice == 4) {
                    machine->Pause();
                } else if (choice == 5) {
                    machine->Resume();
                } else {
                    run(machine, &VirtualMachine::Startup);
                }
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    const States legal_rests{TurnedOff, Saved, Running, Paused};
    EXPECT_NE(std::find(legal_rests.begin(), legal_rests.end(), machine->State()), legal_rests.end());
    const States events = counter.events();
    for (std::size_t i = 1; i < events.size(); ++i) {
        EXPECT_FALSE(events[i] == Restoring && events[i - 1] != TurningOn) << i;
        EXPECT_FALSE(events[i] == DeleteMachine && events[i - 1] != TurningOff) << i;
        EXPECT_FALSE(events[i] == Saving && events[i - 1] != Running && events[i - 1] != Paused) << i;
    }
}

}  // namespace
}  // namespace vpc::tasks
