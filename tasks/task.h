#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tasks/result.h"

namespace vpc::tasks {

/// What every method that may take long returns at once: Virtual PC's IVMTask, member by member. Shared: whoever holds
/// a pointer may ask it, from any thread, as long as he likes, also after the work has ended and after the object that
/// started it is gone. No member throws.
///
/// What Virtual PC's documentation leaves open is decided here:
///
/// | Question                          | Answer                                                                  |
/// |-----------------------------------|-------------------------------------------------------------------------|
/// | Cancel on a task that has ended   | S_FALSE, nothing happens                                                |
/// | Cancel on one not cancellable     | E_FAIL (documented); also when it is past its point of no return        |
/// | Cancel comes as the work finishes | the work's real outcome counts; ask Result                              |
/// | Result before the end             | UnexpectedError, and Error is E_PENDING                                 |
/// | Error after success               | S_OK; after a cancel: E_ABORT                                           |
/// | ID                                | unique in this process, counted from 1, never used again                |
/// | a finished task in Tasks          | see TaskCollection                                                      |
/// | PercentCompleted                  | never falls; 100 only after success; keeps its last value on failure    |
class IVMTask {
  public:
    IVMTask() = default;
    IVMTask(const IVMTask&) = delete;
    IVMTask& operator=(const IVMTask&) = delete;
    virtual ~IVMTask() = default;

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names

    /// Asks the work to stop. S_OK: it was asked, and ends soon. E_FAIL, S_FALSE: see above.
    virtual HResult Cancel() = 0;
    /// Blocks until the task has ended or `milliseconds` have passed; -1 waits for ever. S_OK in both cases: look at
    /// IsComplete. E_INVALIDARG: neither -1 nor 0 to 4,000,000.
    virtual HResult WaitForCompletion(std::int32_t milliseconds) = 0;
    /// In the language of the VirtualPC object that the task belongs to.
    virtual std::string Description() const = 0;
    virtual HResult Error() const = 0;
    /// The text of Error, and behind a colon what is known beyond it (the file, the host's reason). Empty after
    /// success and before the end.
    virtual std::string ErrorDescription() const = 0;
    virtual std::int32_t ID() const = 0;
    virtual bool IsCancelable() const = 0;
    virtual bool IsComplete() const = 0;
    /// 0 to 100.
    virtual std::int32_t PercentCompleted() const = 0;
    virtual VMTaskResult Result() const = 0;

    /// Our extensions.
    virtual std::string Description(Language language) const = 0;
    virtual std::string ErrorDescription(Language language) const = 0;
    /// Calls `callback` once, when the task has ended: on the thread that ended it, after waiters can see the end; at
    /// once on the caller's thread when it has ended before. It must not throw and may ask the task anything; several
    /// may be set and run in the order of setting.
    virtual void OnCompletion(std::function<void(IVMTask&)> callback) = 0;
    /// Calls `callback` whenever the percentage has risen, on the thread that works, which goes on when it returns;
    /// what has risen before is not told. It must not throw. One at a time: another one takes its place.
    virtual void OnProgress(std::function<void(std::int32_t percent)> callback) = 0;

    // NOLINTEND(readability-identifier-naming)
};

}  // namespace vpc::tasks
