// What ties a VirtualMachine to its guest's agent.
#include <algorithm>
#include <array>
#include <utility>

#include "tasks/start_task.h"
#include "tasks/virtual_machine.h"

namespace vpc::tasks {
namespace {

/// The machine's thread: the port takes what it has room for.
void feed(GuestAgent& agent, devices::Uart16550A& port) {
    std::array<std::uint8_t, 16> bytes{};
    while (const std::size_t room = std::min(port.room(), bytes.size())) {
        const std::size_t taken = agent.take(std::span(bytes).first(room));
        if (taken == 0) {
            return;
        }
        for (std::size_t i = 0; i < taken; ++i) {
            port.receive(bytes[i]);
        }
    }
}

}  // namespace

std::shared_ptr<GuestSession> VirtualMachine::connect_guest(devices::BoardConfiguration& configuration) {
    const bool connected_otherwise = settings_.serial[1] != nullptr;
    const auto wake = [this, connected_otherwise] {
        if (connected_otherwise) {
            return;
        }
        post([this](devices::Board& board) {
            std::shared_ptr<GuestSession> session;
            {
                const std::scoped_lock guard(mutex_);
                session = guest_;
            }
            if (session) {
                feed(session->agent(), board.serial(1));
            }
        });
    };
    auto session = std::make_shared<GuestSession>(
        wake, host_time_sync() ? settings_.unix_time : std::function<std::int64_t()>(), settings_.heart_beat);
    configuration.was_reset = [session] { session->was_reset(); };
    if (!connected_otherwise) {
        configuration.serial[1] = [session](std::uint8_t byte) { session->agent().receive(byte); };
    }
    return session;
}

void VirtualMachine::connect_guest(devices::Board& board, const std::shared_ptr<GuestSession>& session) const {
    if (settings_.serial[1] == nullptr) {
        devices::Uart16550A& port = board.serial(1);
        port.on_room([session, &port] { feed(session->agent(), port); });
    }
}

void VirtualMachine::end_guest(GuestSession::Event how) {
    std::shared_ptr<GuestSession> session;
    {
        const std::scoped_lock guard(mutex_);
        session = guest_;
    }
    if (session) {
        session->end(how);
    }
}

bool VirtualMachine::host_time_sync() const {
    const std::scoped_lock guard(mutex_);
    return host_time_sync_;
}

Outcome VirtualMachine::set_host_time_sync(bool enabled) {
    VMVMState before{};
    if (!take({VMVMState::TurnedOff}, before)) {
        return {HResult::VM_E_PREF_VM_ACTIVE, VMTaskResult::UnexpectedError, {}};
    }
    const disk::Status kept =
        settings_.host_time_sync_changed ? settings_.host_time_sync_changed(enabled) : disk::Status();
    if (kept) {
        const std::scoped_lock guard(mutex_);
        host_time_sync_ = enabled;
    }
    release(VMVMState::TurnedOff);
    return outcome_of(kept);
}

HResult VirtualMachine::guest_session(std::shared_ptr<GuestSession>& session) const {
    const std::scoped_lock guard(mutex_);
    if (state_ != VMVMState::Running || !guest_) {
        return state_ == VMVMState::Paused ? HResult::VM_E_VM_PAUSED : HResult::VM_E_VM_NOT_RUNNING;
    }
    session = guest_;
    return HResult::S_OK;
}

HResult VirtualMachine::start_guest_task(TaskKind kind, std::shared_ptr<IVMTask>& task, TaskWork work) {
    return tasks::start_task(worker_, tasks_, {.kind = kind, .subject = settings_.name, .language = settings_.language},
                             std::move(work), task);
}

}  // namespace vpc::tasks
