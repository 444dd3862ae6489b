#pragma once
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "devices/board.h"

namespace vpc::tasks {

/// The thread that a board runs on, and the switch that makes it stand still. Made parked.
class MachineThread {
  public:
    /// What it tells, on its own thread.
    struct Listener {
        /// The guest switched itself off or the CPU failed (then with one line that says why, otherwise with an empty
        /// string); the board is gone by then. It must not destroy this object.
        std::function<void(const std::string& failure)> ended;
        /// The board has run for the last time, however it ended, and goes next. May be empty.
        std::function<void(devices::Board&)> last_look;
    };
    MachineThread(std::unique_ptr<devices::Board> board, Listener listener);
    /// Stops the machine wherever it is, and closes its disks.
    ~MachineThread();
    MachineThread(const MachineThread&) = delete;
    MachineThread& operator=(const MachineThread&) = delete;

    /// Lets the guest run on. Nothing happens when it does or has ended.
    void resume();
    /// Makes the guest stand still; the board may be touched by the caller until resume(). False: it has ended.
    bool park();
    /// For the machine's thread itself: the guest stands still before its next instruction, until resume().
    void stand_still();
    /// The parked board.
    devices::Board& board() { return *board_; }
    /// Runs `work` on the machine's thread; false when the machine has ended. Work posted while parked waits.
    bool post(std::function<void(devices::Board&)> work);

  private:
    void loop();
    void look_a_last_time(devices::Board& board) const;

    const Listener listener_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::unique_ptr<devices::Board> board_;
    bool run_ = false;    // wanted
    bool parked_ = true;  // reached
    bool ended_ = false;
    bool quit_ = false;
    std::thread thread_;
};

}  // namespace vpc::tasks
