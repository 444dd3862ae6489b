#include "tasks/virtual_machine.h"

#include <algorithm>
#include <array>
#include <system_error>
#include <utility>

#include "disk/block_device.h"
#include "tasks/start_task.h"

namespace vpc::tasks {
namespace {

Outcome cancelled() {
    return {HResult::E_ABORT, VMTaskResult::Cancelled, {}};
}

Outcome misfit(std::string reason) {
    return {HResult::VM_E_PREF_SAVED_STATE_BAD_VERSION, VMTaskResult::IncompatibleSavedStateError, std::move(reason)};
}

/// A state file that cannot be used does not fit, whatever the reason.
Outcome outcome_of_state(const disk::Error& error) {
    switch (error.code) {
        case disk::ErrorCode::Corrupt:
        case disk::ErrorCode::Unsupported:
        case disk::ErrorCode::NotAnImage:
            return misfit(error.message);
        default:
            return outcome_of(tl::unexpected(error));
    }
}

bool file_exists(const std::filesystem::path& file) {
    std::error_code ignored;
    return !file.empty() && std::filesystem::exists(file, ignored);
}

}  // namespace

std::string_view vm_state_name(VMVMState state) {
    constexpr std::array<std::string_view, 11> kNames{
        "vmVMState_Invalid",    "vmVMState_TurnedOff",     "vmVMState_Saved",        "vmVMState_TurningOn",
        "vmVMState_Restoring",  "vmVMState_Running",       "vmVMState_Paused",       "vmVMState_Saving",
        "vmVMState_TurningOff", "vmVMState_MergingDrives", "vmVMState_DeleteMachine"};
    const auto index = static_cast<std::size_t>(state);
    return index < kNames.size() ? kNames[index] : kNames[0];
}

std::shared_ptr<VirtualMachine> VirtualMachine::make(MachineSettings settings, Worker& worker, TaskCollection& tasks) {
    return std::shared_ptr<VirtualMachine>(new VirtualMachine(std::move(settings), worker, tasks));
}

VirtualMachine::VirtualMachine(MachineSettings settings, Worker& worker, TaskCollection& tasks)
    : settings_(std::move(settings)),
      worker_(worker),
      tasks_(tasks),
      undo_disks_(settings_.undo_disks),
      undo_action_(settings_.undo_action),
      host_time_sync_(settings_.host_time_sync) {
    if (file_exists(settings_.saved_state)) {
        state_ = VMVMState::Saved;
    }
}

VirtualMachine::~VirtualMachine() {
    end_guest(GuestSession::Event::Gone);
    if (guest_) {
        guest_->stop_heart();  // which posts to the machine
    }
    machine_.reset();  // its last event needs the rest of this object
}

MachineIdentity VirtualMachine::identity() const {
    return {.memory = settings_.memory,
            .cpu = std::string(settings_.cpu->name),
            .bios = firmware_checksum(settings_.bios),
            .vga_bios = firmware_checksum(settings_.vga_bios)};
}

// ---- who may change what -------------------------------------------------------------------------------------------

bool VirtualMachine::take(std::initializer_list<VMVMState> from, VMVMState& before) {
    const std::scoped_lock guard(mutex_);
    before = state_;
    if (taken_ || std::find(from.begin(), from.end(), state_) == from.end()) {
        return false;
    }
    taken_ = true;
    return true;
}

void VirtualMachine::change_to(VMVMState state) {
    {
        const std::scoped_lock guard(mutex_);
        state_ = state;
    }
    if (listener_) {
        listener_(state);
    }
}

void VirtualMachine::release(VMVMState state) {
    {
        const std::scoped_lock guard(mutex_);
        if (state_ == state) {
            taken_ = false;
            return;
        }
        state_ = state;
    }
    if (listener_) {
        listener_(state);  // before another actor can change it again
    }
    const std::scoped_lock guard(mutex_);
    taken_ = false;
}

void VirtualMachine::run_on() {
    machine_->resume();
    release(VMVMState::Running);
    {
        const std::scoped_lock guard(mutex_);
        if (!ended_while_taken_ || taken_) {
            return;
        }
        taken_ = true;  // it has ended before it was released, and ended() left the rest to us
    }
    leave_ended();
}

void VirtualMachine::leave_ended() {
    change_to(VMVMState::TurningOff);
    change_to(VMVMState::DeleteMachine);
    if (const Outcome outcome = go_off({}); outcome.error != HResult::S_OK) {
        const std::scoped_lock guard(mutex_);
        failure_ += (failure_.empty() ? "" : "; ") + outcome_text(outcome, settings_.language);
    }
}

Outcome VirtualMachine::go_off(const disk::Operation& operation) {
    Outcome outcome;
    try {
        outcome = end_session(operation);
    } catch (const std::exception& problem) {
        outcome = {HResult::E_OUTOFMEMORY, VMTaskResult::OutOfMemoryError, problem.what()};
    }
    const bool still_saved = settings_.discard_changes && file_exists(settings_.saved_state);
    release(still_saved ? VMVMState::Saved : VMVMState::TurnedOff);
    return outcome;
}

HResult VirtualMachine::start_task(TaskKind kind, bool cancelable, VMVMState before, std::shared_ptr<IVMTask>& task,
                                   TaskWork work) {
    const HResult started = tasks::start_task(worker_, tasks_,
                                              {.kind = kind,
                                               .subject = settings_.name,
                                               .cancelable = cancelable,
                                               .begins_always = true,
                                               .language = settings_.language},
                                              std::move(work), task);
    if (started != HResult::S_OK) {
        release(before);
    }
    return started;
}

VMVMState VirtualMachine::State() const {
    const std::scoped_lock guard(mutex_);
    return state_;
}

std::string VirtualMachine::failure() const {
    const std::scoped_lock guard(mutex_);
    return failure_;
}

bool VirtualMachine::ended_by_itself() const {
    const std::scoped_lock guard(mutex_);
    return ended_by_itself_;
}

void VirtualMachine::stand_still() {
    const std::scoped_lock guard(mutex_);
    if (machine_) {
        machine_->stand_still();
    }
}

bool VirtualMachine::post(std::function<void(devices::Board&)> work) {
    const std::scoped_lock guard(mutex_);
    return machine_ && machine_->post(std::move(work));
}

HResult VirtualMachine::type(const std::vector<KeyMove>& moves) {
    const std::scoped_lock guard(mutex_);
    if (!machine_ || !typist_) {
        return HResult::VM_E_VM_NOT_RUNNING;
    }
    typist_->add(moves);
    return machine_->post([typist = typist_](devices::Board&) { typist->begin(); }) ? HResult::S_OK
                                                                                    : HResult::VM_E_VM_NOT_RUNNING;
}

RemovableMedia VirtualMachine::media() const {
    const std::scoped_lock guard(mutex_);
    return media_;
}

bool VirtualMachine::look_at(std::function<void(devices::Board&)> work) {
    VMVMState before{};
    if (!take({VMVMState::Paused}, before)) {
        return post(std::move(work));
    }
    work(machine_->board());
    release(before);
    return true;
}

// ---- starting ------------------------------------------------------------------------------------------------------

HResult VirtualMachine::Startup(std::shared_ptr<IVMTask>& task) {
    return Startup2(VMStartupOption::Normal, task);
}

HResult VirtualMachine::Startup2(VMStartupOption option, std::shared_ptr<IVMTask>& task) {
    if (option != VMStartupOption::Normal && option != VMStartupOption::FixParentTimestampMismatch) {
        return HResult::E_INVALIDARG;
    }
    VMVMState before{};
    if (!take({VMVMState::TurnedOff, VMVMState::Saved}, before)) {
        return HResult::VM_E_VM_RUNNING;
    }
    const bool restore = before == VMVMState::Saved;
    return start_task(TaskKind::Startup, true, before, task,
                      [self = shared_from_this(), restore, option](TaskControl& control) {
                          return self->start(control, restore, option);
                      });
}

Outcome VirtualMachine::start(TaskControl& control, bool restore, VMStartupOption option) {
    change_to(VMVMState::TurningOn);
    std::unique_ptr<SavedStateReader> saved;  // closed last: the host frees it then, and the guest runs already
    Outcome outcome;
    try {
        outcome = bring_up(control, restore, option, saved);
    } catch (const std::exception& problem) {
        outcome = {HResult::VM_E_OUT_OF_RESOURCE, VMTaskResult::OutOfMemoryError, problem.what()};
    }
    if (outcome.result != VMTaskResult::Success) {
        change_to(VMVMState::TurningOff);
        tear_down();
        release(restore ? VMVMState::Saved : VMVMState::TurnedOff);
        return outcome;
    }
    run_on();
    return outcome;
}

Outcome VirtualMachine::bring_up(TaskControl& control, bool restore, VMStartupOption option,
                                 std::unique_ptr<SavedStateReader>& saved) {
    // Estimates, in milliseconds: the disks are there at once, the board (its CPU engine above all) takes its time, and
    // restoring depends on the memory that is stored, as does having the host free the file.
    constexpr std::uint64_t kOpening = 2;
    constexpr std::uint64_t kMaking = 30;
    constexpr std::uint64_t kRestoringMebibyte = 3;
    constexpr std::uint64_t kFreeingShare = 16;  // of restoring
    if (control.stop().stop_requested()) {
        return cancelled();
    }

    if (restore) {
        auto opened = SavedStateReader::open(settings_.saved_state);
        if (!opened) {
            return outcome_of_state(opened.error());
        }
        saved = std::move(*opened);
    }
    // A damaged file may tell of more than the machine has.
    const std::uint64_t stored = saved ? std::min(saved->loading_work() >> 20, settings_.memory) : 0;
    const std::uint64_t restoring = stored * kRestoringMebibyte;
    const std::uint64_t total = kOpening + kMaking + restoring + restoring / kFreeingShare;
    devices::BoardConfiguration configuration;
    configuration.memory = settings_.memory;
    configuration.cpu = settings_.cpu;
    configuration.bios = settings_.bios;
    configuration.vga_bios = settings_.vga_bios;
    configuration.boot_order = settings_.boot_order;
    configuration.serial = settings_.serial;
    configuration.printer = settings_.printer;
    configuration.firmware_log = settings_.firmware_log;
    configuration.debug_log = settings_.debug_log;
    configuration.unix_time = settings_.unix_time;
    std::shared_ptr<GuestSession> guest = connect_guest(configuration);
    DiskGenerations generations;
    if (Outcome disks = open_hard_disks(configuration, generations, option); disks.result != VMTaskResult::Success) {
        return disks;
    }
    RemovableMedia media{.disc = settings_.disc.string(),
                         .floppies = {settings_.floppies[0].string(), settings_.floppies[1].string()}};
    if (saved) {
        media = saved->media();
    }
    if (Outcome opened = open_media(media, restore, configuration); opened.result != VMTaskResult::Success) {
        return opened;
    }
    if (saved) {
        if (std::string reason = saved->misfit(identity(), generations); !reason.empty()) {
            return misfit(std::move(reason));
        }
    }
    control.progress(kOpening, total);
    auto board = devices::Board::make(std::move(configuration));
    if (!board) {
        return {HResult::VM_E_OUT_OF_RESOURCE, VMTaskResult::UnexpectedError, board.error()};
    }
    connect_guest(**board, guest);
    std::shared_ptr<Typist> typist = Typist::make((*board)->clock(), (*board)->keyboard());
    control.progress(kOpening + kMaking, total);
    if (saved) {
        change_to(VMVMState::Restoring);
        const disk::Operation operation{
            .progress =
                [&](const disk::Progress& progress) {
                    control.progress(kOpening + kMaking + restoring * progress.done / progress.total, total);
                },
            .stop = control.stop(),
        };
        if (disk::Status loaded = saved->load(**board, operation); !loaded) {
            return outcome_of_state(loaded.error());
        }
    }
    if (!control.commit()) {
        return cancelled();
    }
    auto machine = std::make_unique<MachineThread>(
        std::move(*board), MachineThread::Listener{.ended = [this](const std::string& failure) { ended(failure); },
                                                   .last_look = settings_.last_look});
    std::unique_ptr<MachineThread> old;  // that of a guest that switched itself off; joined without the mutex
    {
        const std::scoped_lock guard(mutex_);
        failure_.clear();
        ended_by_itself_ = false;
        ended_while_taken_ = false;
        media_ = std::move(media);
        guest_.swap(guest);
        typist_ = std::move(typist);
        old = std::move(machine_);
        machine_ = std::move(machine);
    }
    if (saved && !settings_.discard_changes) {
        // The state is spent. Were it still there after a crash, it would be refused as soon as the guest has written.
        std::error_code ignored;
        std::filesystem::remove(settings_.saved_state, ignored);
    }
    return {};
}

// ---- stopping ------------------------------------------------------------------------------------------------------

void VirtualMachine::tear_down() {
    end_guest(GuestSession::Event::Gone);
    std::shared_ptr<GuestSession> guest;
    std::unique_ptr<MachineThread> machine;
    {
        const std::scoped_lock guard(mutex_);
        guest = std::move(guest_);
        typist_.reset();
        machine = std::move(machine_);
    }
    machine.reset();
    if (guest) {
        guest->stop_heart();
    }
}

void VirtualMachine::ended(const std::string& failure) {
    bool taken = false;
    {
        const std::scoped_lock guard(mutex_);
        failure_ = failure;
        ended_by_itself_ = true;
        taken = std::exchange(taken_, true);
        ended_while_taken_ = taken;  // whoever has the machine finds out
    }
    if (!taken) {
        leave_ended();
    }
    end_guest(failure.empty() ? GuestSession::Event::PoweredOff : GuestSession::Event::Gone);
}

HResult VirtualMachine::TurnOff(std::shared_ptr<IVMTask>& task) {
    VMVMState before{};
    if (!take({VMVMState::Running, VMVMState::Paused}, before)) {
        return HResult::VM_E_VM_NOT_RUNNING;
    }
    return start_task(TaskKind::TurnOff, false, before, task,
                      [self = shared_from_this()](TaskControl& control) { return self->turn_off(control); });
}

Outcome VirtualMachine::turn_off(TaskControl& control) {
    // Hundredths: the states are passed at once, committing takes what there is to commit.
    constexpr std::uint64_t kTornDown = 5;
    constexpr std::uint64_t kTotal = 100;
    change_to(VMVMState::TurningOff);
    tear_down();
    change_to(VMVMState::DeleteMachine);
    control.progress(kTornDown, kTotal);
    return go_off({.progress = [&](const disk::Progress& progress) {
        control.progress(kTornDown + (kTotal - kTornDown) * progress.done / progress.total, kTotal);
    }});
}

HResult VirtualMachine::Reset(std::shared_ptr<IVMTask>& task) {
    VMVMState before{};
    if (!take({VMVMState::Running, VMVMState::Paused}, before)) {
        return HResult::VM_E_VM_NOT_RUNNING;
    }
    return start_task(TaskKind::Reset, false, before, task,
                      [self = shared_from_this()](TaskControl& control) { return self->reset(control); });
}

Outcome VirtualMachine::reset(TaskControl& control) {
    constexpr std::uint64_t kStates = 4;
    change_to(VMVMState::TurningOff);
    control.progress(1, kStates);
    const bool on = machine_->park();
    change_to(VMVMState::DeleteMachine);
    control.progress(2, kStates);
    if (!on) {
        tear_down();
        go_off({});
        return {HResult::VM_E_VM_NOT_RUNNING, VMTaskResult::UnexpectedError, "the guest switched itself off"};
    }
    machine_->board().reset();
    change_to(VMVMState::TurningOn);
    control.progress(3, kStates);
    run_on();
    return {};
}

HResult VirtualMachine::Pause() {
    VMVMState before{};
    if (!take({VMVMState::Running}, before)) {
        return before == VMVMState::Paused ? HResult::E_FAIL : HResult::VM_E_VM_NOT_RUNNING;
    }
    if (machine_->park()) {
        release(VMVMState::Paused);
        return HResult::S_OK;
    }
    change_to(VMVMState::TurningOff);
    tear_down();
    change_to(VMVMState::DeleteMachine);
    go_off({});
    return HResult::VM_E_VM_NOT_RUNNING;
}

HResult VirtualMachine::Resume() {
    VMVMState before{};
    if (!take({VMVMState::Paused}, before)) {
        return before == VMVMState::Running ? HResult::E_FAIL : HResult::VM_E_VM_NOT_RUNNING;
    }
    run_on();
    return HResult::S_OK;
}

}  // namespace vpc::tasks
