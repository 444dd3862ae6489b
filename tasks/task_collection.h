#pragma once
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "tasks/task.h"

namespace vpc::tasks {

/// VirtualPC::Tasks. Holds every task from the moment its method returns until it has ended, and the kFinishedKept
/// that ended last, so that somebody who looks now and then still finds their results. Oldest first. Any thread.
class TaskCollection {
  public:
    static constexpr std::size_t kFinishedKept = 16;

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names
    std::int32_t Count() const;
    /// 1 to Count. DISP_E_BADINDEX: no such index, or the task left the collection meanwhile.
    HResult Item(std::int32_t index, std::shared_ptr<IVMTask>& task) const;
    // NOLINTEND(readability-identifier-naming)

    /// What _NewEnum enumerates: the collection at one moment.
    std::vector<std::shared_ptr<IVMTask>> snapshot() const;

    void add(std::shared_ptr<IVMTask> task);

  private:
    /// Lets the oldest finished tasks go.
    void forget_old() const;

    mutable std::mutex mutex_;
    mutable std::deque<std::shared_ptr<IVMTask>> tasks_;  // forgetting is invisible to whoever only looks
};

}  // namespace vpc::tasks
