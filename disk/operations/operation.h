#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stop_token>

#include "disk/error.h"

namespace vpc::disk {

/// How far a long operation is, in bytes of work: what it has to read and to write, not the size of the disk, so that
/// holes do not make it jump. `total` may be corrected while it runs; done / total never falls.
struct Progress {
    std::uint64_t done = 0;
    std::uint64_t total = 0;
};

/// What every long operation of this module takes. Both are optional.
struct Operation {
    /// Called on the operation's own thread, at least every 100 ms or 1 %, and must not block. done == total is
    /// reported once, after everything is synced and, for a new file, it has its name.
    std::function<void(const Progress&)> progress;
    /// Asked between pieces of at most 2 MiB. A stopped operation fails with ErrorCode::Cancelled, and every file is
    /// as the operation's own comment says.
    std::stop_token stop;
};

/// Keeps the promises of Operation: counts the work, decides when to report it, and asks whether to stop. Threads: the
/// operation's own.
class WorkMeter {
  public:
    /// `total`: bytes of work expected. Reports the start.
    WorkMeter(Operation operation, std::uint64_t total);

    /// Corrects what was expected.
    void set_total(std::uint64_t total);
    /// So many bytes of work are done. Cancelled when the operation shall stop.
    Status add(std::uint64_t bytes);
    /// add(), where the work done so far is known instead.
    Status advance_to(std::uint64_t done) { return add(done > done_ ? done - done_ : 0); }
    /// Work that is expected still.
    std::uint64_t left() const { return total_ - std::min(done_, total_); }
    /// For moments in which nothing is done: reports when it is time to. Cancelled when the operation shall stop.
    Status tick() { return add(0); }
    /// Runs `work`, which takes its time and cannot say how much of it is done, on a thread of its own, and ticks
    /// until it is through. Its result; a request to stop has to wait for it.
    Status wait_for(const std::function<Status()>& work);
    /// Everything is done and stored: reports total of total.
    void finish();

  private:
    void report();

    Operation operation_;
    std::uint64_t done_ = 0;
    std::uint64_t total_;
    Progress reported_;
    std::chrono::steady_clock::time_point reported_at_;
};

}  // namespace vpc::disk
