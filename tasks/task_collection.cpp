#include "tasks/task_collection.h"

#include <algorithm>

namespace vpc::tasks {

// Finished tasks are counted when somebody adds or looks, so that a task needs no way back to its collection.
void TaskCollection::forget_old() const {
    const auto finished =
        std::count_if(tasks_.begin(), tasks_.end(), [](const auto& task) { return task->IsComplete(); });
    auto excess = finished - static_cast<std::ptrdiff_t>(kFinishedKept);
    for (auto task = tasks_.begin(); task != tasks_.end() && excess > 0;) {
        if ((*task)->IsComplete()) {
            task = tasks_.erase(task);
            --excess;
        } else {
            ++task;
        }
    }
}

std::vector<std::shared_ptr<IVMTask>> TaskCollection::snapshot() const {
    const std::scoped_lock guard(mutex_);
    forget_old();
    return {tasks_.begin(), tasks_.end()};
}

std::int32_t TaskCollection::Count() const {
    return static_cast<std::int32_t>(snapshot().size());
}

HResult TaskCollection::Item(std::int32_t index, std::shared_ptr<IVMTask>& task) const {
    const auto tasks = snapshot();
    if (index < 1 || static_cast<std::size_t>(index) > tasks.size()) {
        return HResult::DISP_E_BADINDEX;
    }
    task = tasks[static_cast<std::size_t>(index) - 1];
    return HResult::S_OK;
}

void TaskCollection::add(std::shared_ptr<IVMTask> task) {
    const std::scoped_lock guard(mutex_);
    tasks_.push_back(std::move(task));
    forget_old();
}

}  // namespace vpc::tasks
