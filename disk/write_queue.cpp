#include "disk/write_queue.h"

#include <chrono>
#include <new>
#include <utility>

namespace vpc::disk {
namespace {

/// 16 MiB in all: enough to hide that a drive sometimes takes its time.
constexpr std::size_t kPieces = 8;
/// So that the drive has the next piece before it has finished one.
constexpr std::size_t kThreads = 2;
/// How often the operation's thread looks up while it waits.
constexpr auto kInterval = std::chrono::milliseconds(50);

}  // namespace

WriteQueue::Piece::Piece()
    : memory_(static_cast<std::uint8_t*>(std::aligned_alloc(kDirectAlignment, kDirectAlignment + kPieceSize))) {
    if (memory_ == nullptr) {
        throw std::bad_alloc();
    }
}

WriteQueue::WriteQueue(File& file, WorkMeter& meter, std::uint64_t weight)
    : file_(file), meter_(meter), weight_(weight) {
    for (std::size_t i = 0; i < kPieces; ++i) {
        pieces_.push_back(std::make_unique<Piece>());
        free_.push_back(pieces_.back().get());
    }
    for (std::size_t i = 0; i < kThreads; ++i) {
        threads_.emplace_back([this] { work(); });
    }
}

WriteQueue::~WriteQueue() {
    {
        const std::lock_guard lock(mutex_);
        jobs_.clear();
        ending_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) {
        thread.join();
    }
}

Result<WriteQueue::Piece*> WriteQueue::acquire() {
    std::unique_lock lock(mutex_);
    while (true) {
        if (auto status = settle(lock); !status) {
            return tl::unexpected<Error>(status.error());
        }
        if (!free_.empty()) {
            Piece* piece = free_.back();
            free_.pop_back();
            return piece;
        }
        changed_.wait_for(lock, kInterval);
    }
}

void WriteQueue::submit(Piece* piece, std::vector<Part> parts) {
    {
        const std::lock_guard lock(mutex_);
        if (parts.empty()) {
            free_.push_back(piece);
            return;
        }
        jobs_.push_back({piece, std::move(parts)});
    }
    changed_.notify_all();
}

Status WriteQueue::drain() {
    std::unique_lock lock(mutex_);
    while (true) {
        if (auto status = settle(lock); !status) {
            return status;
        }
        if (free_.size() == kPieces) {
            return {};
        }
        changed_.wait_for(lock, kInterval);
    }
}

/// Tells the meter what was written meanwhile, and the caller what went wrong.
Status WriteQueue::settle(std::unique_lock<std::mutex>& lock) {
    const std::uint64_t written = std::exchange(written_, 0);
    const std::optional<Error> error = error_;
    lock.unlock();
    const Status going_on = meter_.add(written * weight_);
    lock.lock();
    return error ? Status(tl::unexpected<Error>(*error)) : going_on;
}

void WriteQueue::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return ending_ || !jobs_.empty(); });
        if (jobs_.empty()) {
            return;
        }
        const Job job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        Status status;
        std::uint64_t written = 0;
        for (const Part& part : job.parts) {
            if (status = file_.write_uncached(part.offset, part.bytes); !status) {
                break;
            }
            written += part.bytes.size();
        }
        lock.lock();
        if (!status && !error_) {
            error_ = status.error();
        }
        written_ += written;
        free_.push_back(job.piece);
        changed_.notify_all();
    }
}

}  // namespace vpc::disk
