// Machines that are registered by a link to their configuration.
#include <gtest/gtest.h>

#include <fstream>

#include "tasks/machine_registry.h"
#include "tasks/runtime_folder.h"
#include "tasks/virtual_pc.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks {
namespace {

using Machine = std::shared_ptr<VirtualMachine>;
namespace fs = std::filesystem;

class MachineLink : public ::testing::Test {
  protected:
    void SetUp() override {
        fs::create_directory(elsewhere);
        ASSERT_TRUE(Vmc::make().write(file));
    }
    HResult add(const std::string& name, const fs::path& path) {
        RegisteredMachine added;
        return registry.add(name, path, added).error;
    }
    RegisteredMachine find(const std::string& name) {
        RegisteredMachine machine;
        EXPECT_EQ(registry.find(name, machine).error, HResult::S_OK) << name;
        return machine;
    }
    /// A program of its own, with a guest that does nothing.
    std::unique_ptr<VirtualPC> program() const {
        auto pc = std::make_unique<VirtualPC>(Language::English, registry.folder());
        pc->use_firmware({.bios = std::vector<std::uint8_t>(64 * 1024, 0xF4)});  // HLT
        return pc;
    }
    static HResult run(VirtualMachine& machine, HResult (VirtualMachine::*method)(std::shared_ptr<IVMTask>&)) {
        std::shared_ptr<IVMTask> task;
        if (const HResult at_once = (machine.*method)(task); at_once != HResult::S_OK) {
            return at_once;
        }
        task->WaitForCompletion(-1);
        EXPECT_EQ(task->Error(), HResult::S_OK) << task->ErrorDescription();
        return task->Error();
    }

    disk::testing::TemporaryFolder folder;
    fs::path elsewhere = folder / "elsewhere";
    fs::path file = elsewhere / "Windows XP.vmc";
    MachineRegistry registry{folder / "machines"};
};

TEST_F(MachineLink, RegistersByFileAndByFolder) {
    EXPECT_EQ(add("", file), HResult::S_OK);
    const RegisteredMachine machine = find("windows xp");
    EXPECT_EQ(machine.file, file);
    EXPECT_EQ(machine.link, registry.folder() / "Windows XP.vmc");
    EXPECT_EQ(fs::read_symlink(machine.link), file);
    EXPECT_EQ(machine.saved_state(), elsewhere / "Windows XP.vsv");
    EXPECT_EQ(registry.withdraw("Windows XP").error, HResult::S_OK);
    EXPECT_TRUE(registry.machines().empty());
    EXPECT_TRUE(fs::exists(file));

    for (const char* name : {"Windows XP", "Windows XP.vmc"}) {
        EXPECT_EQ(add(name, elsewhere), HResult::S_OK) << name;
        EXPECT_EQ(find("Windows XP").file, file);
        EXPECT_EQ(registry.withdraw("Windows XP").error, HResult::S_OK);
    }
    EXPECT_EQ(add("xp", file), HResult::S_OK);
    EXPECT_EQ(find("XP").file, file);
}

TEST_F(MachineLink, LeadsToTheFileBehindOtherLinks) {
    fs::create_directory_symlink(elsewhere, folder / "way");
    fs::create_symlink(folder / "way" / "Windows XP.vmc", folder / "xp.vmc");
    ASSERT_EQ(add("", folder / "xp.vmc"), HResult::S_OK);
    EXPECT_EQ(find("xp").file, file);
    EXPECT_EQ(fs::read_symlink(find("xp").link), file);
    EXPECT_EQ(control_socket("/run", find("xp").link), control_socket("/run", file));
    fs::remove(folder / "xp.vmc");
    EXPECT_FALSE(find("xp").missing);
}

TEST_F(MachineLink, RefusesWhatCannotBe) {
    std::ofstream(elsewhere / "text.vmc") << "no configuration";
    std::ofstream(elsewhere / "xp.vsv") << "no configuration";
    fs::create_directory(elsewhere / "folder.vmc");
    const std::tuple<const char*, fs::path, HResult> cases[] = {
        {"", "", HResult::ERROR_BAD_PATHNAME},
        {"", "xp.vmc", HResult::ERROR_BAD_PATHNAME},
        {"", "/" + std::string(5000, 'a'), HResult::ERROR_BUFFER_OVERFLOW},
        {"", folder / "none" / "xp.vmc", HResult::ERROR_PATH_NOT_FOUND},
        {"", elsewhere / "none.vmc", HResult::ERROR_FILE_NOT_FOUND},
        {"none", elsewhere, HResult::ERROR_FILE_NOT_FOUND},
        {"a?b", file, HResult::VM_E_CONFIG_NAME_INVALID_CHAR},
        {"a/Windows XP.vmc", folder.path(), HResult::VM_E_CONFIG_NAME_INVALID_CHAR},
        {".hidden", file, HResult::VM_E_CONFIG_NAME_INVALID_CHAR},
        {"", elsewhere, HResult::E_INVALIDARG},
        {"", elsewhere / "xp.vsv", HResult::E_INVALIDARG},
        {"", elsewhere / "text.vmc", HResult::VM_E_INVALID_HD_FILE},
        {"", elsewhere / "folder.vmc", HResult::VM_E_INVALID_HD_FILE},
    };
    for (const auto& [name, path, error] : cases) {
        EXPECT_EQ(add(name, path), error) << name << " " << path;
    }
    EXPECT_TRUE(registry.machines().empty());

    ASSERT_EQ(registry.create("own", Vmc::make()).error, HResult::S_OK);
    EXPECT_EQ(add("OWN", file), HResult::VM_E_CONFIG_DUPLICATE_NAME);
    EXPECT_EQ(add("other", registry.folder() / "own.vmc"), HResult::ERROR_ALREADY_EXISTS);
    ASSERT_EQ(add("xp", file), HResult::S_OK);
    EXPECT_EQ(add("again", file), HResult::ERROR_ALREADY_EXISTS);
    EXPECT_EQ(add("again", find("xp").link), HResult::ERROR_ALREADY_EXISTS);
    EXPECT_EQ(registry.create("XP", Vmc::make()).error, HResult::VM_E_CONFIG_DUPLICATE_NAME);
    EXPECT_EQ(registry.rename("own", "Xp").error, HResult::VM_E_CONFIG_DUPLICATE_NAME);
    EXPECT_EQ(registry.withdraw("own").error, HResult::E_FAIL);
    EXPECT_EQ(registry.withdraw("none").error, HResult::VM_E_VM_UNKNOWN);
    EXPECT_EQ(registry.machines().size(), 2u);
}

TEST_F(MachineLink, StaysALinkWhateverChanges) {
    ASSERT_EQ(add("xp", file), HResult::S_OK);
    const RegisteredMachine machine = find("xp");
    Vmc changed = Vmc::make();
    changed.set("somebodys/own", "thing");
    ASSERT_EQ(MachineRegistry::store(machine, changed).error, HResult::S_OK);
    {
        std::unique_ptr<disk::File> lock;
        ASSERT_EQ(MachineRegistry::lock(machine, lock).error, HResult::S_OK);
        ASSERT_TRUE(MachineRegistry::change(
            machine, [](Vmc& vmc) { vmc.set("vpc/boot_order", "d"); }, lock));
        EXPECT_TRUE(disk::is_locked(file)) << "the lock is the new file's";
        EXPECT_TRUE(MachineRegistry::is_locked(machine));
        EXPECT_EQ(registry.rename("xp", "b").error, HResult::VM_E_PREF_VM_ACTIVE);
        EXPECT_EQ(registry.remove("xp").error, HResult::VM_E_VM_RUNNING);
        EXPECT_EQ(registry.withdraw("xp").error, HResult::VM_E_VM_RUNNING);
    }
    EXPECT_TRUE(fs::is_symlink(machine.link));
    EXPECT_TRUE(fs::is_regular_file(fs::symlink_status(file)));
    const auto read = Vmc::read(file);
    ASSERT_TRUE(read);
    std::string text;
    EXPECT_EQ(read->get("somebodys/own", text), HResult::S_OK);
    EXPECT_EQ(read->get("vpc/boot_order", text), HResult::S_OK);

    EXPECT_EQ(registry.rename("xp", "b").error, HResult::S_OK);
    EXPECT_EQ(find("b").file, file);
    EXPECT_TRUE(fs::is_symlink(registry.folder() / "b.vmc"));
    EXPECT_FALSE(fs::exists(fs::symlink_status(machine.link)));
    std::ofstream(elsewhere / "Windows XP.vsv") << "state";
    EXPECT_EQ(registry.rename("b", "c").error, HResult::VM_E_PREF_VM_ACTIVE);
    EXPECT_EQ(registry.withdraw("b").error, HResult::S_OK);
    EXPECT_TRUE(fs::exists(elsewhere / "Windows XP.vsv"));
}

TEST_F(MachineLink, ThatLeadsNowhereIsListedAndCanBeWithdrawn) {
    ASSERT_EQ(add("xp", file), HResult::S_OK);
    fs::rename(elsewhere, folder / "moved");
    RegisteredMachine machine = find("xp");
    EXPECT_TRUE(machine.missing);
    EXPECT_EQ(machine.file, file);
    std::unique_ptr<disk::File> lock;
    const Outcome locked = MachineRegistry::lock(machine, lock);
    EXPECT_EQ(locked.error, HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_NE(locked.detail.find("'" + file.string() + "', which is not there; put it back"), std::string::npos);
    EXPECT_EQ(registry.rename("xp", "b").error, HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(registry.remove("xp").error, HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(registry.create("xp", Vmc::make()).error, HResult::VM_E_CONFIG_DUPLICATE_NAME);
    EXPECT_FALSE(MachineRegistry::is_locked(machine));
    Machine opened;
    EXPECT_EQ(program()->FindVirtualMachine("xp", opened), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(program()->DeleteVirtualMachine("xp"), HResult::ERROR_FILE_NOT_FOUND);
    EXPECT_EQ(registry.withdraw("xp").error, HResult::S_OK);
    EXPECT_TRUE(registry.machines().empty());

    // What a user may have made there.
    fs::create_symlink("loop.vmc", registry.folder() / "loop.vmc");
    fs::create_symlink(folder / "moved", registry.folder() / "folder.vmc");
    fs::create_symlink("../moved/Windows XP.vmc", registry.folder() / "relative.vmc");
    EXPECT_TRUE(find("loop").missing);
    EXPECT_TRUE(find("folder").missing);
    EXPECT_FALSE(find("relative").missing);
    EXPECT_EQ(find("relative").file, folder / "moved" / "Windows XP.vmc");
}

TEST_F(MachineLink, ItsStateAndUndoDisksLieBesideTheFile) {
    std::ofstream(elsewhere / "disk.img") << std::string(1 << 20, '\0');
    MachineConfiguration configuration;
    configuration.memory = 4;
    configuration.hard_disks[0] = elsewhere / "disk.img";
    configuration.undo = true;
    Vmc vmc = Vmc::make();
    write_configuration(configuration, vmc, elsewhere);
    ASSERT_TRUE(vmc.write(file));
    fs::rename(elsewhere, folder / "moved");  // what is found by relative paths is found from the file, not the link
    elsewhere = folder / "moved";
    file = elsewhere / "Windows XP.vmc";
    const auto pc = program();
    Machine machine;
    ASSERT_EQ(pc->RegisterVirtualMachine("xp", file, machine), HResult::S_OK);
    ASSERT_EQ(run(*machine, &VirtualMachine::Startup), HResult::S_OK);
    EXPECT_EQ(machine->undo_disks()[0].parent_path(), elsewhere);
    EXPECT_EQ(pc->UnregisterVirtualMachine(machine), HResult::VM_E_VM_RUNNING);
    EXPECT_EQ(pc->UnregisterVirtualMachine("xp"), HResult::VM_E_VM_RUNNING);
    ASSERT_EQ(run(*machine, &VirtualMachine::Save), HResult::S_OK);
    EXPECT_TRUE(fs::exists(elsewhere / "Windows XP.vsv"));
    EXPECT_TRUE(fs::is_symlink(registry.folder() / "xp.vmc"));
    EXPECT_EQ(std::distance(fs::directory_iterator(registry.folder()), fs::directory_iterator()), 1);

    // The same object either way, here; and nobody else's, either way.
    Machine same;
    EXPECT_EQ(pc->open_machine({.name = "Windows XP", .file = file}, same).error, HResult::S_OK);
    EXPECT_EQ(same, machine);
    EXPECT_EQ(pc->open_machine({.name = "xp", .file = registry.folder() / "xp.vmc"}, same).error, HResult::S_OK);
    EXPECT_EQ(same, machine);
    same.reset();
    const auto other = program();
    EXPECT_EQ(other->FindVirtualMachine("xp", same), HResult::VM_E_VM_RUNNING);
    EXPECT_EQ(other->open_machine({.name = "Windows XP", .file = file}, same).error, HResult::VM_E_VM_RUNNING);
    EXPECT_EQ(other->UnregisterVirtualMachine("xp"), HResult::VM_E_VM_RUNNING);

    ASSERT_EQ(run(*machine, &VirtualMachine::Startup), HResult::S_OK);
    ASSERT_EQ(run(*machine, &VirtualMachine::TurnOff), HResult::S_OK);
    const fs::path undo = machine->undo_disks()[0];
    EXPECT_TRUE(fs::exists(undo));
    machine.reset();
    EXPECT_EQ(pc->DeleteVirtualMachine("xp"), HResult::S_OK);
    EXPECT_FALSE(fs::exists(undo));
    EXPECT_FALSE(fs::exists(file));
    EXPECT_FALSE(fs::exists(fs::symlink_status(registry.folder() / "xp.vmc")));
    EXPECT_TRUE(fs::exists(elsewhere / "disk.img"));
}

TEST_F(MachineLink, UnregisteringLeavesFilesAndObjects) {
    const auto pc = program();
    Machine machine;
    EXPECT_EQ(pc->UnregisterVirtualMachine(machine), HResult::E_POINTER);
    EXPECT_EQ(pc->RegisterVirtualMachine("none", elsewhere, machine), HResult::ERROR_FILE_NOT_FOUND);
    ASSERT_EQ(pc->RegisterVirtualMachine("Windows XP", elsewhere, machine), HResult::S_OK);
    EXPECT_EQ(pc->UnregisterVirtualMachine(machine), HResult::S_OK);
    EXPECT_EQ(pc->UnregisterVirtualMachine(machine), HResult::VM_E_VM_UNKNOWN);
    EXPECT_EQ(pc->UnregisterVirtualMachine("Windows XP"), HResult::VM_E_VM_UNKNOWN);
    EXPECT_TRUE(pc->VirtualMachines().empty());
    EXPECT_TRUE(fs::exists(file));
    EXPECT_EQ(run(*machine, &VirtualMachine::Startup), HResult::S_OK);

    // A machine that somebody else has is not registered by this method, and stays what it was.
    Machine second;
    EXPECT_EQ(program()->RegisterVirtualMachine("", file, second), HResult::VM_E_VM_RUNNING);
    EXPECT_TRUE(pc->VirtualMachines().empty());
    EXPECT_EQ(machine->State(), VMVMState::Running);

    Machine own;
    ASSERT_EQ(pc->CreateVirtualMachine("own", {}, own), HResult::S_OK);
    EXPECT_EQ(pc->UnregisterVirtualMachine(own), HResult::E_FAIL);
    EXPECT_EQ(pc->VirtualMachines().size(), 1u);
}

}  // namespace
}  // namespace vpc::tasks
