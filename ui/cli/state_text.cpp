#include "ui/cli/state_text.h"

namespace vpc::cli {

using tasks::VMVMState;

std::string state_text(VMVMState state) {
    switch (state) {
        case VMVMState::Invalid:
            break;
        case VMVMState::TurnedOff:
            return "turned_off";
        case VMVMState::Saved:
            return "saved";
        case VMVMState::TurningOn:
            return "turning_on";
        case VMVMState::Restoring:
            return "restoring";
        case VMVMState::Running:
            return "running";
        case VMVMState::Paused:
            return "paused";
        case VMVMState::Saving:
            return "saving";
        case VMVMState::TurningOff:
            return "turning_off";
        case VMVMState::MergingDrives:
            return "merging_drives";
        case VMVMState::DeleteMachine:
            return "delete_machine";
    }
    return "invalid";
}

}  // namespace vpc::cli
