#include "core/io_thread.h"

#include <utility>

namespace vpc {

IoThread::IoThread(Post post) : post_(std::move(post)), thread_([this] { loop(); }) {}

IoThread::~IoThread() {
    {
        const std::scoped_lock guard(mutex_);
        quit_ = true;
        called_ = true;
    }
    wake_.notify_one();
    thread_.join();
}

void IoThread::submit(std::function<void()> work, std::function<void()> completion) {
    {
        const std::scoped_lock guard(mutex_);
        jobs_.push_back({std::move(work), std::move(completion)});
        called_ = true;
    }
    wake_.notify_one();
}

bool IoThread::idle() {
    const std::scoped_lock guard(mutex_);
    return jobs_.empty() && !working_;
}

void IoThread::wait_until_idle() {
    std::unique_lock guard(mutex_);
    idle_.wait(guard, [this] { return jobs_.empty() && !working_; });
}

void IoThread::wait_for_job(std::unique_lock<std::mutex>& guard) {
    const auto called = [this] { return called_.load(); };
    guard.unlock();
    const bool came = short_wait_.watch(called);
    guard.lock();
    if (!came && !called()) {
        const Nanoseconds before = VirtualClock::steady_host_time();
        wake_.wait(guard, called);
        short_wait_.slept(VirtualClock::steady_host_time() - before);
    }
}

void IoThread::loop() {
    std::unique_lock guard(mutex_);
    for (;;) {
        wait_for_job(guard);
        if (jobs_.empty()) {
            return;
        }
        Job job = std::move(jobs_.front());
        jobs_.pop_front();
        called_ = quit_ || !jobs_.empty();
        working_ = true;
        guard.unlock();
        job.work();
        job.work = {};  // a drive whose completion runs finds its buffer free for the next piece
        post_(std::move(job.completion));
        guard.lock();
        working_ = false;
        if (jobs_.empty()) {
            idle_.notify_all();
        }
    }
}

}  // namespace vpc
