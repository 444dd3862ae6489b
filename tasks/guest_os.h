#pragma once
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tasks/guest_session.h"
#include "tasks/task.h"
#include "tasks/worker.h"

namespace vpc::tasks {

class VirtualMachine;

/// What the guest's agent says of the guest. A text that it does not know is empty.
struct GuestInformation {
    std::string agent_version;
    std::vector<std::string> commands;  ///< of the agent, those that are enabled
    std::string computer_name;
    std::string os_name;             ///< "Debian GNU/Linux 12 (bookworm)"
    std::string os_id;               ///< "debian", "mswindows"
    std::string os_version;          ///< "12"
    std::string kernel_release;      ///< "6.1.0-50-686"; of Windows the build number
    std::vector<std::string> users;  ///< who is logged on
    std::int64_t unix_time = 0;      ///< the guest's, in seconds
};

/// The operating system in a machine: Virtual PC's IVMGuestOS. In the place of Microsoft's additions stands the QEMU
/// guest agent (see GuestAgent) on the second serial port, unless the settings connect that to something else. Any
/// thread; no member throws. The members wait for the agent's answers, at most a few seconds each.
///
/// | Method   | Progress                          | Cancellable until | A cancel leaves                        |
/// |----------|-----------------------------------|-------------------|----------------------------------------|
/// | Shutdown | the agent answers, the guest was  | the guest is off  | a guest that was asked already: it may |
/// |          | asked, it is off                  |                   | still do it                            |
/// | Restart  | the same; the machine was reset   | that              | the same                               |
/// | Logoff   | users logged off                  | nobody is left    | those logged on who have not gone      |
///
/// Errors at once: VM_E_VM_NOT_RUNNING, VM_E_VM_PAUSED, VM_E_APP_SHUTTING_DOWN. Through the task:
/// VM_E_ADDITIONS_NOT_AVAIL with TimeOutError (no agent answers); VM_E_ADDITIONS_FEATURE_NOT_AVAIL (it cannot do that);
/// ERROR_NOT_READY (it refuses); VM_E_TIMED_OUT with TimeOutError (the guest does not follow within the limit);
/// VM_E_VM_NOT_RUNNING with ShutdownAbort (the machine was turned off or saved, or the guest did something else
/// instead); of Logoff also ERROR_NO_SUCH_LOGON_SESSION (nobody is logged on).
///
/// Without an agent Shutdown presses the ACPI power button; what that means is the guest's decision. `forced` is
/// Virtual PC's: the agent shuts down without asking the guest's users in any case, so that both are the same here.
/// Logoff ends the sessions of guests with a Unix shell; for others it is VM_E_ADDITIONS_FEATURE_NOT_AVAIL.
class GuestOS {
  public:
    static constexpr std::chrono::minutes kShutdownLimit{3};
    static constexpr std::chrono::minutes kLogoffLimit{1};

    /// Use VirtualMachine::GuestOS.
    explicit GuestOS(std::shared_ptr<VirtualMachine> machine) : machine_(std::move(machine)) {}

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names
    HResult Logoff(std::shared_ptr<IVMTask>& task, std::chrono::milliseconds limit = kLogoffLimit);
    HResult Restart(bool forced, std::shared_ptr<IVMTask>& task, std::chrono::milliseconds limit = kShutdownLimit);
    HResult Shutdown(bool forced, std::shared_ptr<IVMTask>& task, std::chrono::milliseconds limit = kShutdownLimit);
    /// Makes contact with the agent if nobody has yet. VM_E_VM_NOT_RUNNING.
    HResult IsHeartbeating(bool& beating) const;
    /// Of the beats within the last minute, how many were answered.
    HResult HeartbeatPercentage(std::int32_t& percent) const;
    /// The agent is there and can do it.
    HResult CanShutdown(bool& can) const;
    /// The agent's. As the rest: VM_E_VM_NOT_RUNNING, VM_E_ADDITIONS_NOT_AVAIL, VM_E_ADDITIONS_FEATURE_NOT_AVAIL.
    HResult IntegrationComponentsVersion(std::string& version) const;
    HResult ComputerName(std::string& name) const;
    HResult OSName(std::string& name) const;
    HResult OSVersion(std::string& version) const;
    /// Whether the agent sets the guest's clock when it differs from the host's, in whatever state the machine is.
    bool IsHostTimeSyncEnabled() const;
    /// Kept in the configuration of a machine that has one. VM_E_PREF_VM_ACTIVE: it is running or saved; those of
    /// writing the configuration.
    HResult IsHostTimeSyncEnabled(bool enabled);
    // NOLINTEND(readability-identifier-naming)

    /// All of it at once; a command that the agent does not have leaves its part empty.
    Outcome information(GuestInformation& information) const;

  private:
    HResult start(TaskKind kind, std::shared_ptr<IVMTask>& task,
                  std::function<Outcome(TaskControl&, GuestSession&)> work) const;
    HResult power(TaskKind kind, std::shared_ptr<IVMTask>& task, std::chrono::milliseconds limit) const;

    const std::shared_ptr<VirtualMachine> machine_;
};

}  // namespace vpc::tasks
