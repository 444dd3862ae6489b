#include <gtest/gtest.h>

#include <fstream>

#include "tasks/vmc.h"
#include "tests/disk/temporary_folder.h"

namespace vpc::tasks {
namespace {

std::vector<std::uint8_t> utf16(std::u16string_view text) {
    std::vector<std::uint8_t> bytes{0xFF, 0xFE};
    for (const char16_t unit : text) {
        bytes.push_back(static_cast<std::uint8_t>(unit));
        bytes.push_back(static_cast<std::uint8_t>(unit >> 8));
    }
    return bytes;
}

// Shaped like Virtual PC 2007's: the secondary controller first, a plain floppy beside a numbered one.
const std::u16string kSample =
    u"<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n"
    u"<!-- Microsoft Virtual Machine Options and Settings -->\r\n"
    u"<preferences>\r\n"
    u"\t<version type=\"string\">2.0</version>\r\n"
    u"\t<hardware>\r\n"
    u"\t\t<memory>\r\n"
    u"\t\t\t<ram_size type=\"integer\">256</ram_size>\r\n"
    u"\t\t</memory>\r\n"
    u"\t\t<pci_bus>\r\n"
    u"\t\t\t<ide_adapter>\r\n"
    u"\t\t\t\t<ide_controller id=\"1\">\r\n"
    u"\t\t\t\t\t<location id=\"0\">\r\n"
    u"\t\t\t\t\t\t<drive_type type=\"integer\">2</drive_type>\r\n"
    u"\t\t\t\t\t\t<pathname>\r\n"
    u"\t\t\t\t\t\t\t<absolute type=\"string\" />\r\n"
    u"\t\t\t\t\t\t</pathname>\r\n"
    u"\t\t\t\t\t</location>\r\n"
    u"\t\t\t\t</ide_controller>\r\n"
    u"\t\t\t\t<ide_controller id=\"0\">\r\n"
    u"\t\t\t\t\t<location id=\"0\">\r\n"
    u"\t\t\t\t\t\t<drive_type type=\"integer\">1</drive_type>\r\n"
    u"\t\t\t\t\t\t<pathname>\r\n"
    u"\t\t\t\t\t\t\t<absolute type=\"string\">D:\\Maschinen\\Büro \U0001F4BE.vhd</absolute>\r\n"
    u"\t\t\t\t\t\t\t<relative type=\"string\">.\\disks\\Büro \U0001F4BE.vhd</relative>\r\n"
    u"\t\t\t\t\t\t</pathname>\r\n"
    u"\t\t\t\t\t</location>\r\n"
    u"\t\t\t\t</ide_controller>\r\n"
    u"\t\t\t</ide_adapter>\r\n"
    u"\t\t</pci_bus>\r\n"
    u"\t\t<super_io>\r\n"
    u"\t\t\t<floppy id=\"0\">\r\n"
    u"\t\t\t\t<auto_detect type=\"boolean\">false</auto_detect>\r\n"
    u"\t\t\t</floppy>\r\n"
    u"\t\t\t<floppy>\r\n"
    u"\t\t\t\t<auto_detect type=\"boolean\">true</auto_detect>\r\n"
    u"\t\t\t</floppy>\r\n"
    u"\t\t</super_io>\r\n"
    u"\t\t<bios>\r\n"
    u"\t\t\t<time_bytes type=\"bytes\">34005012</time_bytes>\r\n"
    u"\t\t</bios>\r\n"
    u"\t</hardware>\r\n"
    u"\t<somebodys_own odd=\"1\">\r\n"
    u"\t\t<thing type=\"string\">&lt;kept &amp; whole&gt;</thing>\r\n"
    u"\t</somebodys_own>\r\n"
    u"</preferences>\r\n";

Vmc sample() {
    auto vmc = Vmc::parse(utf16(kSample), "sample");
    EXPECT_TRUE(vmc) << vmc.error().message;
    return std::move(*vmc);
}

std::string refusal(std::u16string_view text) {
    const auto vmc = Vmc::parse(utf16(text), "sample");
    return vmc ? "it was not" : vmc.error().message;
}

TEST(Vmc, ReadsTypedLeaves) {
    const Vmc vmc = sample();
    std::int64_t number = 0;
    std::string text;
    bool flag = false;
    std::vector<std::uint8_t> bytes;
    EXPECT_EQ(vmc.get("hardware/memory/ram_size", number), HResult::S_OK);
    EXPECT_EQ(number, 256);
    EXPECT_EQ(vmc.get("somebodys_own/thing", text), HResult::S_OK);
    EXPECT_EQ(text, "<kept & whole>");
    EXPECT_EQ(vmc.get("hardware/super_io/floppy/auto_detect", flag), HResult::S_OK);
    EXPECT_TRUE(flag);
    EXPECT_EQ(vmc.get("hardware/super_io/floppy[@id=0]/auto_detect", flag), HResult::S_OK);
    EXPECT_FALSE(flag);
    EXPECT_EQ(vmc.get("hardware/bios/time_bytes", bytes), HResult::S_OK);
    EXPECT_EQ(bytes, (std::vector<std::uint8_t>{0x34, 0x00, 0x50, 0x12}));

    EXPECT_EQ(vmc.get("hardware/memory", number), HResult::VM_E_PREF_NOT_FOUND);
    EXPECT_EQ(vmc.get("hardware/memory/rom_size", number), HResult::VM_E_PREF_NOT_FOUND);
    EXPECT_EQ(vmc.get("hardware/memory/ram_size", text), HResult::VM_E_PREF_ILLEGAL_VALUE);
    EXPECT_EQ(vmc.get("hardware/memory/ram_size[", number), HResult::VM_E_PREF_NOT_FOUND);
}

TEST(Vmc, SurvivesARoundTripByteByByte) {
    EXPECT_EQ(sample().bytes(), utf16(kSample));
}

TEST(Vmc, ChangesOneLeafAndKeepsTheRest) {
    Vmc vmc = sample();
    EXPECT_EQ(vmc.set("hardware/memory/ram_size", std::int64_t{512}), HResult::S_OK);
    std::u16string expected = kSample;
    expected.replace(expected.find(u">256<"), 5, u">512<");
    EXPECT_EQ(vmc.bytes(), utf16(expected));
}

TEST(Vmc, MakesAndRemovesKeys) {
    Vmc vmc = Vmc::make();
    const std::vector<std::uint8_t> address{0x00, 0x03, 0xFF, 0xAB};
    EXPECT_EQ(vmc.set("a/b[@id=3]/c", address), HResult::S_OK);
    EXPECT_EQ(vmc.set("a/b[@id=3]/d", true), HResult::S_OK);
    EXPECT_EQ(vmc.set("a/b[@id=3]", "no leaf"), HResult::E_INVALIDARG);
    EXPECT_EQ(vmc.set("a/b[@id=3]/d/e", true), HResult::E_INVALIDARG);
    for (const char* key : {"", "/", "a//b", "a/b[id=1]", "a/b[@id=x]", "a b", "1a", "a/"}) {
        EXPECT_EQ(vmc.set(key, true), HResult::E_INVALIDARG) << key;
    }
    const auto again = Vmc::parse(vmc.bytes(), "again");
    ASSERT_TRUE(again) << again.error().message;
    std::vector<std::uint8_t> read;
    EXPECT_EQ(again->get("a/b[@id=3]/c", read), HResult::S_OK);
    EXPECT_EQ(read, address);
    EXPECT_EQ(vmc.remove("a/b[@id=3]"), HResult::S_OK);
    EXPECT_EQ(vmc.remove("a/b[@id=3]"), HResult::VM_E_PREF_NOT_FOUND);
    EXPECT_EQ(vmc.get("a/b[@id=3]/c", read), HResult::VM_E_PREF_NOT_FOUND);
}

TEST(Vmc, FindsDisksBesideItselfAndReportsMissingOnes) {
    const disk::testing::TemporaryFolder folder;
    const Vmc vmc = sample();
    const std::string name = "Büro \U0001F4BE.vhd";
    auto drives = vmc.drives(folder.path());
    EXPECT_EQ(drives[0].type, VmcDrive::Type::HardDisk);
    EXPECT_TRUE(drives[0].missing);
    EXPECT_EQ(drives[0].file, folder.path() / "disks" / name);
    EXPECT_EQ(drives[1].type, VmcDrive::Type::None);
    EXPECT_EQ(drives[2].type, VmcDrive::Type::Dvd);
    EXPECT_TRUE(drives[2].file.empty());
    EXPECT_FALSE(drives[2].missing);

    folder.write(name, {});
    EXPECT_EQ(vmc.drives(folder.path())[0].file, folder / name);
    std::filesystem::create_directory(folder / "disks");
    folder.write("disks/" + name, {});
    drives = vmc.drives(folder.path());
    EXPECT_EQ(drives[0].file, folder.path() / "disks" / name);
    EXPECT_FALSE(drives[0].missing);
}

TEST(Vmc, NamesDisksInBothWays) {
    const disk::testing::TemporaryFolder folder;
    folder.write("new.vhd", {});
    Vmc vmc = Vmc::make();
    EXPECT_EQ(vmc.set_drive(3, VmcDrive::Type::HardDisk, folder / "new.vhd", folder.path()), HResult::S_OK);
    EXPECT_EQ(vmc.set_drive(4, VmcDrive::Type::HardDisk, folder / "new.vhd", folder.path()), HResult::E_INVALIDARG);
    std::string text;
    EXPECT_EQ(vmc.get("hardware/pci_bus/ide_adapter/ide_controller[@id=1]/location[@id=1]/pathname/relative", text),
              HResult::S_OK);
    EXPECT_EQ(text, ".\\new.vhd");
    const std::filesystem::path file = folder / "machine.vmc";
    ASSERT_TRUE(vmc.write(file));
    const auto read = Vmc::read(file);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(read->drives(folder.path())[3].file, folder / "new.vhd");
}

TEST(Vmc, RefusesHostileAndBrokenFiles) {
    EXPECT_NE(refusal(u"<preferences>\r\n<a>\r\n</b>\r\n</preferences>").find("line 3"), std::string::npos);
    EXPECT_NE(refusal(u"<!DOCTYPE preferences [<!ENTITY a \"aaaa\">]>\r\n<preferences>&a;</preferences>")
                  .find("document type"),
              std::string::npos);
    EXPECT_NE(refusal(u"<other/>").find("preferences"), std::string::npos);
    EXPECT_NE(refusal(u"").find("no machine configuration"), std::string::npos);
    std::u16string deep = u"<preferences>";
    for (int i = 0; i < 100'000; ++i) {
        deep += u"<a>";
    }
    for (int i = 0; i < 100'000; ++i) {
        deep += u"</a>";
    }
    EXPECT_NE(refusal(deep + u"</preferences>").find("nested"), std::string::npos);
    EXPECT_NE(refusal(std::u16string(u"<preferences/>") + char16_t(0xD800)).find("UTF-16"), std::string::npos);
    EXPECT_FALSE(Vmc::parse(std::vector<std::uint8_t>{'<', 'p', '/', '>'}, "ascii"));
    EXPECT_FALSE(Vmc::parse({}, "empty"));
    const auto whole = utf16(kSample);
    for (std::size_t size = 0; size + 60 < whole.size(); size += 7) {
        EXPECT_FALSE(Vmc::parse(std::span(whole).first(size), "cut")) << size;
    }
}

}  // namespace
}  // namespace vpc::tasks
