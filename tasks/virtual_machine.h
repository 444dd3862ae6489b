#pragma once
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/cpu_model.h"
#include "tasks/guest_os.h"
#include "tasks/machine_thread.h"
#include "tasks/removable_media.h"
#include "tasks/saved_state.h"
#include "tasks/task_collection.h"
#include "tasks/typist.h"
#include "tasks/undo_action.h"
#include "tasks/worker.h"

namespace vpc::tasks {

/// Virtual PC's power states, with its numbers.
enum class VMVMState : std::int32_t {
    Invalid = 0,
    TurnedOff = 1,
    Saved = 2,
    TurningOn = 3,
    Restoring = 4,
    Running = 5,
    Paused = 6,
    Saving = 7,
    TurningOff = 8,
    MergingDrives = 9,
    DeleteMachine = 10,
};
enum class VMStartupOption : std::int32_t {
    Normal = 0,
    FixParentTimestampMismatch = 1,
};
/// The machine's undo disks, as MachineSettings::disks; empty: none.
using UndoDisks = std::array<std::filesystem::path, 4>;

/// TurnedOff or Saved.
constexpr bool is_at_rest(VMVMState state) {
    return state == VMVMState::TurnedOff || state == VMVMState::Saved;
}
/// "vmVMState_Running".
std::string_view vm_state_name(VMVMState state);

/// What a machine is made of. The disks are opened for writing when it starts and closed when it stops.
struct MachineSettings {
    std::string name;
    std::uint64_t memory = 128;  ///< MiB
    const CpuModel* cpu = &default_cpu_model();
    std::vector<std::uint8_t> bios;
    std::vector<std::uint8_t> vga_bios;
    std::array<std::filesystem::path, 4> disks;  ///< as BoardConfiguration::disks; empty: none
    /// As BoardConfiguration::cdroms; none: no drive.
    std::optional<unsigned> cdrom_place;
    std::filesystem::path disc;                     ///< in it; empty: none. Only read
    std::array<std::filesystem::path, 2> floppies;  ///< in A and B; their sizes decide what drives there are
    std::string boot_order = "acd";
    std::filesystem::path saved_state;  ///< the `.vsv`
    /// What a session writes to disks and floppies goes to temporary files and is gone with it: no file of the machine
    /// ever changes, undo disks and saved state among them. It cannot be saved.
    bool discard_changes = false;
    /// All disks have undo disks (see disk/operations/undo_disk.h): the disks are only read then.
    bool undoable = false;
    UndoDisks undo_disks;               ///< begun in earlier sessions
    std::filesystem::path undo_folder;  ///< where new ones are made; empty: beside their disks
    VMUndoAction undo_action = VMUndoAction::Keep;
    /// Keeps their paths in the machine's configuration; called on a task's or the machine's thread before a session
    /// writes to a new one, and behind the end of one. Empty: nobody does.
    std::function<disk::Status(const UndoDisks&)> undo_disks_changed;
    /// As in BoardConfiguration: called on the machine's thread. COM2 without one is the guest agent's; see GuestOS.
    std::array<std::function<void(std::uint8_t)>, 2> serial;
    /// As in BoardConfiguration.
    devices::ParallelPort::Printer printer;
    std::function<void(std::uint8_t)> firmware_log;
    std::function<void(std::uint8_t)> debug_log;
    std::function<std::int64_t()> unix_time;
    /// Called on the machine's thread when the guest has stopped for good, however it ended, before its disks are
    /// closed: for what the screen and the counters show last.
    std::function<void(devices::Board&)> last_look;
    bool host_time_sync = true;  ///< the agent sets the guest's clock when it is off
    /// Keeps it in the machine's configuration, before it counts. Empty: nobody does.
    std::function<disk::Status(bool)> host_time_sync_changed;
    std::chrono::milliseconds heart_beat = GuestSession::kHeartBeat;
    Language language = Language::English;
};

/// One machine and its power switch: Virtual PC's IVMVirtualMachine. Any thread; no member throws.
///
/// What its tasks do, beyond what Virtual PC documents:
///
// clang-format off
/// | Method  | Valid in        | Progress                      | Cancellable until    | A cancel leaves       |
/// |---------|-----------------|-------------------------------|----------------------|-----------------------|
/// | Startup | TurnedOff       | disks opened, board made      | the guest runs       | TurnedOff             |
/// | Startup | Saved           | pages of RAM restored         | the guest runs       | Saved, file untouched |
/// | Save    | Running, Paused | RAM searched, pages stored    | the disks are closed | Running or Paused     |
/// | TurnOff | Running, Paused | states passed, bytes of undo  | never                |                       |
/// |         |                 | disks committed               |                      |                       |
/// | Reset   | Running, Paused | states passed                 | never                |                       |
/// | Merge-  | TurnedOff       | bytes of undo disks           | all are committed    | disks that are whole  |
/// | UndoDisks |               | committed                     |                      | with their undo disks |
///
/// | Method  | Errors at once       | Errors through the task                                                  |
/// |---------|----------------------|--------------------------------------------------------------------------|
/// | Startup | VM_E_VM_RUNNING      | those of opening disks; VM_E_OUT_OF_RESOURCE (no board);                 |
/// |         |                      | VM_E_PARENT_CHILD_ID_MISMATCH (an undo disk was begun for another disk); |
/// |         |                      | VM_E_PARENT_MODIFIED (its disk was changed since: Startup2 with          |
/// |         |                      | FixParentTimestampMismatch takes that; for undo disks alone)             |
/// |         |                      | VM_E_PREF_SAVED_STATE_BAD_VERSION with IncompatibleSavedStateError (the  |
/// |         |                      | state does not fit, is damaged, or its disks changed)                    |
/// | Save    | VM_E_VM_NOT_RUNNING  | those of writing a file: the machine runs on. After the point of no      |
/// |         |                      | return: TurnedOff, the old file (if any) untouched                       |
/// |         | E_FAIL: UndoAction is|                                                                          |
/// |         | Discard, or          |                                                                          |
/// |         | discard_changes      |                                                                          |
/// | TurnOff | VM_E_VM_NOT_RUNNING  | those of committing or discarding undo disks: the machine is off, and    |
/// |         |                      | undo disks that were not dealt with are kept                             |
/// | Reset   | VM_E_VM_NOT_RUNNING  | VM_E_VM_NOT_RUNNING: the guest switched itself off meanwhile             |
/// | Merge-  | VM_E_VM_RUNNING,     | those of commit_undo_disk()                                              |
/// | UndoDisks | VM_E_VM_RUNNING_OR_SAVED |                                                                    |
// clang-format on
///
/// Virtual PC commits the undo disks of a saved machine, too. Here it is refused, and the state has to be discarded or
/// gone on from first: a commit writes into the disk in place, so that after an interrupted one nothing could tell the
/// disk from one that somebody else wrote to, on which the state must never be resumed. It could be proved by a
/// checksum of what the guest sees, taken before the commit and kept in the state with both generations of every disk.
///
/// All of them: VM_E_APP_SHUTTING_DOWN. A method called while another one's task works on the machine is in the wrong
/// state. Events come in the order that Virtual Server publishes, Save ending with Saved; a Reset passes TurningOff,
/// DeleteMachine and TurningOn although the board stays. A guest that switches itself off passes TurningOff,
/// DeleteMachine and TurnedOff.
class VirtualMachine : public std::enable_shared_from_this<VirtualMachine> {
  public:
    /// `worker` and `tasks` outlive all machines and their tasks. State is Saved when the settings' file is there.
    static std::shared_ptr<VirtualMachine> make(MachineSettings settings, Worker& worker, TaskCollection& tasks);
    /// As pulling the plug.
    ~VirtualMachine();
    VirtualMachine(const VirtualMachine&) = delete;
    VirtualMachine& operator=(const VirtualMachine&) = delete;

    // NOLINTBEGIN(readability-identifier-naming): Virtual PC's names
    HResult Startup(std::shared_ptr<IVMTask>& task);
    /// E_INVALIDARG: no such option.
    HResult Startup2(VMStartupOption option, std::shared_ptr<IVMTask>& task);
    HResult Save(std::shared_ptr<IVMTask>& task);
    HResult TurnOff(std::shared_ptr<IVMTask>& task);
    HResult Reset(std::shared_ptr<IVMTask>& task);
    /// E_FAIL: paused already. VM_E_VM_NOT_RUNNING.
    HResult Pause();
    /// E_FAIL: not paused.
    HResult Resume();
    /// VM_E_VM_RUNNING; VM_E_VM_NO_SAVED_STATE; what the host says about removing the file.
    HResult DiscardSavedState();
    HResult MergeUndoDisks(std::shared_ptr<IVMTask>& task);
    /// VM_E_VM_RUNNING_OR_SAVED; and those of discard_undo_disk(), which the detail names.
    Outcome DiscardUndoDisks();
    VMUndoAction UndoAction() const;
    /// At any time; the end of the session counts.
    void UndoAction(VMUndoAction action);
    VMVMState State() const;
    /// VM_E_VM_NO_SAVED_STATE.
    HResult SavedStateFilePath(std::filesystem::path& path) const;
    /// Called for every change, one after the other, on whichever thread changed it; must not block or call methods
    /// that change the state. At most one listener, set before the first start.
    void OnStateChange(std::function<void(VMVMState)> listener) { listener_ = std::move(listener); }
    tasks::GuestOS GuestOS() { return tasks::GuestOS(shared_from_this()); }
    // NOLINTEND(readability-identifier-naming)

    /// Runs `work` on the machine's thread; false when there is no running or paused machine.
    bool post(std::function<void(devices::Board&)> work);
    /// The same, and also while the machine is paused: then at once on the caller's thread. False: neither running nor
    /// paused, or another actor has the paused machine.
    bool look_at(std::function<void(devices::Board&)> work);
    /// For the machine's thread, in a callback of the settings or posted work: the guest stands still at once, where it
    /// is. The state is still Running; TurnOff has to follow.
    void stand_still();
    /// Types at the running or paused machine's keyboard, behind what was typed before. VM_E_VM_NOT_RUNNING.
    HResult type(const std::vector<KeyMove>& moves);
    UndoDisks undo_disks() const;
    /// What is in the removable drives of the running, paused or last machine.
    RemovableMedia media() const;
    /// Changes the medium of a running machine's drive, in the place of what was there; blocks until the guest's
    /// hardware has it. VM_E_VM_NOT_RUNNING; VM_E_VM_PAUSED; VM_E_DRIVE_INVALID (no such drive);
    /// VM_E_IMAGE_CAPTURE_FAIL (no such medium, it does not fit the drive, or the guest has locked the tray);
    /// VM_E_TIMED_OUT; and those of opening images.
    Outcome insert_medium(RemovableDrive drive, const std::filesystem::path& file);
    /// The same without a new medium. VM_E_NO_MEDIA_CAPTURED: there is none. VM_E_MEDIA_UNMOUNT_FAIL: the guest has
    /// locked the tray.
    Outcome eject_medium(RemovableDrive drive);
    bool host_time_sync() const;
    /// VM_E_PREF_VM_ACTIVE: running or saved. Those of keeping it: it stays what it was.
    Outcome set_host_time_sync(bool enabled);
    /// The running guest's. VM_E_VM_NOT_RUNNING, VM_E_VM_PAUSED.
    HResult guest_session(std::shared_ptr<GuestSession>& session) const;
    /// A task that works with the guest and leaves the machine to everybody.
    HResult start_guest_task(TaskKind kind, std::shared_ptr<IVMTask>& task, TaskWork work);
    /// Why the machine last ended by itself, if the CPU failed; one line for people.
    std::string failure() const;
    /// The last session was ended by the guest, which switched itself off, or by a failure.
    bool ended_by_itself() const;

  private:
    VirtualMachine(MachineSettings settings, Worker& worker, TaskCollection& tasks);

    MachineIdentity identity() const;
    /// Takes the machine for one actor, until change_to() a state that rests. False: it is not in one of `from`.
    bool take(std::initializer_list<VMVMState> from, VMVMState& before);
    void release(VMVMState state);
    void change_to(VMVMState state);
    /// Lets the taken machine run and releases it.
    void run_on();
    /// The way down of a taken machine that has ended by itself.
    void leave_ended();
    /// The rest of the way down of a taken machine that has no guest any more: its undo disks, and off.
    Outcome go_off(const disk::Operation& operation);
    HResult start_task(TaskKind kind, bool cancelable, VMVMState before, std::shared_ptr<IVMTask>& task, TaskWork work);

    Outcome start(TaskControl& control, bool restore, VMStartupOption option);
    /// `saved` receives the state that the machine went on from.
    Outcome bring_up(TaskControl& control, bool restore, VMStartupOption option,
                     std::unique_ptr<SavedStateReader>& saved);
    Outcome open_hard_disks(devices::BoardConfiguration& configuration, DiskGenerations& generations,
                            VMStartupOption option);
    /// The same, filling in undo disks that are begun, and leaving those behind on failure.
    Outcome open_hard_disks(UndoDisks& undo, devices::BoardConfiguration& configuration, DiskGenerations& generations,
                            VMStartupOption option);
    disk::Result<std::unique_ptr<disk::BlockDevice>> open_hard_disk(std::size_t place,
                                                                    const std::filesystem::path& undo) const;
    /// Begins one if there is none, and looks whether it and its disk go together.
    Outcome prepare_undo_disk(std::size_t place, std::filesystem::path& undo, VMStartupOption option) const;
    /// The file of a disk that a session changes.
    std::filesystem::path written_file(std::size_t place) const;
    /// Opens what is in the removable drives.
    Outcome open_media(RemovableMedia& media, bool restore, devices::BoardConfiguration& configuration) const;
    Outcome change_medium(RemovableDrive drive, std::unique_ptr<disk::BlockDevice> medium, const std::string& file);
    Outcome save(TaskControl& control, VMVMState before);
    Outcome turn_off(TaskControl& control);
    Outcome reset(TaskControl& control);
    disk::Status remember_undo_disks(UndoDisks disks);
    Outcome commit_undo_disks(const disk::Operation& operation);
    Outcome discard_undo_disks();
    Outcome merge_undo_disks(TaskControl& control);
    /// What UndoAction says.
    Outcome end_session(const disk::Operation& operation);
    void tear_down();
    std::shared_ptr<GuestSession> connect_guest(devices::BoardConfiguration& configuration);
    /// Connects the other direction.
    void connect_guest(devices::Board& board, const std::shared_ptr<GuestSession>& session) const;
    void end_guest(GuestSession::Event how);
    /// The machine ended by itself.
    void ended(const std::string& failure);

    const MachineSettings settings_;
    Worker& worker_;
    TaskCollection& tasks_;
    std::function<void(VMVMState)> listener_;

    mutable std::mutex mutex_;
    VMVMState state_ = VMVMState::TurnedOff;
    bool taken_ = false;  // by an actor, who alone changes state and machine
    bool ended_while_taken_ = false;
    std::string failure_;
    bool ended_by_itself_ = false;
    std::unique_ptr<MachineThread> machine_;
    std::shared_ptr<GuestSession> guest_;  // of the running machine
    std::shared_ptr<Typist> typist_;       // likewise
    RemovableMedia media_;
    UndoDisks undo_disks_;
    VMUndoAction undo_action_;
    bool host_time_sync_;
    std::array<std::array<std::uint8_t, 16>, 4> disk_ids_{};  // of the running machine's disks
};

}  // namespace vpc::tasks
