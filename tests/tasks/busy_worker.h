#pragma once
#include <future>

#include "tasks/worker.h"

namespace vpc::tasks::testing {

/// Keeps a worker's tasks from beginning until it is destroyed.
class BusyWorker {
  public:
    explicit BusyWorker(Worker& worker) {
        const std::shared_future<void> open = gate_.get_future().share();
        for (std::size_t i = 0; i < Worker::kThreads; ++i) {
            worker.start({}, [open](TaskControl&) {
                open.wait();
                return Outcome{};
            });
        }
    }
    ~BusyWorker() { gate_.set_value(); }
    BusyWorker(const BusyWorker&) = delete;
    BusyWorker& operator=(const BusyWorker&) = delete;

  private:
    std::promise<void> gate_;
};

}  // namespace vpc::tasks::testing
