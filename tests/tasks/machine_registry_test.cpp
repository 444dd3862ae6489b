#include "tasks/machine_registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "core/cpu_model.h"
#include "tasks/machine_configuration.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks {
namespace {

using disk::testing::TemporaryFolder;

std::vector<std::string> names(const MachineRegistry& registry) {
    std::vector<std::string> names;
    for (const RegisteredMachine& machine : registry.machines()) {
        names.push_back(machine.name);
    }
    return names;
}

class Registry : public ::testing::Test {
  protected:
    HResult create(const std::string& name) { return registry.create(name, Vmc::make()).error; }
    RegisteredMachine find(const std::string& name) {
        RegisteredMachine machine;
        EXPECT_EQ(registry.find(name, machine).error, HResult::S_OK) << name;
        return machine;
    }
    TemporaryFolder folder;
    MachineRegistry registry{folder / "below" / "vpc"};
};

TEST_F(Registry, ListsWhatWasCreated) {
    EXPECT_TRUE(registry.machines().empty());
    for (const char* name : {"b", "A", "Büro 98", "c"}) {
        EXPECT_EQ(create(name), HResult::S_OK) << name;
    }
    std::ofstream(registry.folder() / "other.txt") << "x";
    EXPECT_EQ(names(registry), (std::vector<std::string>{"A", "b", "Büro 98", "c"}));
    EXPECT_TRUE(Vmc::read(find("BüRO 98").file).has_value());
}

TEST_F(Registry, FindsWithoutRegardToCase) {
    ASSERT_EQ(create("Windows XP"), HResult::S_OK);
    EXPECT_EQ(find("windows xp").name, "Windows XP");
    EXPECT_EQ(create("WINDOWS XP"), HResult::VM_E_CONFIG_DUPLICATE_NAME);
    RegisteredMachine machine;
    const Outcome missing = registry.find("DOS", machine);
    EXPECT_EQ(missing.error, HResult::VM_E_VM_UNKNOWN);
    EXPECT_NE(missing.detail.find("DOS"), std::string::npos);
}

TEST_F(Registry, RefusesNamesThatCannotBe) {
    EXPECT_EQ(create(""), HResult::VM_E_CONFIG_NO_NAME);
    EXPECT_EQ(create(std::string(81, 'a')), HResult::VM_E_CONFIG_NAME_TOO_LONG);
    EXPECT_EQ(create(std::string(80, 'a')), HResult::S_OK);
    for (const char* name : {"a/b", "..", ".hidden", "a\\b", "a:b", "a*", "a?", "a\"b", "a<b", "a>b", "a|b", "a\nb"}) {
        EXPECT_EQ(create(name), HResult::VM_E_CONFIG_NAME_INVALID_CHAR) << name;
    }
    EXPECT_EQ(registry.machines().size(), 1u);
}

TEST_F(Registry, Renames) {
    create("a");
    create("b");
    EXPECT_EQ(registry.rename("a", "B").error, HResult::VM_E_CONFIG_DUPLICATE_NAME);
    EXPECT_EQ(registry.rename("a", "x/y").error, HResult::VM_E_CONFIG_NAME_INVALID_CHAR);
    EXPECT_EQ(registry.rename("none", "c").error, HResult::VM_E_VM_UNKNOWN);
    EXPECT_EQ(registry.rename("a", "A").error, HResult::S_OK);
    EXPECT_EQ(registry.rename("A", "c").error, HResult::S_OK);
    EXPECT_EQ(names(registry), (std::vector<std::string>{"b", "c"}));
}

TEST_F(Registry, LeavesRunningAndSavedMachinesAlone) {
    create("a");
    const RegisteredMachine machine = find("a");
    EXPECT_FALSE(MachineRegistry::is_locked(machine));
    {
        std::unique_ptr<disk::File> lock;
        ASSERT_EQ(MachineRegistry::lock(machine, lock).error, HResult::S_OK);
        EXPECT_TRUE(MachineRegistry::is_locked(machine));
        std::unique_ptr<disk::File> second;
        EXPECT_EQ(MachineRegistry::lock(machine, second).error, HResult::VM_E_VM_RUNNING);
        EXPECT_EQ(registry.rename("a", "b").error, HResult::VM_E_PREF_VM_ACTIVE);
        EXPECT_EQ(registry.remove("a").error, HResult::VM_E_VM_RUNNING);
        EXPECT_EQ(MachineRegistry::store(machine, Vmc::make()).error, HResult::VM_E_PREF_VM_ACTIVE);
    }
    EXPECT_FALSE(MachineRegistry::is_locked(machine));
    std::ofstream(machine.saved_state()) << "state";
    EXPECT_EQ(registry.rename("a", "b").error, HResult::VM_E_PREF_VM_ACTIVE);
    EXPECT_EQ(MachineRegistry::store(machine, Vmc::make()).error, HResult::VM_E_PREF_VM_ACTIVE);
    EXPECT_EQ(registry.remove("a").error, HResult::S_OK);
    EXPECT_FALSE(std::filesystem::exists(machine.saved_state()));
    EXPECT_TRUE(registry.machines().empty());
}

TEST_F(Registry, KeepsWhatItDoesNotKnow) {
    Vmc vmc = Vmc::make();
    vmc.set("somebodys/own", "thing");
    ASSERT_EQ(registry.create("a", vmc).error, HResult::S_OK);
    const RegisteredMachine machine = find("a");
    auto read = Vmc::read(machine.file);
    ASSERT_TRUE(read);
    write_configuration({.memory = 64}, *read, registry.folder());
    ASSERT_EQ(MachineRegistry::store(machine, *read).error, HResult::S_OK);
    read = Vmc::read(machine.file);
    std::string text;
    EXPECT_EQ(read->get("somebodys/own", text), HResult::S_OK);
    EXPECT_EQ(text, "thing");
    EXPECT_EQ(read_configuration(*read, registry.folder()).machine.memory, 64u);
}

TEST(MachineConfiguration, SurvivesARoundTrip) {
    const TemporaryFolder folder;
    for (const char* name : {"c.vhd", "d.vhd", "tools.iso", "b.img", "a.img", "bios"}) {
        folder.write(name, std::vector<std::uint8_t>(1));
    }
    MachineConfiguration machine;
    machine.memory = 512;
    machine.hard_disks[0] = folder / "c.vhd";
    machine.hard_disks[3] = folder / "d.vhd";
    machine.cdrom_place = 1;
    machine.disc = folder / "tools.iso";
    machine.floppies = {folder / "a.img", folder / "b.img"};
    machine.serial = {"file:/tmp/log", "pty"};
    machine.parallel = "file:/tmp/print";
    machine.cpu = "pentium2";
    machine.boot_order = "dc";
    machine.bios = folder / "bios";
    machine.undo = true;
    machine.host_time_sync = false;
    if (find_cpu_model(machine.cpu) == nullptr) {
        machine.cpu = std::string(default_cpu_model().name);
    }
    Vmc vmc = Vmc::make();
    write_configuration(machine, vmc, folder.path());
    const auto parsed = Vmc::parse(vmc.bytes(), "again");
    ASSERT_TRUE(parsed);
    const ReadConfiguration read = read_configuration(*parsed, folder.path());
    EXPECT_EQ(read.machine, machine);
    EXPECT_TRUE(read.missing.empty());
    EXPECT_EQ(read.left_out, std::vector<std::string>{});

    write_configuration(MachineConfiguration(), vmc, folder.path());
    EXPECT_EQ(read_configuration(vmc, folder.path()).machine, MachineConfiguration());
}

TEST(MachineConfiguration, TimeSyncIsWrittenWhereItDiffers) {
    const std::string key = "integration/microsoft/host_time_sync/enabled";
    Vmc vmc = Vmc::make();
    write_configuration({}, vmc, "/");
    bool value = false;
    EXPECT_EQ(vmc.get(key, value), HResult::VM_E_PREF_NOT_FOUND);
    write_host_time_sync(false, vmc);
    EXPECT_FALSE(read_configuration(vmc, "/").machine.host_time_sync);
    write_configuration({}, vmc, "/");
    EXPECT_EQ(vmc.get(key, value), HResult::S_OK);
    EXPECT_TRUE(value);
    vmc.set(key, "of another type");
    EXPECT_TRUE(read_configuration(vmc, "/").machine.host_time_sync);
    write_configuration({}, vmc, "/");
    std::string text;
    EXPECT_EQ(vmc.get(key, text), HResult::S_OK);
}

TEST(MachineConfiguration, NamesMissingFilesAndWhatIsLeftOut) {
    using Drive = ReadConfiguration::Missing::Drive;
    const TemporaryFolder folder;
    Vmc vmc = Vmc::make();
    const std::string ide = "hardware/pci_bus/ide_adapter/ide_controller";
    vmc.set("hardware/memory/ram_size", std::int64_t{99999});
    vmc.set(ide + "[@id=0]/location[@id=0]/drive_type", std::int64_t{1});
    vmc.set(ide + "[@id=0]/location[@id=0]/pathname/absolute", "D:\\VM\\xp.vhd");
    vmc.set(ide + "[@id=1]/location[@id=0]/drive_type", std::int64_t{2});
    vmc.set(ide + "[@id=1]/location[@id=0]/pathname/absolute", "E:");
    vmc.set(ide + "[@id=1]/location[@id=1]/drive_type", std::int64_t{2});
    vmc.set("hardware/super_io/floppy[@id=0]/pathname/absolute", "C:\\boot.vfd");
    vmc.set("hardware/super_io/serial_port[@id=0]/port_type", std::int64_t{3});
    vmc.set("hardware/super_io/serial_port[@id=0]/pipe_name", "\\\\.\\pipe\\kd");
    vmc.set("hardware/pci_bus/ethernet_adapter/controller_count", std::int64_t{1});
    vmc.set("settings/sound/sound_adapter/enable", true);
    vmc.set("vpc/cpu", "z80");
    vmc.set("vpc/boot_order", "x");
    const ReadConfiguration read = read_configuration(vmc, folder.path());
    ASSERT_EQ(read.missing.size(), 2u);
    EXPECT_EQ(read.missing[0].drive, Drive::HardDisk);
    EXPECT_EQ(read.missing[0].file, folder / "xp.vhd");
    EXPECT_EQ(read.missing[1].drive, Drive::Floppy);
    EXPECT_EQ(read.missing[1].file, folder / "boot.vfd");
    EXPECT_EQ(read.machine.cdrom_place, 2u);
    EXPECT_TRUE(read.machine.disc.empty());
    EXPECT_EQ(read.machine.serial[0], "");
    EXPECT_EQ(read.machine.cpu, "");
    EXPECT_EQ(read.machine.boot_order, "");
    for (const char* what : {"99999 MB", "drive E:", "more than one CD-ROM", "kd", "network", "sound", "z80", "'x'"}) {
        EXPECT_TRUE(std::any_of(read.left_out.begin(), read.left_out.end(), [&](const std::string& line) {
            return line.find(what) != std::string::npos;
        })) << what;
    }
}

}  // namespace
}  // namespace vpc::tasks
