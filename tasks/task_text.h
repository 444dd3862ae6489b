#pragma once
#include <string>
#include <string_view>

#include "tasks/result.h"

namespace vpc::tasks {

/// Virtual PC's task-returning methods.
enum class TaskKind {
    Logoff,
    Restart,
    Shutdown,
    Compact,
    Convert,
    Merge,
    MergeTo,
    MergeUndoDisks,
    Reset,
    Save,
    Startup,
    TurnOff,
    CreateDifferencingVirtualHardDisk,
    CreateDynamicVirtualHardDisk,
    CreateFixedVirtualHardDisk,
};

/// What a task does, for people: "Compacting disk.vhd". `subject` is the name of a file or machine.
std::string task_description(TaskKind kind, std::string_view subject, Language language);

}  // namespace vpc::tasks
