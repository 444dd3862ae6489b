// VirtualMachine's saved states.
#include <system_error>
#include <utility>

#include "tasks/virtual_machine.h"

namespace vpc::tasks {

HResult VirtualMachine::Save(std::shared_ptr<IVMTask>& task) {
    const bool will_be_discarded =
        settings_.discard_changes || (settings_.undoable && UndoAction() == VMUndoAction::Discard);
    if (will_be_discarded && !is_at_rest(State())) {
        return HResult::E_FAIL;
    }
    VMVMState before{};
    if (!take({VMVMState::Running, VMVMState::Paused}, before)) {
        return HResult::VM_E_VM_NOT_RUNNING;
    }
    return start_task(TaskKind::Save, true, before, task, [self = shared_from_this(), before](TaskControl& control) {
        return self->save(control, before);
    });
}

Outcome VirtualMachine::save(TaskControl& control, VMVMState before) {
    change_to(VMVMState::Saving);
    if (!machine_->park()) {
        change_to(VMVMState::TurningOff);
        tear_down();
        change_to(VMVMState::DeleteMachine);
        go_off({});
        return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::UnexpectedError, "the guest switched itself off"};
    }
    const disk::Operation operation{
        .progress = [&](const disk::Progress& progress) { control.progress(progress.done, progress.total); },
        .stop = control.stop(),
    };
    Outcome outcome;
    std::unique_ptr<SavedStateWriter> writer;
    try {
        auto written =
            SavedStateWriter::write_machine(settings_.saved_state, identity(), media(), machine_->board(), operation);
        if (written) {
            writer = std::move(*written);
        } else {
            outcome = outcome_of(tl::unexpected(written.error()));
        }
    } catch (const std::exception& problem) {
        outcome = {HResult::E_OUTOFMEMORY, VMTaskResult::OutOfMemoryError, problem.what()};
    }
    if (writer && !control.commit()) {
        writer.reset();
        outcome = {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
    }
    if (!writer) {
        if (before == VMVMState::Running) {
            run_on();
        } else {
            release(before);
        }
        return outcome;
    }
    change_to(VMVMState::TurningOff);
    tear_down();
    change_to(VMVMState::DeleteMachine);
    DiskGenerations generations;
    disk::Status status;
    for (std::size_t i = 0; status && i < settings_.disks.size(); ++i) {
        if (!settings_.disks[i].empty()) {
            auto generation = disk_generation(written_file(i), disk_ids_[i]);
            if (generation) {
                generations[i] = std::move(*generation);
            } else {
                status = tl::unexpected(generation.error());
            }
        }
    }
    if (status) {
        status = writer->complete(std::move(generations));
    }
    release(status ? VMVMState::Saved : VMVMState::TurnedOff);
    return outcome_of(status);
}

HResult VirtualMachine::DiscardSavedState() {
    VMVMState before{};
    if (!take({VMVMState::Saved}, before)) {
        return before == VMVMState::TurnedOff ? HResult::VM_E_VM_NO_SAVED_STATE : HResult::VM_E_VM_RUNNING;
    }
    std::error_code error;
    std::filesystem::remove(settings_.saved_state, error);
    release(error ? VMVMState::Saved : VMVMState::TurnedOff);
    return error ? HResult::ERROR_ACCESS_DENIED : HResult::S_OK;
}

HResult VirtualMachine::SavedStateFilePath(std::filesystem::path& path) const {
    const std::scoped_lock guard(mutex_);
    if (state_ != VMVMState::Saved) {
        return HResult::VM_E_VM_NO_SAVED_STATE;
    }
    path = settings_.saved_state;
    return HResult::S_OK;
}

}  // namespace vpc::tasks
