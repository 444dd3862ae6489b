#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "disk/error.h"
#include "disk/operations/operation.h"
#include "tasks/task.h"
#include "tasks/task_text.h"

namespace vpc::tasks {

/// The work's side of a task: what the running function may tell and ask. Any thread.
class TaskControl {
  public:
    virtual ~TaskControl() = default;
    /// Requested by Cancel.
    virtual std::stop_token stop() const = 0;
    /// Work done of work to do, both in the same unit (bytes). Percent never falls, and stays at most 99 until the
    /// task has ended well.
    virtual void progress(std::uint64_t done, std::uint64_t total) = 0;
    /// The point of no return: false when a cancel came before it, and then the work has to stop; otherwise Cancel
    /// fails from now on.
    virtual bool commit() = 0;
};

/// What a task does. It returns how it went; std::bad_alloc becomes OutOfMemoryError, any other exception
/// ThreadCrashError with E_UNEXPECTED.
using TaskWork = std::function<Outcome(TaskControl&)>;

/// What a task is called and whether Cancel is possible at all.
struct TaskTraits {
    TaskKind kind = TaskKind::Compact;
    std::string subject;
    bool cancelable = true;
    /// The work is called in any case, also when it was cancelled before its turn (it sees the stop token then),
    /// because it has to give something back. Otherwise it is dropped and the task ends at once.
    bool begins_always = false;
    Language language = Language::English;
};

/// Threads that run tasks, `kThreads` at a time, in the order of starting; a task that is cancelled while it waits
/// never begins, unless TaskTraits says so. Any thread may start tasks.
class Worker {
  public:
    static constexpr std::size_t kThreads = 4;

    Worker() = default;
    /// Cancels what can be cancelled and waits for the rest.
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    /// Null once shut_down was called: VM_E_APP_SHUTTING_DOWN. Throws std::system_error when the host gives not even
    /// one thread.
    std::shared_ptr<IVMTask> start(TaskTraits traits, TaskWork work);
    /// As the destructor; new tasks are refused from then on.
    void shut_down();

  private:
    class Task;
    void loop();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::shared_ptr<Task>> waiting_;
    std::vector<std::shared_ptr<Task>> running_;
    std::vector<std::thread> threads_;
    std::size_t idle_ = 0;
    bool quit_ = false;
};

/// What the disk module's errors are called in Virtual PC's world.
Outcome outcome_of(const disk::Status& status);
/// Work that is one long operation of the disk module, with its progress and its stop token.
TaskWork disk_work(std::function<disk::Status(const disk::Operation&)> operation);

}  // namespace vpc::tasks
