#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tasks/task_collection.h"
#include "tasks/worker.h"

namespace vpc::tasks {
namespace {

using std::chrono::milliseconds;

const TaskTraits kCompact{.kind = TaskKind::Compact, .subject = "disk.vhd"};
constexpr std::int32_t kForEver = -1;

Outcome wait_for_stop(TaskControl& control) {
    while (!control.stop().stop_requested()) {
        std::this_thread::sleep_for(milliseconds(1));
    }
    return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
}

/// Lets the test decide when the work goes on.
struct Gate {
    std::promise<void> opened;
    std::shared_future<void> open = opened.get_future().share();
};

TEST(Task, ReportsSuccess) {
    Worker worker;
    const auto task = worker.start(kCompact, [](TaskControl&) { return Outcome{}; });
    EXPECT_EQ(task->WaitForCompletion(kForEver), HResult::S_OK);
    EXPECT_TRUE(task->IsComplete());
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
    EXPECT_EQ(task->Error(), HResult::S_OK);
    EXPECT_EQ(task->ErrorDescription(), "");
    EXPECT_EQ(task->PercentCompleted(), 100);
    EXPECT_FALSE(task->IsCancelable());
    EXPECT_EQ(task->Cancel(), HResult::S_FALSE);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
}

TEST(Task, IsPendingUntilItsWorkEnds) {
    Worker worker;
    Gate gate;
    const auto task = worker.start(kCompact, [open = gate.open](TaskControl&) {
        open.wait();
        return Outcome{};
    });
    EXPECT_EQ(task->WaitForCompletion(0), HResult::S_OK);
    EXPECT_EQ(task->WaitForCompletion(5), HResult::S_OK);
    EXPECT_FALSE(task->IsComplete());
    EXPECT_TRUE(task->IsCancelable());
    EXPECT_EQ(task->Error(), HResult::E_PENDING);
    EXPECT_EQ(task->Result(), VMTaskResult::UnexpectedError);
    EXPECT_EQ(task->PercentCompleted(), 0);
    gate.opened.set_value();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Error(), HResult::S_OK);
}

TEST(Task, RefusesWaitsOutsideTheDocumentedRange) {
    Worker worker;
    const auto task = worker.start(kCompact, [](TaskControl&) { return Outcome{}; });
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->WaitForCompletion(-2), HResult::E_INVALIDARG);
    EXPECT_EQ(task->WaitForCompletion(4'000'001), HResult::E_INVALIDARG);
    EXPECT_EQ(task->WaitForCompletion(4'000'000), HResult::S_OK);
    EXPECT_EQ(task->WaitForCompletion(0), HResult::S_OK);
}

TEST(Task, CancelStopsTheWork) {
    Worker worker;
    const auto task = worker.start(kCompact, wait_for_stop);
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(task->Error(), HResult::E_ABORT);
    EXPECT_EQ(task->ErrorDescription(), "Cancelled");
    EXPECT_LT(task->PercentCompleted(), 100);
}

TEST(Task, ThatCannotBeCancelledSaysSo) {
    Worker worker;
    Gate gate;
    TaskTraits traits = kCompact;
    traits.cancelable = false;
    const auto task = worker.start(traits, [open = gate.open](TaskControl& control) {
        open.wait();
        return control.stop().stop_requested() ? Outcome{HResult::E_ABORT, VMTaskResult::Cancelled, {}} : Outcome{};
    });
    EXPECT_FALSE(task->IsCancelable());
    EXPECT_EQ(task->Cancel(), HResult::E_FAIL);
    gate.opened.set_value();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
}

TEST(Task, CannotBeCancelledPastItsPointOfNoReturn) {
    Worker worker;
    Gate gate;
    std::promise<bool> committed;
    const auto task = worker.start(kCompact, [&, open = gate.open](TaskControl& control) {
        committed.set_value(control.commit());
        open.wait();
        return Outcome{};
    });
    EXPECT_TRUE(committed.get_future().get());
    EXPECT_FALSE(task->IsCancelable());
    EXPECT_EQ(task->Cancel(), HResult::E_FAIL);
    gate.opened.set_value();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Result(), VMTaskResult::Success);
}

TEST(Task, ACancelBeforeThePointOfNoReturnWins) {
    Worker worker;
    Gate gate;
    std::promise<void> begun;
    const auto task = worker.start(kCompact, [&, open = gate.open](TaskControl& control) {
        begun.set_value();
        open.wait();
        return control.commit() ? Outcome{} : Outcome{HResult::E_ABORT, VMTaskResult::Cancelled, {}};
    });
    begun.get_future().wait();
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    gate.opened.set_value();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
}

TEST(Task, CancelledBeforeItsTurnEndsAtOnceAndNeverBegins) {
    Worker worker;
    Gate gate;
    std::vector<std::shared_ptr<IVMTask>> busy;
    for (std::size_t i = 0; i < Worker::kThreads; ++i) {
        busy.push_back(worker.start(kCompact, [open = gate.open](TaskControl&) {
            open.wait();
            return Outcome{};
        }));
    }
    std::atomic<bool> begun = false;
    const auto task = worker.start(kCompact, [&](TaskControl&) {
        begun = true;
        return Outcome{};
    });
    EXPECT_EQ(task->Cancel(), HResult::S_OK);
    EXPECT_TRUE(task->IsComplete());
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    gate.opened.set_value();
    for (const auto& other : busy) {
        other->WaitForCompletion(kForEver);
    }
    worker.shut_down();
    EXPECT_FALSE(begun);
}

TEST(Task, PercentNeverFallsAndLeaves100ToSuccess) {
    Worker worker;
    std::vector<std::int32_t> seen;
    std::promise<std::shared_ptr<IVMTask>> self;
    const auto task = worker.start(kCompact, [&](TaskControl& control) {
        const auto me = self.get_future().get();
        for (const auto& [done, total] :
             {std::pair{0u, 0u}, {10u, 100u}, {10u, 200u}, {50u, 100u}, {100u, 100u}, {9u, 3u}}) {
            control.progress(done, total);
            seen.push_back(me->PercentCompleted());
        }
        return Outcome{HResult::ERROR_DISK_FULL, VMTaskResult::DiskRelatedError, {}};
    });
    self.set_value(task);
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(seen, (std::vector<std::int32_t>{0, 10, 10, 50, 99, 99}));
    EXPECT_EQ(task->PercentCompleted(), 99);
}

TEST(Task, TellsOfProgressOnTheThreadThatWorks) {
    Worker worker;
    Gate gate;
    std::vector<std::int32_t> told;
    std::thread::id teller;
    std::thread::id working;
    const auto task = worker.start(kCompact, [&, open = gate.open](TaskControl& control) {
        open.wait();
        working = std::this_thread::get_id();
        for (const std::uint64_t done : {10u, 10u, 5u, 60u}) {
            control.progress(done, 100);
        }
        return Outcome{};
    });
    task->OnProgress([&](std::int32_t percent) {
        teller = std::this_thread::get_id();
        told.push_back(percent);
    });
    gate.opened.set_value();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(told, (std::vector<std::int32_t>{10, 60}));
    EXPECT_EQ(teller, working);
}

TEST(Task, ExceptionsOfTheWorkBecomeResults) {
    Worker worker;
    const auto memory = worker.start(kCompact, [](TaskControl&) -> Outcome { throw std::bad_alloc(); });
    const auto crash = worker.start(kCompact, [](TaskControl&) -> Outcome { throw std::runtime_error("the reason"); });
    const auto strange = worker.start(kCompact, [](TaskControl&) -> Outcome { throw 7; });
    for (const auto& task : {memory, crash, strange}) {
        task->WaitForCompletion(kForEver);
    }
    EXPECT_EQ(memory->Result(), VMTaskResult::OutOfMemoryError);
    EXPECT_EQ(memory->Error(), HResult::E_OUTOFMEMORY);
    EXPECT_EQ(crash->Result(), VMTaskResult::ThreadCrashError);
    EXPECT_EQ(crash->ErrorDescription(), "An unexpected error: the reason");
    EXPECT_EQ(strange->Result(), VMTaskResult::ThreadCrashError);
}

TEST(Task, SpeaksEnglishAndGerman) {
    Worker worker;
    TaskTraits traits = kCompact;
    traits.language = Language::German;
    const auto task = worker.start(traits, [](TaskControl&) {
        return Outcome{HResult::ERROR_DISK_FULL, VMTaskResult::DiskRelatedError, "disk.vhd: no space left"};
    });
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Description(), "disk.vhd wird komprimiert");
    EXPECT_EQ(task->Description(Language::English), "Compacting disk.vhd");
    EXPECT_EQ(task->ErrorDescription(), "Der Datenträger des Wirts ist voll: disk.vhd: no space left");
    EXPECT_EQ(task->ErrorDescription(Language::English), "The host's disk is full: disk.vhd: no space left");
}

TEST(Task, CallsBackOnceAtTheEndOrAtOnce) {
    Worker worker;
    Gate gate;
    const auto task = worker.start(kCompact, [open = gate.open](TaskControl&) {
        open.wait();
        return Outcome{};
    });
    std::vector<int> calls;
    std::promise<void> called;
    task->OnCompletion([&](IVMTask& ended) {
        EXPECT_TRUE(ended.IsComplete());
        calls.push_back(1);
    });
    task->OnCompletion([&](IVMTask&) {
        calls.push_back(2);
        called.set_value();
    });
    gate.opened.set_value();
    called.get_future().wait();
    task->OnCompletion([&](IVMTask&) { calls.push_back(3); });
    EXPECT_EQ(calls, (std::vector<int>{1, 2, 3}));
}

TEST(Task, LetsGoOfItsWorkAtTheEnd) {
    Worker worker;
    auto file = std::make_shared<int>(1);
    const std::weak_ptr<int> watch = file;
    const auto task = worker.start(kCompact, [file = std::move(file)](TaskControl&) { return Outcome{}; });
    task->WaitForCompletion(kForEver);
    EXPECT_TRUE(watch.expired());
}

TEST(Worker, ShuttingDownCancelsAndWaitsAndThenRefuses) {
    Worker worker;
    std::vector<std::shared_ptr<IVMTask>> tasks;
    for (std::size_t i = 0; i < 3 * Worker::kThreads; ++i) {
        tasks.push_back(worker.start(kCompact, wait_for_stop));
    }
    worker.shut_down();
    for (const auto& task : tasks) {
        EXPECT_TRUE(task->IsComplete());
        EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    }
    EXPECT_EQ(worker.start(kCompact, wait_for_stop), nullptr);
}

TEST(Worker, TasksOutliveIt) {
    std::shared_ptr<IVMTask> task;
    {
        Worker worker;
        task = worker.start(kCompact, wait_for_stop);
    }
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
}

TEST(TaskCollection, CountsFromOneAndKeepsTheLastFinished) {
    Worker worker;
    TaskCollection tasks;
    Gate gate;
    const auto running = worker.start(kCompact, [open = gate.open](TaskControl&) {
        open.wait();
        return Outcome{};
    });
    tasks.add(running);
    std::vector<std::shared_ptr<IVMTask>> finished;
    for (std::size_t i = 0; i < TaskCollection::kFinishedKept + 3; ++i) {
        finished.push_back(worker.start(kCompact, [](TaskControl&) { return Outcome{}; }));
        finished.back()->WaitForCompletion(kForEver);
        tasks.add(finished.back());
    }
    EXPECT_EQ(tasks.Count(), static_cast<std::int32_t>(TaskCollection::kFinishedKept) + 1);
    std::shared_ptr<IVMTask> item;
    EXPECT_EQ(tasks.Item(1, item), HResult::S_OK);
    EXPECT_EQ(item, running);
    EXPECT_EQ(tasks.Item(2, item), HResult::S_OK);
    EXPECT_EQ(item, finished[3]);
    EXPECT_EQ(tasks.Item(tasks.Count(), item), HResult::S_OK);
    EXPECT_EQ(item, finished.back());
    EXPECT_EQ(tasks.Item(0, item), HResult::DISP_E_BADINDEX);
    EXPECT_EQ(tasks.Item(tasks.Count() + 1, item), HResult::DISP_E_BADINDEX);
    gate.opened.set_value();
}

// Every thread makes tasks, cancels some of its own and its neighbours', and waits for all of them.
TEST(Task, AThousandFromEightThreads) {
    constexpr std::size_t kMakers = 8;
    constexpr std::size_t kEach = 125;
    Worker worker;
    TaskCollection collection;
    std::atomic<std::int32_t> callbacks = 0;
    std::atomic<std::int32_t> wrong = 0;
    std::vector<std::vector<std::shared_ptr<IVMTask>>> tasks(kMakers);
    std::vector<std::thread> makers;
    for (std::size_t maker = 0; maker < kMakers; ++maker) {
        makers.emplace_back([&, maker] {
            for (std::size_t i = 0; i < kEach; ++i) {
                const bool endless = i % 3 == 0;
                auto task = worker.start(kCompact, [endless](TaskControl& control) {
                    for (std::uint64_t step = 0; endless || step < 20; ++step) {
                        if (control.stop().stop_requested()) {
                            return Outcome{HResult::E_ABORT, VMTaskResult::Cancelled, {}};
                        }
                        control.progress(step, 20);
                        std::this_thread::yield();
                    }
                    return Outcome{};
                });
                task->OnCompletion([&](IVMTask&) { ++callbacks; });
                collection.add(task);
                if (endless || i % 5 == 0) {
                    task->Cancel();
                }
                std::shared_ptr<IVMTask> somebodys;
                if (i % 7 == 0 && collection.Item(static_cast<std::int32_t>(1 + i % 4), somebodys) == HResult::S_OK) {
                    somebodys->Cancel();
                    somebodys->WaitForCompletion(kForEver);
                }
                tasks[maker].push_back(std::move(task));
            }
            std::int32_t last_id = 0;
            for (std::size_t i = 0; i < kEach; ++i) {
                IVMTask& task = *tasks[maker][i];
                task.WaitForCompletion(kForEver);
                const bool may_be_whole = i % 3 != 0;
                const bool consistent = task.Result() == VMTaskResult::Success
                                            ? may_be_whole && task.PercentCompleted() == 100
                                            : task.Result() == VMTaskResult::Cancelled && task.PercentCompleted() < 100;
                wrong += consistent && task.ID() > last_id ? 0 : 1;
                last_id = task.ID();
            }
        });
    }
    for (std::thread& maker : makers) {
        maker.join();
    }
    worker.shut_down();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(callbacks, static_cast<std::int32_t>(kMakers * kEach));
    EXPECT_LE(collection.Count(), static_cast<std::int32_t>(TaskCollection::kFinishedKept));
}

TEST(Worker, DiskOperationsBecomeTasks) {
    Worker worker;
    std::promise<void> half;
    const auto task = worker.start(kCompact, disk_work([&](const disk::Operation& operation) -> disk::Status {
                                       operation.progress({.done = 50, .total = 100});
                                       half.set_value();
                                       while (!operation.stop.stop_requested()) {
                                           std::this_thread::yield();
                                       }
                                       return disk::fail(disk::ErrorCode::Cancelled, "stopped");
                                   }));
    half.get_future().wait();
    EXPECT_EQ(task->PercentCompleted(), 50);
    task->Cancel();
    task->WaitForCompletion(kForEver);
    EXPECT_EQ(task->Result(), VMTaskResult::Cancelled);
    EXPECT_EQ(task->PercentCompleted(), 50);
}

TEST(Worker, DiskErrorsHaveVirtualPcsCodes) {
    using disk::ErrorCode;
    struct Case {
        ErrorCode code;
        HResult error;
        VMTaskResult result;
    };
    for (const Case& expected : {
             Case{ErrorCode::NotFound, HResult::ERROR_FILE_NOT_FOUND, VMTaskResult::UnexpectedError},
             Case{ErrorCode::AccessDenied, HResult::ERROR_ACCESS_DENIED, VMTaskResult::UnexpectedError},
             Case{ErrorCode::ReadOnly, HResult::VM_E_FILE_READ_ONLY, VMTaskResult::UnexpectedError},
             Case{ErrorCode::InUse, HResult::ERROR_SHARING_VIOLATION, VMTaskResult::UnexpectedError},
             Case{ErrorCode::Corrupt, HResult::VM_E_INVALID_HD_FILE, VMTaskResult::UnexpectedError},
             Case{ErrorCode::ParentMismatch, HResult::VM_E_PARENT_CHILD_ID_MISMATCH, VMTaskResult::UnexpectedError},
             Case{ErrorCode::NoSpace, HResult::ERROR_DISK_FULL, VMTaskResult::DiskRelatedError},
             Case{ErrorCode::AlreadyExists, HResult::ERROR_ALREADY_EXISTS, VMTaskResult::UnexpectedError},
             Case{ErrorCode::IoError, HResult::VM_E_HD_IMAGE_ACCESS, VMTaskResult::DiskRelatedError},
         }) {
        const Outcome outcome = outcome_of(disk::fail(expected.code, "why"));
        EXPECT_EQ(outcome.error, expected.error);
        EXPECT_EQ(outcome.result, expected.result);
        EXPECT_EQ(outcome.detail, "why");
    }
}

TEST(Result, CodesHaveTheirNamesValuesAndTexts) {
    EXPECT_EQ(static_cast<std::uint32_t>(HResult::VM_E_VM_NOT_RUNNING), 0xA0040206u);
    EXPECT_EQ(hresult_name(HResult::VM_E_VM_NOT_RUNNING), "VM_E_VM_NOT_RUNNING");
    EXPECT_EQ(hresult_number(HResult::E_INVALIDARG), "0x80070057");
    EXPECT_EQ(hresult_name(static_cast<HResult>(0x80041234u)), "0x80041234");
    EXPECT_EQ(hresult_text(HResult::VM_E_VM_RUNNING, Language::German), "Die Maschine läuft");
    EXPECT_TRUE(succeeded(HResult::S_FALSE));
    EXPECT_FALSE(succeeded(HResult::E_FAIL));
    EXPECT_EQ(task_result_name(VMTaskResult::ShutdownAbort), "vmTaskResult_ShutdownAbort");
}

}  // namespace
}  // namespace vpc::tasks
