#pragma once
#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "core/io_executor.h"
#include "core/short_wait.h"

namespace vpc {

/// The executor of a running machine: one worker thread, completions posted back to the machine's thread.
class IoThread final : public IoExecutor {
  public:
    using Post = std::function<void(std::function<void()>)>;

    /// `post` hands a closure to the machine's thread; it is called on the worker thread.
    explicit IoThread(Post post);
    /// Finishes the work that was submitted; completions that are still to be posted are posted.
    ~IoThread() override;

    void submit(std::function<void()> work, std::function<void()> completion) override;
    bool idle() override;
    /// Blocks until all submitted work has been done and its completions are posted. Any thread but the worker's.
    void wait_until_idle();

  private:
    struct Job {
        std::function<void()> work;
        std::function<void()> completion;
    };
    void loop();
    void wait_for_job(std::unique_lock<std::mutex>& guard);

    Post post_;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<Job> jobs_;
    std::condition_variable idle_;
    bool working_ = false;
    bool quit_ = false;
    std::atomic<bool> called_ = false;  // jobs_ is not empty, or quit_
    ShortWait short_wait_;
    std::thread thread_;
};

}  // namespace vpc
