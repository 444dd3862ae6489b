#pragma once
#include <cstdint>
#include <functional>
#include <optional>

#include "core/unicorn/engine_state.h"
#include "core/unicorn/linear_memory.h"

namespace vpc::unicorn {

/// Switches to the task of a task gate, as an interrupt does: the old task stays busy and is linked from the new one,
/// NT is set. `error_code` is pushed on the new task's stack. `external` sets the EXT bit of faults.
///
/// A Fault thrown before the old task was left has changed nothing; one thrown later belongs to the new task, in whose
/// state `state` then is (Intel SDM volume 3, 7.3). `memory` must not be used afterwards: CR3 may have changed.
void switch_task(EngineState& state, LinearMemory& memory, PhysicalMemory& physical, std::uint16_t tss_selector,
                 std::optional<std::uint32_t> error_code, bool external, std::uint32_t eflags,
                 const std::function<void()>& flush_tlb,
                 const std::function<void(std::uint64_t, std::uint64_t)>& stored);

}  // namespace vpc::unicorn
