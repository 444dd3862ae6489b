#include "ui/cli/rest_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "tasks/virtual_machine.h"
#include "tasks/virtual_pc.h"
#include "ui/cli/disk_task.h"
#include "ui/cli/machine_file.h"

namespace vpc::cli {
namespace {

using tasks::HResult;

struct RestOptions {
    std::string name;
    TaskOptions task;
};

ExitStatus fail(const std::string& name, const tasks::Outcome& outcome) {
    print_text(stderr, fmt::format("vpc: {}: {}\n", name, tasks::outcome_text(outcome, tasks::Language::English)));
    return kFailed;
}

ExitStatus fail(const std::string& problem) {
    print_text(stderr, fmt::format("vpc: {}\n", problem));
    return kFailed;
}

/// A machine that nobody runs, and nobody can start while this lives.
class RestingMachine {
  public:
    tasks::Outcome open(const tasks::RegisteredMachine& machine) { return pc_.open_machine(machine, vm); }

  private:
    tasks::VirtualPC pc_;

  public:
    std::shared_ptr<tasks::VirtualMachine> vm;  // last: its tasks use the rest
};

/// Opens the machine and lets `work` have it; says what is wrong.
template <typename Work>
ExitStatus with_machine(const RestOptions& options, Work work) {
    const auto machine = find_machine(options.name);
    if (!machine) {
        return fail(machine.error());
    }
    RestingMachine resting;
    if (const tasks::Outcome opened = resting.open(*machine); opened.error != HResult::S_OK) {
        return fail(options.name, opened);
    }
    return work(*resting.vm);
}

ExitStatus discard_state(const RestOptions& options) {
    return with_machine(options, [&](tasks::VirtualMachine& machine) {
        const HResult discarded = machine.DiscardSavedState();
        return discarded == HResult::S_OK ? kDone
                                          : fail(options.name, {discarded, tasks::VMTaskResult::UnexpectedError, {}});
    });
}

ExitStatus discard_undo(const RestOptions& options) {
    return with_machine(options, [&](tasks::VirtualMachine& machine) {
        const tasks::Outcome discarded = machine.DiscardUndoDisks();
        return discarded.error == HResult::S_OK ? kDone : fail(options.name, discarded);
    });
}

ExitStatus merge_undo_disks(const RestOptions& options, tasks::VirtualMachine& machine) {
    std::shared_ptr<tasks::IVMTask> task;
    if (const HResult begun = machine.MergeUndoDisks(task); begun != HResult::S_OK) {
        return fail(options.name, {begun, tasks::VMTaskResult::UnexpectedError, {}});
    }
    constexpr std::int32_t kLook = 20;  // milliseconds
    return watch_task(task->Description(), options.task, [&](const disk::Operation& operation) {
        while (!task->IsComplete()) {
            task->WaitForCompletion(kLook);
            operation.progress({.done = static_cast<std::uint64_t>(task->PercentCompleted()), .total = 100});
            if (operation.stop.stop_requested()) {
                task->Cancel();
            }
        }
        return tasks::Outcome{task->Error(), task->Result(),
                              fmt::format("{}: {}", options.name, task->ErrorDescription())};
    });
}

ExitStatus merge_undo(const RestOptions& options) {
    return with_machine(options, [&](tasks::VirtualMachine& machine) { return merge_undo_disks(options, machine); });
}

using Command = ExitStatus (*)(const RestOptions&);

CLI::App* declare(CLI::App& app, Action& action, const char* name, const char* help, Command command,
                  const std::shared_ptr<RestOptions>& options) {
    CLI::App* declared = app.add_subcommand(name, help);
    declared->add_option("NAME", options->name, "the machine: its registered name, or its .vmc")->required();
    declared->callback([options, command, &action] { action = [options, command] { return command(*options); }; });
    return declared;
}

}  // namespace

void add_rest_commands(CLI::App& app, Action& action) {
    declare(app, action, "discard-state", "throw a saved machine's state away, as a power failure does", discard_state,
            std::make_shared<RestOptions>());
    declare(app, action, "discard-undo", "throw away what the undo disks of a machine that is off hold", discard_undo,
            std::make_shared<RestOptions>());
    const auto options = std::make_shared<RestOptions>();
    add_task_options(
        *declare(app, action, "merge-undo", "write what the undo disks of a machine that is off hold into its disks",
                 merge_undo, options),
        options->task);
}

}  // namespace vpc::cli
