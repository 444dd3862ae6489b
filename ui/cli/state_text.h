#pragma once
#include <string>

#include "tasks/virtual_machine.h"

namespace vpc::cli {

/// What commands and the control protocol call it: "running" of "vmVMState_Running", "turned_off" of
/// "vmVMState_TurnedOff".
std::string state_text(tasks::VMVMState state);

}  // namespace vpc::cli
