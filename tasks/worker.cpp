#include "tasks/worker.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <new>
#include <system_error>

namespace vpc::tasks {
namespace {

constexpr std::int32_t kLongestWait = 4'000'000;  // milliseconds; IVMTask::WaitForCompletion

std::int32_t next_id() {
    static std::atomic<std::int32_t> last{0};
    return ++last;
}

}  // namespace

class Worker::Task final : public IVMTask, public TaskControl {
  public:
    Task(TaskTraits traits, TaskWork work)
        : id_(next_id()), traits_(std::move(traits)), work_(std::move(work)), cancelable_(traits_.cancelable) {}

    // IVMTask

    HResult Cancel() override {
        bool ends_here = false;
        {
            const std::scoped_lock guard(mutex_);
            if (complete_) {
                return HResult::S_FALSE;
            }
            if (!cancelable_) {
                return HResult::E_FAIL;
            }
            cancelled_ = true;
            if (!begun_ && !traits_.begins_always) {
                begun_ = true;  // nobody else will begin it
                ends_here = true;
            }
        }
        if (ends_here) {
            end({HResult::E_ABORT, VMTaskResult::Cancelled, {}});
        } else {
            stop_.request_stop();  // not under the mutex: a stop callback of the work may call commit()
        }
        return HResult::S_OK;
    }

    HResult WaitForCompletion(std::int32_t milliseconds) override {
        if (milliseconds < -1 || milliseconds > kLongestWait) {
            return HResult::E_INVALIDARG;
        }
        std::unique_lock guard(mutex_);
        const auto ended = [this] { return complete_; };
        if (milliseconds == -1) {
            ended_.wait(guard, ended);
        } else {
            ended_.wait_for(guard, std::chrono::milliseconds(milliseconds), ended);
        }
        return HResult::S_OK;
    }

    std::string Description() const override { return Description(traits_.language); }
    std::string Description(Language language) const override {
        return task_description(traits_.kind, traits_.subject, language);
    }
    HResult Error() const override {
        const std::scoped_lock guard(mutex_);
        return complete_ ? outcome_.error : HResult::E_PENDING;
    }
    std::string ErrorDescription() const override { return ErrorDescription(traits_.language); }
    std::string ErrorDescription(Language language) const override {
        const std::scoped_lock guard(mutex_);
        if (!complete_ || outcome_.error == HResult::S_OK) {
            return {};
        }
        return outcome_text(outcome_, language);
    }
    std::int32_t ID() const override { return id_; }
    bool IsCancelable() const override {
        const std::scoped_lock guard(mutex_);
        return cancelable_ && !complete_;
    }
    bool IsComplete() const override {
        const std::scoped_lock guard(mutex_);
        return complete_;
    }
    std::int32_t PercentCompleted() const override { return percent_; }
    VMTaskResult Result() const override {
        const std::scoped_lock guard(mutex_);
        return complete_ ? outcome_.result : VMTaskResult::UnexpectedError;
    }
    void OnCompletion(std::function<void(IVMTask&)> callback) override {
        {
            const std::scoped_lock guard(mutex_);
            if (!complete_) {
                callbacks_.push_back(std::move(callback));
                return;
            }
        }
        callback(*this);
    }

    void OnProgress(std::function<void(std::int32_t)> callback) override {
        const std::scoped_lock guard(mutex_);
        progress_callback_ = std::move(callback);
    }

    // TaskControl

    std::stop_token stop() const override { return stop_.get_token(); }
    void progress(std::uint64_t done, std::uint64_t total) override {
        constexpr std::int32_t kMost = 99;  // 100 is said by success alone
        if (total == 0) {
            return;
        }
        const double share = static_cast<double>(std::min(done, total)) / static_cast<double>(total);
        const auto percent = std::min(static_cast<std::int32_t>(share * 100), kMost);
        std::int32_t before = percent_;
        while (before < percent && !percent_.compare_exchange_weak(before, percent)) {
        }
        if (before >= percent) {
            return;
        }
        std::function<void(std::int32_t)> callback;
        {
            const std::scoped_lock guard(mutex_);
            callback = progress_callback_;
        }
        if (callback) {
            callback(percent);
        }
    }
    bool commit() override {
        const std::scoped_lock guard(mutex_);
        if (cancelled_) {
            return false;
        }
        cancelable_ = false;
        return true;
    }

    // The worker's side

    /// Does the work, on the thread it belongs to.
    void run() {
        {
            const std::scoped_lock guard(mutex_);
            if (begun_) {
                return;  // cancelled before its turn
            }
            begun_ = true;
        }
        Outcome outcome;
        try {
            outcome = work_(*this);
        } catch (const std::bad_alloc&) {
            outcome = {HResult::E_OUTOFMEMORY, VMTaskResult::OutOfMemoryError, {}};
        } catch (const std::exception& problem) {
            outcome = {HResult::E_UNEXPECTED, VMTaskResult::ThreadCrashError, problem.what()};
        } catch (...) {
            outcome = {HResult::E_UNEXPECTED, VMTaskResult::ThreadCrashError, {}};
        }
        end(std::move(outcome));
    }

  private:
    void end(Outcome outcome) {
        work_ = nullptr;  // what it holds (files, machines) must not live as long as somebody's pointer to the task
        std::vector<std::function<void(IVMTask&)>> callbacks;
        {
            const std::scoped_lock guard(mutex_);
            outcome_ = std::move(outcome);
            if (outcome_.result == VMTaskResult::Success) {
                percent_ = 100;
            }
            complete_ = true;
            callbacks.swap(callbacks_);
        }
        ended_.notify_all();
        for (const auto& callback : callbacks) {
            callback(*this);
        }
    }

    const std::int32_t id_;
    const TaskTraits traits_;
    TaskWork work_;  // of whoever set begun_
    std::stop_source stop_;
    std::atomic<std::int32_t> percent_ = 0;

    mutable std::mutex mutex_;
    std::condition_variable ended_;
    bool cancelable_;
    bool begun_ = false;
    bool cancelled_ = false;
    bool complete_ = false;
    Outcome outcome_;
    std::vector<std::function<void(IVMTask&)>> callbacks_;
    std::function<void(std::int32_t)> progress_callback_;
};

Worker::~Worker() {
    shut_down();
}

void Worker::shut_down() {
    std::vector<std::thread> threads;
    std::vector<std::shared_ptr<Task>> tasks;
    {
        const std::scoped_lock guard(mutex_);
        quit_ = true;
        tasks.assign(waiting_.begin(), waiting_.end());
        tasks.insert(tasks.end(), running_.begin(), running_.end());
        threads.swap(threads_);
    }
    for (const auto& task : tasks) {
        task->Cancel();  // not under the mutex: completion callbacks may run
    }
    wake_.notify_all();
    for (std::thread& thread : threads) {
        thread.join();
    }
}

std::shared_ptr<IVMTask> Worker::start(TaskTraits traits, TaskWork work) {
    auto task = std::make_shared<Task>(std::move(traits), std::move(work));
    const std::scoped_lock guard(mutex_);
    if (quit_) {
        return nullptr;
    }
    if (idle_ <= waiting_.size() && threads_.size() < kThreads) {
        try {
            threads_.emplace_back([this] { loop(); });
        } catch (const std::system_error&) {
            if (threads_.empty()) {
                throw;
            }
        }
    }
    waiting_.push_back(task);
    wake_.notify_one();
    return task;
}

void Worker::loop() {
    std::unique_lock guard(mutex_);
    for (;;) {
        ++idle_;
        wake_.wait(guard, [this] { return quit_ || !waiting_.empty(); });
        --idle_;
        if (waiting_.empty()) {
            return;
        }
        const std::shared_ptr<Task> task = std::move(waiting_.front());
        waiting_.pop_front();
        running_.push_back(task);
        guard.unlock();
        task->run();
        guard.lock();
        std::erase(running_, task);
    }
}

namespace {

Outcome outcome_of_error(const disk::Error& error) {
    using disk::ErrorCode;
    switch (error.code) {
        case ErrorCode::NotFound:
            return {HResult::ERROR_FILE_NOT_FOUND, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::AccessDenied:
            return {HResult::ERROR_ACCESS_DENIED, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::ReadOnly:
            return {HResult::VM_E_FILE_READ_ONLY, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::InUse:
            return {HResult::ERROR_SHARING_VIOLATION, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::NotAnImage:
        case ErrorCode::Corrupt:
            return {HResult::VM_E_INVALID_HD_FILE, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::Unsupported:
            return {HResult::VM_E_UNSUPPORTED_HD_DISK_TYPE, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::ParentMismatch:
            return {HResult::VM_E_PARENT_CHILD_ID_MISMATCH, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::NoSpace:
            return {HResult::ERROR_DISK_FULL, VMTaskResult::DiskRelatedError, error.message};
        case ErrorCode::OutOfRange:
            return {HResult::E_INVALIDARG, VMTaskResult::IllegalValueError, error.message};
        case ErrorCode::AlreadyExists:
            return {HResult::ERROR_ALREADY_EXISTS, VMTaskResult::UnexpectedError, error.message};
        case ErrorCode::Cancelled:
            return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
        case ErrorCode::WouldWait:
        case ErrorCode::IoError:
            return {HResult::VM_E_HD_IMAGE_ACCESS, VMTaskResult::DiskRelatedError, error.message};
    }
    return {HResult::E_UNEXPECTED, VMTaskResult::UnexpectedError, error.message};
}

}  // namespace

Outcome outcome_of(const disk::Status& status) {
    return status ? Outcome{} : outcome_of_error(status.error());
}

TaskWork disk_work(std::function<disk::Status(const disk::Operation&)> operation) {
    return [operation = std::move(operation)](TaskControl& control) {
        const disk::Operation watched{
            .progress = [&control](const disk::Progress& progress) { control.progress(progress.done, progress.total); },
            .stop = control.stop(),
        };
        return outcome_of(operation(watched));
    };
}

}  // namespace vpc::tasks
