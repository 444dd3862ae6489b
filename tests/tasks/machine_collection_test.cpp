#include <gtest/gtest.h>

#include "tasks/virtual_pc.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks {
namespace {

using Machine = std::shared_ptr<VirtualMachine>;

/// A program with VirtualPC's machines in a folder of the test's.
struct Program {
    explicit Program(const std::filesystem::path& folder) : pc(Language::English, folder) {
        pc.use_firmware({.bios = std::vector<std::uint8_t>(64 * 1024, 0xF4)});  // HLT
    }
    VirtualPC pc;
};

MachineConfiguration small() {
    MachineConfiguration configuration;
    configuration.memory = 4;
    return configuration;
}

TEST(MachineCollection, CreatesFindsAndDeletes) {
    const disk::testing::TemporaryFolder folder;
    Program program(folder / "machines");
    VirtualPC& pc = program.pc;
    Machine machine;
    EXPECT_EQ(pc.FindVirtualMachine("xp", machine), HResult::S_FALSE);
    EXPECT_EQ(pc.DeleteVirtualMachine("xp"), HResult::S_FALSE);
    EXPECT_EQ(pc.CreateVirtualMachine("", small(), machine), HResult::VM_E_CONFIG_NO_NAME);
    EXPECT_EQ(pc.CreateVirtualMachine("a?b", small(), machine), HResult::VM_E_CONFIG_NAME_INVALID_CHAR);
    ASSERT_EQ(pc.CreateVirtualMachine("xp", small(), machine), HResult::S_OK);
    ASSERT_TRUE(machine);
    EXPECT_EQ(machine->State(), VMVMState::TurnedOff);
    Machine other;
    EXPECT_EQ(pc.CreateVirtualMachine("XP", small(), other), HResult::VM_E_CONFIG_DUPLICATE_NAME);
    ASSERT_EQ(pc.CreateVirtualMachine("dos", small(), other), HResult::S_OK);
    const auto all = pc.VirtualMachines();
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(all[0].name, "dos");
    EXPECT_EQ(all[1].name, "xp");

    Machine same;
    EXPECT_EQ(pc.FindVirtualMachine("Xp", same), HResult::S_OK);
    EXPECT_EQ(same, machine);
    EXPECT_EQ(pc.DeleteVirtualMachine("xp"), HResult::VM_E_VM_RUNNING) << "somebody holds it";
    machine.reset();
    same.reset();
    EXPECT_EQ(pc.DeleteVirtualMachine("xp"), HResult::S_OK);
    EXPECT_EQ(pc.VirtualMachines().size(), 1u);
}

TEST(MachineCollection, AMachineIsOneProcesss) {
    const disk::testing::TemporaryFolder folder;
    Program one(folder.path());
    Program two(folder.path());
    Machine machine;
    Machine other;
    ASSERT_EQ(one.pc.CreateVirtualMachine("xp", small(), machine), HResult::S_OK);
    EXPECT_EQ(two.pc.FindVirtualMachine("xp", other), HResult::VM_E_VM_RUNNING);
    EXPECT_EQ(two.pc.DeleteVirtualMachine("xp"), HResult::VM_E_VM_RUNNING);

    std::shared_ptr<IVMTask> task;
    ASSERT_EQ(machine->Startup(task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    ASSERT_EQ(machine->Save(task), HResult::S_OK);
    task->WaitForCompletion(-1);
    EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
    EXPECT_TRUE(std::filesystem::exists(folder / "xp.vsv"));
    task.reset();
    machine.reset();
    ASSERT_EQ(two.pc.FindVirtualMachine("xp", other), HResult::S_OK);
    EXPECT_EQ(other->State(), VMVMState::Saved);
    other.reset();
    EXPECT_EQ(two.pc.DeleteVirtualMachine("xp"), HResult::S_OK);
    EXPECT_FALSE(std::filesystem::exists(folder / "xp.vsv"));
}

TEST(MachineCollection, TimeSyncIsInTheConfiguration) {
    const disk::testing::TemporaryFolder folder;
    Program program(folder.path());
    Machine machine;
    ASSERT_EQ(program.pc.CreateVirtualMachine("xp", small(), machine), HResult::S_OK);
    std::unique_ptr<disk::File> lock;
    const RegisteredMachine registered = program.pc.VirtualMachines()[0];
    auto vmc = Vmc::read(registered.file);
    ASSERT_TRUE(vmc);
    vmc->set("integration/microsoft/heartbeat/rate", std::int64_t{7});
    machine.reset();
    ASSERT_EQ(MachineRegistry::store(registered, *vmc).error, HResult::S_OK);
    ASSERT_EQ(program.pc.FindVirtualMachine("xp", machine), HResult::S_OK);
    EXPECT_TRUE(machine->GuestOS().IsHostTimeSyncEnabled());
    EXPECT_EQ(machine->GuestOS().IsHostTimeSyncEnabled(false), HResult::S_OK);
    EXPECT_EQ(MachineRegistry::lock(registered, lock).error, HResult::VM_E_VM_RUNNING) << "the lock goes along";
    vmc = Vmc::read(registered.file);
    ASSERT_TRUE(vmc);
    bool enabled = true;
    std::int64_t rate = 0;
    EXPECT_EQ(vmc->get("integration/microsoft/host_time_sync/enabled", enabled), HResult::S_OK);
    EXPECT_FALSE(enabled);
    EXPECT_EQ(vmc->get("integration/microsoft/heartbeat/rate", rate), HResult::S_OK);
    EXPECT_EQ(rate, 7);
    machine.reset();
    ASSERT_EQ(program.pc.FindVirtualMachine("xp", machine), HResult::S_OK);
    EXPECT_FALSE(machine->GuestOS().IsHostTimeSyncEnabled());
}

TEST(MachineCollection, UndoDisksAreInTheConfiguration) {
    const disk::testing::TemporaryFolder folder;
    folder.write("disk.img", std::vector<std::uint8_t>(1 << 20));
    MachineConfiguration configuration = small();
    configuration.hard_disks[0] = folder / "disk.img";
    configuration.undo = true;
    std::filesystem::path undo;
    {
        Program program(folder.path());
        Machine machine;
        ASSERT_EQ(program.pc.CreateVirtualMachine("xp", configuration, machine), HResult::S_OK);
        std::shared_ptr<IVMTask> task;
        ASSERT_EQ(machine->Startup(task), HResult::S_OK);
        task->WaitForCompletion(-1);
        EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
        undo = machine->undo_disks()[0];
        EXPECT_TRUE(std::filesystem::exists(undo));
        ASSERT_EQ(machine->TurnOff(task), HResult::S_OK);
        task->WaitForCompletion(-1);
    }
    Program program(folder.path());
    Machine machine;
    ASSERT_EQ(program.pc.FindVirtualMachine("xp", machine), HResult::S_OK);
    EXPECT_EQ(machine->undo_disks()[0], undo);
    machine.reset();
    EXPECT_EQ(program.pc.DeleteVirtualMachine("xp"), HResult::S_OK);
    EXPECT_FALSE(std::filesystem::exists(undo));
    EXPECT_TRUE(std::filesystem::exists(folder / "disk.img"));
}

}  // namespace
}  // namespace vpc::tasks
