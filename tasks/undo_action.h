#pragma once
#include <cstdint>

namespace vpc::tasks {

/// What becomes of the undo disks when a machine is off, by TurnOff or by the guest. Virtual PC's numbers.
enum class VMUndoAction : std::int32_t {
    Discard = 0,
    Keep = 1,
    Commit = 2,
};

}  // namespace vpc::tasks
