#pragma once
#include <memory>

#include "tasks/task_collection.h"
#include "tasks/worker.h"

namespace vpc::tasks {

/// How every task-returning method begins its task and puts it into the collection. VM_E_APP_SHUTTING_DOWN;
/// VM_E_OUT_OF_RESOURCE when the host gives no thread or memory. Never throws.
HResult start_task(Worker& worker, TaskCollection& tasks, TaskTraits traits, TaskWork work,
                   std::shared_ptr<IVMTask>& task);

}  // namespace vpc::tasks
