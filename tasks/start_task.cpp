#include "tasks/start_task.h"

#include <exception>
#include <utility>

namespace vpc::tasks {

HResult start_task(Worker& worker, TaskCollection& tasks, TaskTraits traits, TaskWork work,
                   std::shared_ptr<IVMTask>& task) {
    try {
        auto started = worker.start(std::move(traits), std::move(work));
        if (!started) {
            return HResult::VM_E_APP_SHUTTING_DOWN;
        }
        tasks.add(started);
        task = std::move(started);
        return HResult::S_OK;
    } catch (const std::exception&) {
        return HResult::VM_E_OUT_OF_RESOURCE;
    }
}

}  // namespace vpc::tasks
