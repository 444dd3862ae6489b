// VirtualMachine's undo disks.
#include <fmt/format.h>

#include <algorithm>
#include <system_error>
#include <utility>

#include "disk/operations/set_parent.h"
#include "disk/operations/undo_disk.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {
namespace {

bool any_of(const UndoDisks& disks) {
    return std::any_of(disks.begin(), disks.end(), [](const auto& file) { return !file.empty(); });
}

std::uint64_t size_of(const std::filesystem::path& file) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(file, error);
    return error ? 0 : size;
}

}  // namespace

VMUndoAction VirtualMachine::UndoAction() const {
    const std::scoped_lock guard(mutex_);
    return undo_action_;
}

void VirtualMachine::UndoAction(VMUndoAction action) {
    const std::scoped_lock guard(mutex_);
    undo_action_ = action;
}

UndoDisks VirtualMachine::undo_disks() const {
    const std::scoped_lock guard(mutex_);
    return undo_disks_;
}

disk::Status VirtualMachine::remember_undo_disks(UndoDisks disks) {
    if (settings_.undo_disks_changed) {
        if (disk::Status stored = settings_.undo_disks_changed(disks); !stored) {
            return stored;
        }
    }
    const std::scoped_lock guard(mutex_);
    undo_disks_ = std::move(disks);
    return {};
}

Outcome VirtualMachine::prepare_undo_disk(std::size_t place, std::filesystem::path& undo,
                                          VMStartupOption option) const {
    const std::filesystem::path& file = settings_.disks[place];
    if (undo.empty()) {
        auto begun = disk::begin_undo_disk(file,
                                           {.folder = settings_.undo_folder,
                                            .controller = static_cast<unsigned>(place / 2),
                                            .unit = static_cast<unsigned>(place % 2)},
                                           {});
        if (!begun) {
            return outcome_of(tl::unexpected(begun.error()));
        }
        undo = std::move(*begun);
    }
    const auto state = disk::read_undo_disk(undo, file);
    if (!state) {
        std::error_code ignored;
        if (state.error().code == disk::ErrorCode::NotFound && !std::filesystem::exists(undo, ignored)) {
            return {HResult::ERROR_FILE_NOT_FOUND, VMTaskResult::UnexpectedError,
                    fmt::format("the undo disk '{}' is missing: put it back, or switch undo disks off to give up the "
                                "changes in it",
                                undo.string())};
        }
        return outcome_of(tl::unexpected(state.error()));
    }
    if (state->disk_changed && option == VMStartupOption::FixParentTimestampMismatch) {
        const auto changed = disk::set_parent(undo, file, {}, {});
        return changed ? Outcome{} : outcome_of(tl::unexpected(changed.error()));
    }
    if (state->disk_changed) {
        return {HResult::VM_E_PARENT_MODIFIED, VMTaskResult::UnexpectedError,
                fmt::format("'{}' was changed after its undo disk '{}' was begun", file.string(), undo.string())};
    }
    return {};
}

Outcome VirtualMachine::commit_undo_disks(const disk::Operation& operation) {
    UndoDisks undo = undo_disks();
    std::uint64_t total = 0;
    for (const std::filesystem::path& file : undo) {
        total += size_of(file);
    }
    std::uint64_t before = 0;  // bytes of the undo disks that are through
    for (std::size_t place = 0; place < undo.size(); ++place) {
        if (undo[place].empty()) {
            continue;
        }
        if (operation.stop.stop_requested()) {
            return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
        }
        const std::uint64_t size = size_of(undo[place]);
        const disk::Operation one{
            .progress =
                [&](const disk::Progress& progress) {
                    if (operation.progress && progress.total != 0 && total != 0) {
                        const double share = static_cast<double>(progress.done) / static_cast<double>(progress.total);
                        operation.progress(
                            {.done = before + static_cast<std::uint64_t>(share * static_cast<double>(size)),
                             .total = total});
                    }
                },
            .stop = operation.stop,
        };
        if (disk::Status committed = disk::commit_undo_disk(undo[place], settings_.disks[place], {}, one); !committed) {
            return outcome_of(committed);
        }
        before += size;
        undo[place].clear();
        if (disk::Status stored = remember_undo_disks(undo); !stored) {
            return outcome_of(stored);
        }
    }
    return {};
}

Outcome VirtualMachine::discard_undo_disks() {
    const UndoDisks undo = undo_disks();
    // Forgotten first: what a crash leaves behind then is a file that nobody uses.
    if (disk::Status stored = remember_undo_disks({}); !stored) {
        return outcome_of(stored);
    }
    Outcome outcome;
    for (const std::filesystem::path& file : undo) {
        std::error_code ignored;
        if (file.empty() || !std::filesystem::exists(file, ignored)) {
            continue;
        }
        if (disk::Status discarded = disk::discard_undo_disk(file); !discarded && outcome.error == HResult::S_OK) {
            outcome = outcome_of(discarded);
        }
    }
    return outcome;
}

Outcome VirtualMachine::end_session(const disk::Operation& operation) {
    if (!settings_.undoable || settings_.discard_changes || !any_of(undo_disks())) {
        return {};
    }
    switch (UndoAction()) {
        case VMUndoAction::Keep:
            break;
        case VMUndoAction::Discard:
            return discard_undo_disks();
        case VMUndoAction::Commit:
            change_to(VMVMState::MergingDrives);
            return commit_undo_disks(operation);
    }
    return {};
}

HResult VirtualMachine::MergeUndoDisks(std::shared_ptr<IVMTask>& task) {
    VMVMState before{};
    if (!take({VMVMState::TurnedOff}, before)) {
        return before == VMVMState::Saved ? HResult::VM_E_VM_RUNNING_OR_SAVED : HResult::VM_E_VM_RUNNING;
    }
    return start_task(TaskKind::MergeUndoDisks, true, before, task,
                      [self = shared_from_this()](TaskControl& control) { return self->merge_undo_disks(control); });
}

Outcome VirtualMachine::merge_undo_disks(TaskControl& control) {
    change_to(VMVMState::MergingDrives);
    Outcome outcome;
    try {
        outcome = commit_undo_disks(
            {.progress = [&](const disk::Progress& progress) { control.progress(progress.done, progress.total); },
             .stop = control.stop()});
    } catch (const std::exception& problem) {
        outcome = {HResult::E_OUTOFMEMORY, VMTaskResult::OutOfMemoryError, problem.what()};
    }
    release(VMVMState::TurnedOff);
    return outcome;
}

Outcome VirtualMachine::DiscardUndoDisks() {
    VMVMState before{};
    if (!take({VMVMState::TurnedOff}, before)) {
        return {HResult::VM_E_VM_RUNNING_OR_SAVED, VMTaskResult::UnexpectedError, {}};
    }
    Outcome outcome = discard_undo_disks();
    release(VMVMState::TurnedOff);
    return outcome;
}

}  // namespace vpc::tasks
