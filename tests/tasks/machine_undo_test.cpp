#include <gtest/gtest.h>

#include <future>
#include <map>

#include "disk/block_device.h"
#include "disk/operations/create.h"
#include "disk/operations/undo_disk.h"
#include "tests/tasks/counting_machine.h"

namespace vpc::tasks {
namespace {

using enum VMVMState;
using testing::CountingMachine;
using Task = std::shared_ptr<IVMTask>;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t kSize = 4 << 20;
constexpr std::uint32_t kBlock = 512 << 10;

/// A disk's contents as the tests expect them.
class Contents {
  public:
    explicit Contents(std::uint64_t size = kSize) : bytes_(size) {}
    void put(std::uint64_t sector, std::uint8_t value) {
        std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(sector * disk::kSectorSize), disk::kSectorSize, value);
    }
    bool operator==(const Contents&) const = default;
    /// The first block that differs; none: they are equal.
    static std::optional<std::uint64_t> first_difference(const Contents& a, const Bytes& b) {
        for (std::uint64_t at = 0; at < a.bytes_.size(); at += kBlock) {
            const auto from = static_cast<std::ptrdiff_t>(at);
            if (!std::equal(a.bytes_.begin() + from, a.bytes_.begin() + from + kBlock, b.begin() + from)) {
                return at / kBlock;
            }
        }
        return std::nullopt;
    }

  private:
    Bytes bytes_;
};

Bytes read_all(disk::BlockDevice& device) {
    Bytes bytes(device.sectors() * disk::kSectorSize);
    EXPECT_TRUE(device.read(0, disk::Buffer(bytes)));
    return bytes;
}

/// A machine whose only disk has an undo disk. What the guest does with its disk is done for it at the ports of the
/// ATA channel.
class UndoMachine {
  public:
    enum class Kind { Fixed, Dynamic, Differencing };

    explicit UndoMachine(Kind kind) {
        const std::filesystem::path parent = folder() / "parent.vhd";
        const auto make = [](const disk::NewImage& image) { ASSERT_TRUE(disk::create_image(image, {})); };
        if (kind == Kind::Differencing) {
            make({.file = parent, .type = disk::ImageType::Dynamic, .size = kSize, .block_size = kBlock});
            fill(parent, 3, 0x33);
            make({.file = disk(), .type = disk::ImageType::Differencing, .parent = parent});
        } else if (kind == Kind::Fixed) {
            make({.file = disk(), .type = disk::ImageType::Fixed, .size = kSize});
        } else {
            make({.file = disk(), .type = disk::ImageType::Dynamic, .size = kSize, .block_size = kBlock});
        }
        fill(disk(), 5, 0x55);
        if (kind == Kind::Differencing) {
            base.put(3, 0x33);
        }
        base.put(5, 0x55);
        counter.settings.bios.assign(64 * 1024, 0xF4);  // HLT: the guest costs no time
        counter.settings.disks[0] = disk();
        counter.settings.undoable = true;
        counter.settings.undo_disks_changed = [this](const UndoDisks& disks) -> disk::Status {
            remembered = disks;
            return {};
        };
        machine = counter.make();
    }
    ~UndoMachine() { machine.reset(); }

    const std::filesystem::path& folder() const { return counter.folder.path(); }
    std::filesystem::path disk() const { return folder() / "disk.vhd"; }
    /// As another process would, with what the configuration remembers.
    void make_again() {
        machine.reset();
        counter.settings.undo_disks = remembered;
        machine = counter.make();
    }

    HResult run(HResult (VirtualMachine::*method)(Task&)) {
        const HResult at_once = (machine.get()->*method)(task);
        if (at_once != HResult::S_OK) {
            return at_once;
        }
        task->WaitForCompletion(-1);
        return task->Error();
    }
    HResult start() { return with_channel(run(&VirtualMachine::Startup)); }
    /// Switches the channel on, as firmware does: the PIIX4's IDETIM and its command register (device 1, function 1).
    HResult with_channel(HResult started) {
        if (started == HResult::S_OK) {
            on_board([](devices::Board& board) {
                for (const auto& [reg, value] : {std::pair{0x40u, 0x80008000u}, {0x04u, 0x00000001u}}) {
                    board.ports().write(0xCF8, 0x80000900 | reg, 4);
                    board.ports().write(0xCFC, value, 4);
                }
            });
        }
        return started;
    }
    HResult turn_off(VMUndoAction action) {
        machine->UndoAction(action);
        return run(&VirtualMachine::TurnOff);
    }

    /// The guest writes a sector; it is on the disk when this returns.
    void write(std::uint64_t sector, std::uint8_t value) {
        command(0x30, sector);  // WRITE SECTOR(S)
        ASSERT_TRUE(wait_for(0x08));
        on_board([value](devices::Board& board) {
            for (int i = 0; i < 256; ++i) {
                board.ports().write(0x1F0, value * 0x0101u, 2);
            }
        });
        ASSERT_TRUE(wait_for(0x40));
        command(0xE7, 0);  // FLUSH CACHE
        ASSERT_TRUE(wait_for(0x40));
    }
    /// The byte that a sector consists of; -1: it is mixed.
    int read(std::uint64_t sector) {
        command(0x20, sector);  // READ SECTOR(S)
        EXPECT_TRUE(wait_for(0x08));
        int value = -2;
        on_board([&](devices::Board& board) {
            for (int i = 0; i < 256; ++i) {
                const std::uint32_t word = board.ports().read(0x1F0, 2);
                const int byte = static_cast<int>(word & 0xFF);
                value = (word >> 8) != (word & 0xFF) || (value != -2 && value != byte) ? -1 : byte;
            }
        });
        return value;
    }

    /// What the disk alone holds.
    Bytes on_disk() const {
        const auto image = disk::open_image(disk(), disk::OpenMode::ReadOnly);
        EXPECT_TRUE(image);
        return image ? read_all(**image) : Bytes(kSize);
    }
    /// What it holds together with its undo disk.
    Bytes with_undo() const {
        const auto image = disk::open_undo_disk(remembered[0], disk());
        EXPECT_TRUE(image) << (image ? "" : image.error().message);
        return image ? read_all(**image) : Bytes(kSize);
    }
    std::size_t undo_files() const {
        std::size_t count = 0;
        for (const auto& each : std::filesystem::directory_iterator(folder())) {
            count += each.path().extension() == ".vud" ? 1 : 0;
        }
        return count;
    }

    CountingMachine counter;
    std::shared_ptr<VirtualMachine> machine;
    Task task;
    UndoDisks remembered;
    Contents base;

  private:
    static void fill(const std::filesystem::path& file, std::uint64_t sector, std::uint8_t value) {
        const auto image = disk::open_image(file, disk::OpenMode::ReadWrite);
        ASSERT_TRUE(image);
        ASSERT_TRUE((*image)->write(sector, disk::ConstBuffer(Bytes(disk::kSectorSize, value))));
    }
    void on_board(const std::function<void(devices::Board&)>& work) {
        std::promise<void> done;
        ASSERT_TRUE(machine->post([&](devices::Board& board) {
            work(board);
            done.set_value();
        }));
        done.get_future().wait();
    }
    void command(std::uint32_t code, std::uint64_t sector) {
        on_board([&](devices::Board& board) {
            PortBus& ports = board.ports();
            ports.write(0x1F6, 0xE0, 1);  // LBA, master
            ports.write(0x1F2, 1, 1);
            ports.write(0x1F3, sector & 0xFF, 1);
            ports.write(0x1F4, sector >> 8 & 0xFF, 1);
            ports.write(0x1F5, sector >> 16 & 0xFF, 1);
            ports.write(0x1F7, code, 1);
        });
    }
    /// Until the drive is not busy and shows the status bit; false: an error, or not within some ten seconds.
    bool wait_for(std::uint32_t bit) {
        for (int i = 0; i < 10'000; ++i) {
            std::uint32_t status = 0;
            on_board([&](devices::Board& board) { status = board.ports().read(0x3F6, 1); });
            if ((status & 0x81) == 0 && (status & bit) != 0) {
                return true;
            }
            if ((status & 0x81) == 0x01) {
                return false;
            }
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return false;
    }
};

enum class End { TurnOff, Save, Crash };
using Case = std::tuple<VMUndoAction, End, UndoMachine::Kind>;

class UndoMatrix : public ::testing::TestWithParam<Case> {};

/// What a killed process leaves: the files as they are, with their times. The machine is made anew over them.
void crash(UndoMachine& session) {
    const std::filesystem::path aside = session.folder() / "aside";
    std::filesystem::create_directory(aside);
    const auto copy = [](const std::filesystem::path& from, const std::filesystem::path& to) {
        const auto time = std::filesystem::last_write_time(from);
        std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
        std::filesystem::last_write_time(to, time);
    };
    std::vector<std::filesystem::path> names;
    for (const auto& each : std::filesystem::directory_iterator(session.folder())) {
        if (each.is_regular_file()) {
            names.push_back(each.path().filename());
            copy(each.path(), aside / names.back());
        }
    }
    session.machine.reset();
    for (const auto& name : names) {
        copy(aside / name, session.folder() / name);
    }
    session.make_again();
}

TEST_P(UndoMatrix, HoldsWhatWasChosen) {
    const auto [action, end, kind] = GetParam();
    UndoMachine session(kind);
    Contents changed = session.base;
    const auto write = [&](std::uint64_t sector, std::uint8_t value) {
        session.write(sector, value);
        changed.put(sector, value);
    };
    // A session that is kept,
    ASSERT_EQ(session.start(), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.read(5), 0x55);
    write(5, 0xA1);
    write(2000, 0xA2);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.undo_files(), 1u);
    EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
    EXPECT_EQ(Contents::first_difference(changed, session.with_undo()), std::nullopt);

    // one that ends in the way that is tested,
    session.make_again();
    ASSERT_EQ(session.start(), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.read(5), 0xA1);
    write(7, 0xB1);
    write(8191, 0xB2);
    session.machine->UndoAction(action);
    if (end == End::Save && action == VMUndoAction::Discard) {
        EXPECT_EQ(session.run(&VirtualMachine::Save), HResult::E_FAIL);
        EXPECT_EQ(session.machine->State(), Running);
    } else if (end == End::Save) {
        ASSERT_EQ(session.run(&VirtualMachine::Save), HResult::S_OK) << session.task->ErrorDescription();
        EXPECT_EQ(session.run(&VirtualMachine::MergeUndoDisks), HResult::VM_E_VM_RUNNING_OR_SAVED);
        EXPECT_EQ(session.machine->DiscardUndoDisks().error, HResult::VM_E_VM_RUNNING_OR_SAVED);
        EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
        session.make_again();
        ASSERT_EQ(session.start(), HResult::S_OK) << session.task->ErrorDescription();
    } else if (end == End::Crash) {
        crash(session);
        EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
        ASSERT_EQ(session.start(), HResult::S_OK) << session.task->ErrorDescription();
    }
    EXPECT_EQ(session.read(5), 0xA1);
    EXPECT_EQ(session.read(8191), 0xB2);
    EXPECT_EQ(session.read(6), 0);

    // and the choice.
    session.counter.events();
    ASSERT_EQ(session.turn_off(action), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.task->PercentCompleted(), 100);
    std::vector<VMVMState> states{TurningOff, DeleteMachine};
    if (action == VMUndoAction::Commit) {
        states.push_back(MergingDrives);
    }
    states.push_back(TurnedOff);
    EXPECT_EQ(session.counter.events(), states);
    const bool committed = action == VMUndoAction::Commit;
    EXPECT_EQ(Contents::first_difference(committed ? changed : session.base, session.on_disk()), std::nullopt);
    EXPECT_EQ(session.undo_files(), action == VMUndoAction::Keep ? 1u : 0u);
    EXPECT_EQ(session.remembered[0].empty(), action != VMUndoAction::Keep);
    if (action == VMUndoAction::Keep) {
        EXPECT_EQ(Contents::first_difference(changed, session.with_undo()), std::nullopt);
    }

    // The next session sees it.
    session.make_again();
    ASSERT_EQ(session.start(), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.read(7), action == VMUndoAction::Discard ? 0 : 0xB1);
}

std::string case_name(const ::testing::TestParamInfo<Case>& info) {
    const auto [action, end, kind] = info.param;
    constexpr std::array<const char*, 3> kActions{"Discard", "Keep", "Commit"};
    constexpr std::array<const char*, 3> kEnds{"TurnOff", "Save", "Crash"};
    constexpr std::array<const char*, 3> kKinds{"Fixed", "Dynamic", "Differencing"};
    return std::string(kActions[static_cast<std::size_t>(action)]) + kEnds[static_cast<std::size_t>(end)] +
           kKinds[static_cast<std::size_t>(kind)];
}

INSTANTIATE_TEST_SUITE_P(All, UndoMatrix,
                         ::testing::Combine(::testing::Values(VMUndoAction::Keep, VMUndoAction::Commit,
                                                              VMUndoAction::Discard),
                                            ::testing::Values(End::TurnOff, End::Save, End::Crash),
                                            ::testing::Values(UndoMachine::Kind::Fixed, UndoMachine::Kind::Dynamic,
                                                              UndoMachine::Kind::Differencing)),
                         case_name);

TEST(UndoDisks, AreMergedAndDiscardedLater) {
    UndoMachine session(UndoMachine::Kind::Dynamic);
    ASSERT_EQ(session.start(), HResult::S_OK);
    session.write(9, 0x99);
    EXPECT_EQ(session.run(&VirtualMachine::MergeUndoDisks), HResult::VM_E_VM_RUNNING);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    session.counter.events();
    ASSERT_EQ(session.run(&VirtualMachine::MergeUndoDisks), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.task->Description(), "Committing the undo disks of counter");
    EXPECT_EQ(session.counter.events(), (std::vector<VMVMState>{MergingDrives, TurnedOff}));
    session.base.put(9, 0x99);
    EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
    EXPECT_EQ(session.undo_files(), 0u);
    EXPECT_EQ(session.run(&VirtualMachine::MergeUndoDisks), HResult::S_OK) << "there is nothing to do";

    ASSERT_EQ(session.start(), HResult::S_OK);
    session.write(9, 0x11);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    EXPECT_EQ(session.machine->DiscardUndoDisks().error, HResult::S_OK);
    EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
    EXPECT_EQ(session.undo_files(), 0u);
}

TEST(UndoDisks, OfAChangedDiskAreTakenOnRequestOnly) {
    UndoMachine session(UndoMachine::Kind::Fixed);
    ASSERT_EQ(session.start(), HResult::S_OK);
    session.write(9, 0x99);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    std::filesystem::last_write_time(session.disk(),
                                     std::filesystem::last_write_time(session.disk()) + std::chrono::hours(1));
    EXPECT_EQ(session.start(), HResult::VM_E_PARENT_MODIFIED);
    EXPECT_EQ(session.machine->State(), TurnedOff);
    EXPECT_EQ(session.machine->Startup2(static_cast<VMStartupOption>(2), session.task), HResult::E_INVALIDARG);
    ASSERT_EQ(session.machine->Startup2(VMStartupOption::FixParentTimestampMismatch, session.task), HResult::S_OK);
    session.task->WaitForCompletion(-1);
    EXPECT_EQ(session.with_channel(session.task->Error()), HResult::S_OK) << session.task->ErrorDescription();
    EXPECT_EQ(session.read(9), 0x99);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    EXPECT_EQ(session.start(), HResult::S_OK) << "it was recorded";
}

TEST(UndoDisks, AreMissedWhenTheyAreGone) {
    UndoMachine session(UndoMachine::Kind::Fixed);
    ASSERT_EQ(session.start(), HResult::S_OK);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    std::filesystem::remove(session.remembered[0]);
    EXPECT_EQ(session.start(), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_NE(session.task->ErrorDescription().find("is missing: put it back"), std::string::npos);
    EXPECT_EQ(session.machine->DiscardUndoDisks().error, HResult::S_OK);
    EXPECT_EQ(session.start(), HResult::S_OK);
}

// A session whose changes are thrown away goes on from everything that was kept, and changes none of it.
TEST(DiscardedChanges, LeaveDisksUndoDisksAndSavedStateAlone) {
    UndoMachine session(UndoMachine::Kind::Dynamic);
    ASSERT_EQ(session.start(), HResult::S_OK);
    session.write(7, 0x77);
    ASSERT_EQ(session.run(&VirtualMachine::Save), HResult::S_OK) << session.task->ErrorDescription();
    const auto contents = [&] {
        std::map<std::string, Bytes> files;
        for (const auto& each : std::filesystem::directory_iterator(session.folder())) {
            files[each.path().filename()] = disk::testing::TemporaryFolder::read(each.path());
        }
        return files;
    };
    const auto before = contents();
    ASSERT_EQ(before.size(), 4u) << "two disks, undo disk, saved state";
    session.counter.settings.discard_changes = true;
    for (const auto action : {VMUndoAction::Commit, VMUndoAction::Discard, VMUndoAction::Keep}) {
        session.make_again();
        ASSERT_EQ(session.machine->State(), Saved);
        ASSERT_EQ(session.run(&VirtualMachine::Startup), HResult::S_OK) << session.task->ErrorDescription();
        EXPECT_EQ(session.read(7), 0x77) << "from the undo disk";
        EXPECT_EQ(session.read(8), 0x00) << "not from the session before";
        session.write(7, 0x78);
        session.write(8, 0x88);
        EXPECT_EQ(session.read(8), 0x88);
        EXPECT_EQ(session.run(&VirtualMachine::Save), HResult::E_FAIL);
        ASSERT_EQ(session.turn_off(action), HResult::S_OK) << session.task->ErrorDescription();
        EXPECT_EQ(session.machine->State(), Saved);
        EXPECT_TRUE(contents() == before);
    }
    session.counter.settings.discard_changes = false;
    session.make_again();
    ASSERT_EQ(session.run(&VirtualMachine::Startup), HResult::S_OK) << "the state still fits";
    EXPECT_EQ(session.read(7), 0x77);
}

TEST(DiscardedChanges, BeginNoUndoDisks) {
    UndoMachine session(UndoMachine::Kind::Fixed);
    session.counter.settings.discard_changes = true;
    session.make_again();
    ASSERT_EQ(session.start(), HResult::S_OK);
    session.write(7, 0x77);
    EXPECT_EQ(session.undo_files(), 0u);
    ASSERT_EQ(session.turn_off(VMUndoAction::Commit), HResult::S_OK);
    EXPECT_EQ(Contents::first_difference(session.base, session.on_disk()), std::nullopt);
}

// Nobody may find a machine whose undo disk is not in its configuration: the guest would have written into a file that
// the next session does not know.
TEST(UndoDisks, ThatCannotBeRememberedAreNotUsed) {
    UndoMachine session(UndoMachine::Kind::Fixed);
    session.machine.reset();
    session.counter.settings.undo_disks_changed = [](const UndoDisks&) -> disk::Status {
        return disk::fail(disk::ErrorCode::NoSpace, "the configuration cannot be written");
    };
    session.machine = session.counter.make();
    EXPECT_EQ(session.start(), HResult::ERROR_DISK_FULL);
    EXPECT_EQ(session.machine->State(), TurnedOff);
    EXPECT_EQ(session.undo_files(), 0u);
}

TEST(UndoDisks, BegunByAStartThatFailsAreGone) {
    UndoMachine session(UndoMachine::Kind::Dynamic);
    session.counter.settings.disks[1] = session.folder() / "missing.vhd";
    session.make_again();
    EXPECT_EQ(session.start(), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(session.undo_files(), 0u);
    session.counter.settings.disks[1].clear();
    session.make_again();
    ASSERT_EQ(session.start(), HResult::S_OK);
    ASSERT_EQ(session.turn_off(VMUndoAction::Keep), HResult::S_OK);
    EXPECT_EQ(session.undo_files(), 1u);
    EXPECT_EQ(session.run(&VirtualMachine::MergeUndoDisks), HResult::S_OK) << session.task->ErrorDescription();
}

}  // namespace
}  // namespace vpc::tasks
