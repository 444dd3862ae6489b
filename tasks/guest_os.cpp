#include "tasks/guest_os.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "devices/board.h"
#include "tasks/start_task.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using Kind = GuestAgent::Error::Kind;

constexpr milliseconds kLook{200};  // between two questions to the agent

// Ends the sessions of the users named by the arguments: through systemd's login manager, or by hanging up the
// terminals that `who` shows.
constexpr const char* kLogoffScript = R"sh(
if command -v loginctl >/dev/null; then loginctl terminate-user "$@"; exit; fi
who | while read -r user line rest; do
    [ -c "/dev/$line" ] || continue
    for process in /proc/[0-9]*; do
        [ "$(readlink "$process/fd/0")" != "/dev/$line" ] || kill -HUP "${process#/proc/}"
    done
done)sh";

Outcome outcome_of(const GuestAgent::Error& error) {
    switch (error.kind) {
        case Kind::Silent:
            return {HResult::VM_E_ADDITIONS_NOT_AVAIL, VMTaskResult::TimeOutError, error.message};
        case Kind::Refused:
            return {HResult::ERROR_NOT_READY, VMTaskResult::UnexpectedError, error.message};
        case Kind::Unknown:
            return {HResult::VM_E_ADDITIONS_FEATURE_NOT_AVAIL, VMTaskResult::UnexpectedError, error.message};
        case Kind::Cancelled:
            return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
        case Kind::Unplugged:
            return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::ShutdownAbort, error.message};
        case Kind::Malformed:
            break;
    }
    return {HResult::E_UNEXPECTED, VMTaskResult::UnexpectedError, error.message};
}

std::int64_t number_of(const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_number_integer()
               ? object[key].get<std::int64_t>()
               : 0;
}

std::string text_of(const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

/// The names of those logged on.
std::vector<std::string> names_of(const json& users) {
    std::vector<std::string> names;
    for (const json& user : users.is_array() ? users : json::array()) {
        if (std::string name = text_of(user, "user"); !name.empty()) {
            names.push_back(std::move(name));
        }
    }
    return names;
}

Outcome shut_down(TaskControl& control, VirtualMachine& machine, GuestSession& session, bool restart,
                  milliseconds limit) {
    constexpr std::uint64_t kSteps = 3;
    const Clock::time_point until = Clock::now() + limit;
    const std::uint64_t resets = session.resets();
    const auto contact = session.make_contact(control.stop());
    if (!contact && contact.error().kind != Kind::Silent) {
        return outcome_of(contact.error());
    }
    bool asked = false;
    if (contact) {
        control.progress(1, kSteps);
        const json mode = {{"mode", restart ? "reboot" : "powerdown"}};
        const auto answer =
            session.agent().call_without_answer("guest-shutdown", mode, session.patience(), control.stop());
        // A guest that is quick is off before the agent could say anything.
        asked = answer || answer.error().kind == Kind::Unplugged;
        if (!asked && (restart || answer.error().kind != Kind::Unknown)) {
            return outcome_of(answer.error());
        }
    } else if (restart) {
        return outcome_of(contact.error());
    }
    if (!asked && !machine.post([](devices::Board& board) { board.power_management().press_power_button(); })) {
        return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::ShutdownAbort, {}};
    }
    control.progress(2, kSteps);
    const auto left = std::max(milliseconds(0), std::chrono::duration_cast<milliseconds>(until - Clock::now()));
    using Event = GuestSession::Event;
    const Event event = session.wait(resets, left, control.stop());
    if (event == (restart ? Event::Reset : Event::PoweredOff)) {
        return {};
    }
    switch (event) {
        case Event::Reset:
            return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::ShutdownAbort, "the guest has restarted instead"};
        case Event::PoweredOff:
            return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::ShutdownAbort, "the guest has switched itself off"};
        case Event::Gone:
            return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::ShutdownAbort, "the machine was turned off or saved"};
        case Event::None:
            break;
    }
    if (control.stop().stop_requested()) {
        return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
    }
    return {HResult::VM_E_TIMED_OUT, VMTaskResult::TimeOutError,
            asked ? "the guest's agent was asked, and the guest goes on"
                  : "no agent answers on COM2, and the guest does not follow its power button"};
}

/// Runs a shell script in the guest to its end.
GuestAgent::Result run_script(TaskControl& control, GuestSession& session, const char* script,
                              const std::vector<std::string>& arguments, Clock::time_point until) {
    json list = {"-c", script, "sh"};
    for (const std::string& argument : arguments) {
        list.push_back(argument);
    }
    auto begun =
        session.agent().call("guest-exec", {{"path", "/bin/sh"}, {"arg", list}}, session.patience(), control.stop());
    while (begun) {
        auto status = session.agent().call("guest-exec-status", {{"pid", number_of(*begun, "pid")}}, session.patience(),
                                           control.stop());
        const bool runs = status && status->is_object() && status->contains("exited") && (*status)["exited"] == false;
        if (!runs || Clock::now() > until) {
            return status;
        }
        std::this_thread::sleep_for(kLook);
    }
    return begun;
}

Outcome log_off(TaskControl& control, GuestSession& session, milliseconds limit) {
    const Clock::time_point until = Clock::now() + limit;
    if (const auto contact = session.make_contact(control.stop()); !contact) {
        return outcome_of(contact.error());
    }
    const auto ask = [&] { return session.agent().call("guest-get-users", {}, session.patience(), control.stop()); };
    auto users = ask();
    if (!users) {
        return outcome_of(users.error());
    }
    const std::vector<std::string> names = names_of(*users);
    if (names.empty()) {
        return {HResult::ERROR_NO_SUCH_LOGON_SESSION, VMTaskResult::UnexpectedError, {}};
    }
    const auto system = session.agent().call("guest-get-osinfo", {}, session.patience(), control.stop());
    if (system && text_of(*system, "id") == "mswindows") {
        return {HResult::VM_E_ADDITIONS_FEATURE_NOT_AVAIL, VMTaskResult::UnexpectedError,
                "users of Windows cannot be logged off from here"};
    }
    if (const auto run = run_script(control, session, kLogoffScript, names, until); !run) {
        return outcome_of(run.error());
    }
    for (;;) {
        users = ask();
        if (!users) {
            return outcome_of(users.error());
        }
        const std::size_t left = std::min(names_of(*users).size(), names.size());
        control.progress(names.size() - left, names.size());
        if (left == 0) {
            return {};
        }
        if (Clock::now() >= until) {
            return {HResult::VM_E_TIMED_OUT, VMTaskResult::TimeOutError,
                    fmt::format("{} of {} users are still logged on", left, names.size())};
        }
        std::this_thread::sleep_for(kLook);
    }
}

}  // namespace

HResult GuestOS::start(TaskKind kind, std::shared_ptr<IVMTask>& task,
                       std::function<Outcome(TaskControl&, GuestSession&)> work) const {
    std::shared_ptr<GuestSession> session;
    if (const HResult found = machine_->guest_session(session); found != HResult::S_OK) {
        return found;
    }
    // The task keeps the machine, whose thread the session wakes.
    return machine_->start_guest_task(
        kind, task, [machine = machine_, session = std::move(session), work = std::move(work)](TaskControl& control) {
            return work(control, *session);
        });
}

HResult GuestOS::power(TaskKind kind, std::shared_ptr<IVMTask>& task, milliseconds limit) const {
    return start(
        kind, task,
        [machine = machine_, restart = kind == TaskKind::Restart, limit](TaskControl& control, GuestSession& session) {
            return shut_down(control, *machine, session, restart, limit);
        });
}

HResult GuestOS::Shutdown(bool /*forced*/, std::shared_ptr<IVMTask>& task, milliseconds limit) {
    return power(TaskKind::Shutdown, task, limit);
}

HResult GuestOS::Restart(bool /*forced*/, std::shared_ptr<IVMTask>& task, milliseconds limit) {
    return power(TaskKind::Restart, task, limit);
}

HResult GuestOS::Logoff(std::shared_ptr<IVMTask>& task, milliseconds limit) {
    return start(TaskKind::Logoff, task,
                 [limit](TaskControl& control, GuestSession& session) { return log_off(control, session, limit); });
}

HResult GuestOS::IsHeartbeating(bool& beating) const {
    std::shared_ptr<GuestSession> session;
    if (const HResult found = machine_->guest_session(session); found != HResult::S_OK) {
        return found;
    }
    beating = session->heart_beats() || (session->heart_beat_percentage() == 0 && session->make_contact().has_value());
    return HResult::S_OK;
}

HResult GuestOS::HeartbeatPercentage(std::int32_t& percent) const {
    bool beating = false;
    const HResult asked = IsHeartbeating(beating);
    std::shared_ptr<GuestSession> session;
    if (const HResult found = machine_->guest_session(session); asked != HResult::S_OK || found != HResult::S_OK) {
        return asked != HResult::S_OK ? asked : found;
    }
    percent = session->heart_beat_percentage();
    return HResult::S_OK;
}

bool GuestOS::IsHostTimeSyncEnabled() const {
    return machine_->host_time_sync();
}

HResult GuestOS::IsHostTimeSyncEnabled(bool enabled) {
    return machine_->set_host_time_sync(enabled).error;
}

HResult GuestOS::CanShutdown(bool& can) const {
    GuestInformation all;
    const HResult asked = information(all).error;
    can = std::find(all.commands.begin(), all.commands.end(), "guest-shutdown") != all.commands.end();
    return asked == HResult::VM_E_ADDITIONS_NOT_AVAIL ? HResult::S_OK : asked;
}

HResult GuestOS::IntegrationComponentsVersion(std::string& version) const {
    GuestInformation all;
    const HResult asked = information(all).error;
    version = all.agent_version;
    return asked;
}

HResult GuestOS::ComputerName(std::string& name) const {
    GuestInformation all;
    const HResult asked = information(all).error;
    name = all.computer_name;
    return asked;
}

HResult GuestOS::OSName(std::string& name) const {
    GuestInformation all;
    const HResult asked = information(all).error;
    name = all.os_name;
    return asked;
}

HResult GuestOS::OSVersion(std::string& version) const {
    GuestInformation all;
    const HResult asked = information(all).error;
    version = all.os_version;
    return asked;
}

Outcome GuestOS::information(GuestInformation& information) const {
    std::shared_ptr<GuestSession> session;
    if (const HResult found = machine_->guest_session(session); found != HResult::S_OK) {
        return {found, VMTaskResult::UnexpectedError, {}};
    }
    if (const auto contact = session->make_contact(); !contact) {
        return outcome_of(contact.error());
    }
    Outcome outcome;
    // What the agent does not have is left empty; when it falls silent or ends, that is said.
    const auto ask = [&](const char* command) {
        auto answer = outcome.error == HResult::S_OK ? session->agent().call(command, {}, session->patience())
                                                     : GuestAgent::Result(json());
        if (!answer && answer.error().kind != Kind::Unknown && answer.error().kind != Kind::Refused) {
            outcome = outcome_of(answer.error());
        }
        return answer ? std::move(*answer) : json();
    };
    const json agent = ask("guest-info");
    information.agent_version = text_of(agent, "version");
    const json none = json::array();
    const bool listed = agent.is_object() && agent.contains("supported_commands");
    for (const json& command : listed ? agent["supported_commands"] : none) {
        if (command.is_object() && command.contains("enabled") && command["enabled"] == true) {
            information.commands.push_back(text_of(command, "name"));
        }
    }
    information.computer_name = text_of(ask("guest-get-host-name"), "host-name");
    const json system = ask("guest-get-osinfo");
    information.os_name = text_of(system, "pretty-name");
    information.os_id = text_of(system, "id");
    information.os_version = text_of(system, "version-id");
    information.kernel_release = text_of(system, "kernel-release");
    information.users = names_of(ask("guest-get-users"));
    if (const json time = ask("guest-get-time"); time.is_number_integer()) {
        information.unix_time = time.get<std::int64_t>() / 1'000'000'000;
    }
    return outcome;
}

}  // namespace vpc::tasks
