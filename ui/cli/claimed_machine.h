#pragma once
#include <memory>
#include <string>
#include <tl/expected.hpp>

#include "tasks/machine_registry.h"
#include "tasks/virtual_machine.h"

namespace vpc::cli {

/// A machine with a configuration file, which is this process's for as long as the object lives. It must outlive the
/// VirtualMachine that is made of its settings.
class ClaimedMachine {
  public:
    /// Waits a moment for a process whose machine has ended and that is about to go. The error is one line: why it
    /// cannot be had.
    static tl::expected<std::unique_ptr<ClaimedMachine>, std::string> claim(const tasks::RegisteredMachine& machine);

    const tasks::RegisteredMachine& machine() const { return machine_; }
    /// Where the machine keeps its saved state and its undo disks.
    void describe(tasks::MachineSettings& settings);

  private:
    explicit ClaimedMachine(tasks::RegisteredMachine machine) : machine_(std::move(machine)) {}

    const tasks::RegisteredMachine machine_;
    std::unique_ptr<disk::File> lock_;
};

}  // namespace vpc::cli
