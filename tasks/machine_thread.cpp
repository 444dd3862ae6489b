#include "tasks/machine_thread.h"

#include <utility>

namespace vpc::tasks {

MachineThread::MachineThread(std::unique_ptr<devices::Board> board, Listener listener)
    : listener_(std::move(listener)), board_(std::move(board)), thread_([this] { loop(); }) {}

MachineThread::~MachineThread() {
    park();
    {
        const std::scoped_lock guard(mutex_);
        quit_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void MachineThread::resume() {
    {
        const std::scoped_lock guard(mutex_);
        run_ = true;
    }
    changed_.notify_all();
}

bool MachineThread::park() {
    std::unique_lock guard(mutex_);
    run_ = false;
    if (!parked_ && !ended_) {
        board_->quit();
    }
    changed_.wait(guard, [this] { return parked_ || ended_; });
    return !ended_;
}

void MachineThread::stand_still() {
    const std::scoped_lock guard(mutex_);
    run_ = false;
    if (board_) {
        board_->quit();
    }
}

bool MachineThread::post(std::function<void(devices::Board&)> work) {
    const std::scoped_lock guard(mutex_);
    if (ended_) {
        return false;
    }
    board_->post([work = std::move(work), board = board_.get()] { work(*board); });
    return true;
}

void MachineThread::look_a_last_time(devices::Board& board) const {
    if (listener_.last_look) {
        listener_.last_look(board);
    }
}

void MachineThread::loop() {
    std::unique_lock guard(mutex_);
    for (;;) {
        changed_.wait(guard, [this] { return run_ || quit_; });
        if (quit_) {
            guard.unlock();
            look_a_last_time(*board_);
            return;
        }
        parked_ = false;
        guard.unlock();
        const devices::Board::End end = board_->run();
        guard.lock();
        if (end != devices::Board::End::Quit) {
            break;
        }
        parked_ = true;
        changed_.notify_all();
    }
    const std::string failure = board_->failure();
    std::unique_ptr<devices::Board> board = std::move(board_);
    ended_ = true;
    guard.unlock();
    look_a_last_time(*board);
    board.reset();  // closes the disks before anybody hears that the machine has ended
    changed_.notify_all();
    listener_.ended(failure);
}

}  // namespace vpc::tasks
