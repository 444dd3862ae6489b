// The nine task-returning methods of machines and guests, each in every way that a call can go. Of the sixteen of
// Virtual PC's object model the other seven, those of disks, go through the same in hard_disk_test.cpp (DiskMethod).
//
//   how it goes            test                                  not for
//   success                Succeeds
//   bad argument           (the only one: Startup2's option)     methods without arguments
//   wrong state            IsRefusedInTheWrongState
//   cancelled early        CancelledBeforeItsTurn
//   cancelled late         CancelledAfterItsEnd
//   failure in the middle  FailsInTheMiddle                      Reset and TurnOff without undo disks: nothing can fail
//   wait time-out          WaitsNoLongerThanAsked
//
// Cancelled and failing at particular moments: virtual_machine_test.cpp, machine_undo_test.cpp and guest_os_test.cpp.
#include <gtest/gtest.h>

#include "tests/tasks/bridge_machine.h"
#include "tests/tasks/busy_worker.h"
#include "tests/tasks/counting_machine.h"

namespace vpc::tasks {
namespace {

using enum VMVMState;
using testing::BridgeMachine;
using testing::BusyWorker;
using testing::CountingMachine;
using Json = nlohmann::json;
using Task = std::shared_ptr<IVMTask>;

HResult finish(HResult at_once, const Task& task) {
    if (at_once == HResult::S_OK) {
        task->WaitForCompletion(-1);
        return task->Error();
    }
    return at_once;
}

/// A machine with what it lives in.
class Scene {
  public:
    virtual ~Scene() = default;
    virtual VirtualMachine& machine() = 0;
    virtual Worker& worker() = 0;

    HResult run(HResult (VirtualMachine::*method)(Task&)) {
        Task task;
        return finish((machine().*method)(task), task);
    }
};

class CounterScene final : public Scene {
  public:
    explicit CounterScene(bool undoable = false) {
        counter_.settings.undoable = undoable;
        counter_.settings.undo_disks_changed = [](const UndoDisks&) { return disk::Status(); };
        machine_ = counter_.make();
    }
    VirtualMachine& machine() override { return *machine_; }
    Worker& worker() override { return counter_.worker; }
    CountingMachine& counter() { return counter_; }

  private:
    CountingMachine counter_;
    std::shared_ptr<VirtualMachine> machine_;
};

/// Its agent does what it is asked to, unless it refuses.
class GuestScene final : public Scene {
  public:
    explicit GuestScene(bool refuses = false) {
        const auto power = [](const Json& arguments) {
            return std::string(arguments.value("mode", "") == "reboot" ? "\x02" : "\x01");
        };
        bridge_.commands["guest-shutdown"] = power;
        bridge_.commands["guest-get-users"] = [this](const Json&) {
            const Json users = logged_on_ ? Json::array({{{"user", "ann"}, {"login-time", 1.0}}}) : Json::array();
            return Json{{"return", users}}.dump() + "\n";
        };
        bridge_.commands["guest-exec"] = [this](const Json&) {
            logged_on_ = false;
            return Json{{"return", {{"pid", 7}}}}.dump() + "\n";
        };
        bridge_.commands["guest-exec-status"] = BridgeMachine::returning({{"exited", true}});
        if (refuses) {
            for (const char* command : {"guest-shutdown", "guest-get-users"}) {
                bridge_.commands[command] = BridgeMachine::failing("GenericError", "no");
            }
        }
        bridge_.start();
    }
    VirtualMachine& machine() override { return *bridge_.machine; }
    Worker& worker() override { return bridge_.worker; }

  private:
    bool logged_on_ = true;  // the machine's thread only
    BridgeMachine bridge_;
};

using SceneMaker = std::unique_ptr<Scene> (*)();

struct Subject {
    const char* name;
    HResult (*call)(VirtualMachine&, Task&);
    /// A machine in the state `before`, in which the method is valid and leads to `after`.
    SceneMaker ready;
    VMVMState before;
    VMVMState after;
    bool cancelable;
    /// Brings such a machine into a state in which it is not valid.
    HResult (*spoil)(Scene&);
    HResult refusal;
    /// A machine with which it fails when it has begun, the error, and the state that it leaves; null: it cannot fail.
    SceneMaker failing;
    HResult error;
    VMVMState left;
};

std::unique_ptr<Scene> off() {
    return std::make_unique<CounterScene>();
}
std::unique_ptr<Scene> running() {
    auto scene = std::make_unique<CounterScene>();
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    return scene;
}
std::unique_ptr<Scene> saved() {
    auto scene = running();
    EXPECT_EQ(scene->run(&VirtualMachine::Save), HResult::S_OK);
    return scene;
}
std::unique_ptr<Scene> with_undo_disks() {
    auto scene = std::make_unique<CounterScene>(true);
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(scene->run(&VirtualMachine::TurnOff), HResult::S_OK);
    return scene;
}
std::unique_ptr<Scene> guest() {
    return std::make_unique<GuestScene>();
}
std::unique_ptr<Scene> refusing_guest() {
    return std::make_unique<GuestScene>(true);
}
std::unique_ptr<Scene> without_its_disk() {
    auto scene = std::make_unique<CounterScene>();
    std::filesystem::remove(scene->counter().disk());
    return scene;
}
std::unique_ptr<Scene> saved_and_damaged() {
    auto scene = std::make_unique<CounterScene>();
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(scene->run(&VirtualMachine::Save), HResult::S_OK);
    const auto size = std::filesystem::file_size(scene->counter().settings.saved_state);
    std::filesystem::resize_file(scene->counter().settings.saved_state, size / 2);
    return scene;
}
/// A folder has taken the saved state's place.
std::unique_ptr<Scene> nowhere_to_save() {
    auto scene = std::make_unique<CounterScene>();
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    std::filesystem::create_directory(scene->counter().settings.saved_state);
    return scene;
}
/// Its undo disks are to be committed, and their disk is gone.
std::unique_ptr<Scene> nothing_to_commit_to() {
    auto scene = std::make_unique<CounterScene>(true);
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    scene->machine().UndoAction(VMUndoAction::Commit);
    std::filesystem::remove(scene->counter().disk());
    return scene;
}
std::unique_ptr<Scene> nothing_to_merge_into() {
    auto scene = std::make_unique<CounterScene>(true);
    EXPECT_EQ(scene->run(&VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(scene->run(&VirtualMachine::TurnOff), HResult::S_OK);
    std::filesystem::remove(scene->counter().disk());
    return scene;
}

HResult start_it(Scene& scene) {
    return scene.run(&VirtualMachine::Startup);
}
HResult turn_it_off(Scene& scene) {
    return scene.run(&VirtualMachine::TurnOff);
}

const Subject kSubjects[] = {
    {"Startup", [](VirtualMachine& m, Task& t) { return m.Startup(t); }, off, TurnedOff, Running, true, start_it,
     HResult::VM_E_VM_RUNNING, without_its_disk, HResult::ERROR_FILE_NOT_FOUND, TurnedOff},
    {"StartupOfASavedMachine", [](VirtualMachine& m, Task& t) { return m.Startup(t); }, saved, Saved, Running, true,
     start_it, HResult::VM_E_VM_RUNNING, saved_and_damaged, HResult::VM_E_PREF_SAVED_STATE_BAD_VERSION, Saved},
    {"Startup2", [](VirtualMachine& m, Task& t) { return m.Startup2(VMStartupOption::FixParentTimestampMismatch, t); },
     off, TurnedOff, Running, true, start_it, HResult::VM_E_VM_RUNNING, without_its_disk, HResult::ERROR_FILE_NOT_FOUND,
     TurnedOff},
    {"Save", [](VirtualMachine& m, Task& t) { return m.Save(t); }, running, Running, Saved, true, turn_it_off,
     HResult::VM_E_VM_NOT_RUNNING, nowhere_to_save, HResult::S_OK, Running},
    {"TurnOff", [](VirtualMachine& m, Task& t) { return m.TurnOff(t); }, running, Running, TurnedOff, false,
     turn_it_off, HResult::VM_E_VM_NOT_RUNNING, nothing_to_commit_to, HResult::S_OK, TurnedOff},
    {"Reset", [](VirtualMachine& m, Task& t) { return m.Reset(t); }, running, Running, Running, false, turn_it_off,
     HResult::VM_E_VM_NOT_RUNNING, nullptr, HResult::S_OK, Running},
    {"MergeUndoDisks", [](VirtualMachine& m, Task& t) { return m.MergeUndoDisks(t); }, with_undo_disks, TurnedOff,
     TurnedOff, true, start_it, HResult::VM_E_VM_RUNNING, nothing_to_merge_into, HResult::S_OK, TurnedOff},
    {"Shutdown", [](VirtualMachine& m, Task& t) { return m.GuestOS().Shutdown(false, t); }, guest, Running, TurnedOff,
     true, turn_it_off, HResult::VM_E_VM_NOT_RUNNING, refusing_guest, HResult::ERROR_NOT_READY, Running},
    {"Restart", [](VirtualMachine& m, Task& t) { return m.GuestOS().Restart(false, t); }, guest, Running, Running, true,
     turn_it_off, HResult::VM_E_VM_NOT_RUNNING, refusing_guest, HResult::ERROR_NOT_READY, Running},
    {"Logoff", [](VirtualMachine& m, Task& t) { return m.GuestOS().Logoff(t); }, guest, Running, Running, true,
     turn_it_off, HResult::VM_E_VM_NOT_RUNNING, refusing_guest, HResult::S_OK, Running},
};

class MachineMethod : public ::testing::TestWithParam<Subject> {
  protected:
    HResult call(Scene& scene, Task& task) { return GetParam().call(scene.machine(), task); }
};

TEST_P(MachineMethod, Succeeds) {
    const auto scene = GetParam().ready();
    ASSERT_EQ(scene->machine().State(), GetParam().before);
    Task task;
    ASSERT_EQ(call(*scene, task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), VMTaskResult::Success) << task->ErrorDescription();
    EXPECT_EQ(task->Error(), HResult::S_OK);
    EXPECT_EQ(task->PercentCompleted(), 100);
    EXPECT_FALSE(task->Description().empty());
    EXPECT_EQ(scene->machine().State(), GetParam().after);
}

TEST_P(MachineMethod, IsRefusedInTheWrongState) {
    const auto scene = GetParam().ready();
    ASSERT_EQ(GetParam().spoil(*scene), HResult::S_OK);
    const VMVMState before = scene->machine().State();
    Task task;
    EXPECT_EQ(call(*scene, task), GetParam().refusal);
    EXPECT_EQ(task, nullptr);
    EXPECT_EQ(scene->machine().State(), before);
}

TEST_P(MachineMethod, CancelledBeforeItsTurn) {
    const auto scene = GetParam().ready();
    Task task;
    {
        const BusyWorker busy(scene->worker());
        ASSERT_EQ(call(*scene, task), HResult::S_OK);
        EXPECT_EQ(task->IsCancelable(), GetParam().cancelable);
        EXPECT_EQ(task->Cancel(), GetParam().cancelable ? HResult::S_OK : HResult::E_FAIL);
    }
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Result(), GetParam().cancelable ? VMTaskResult::Cancelled : VMTaskResult::Success);
    EXPECT_EQ(task->Error(), GetParam().cancelable ? HResult::E_ABORT : HResult::S_OK);
    EXPECT_EQ(scene->machine().State(), GetParam().cancelable ? GetParam().before : GetParam().after);
    if (GetParam().cancelable) {
        EXPECT_EQ(finish(call(*scene, task), task), HResult::S_OK) << "it can be done again";
        EXPECT_EQ(scene->machine().State(), GetParam().after);
    }
}

TEST_P(MachineMethod, CancelledAfterItsEnd) {
    const auto scene = GetParam().ready();
    Task task;
    ASSERT_EQ(finish(call(*scene, task), task), HResult::S_OK);
    EXPECT_FALSE(task->IsCancelable());
    EXPECT_EQ(task->Cancel(), HResult::S_FALSE);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
    EXPECT_EQ(scene->machine().State(), GetParam().after);
}

TEST_P(MachineMethod, FailsInTheMiddle) {
    if (GetParam().failing == nullptr) {
        return;
    }
    const auto scene = GetParam().failing();
    Task task;
    ASSERT_EQ(call(*scene, task), HResult::S_OK) << "only the work itself can find out";
    task->WaitForCompletion(-1);
    EXPECT_NE(task->Result(), VMTaskResult::Success);
    EXPECT_NE(task->Result(), VMTaskResult::Cancelled);
    EXPECT_FALSE(succeeded(task->Error()));
    if (GetParam().error != HResult::S_OK) {
        EXPECT_EQ(task->Error(), GetParam().error);
    }
    EXPECT_FALSE(task->ErrorDescription().empty());
    EXPECT_LT(task->PercentCompleted(), 100);
    EXPECT_EQ(scene->machine().State(), GetParam().left);
}

TEST_P(MachineMethod, WaitsNoLongerThanAsked) {
    const auto scene = GetParam().ready();
    Task task;
    {
        const BusyWorker busy(scene->worker());
        ASSERT_EQ(call(*scene, task), HResult::S_OK);
        EXPECT_EQ(task->WaitForCompletion(10), HResult::S_OK);
        EXPECT_FALSE(task->IsComplete());
        EXPECT_EQ(task->Error(), HResult::E_PENDING);
        EXPECT_EQ(task->WaitForCompletion(4'000'001), HResult::E_INVALIDARG);
    }
    task->WaitForCompletion(-1);
    EXPECT_EQ(scene->machine().State(), GetParam().after);
}

INSTANTIATE_TEST_SUITE_P(All, MachineMethod, ::testing::ValuesIn(kSubjects),
                         [](const auto& parameter) { return std::string(parameter.param.name); });

TEST(MachineMethodArguments, Startup2RefusesAnOptionThatDoesNotExist) {
    const auto scene = off();
    Task task;
    EXPECT_EQ(scene->machine().Startup2(static_cast<VMStartupOption>(2), task), HResult::E_INVALIDARG);
    EXPECT_EQ(task, nullptr);
    EXPECT_EQ(scene->machine().State(), TurnedOff);
}

}  // namespace
}  // namespace vpc::tasks
