// Self-modifying code, DMA, ROM, windows, A20: translations must follow what memory holds.
#include <gtest/gtest.h>

#include <array>

#include "guest.h"

namespace vpc::test {
namespace {

TEST(CpuCode, PatchAheadInTheSameBlockIsSeen) {
    Guest guest;
    guest.protected_mode();
    guest.code({
        0xC6, 0x05, 0x08, 0x00, 0x01, 0x00, 0x55,  // MOV BYTE [10008h],55h
        0xB0, 0x11, 0xF4,                          // MOV AL,11h: becomes 55h; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x55u);
}

TEST(CpuCode, PatchedLoopOnAPageWithDataIsSeenEachTime) {
    Guest guest;
    guest.protected_mode();
    guest.code({
        0x31, 0xC9, 0x31, 0xDB,              // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0x0D, 0x0B, 0x00, 0x01, 0x00,  // 10004h: MOV [1000Bh],CL
        0xB0, 0x00,                          // MOV AL,patched
        0xFF, 0x05, 0x00, 0x08, 0x01, 0x00,  // INC DWORD [10800h]: data on the same page
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,        // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xE7,  // INC ECX; CMP ECX,100; JB 10004h
        0xF4,                                //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 4950u);
    EXPECT_EQ(guest.load32(0x10800), 100u);
}

TEST(CpuCode, PatchedRoutineOnAnotherPageIsSeen) {
    Guest guest;
    guest.protected_mode();
    guest.store(0x40000, {0xB0, 0x00, 0xC3});  // MOV AL,imm8; RET
    guest.code({
        0x31, 0xC9, 0x31, 0xDB,              // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0x0D, 0x01, 0x00, 0x04, 0x00,  // 10004h: MOV [40001h],CL
        0xE8, 0xF1, 0xFF, 0x02, 0x00,        // CALL 40000h
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,        // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xEA,  // INC ECX; CMP ECX,100; JB 10004h
        0xF4,                                //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 4950u);
}

TEST(CpuCode, PatchThroughAnotherLinearAddressIsSeen) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.set_page_entry(0x50000, 0x40007);  // 50000h and 40000h are the same memory
    guest.store(0x40000, {0xB0, 0x00, 0xC3});
    guest.code({
        0x31, 0xC9, 0x31, 0xDB,              // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0x0D, 0x01, 0x00, 0x05, 0x00,  // 10004h: MOV [50001h],CL
        0xE8, 0xF1, 0xFF, 0x02, 0x00,        // CALL 40000h
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,        // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xEA,  // INC ECX; CMP ECX,100; JB 10004h
        0xF4,                                //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 4950u);
}

TEST(CpuCode, AliasWrittenBeforeTheCodeFirstRanIsSeen) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.set_page_entry(0x50000, 0x40007);
    guest.store(0x40000, {0xB0, 0x00, 0xC3});
    guest.code({
        0xC6, 0x05, 0x01, 0x00, 0x05, 0x00, 0x11,  // MOV BYTE [50001h],11h: fast to write from now on
        0xC6, 0x05, 0x01, 0x00, 0x05, 0x00, 0x12,  // MOV BYTE [50001h],12h
        0xE8, 0xED, 0xFF, 0x02, 0x00,              // CALL 40000h
        0x88, 0xC3,                                // MOV BL,AL
        0xC6, 0x05, 0x01, 0x00, 0x05, 0x00, 0x34,  // MOV BYTE [50001h],34h
        0xE8, 0xDF, 0xFF, 0x02, 0x00, 0xF4,        // CALL 40000h; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx) & 0xFF, 0x12u);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x34u);
}

TEST(CpuCode, StoredByDmaIsSeen) {
    Guest guest;
    guest.protected_mode();
    guest.store(0x40000, {0xB0, 0x11, 0xC3});
    guest.code({0xE8, 0xFB, 0xFF, 0x02, 0x00, 0xF4});  // CALL 40000h; HLT
    for (unsigned value = 0x20; value < 0x30; ++value) {
        guest.store(0x40001, {static_cast<std::uint8_t>(value)});
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        ASSERT_EQ(guest.reg(kEax) & 0xFF, value);
    }
}

TEST(CpuCode, StoredByDmaDuringARunIsSeen) {
    Guest guest;
    guest.protected_mode();
    const auto claim =
        guest.ports.claim({.owner = "DMA", .first = 0x80, .count = 1},
                          {.read = {},
                           .write = [&](std::uint16_t, std::uint32_t value,
                                        unsigned) { guest.store(0x40001, {static_cast<std::uint8_t>(value)}); },
                           .peek = {}});
    guest.store(0x40000, {0xB0, 0x00, 0xC3});
    guest.code({
        0x31, 0xC9, 0x31, 0xDB,              // XOR ECX,ECX; XOR EBX,EBX
        0x88, 0xC8, 0xE6, 0x80,              // 10004h: MOV AL,CL; OUT 80h,AL
        0xE8, 0xF3, 0xFF, 0x02, 0x00,        // CALL 40000h
        0x0F, 0xB6, 0xC0, 0x01, 0xC3,        // MOVZX EAX,AL; ADD EBX,EAX
        0x41, 0x83, 0xF9, 0x64, 0x72, 0xEC,  // INC ECX; CMP ECX,100; JB 10004h
        0xF4,                                //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 4950u);
}

class CpuRom : public testing::Test {
  protected:
    static constexpr std::uint32_t kRom = 0xFFFF0000;
    CpuRom() {
        contents.fill(0xF4);
        contents[0x100] = 0xB0;  // MOV AL,42h; HLT
        contents[0x101] = 0x42;
        guest.memory.map_rom("BIOS", kRom, contents);
        guest.protected_mode();
    }
    std::array<std::uint8_t, 0x10000> contents{};
    Guest guest;
};

TEST_F(CpuRom, ExecutesAndIgnoresStores) {
    guest.code({
        0xC6, 0x05, 0x01, 0x01, 0xFF, 0xFF, 0x99,                    // MOV BYTE [FFFF0101h],99h
        0xC7, 0x05, 0x01, 0x01, 0xFF, 0xFF, 0x99, 0x99, 0x99, 0x99,  // MOV DWORD [FFFF0101h],99999999h
        0x8A, 0x1D, 0x01, 0x01, 0xFF, 0xFF,                          // MOV BL,[FFFF0101h]
        0xB9, 0x00, 0x01, 0xFF, 0xFF, 0xFF, 0xE1,                    // MOV ECX,FFFF0100h; JMP ECX
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, kRom + 0x103);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x42u);
    EXPECT_EQ(guest.reg(kEbx) & 0xFF, 0x42u);
}

TEST_F(CpuRom, InterruptFrameOnRomVanishes) {
    guest.gate(0x40, kInterruptGate32, kCode32, 0x61000);
    guest.store(0x61000, {0xF4});
    guest.start.general[kEsp] = kRom + 0x200;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().eip, 0x61001u);
    EXPECT_EQ(guest.load32(kRom + 0x1F4), 0xF4F4F4F4u);
}

TEST_F(CpuRom, ShadowWindowChangesWhatIsExecuted) {
    std::uint8_t* rom = guest.memory.read_pointer(kRom);
    std::uint8_t* ram = guest.memory.ram() + 0xF0000;
    guest.code({0xB9, 0x00, 0x01, 0x0F, 0x00, 0xFF, 0xE1});  // MOV ECX,F0100h; JMP ECX

    guest.memory.set_window(0xF0000, 0x10000, {.read = rom, .write = ram});  // reads ROM, writes RAM
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x42u);

    guest.code({
        0xC7, 0x05, 0x00, 0x01, 0x0F, 0x00, 0xB0, 0x77, 0xF4, 0xF4,  // MOV DWORD [F0100h],F4F477B0h
        0xB9, 0x00, 0x01, 0x0F, 0x00, 0xFF, 0xE1,                    // MOV ECX,F0100h; JMP ECX
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x42u) << "the ROM is still read";
    EXPECT_EQ(ram[0x101], 0x77) << "and the RAM below it written";

    guest.memory.set_window(0xF0000, 0x10000, {.read = ram, .write = nullptr});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0x77u) << "now the RAM is read";

    guest.memory.set_window(0xF0000, 0x10000, {});
    guest.code({0xA0, 0x01, 0x01, 0x0F, 0x00, 0xF4});  // MOV AL,[F0101h]; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax) & 0xFF, 0xFFu) << "open bus";
}

TEST(CpuMemory, WindowChangedByARunningGuestTakesEffect) {
    Guest guest;
    guest.protected_mode();
    std::uint8_t* ram = guest.memory.ram() + 0xC0000;
    guest.memory.set_window(0xC0000, 0x4000, {.read = ram, .write = ram});
    const auto claim =
        guest.ports.claim({.owner = "bridge", .first = 0x80, .count = 1},
                          {.read = {},
                           .write = [&](std::uint16_t, std::uint32_t,
                                        unsigned) { guest.memory.set_window(0xC0000, 0x4000, {.read = ram}); },
                           .peek = {}});
    guest.code({
        0xC6, 0x05, 0x10, 0x00, 0x0C, 0x00, 0x11,  // MOV BYTE [C0010h],11h
        0xE6, 0x80,                                // OUT 80h,AL: write-protects
        0xC6, 0x05, 0x10, 0x00, 0x0C, 0x00, 0x22,  // MOV BYTE [C0010h],22h
        0x8A, 0x1D, 0x10, 0x00, 0x0C, 0x00, 0xF4,  // MOV BL,[C0010h]; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx) & 0xFF, 0x11u);
}

TEST(CpuMemory, AddressLine20) {
    Guest guest;
    guest.protected_mode();
    guest.store32(0x100500, 0x11111111);
    guest.store32(0x000500, 0x22222222);
    guest.code({0xA1, 0x00, 0x05, 0x10, 0x00, 0xF4});  // MOV EAX,[100500h]; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x11111111u);
    guest.start.a20 = false;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x22222222u);
    guest.start.a20 = true;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x11111111u);
}

TEST(CpuMemory, AddressLine20SwitchedByARunningGuest) {
    Guest guest;
    guest.protected_mode();
    guest.store32(0x100500, 0x11111111);
    guest.store32(0x000500, 0x22222222);
    const auto claim = guest.ports.claim(
        {.owner = "A20", .first = 0x92, .count = 1},
        {.read = {},
         .write = [&](std::uint16_t, std::uint32_t value, unsigned) { guest.cpu->set_a20((value & 2) != 0); },
         .peek = {}});
    guest.code({
        0x8B, 0x1D, 0x00, 0x05, 0x10, 0x00,  // MOV EBX,[100500h]
        0xB0, 0x00, 0xE6, 0x92,              // MOV AL,0; OUT 92h,AL
        0x8B, 0x0D, 0x00, 0x05, 0x10, 0x00,  // MOV ECX,[100500h]
        0xB0, 0x02, 0xE6, 0x92,              // MOV AL,2; OUT 92h,AL
        0x8B, 0x15, 0x00, 0x05, 0x10, 0x00,  // MOV EDX,[100500h]
        0xF4,                                //
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 0x11111111u);
    EXPECT_EQ(guest.reg(kEcx), 0x22222222u);
    EXPECT_EQ(guest.reg(kEdx), 0x11111111u);
}

TEST(CpuMemory, DeliveryRespectsAddressLine20) {
    Guest guest;
    guest.protected_mode();
    guest.start.a20 = false;
    guest.start.general[kEsp] = 0x107000;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.load32(0x7000 - 12), kCode + 2);
}

TEST(CpuMemory, UnalignedAccessToAChipIsCutIntoBytes) {
    Guest guest;
    guest.protected_mode();
    std::vector<std::pair<std::uint32_t, unsigned>> seen;
    guest.memory.map_mmio("chip", 0xE0000000, 0x1000,
                          {.read =
                               [&](std::uint32_t offset, unsigned size) {
                                   seen.emplace_back(offset, size);
                                   return 0x40302010u + offset;
                               },
                           .write = {}});
    guest.code({0xA1, 0x10, 0x00, 0x00, 0xE0, 0xF4});  // MOV EAX,[E0000010h]; HLT
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEax), 0x40302020u);
    ASSERT_EQ(seen.size(), 1u);
    EXPECT_EQ(seen[0], (std::pair<std::uint32_t, unsigned>(0x10, 4)));
    guest.code({0xA1, 0x11, 0x00, 0x00, 0xE0, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    for (const auto& [offset, size] : seen) {
        EXPECT_EQ(offset % size, 0u);
    }
}

/// Stores to each of `count` pages from E0000000h on, 4 bytes in the middle of each.
constexpr std::initializer_list<std::uint8_t> kStoreToPages = {
    0xBF, 0x00, 0x08, 0x00, 0xE0,              // MOV EDI,E0000800h
    0x89, 0x0F, 0x81, 0xC7, 0x00, 0x10, 0, 0,  // 10005h: MOV [EDI],ECX; ADD EDI,1000h
    0x49, 0x75, 0xF5, 0xF4,                    // DEC ECX; JNZ 10005h; HLT
};

TEST(CpuChipMemory, FirstStoreToAPageIsToldAgainAfterEachQuestion) {
    alignas(4096) static std::array<std::uint8_t, 0x8000> chip;
    chip.fill(0);
    Guest guest;
    guest.protected_mode();
    ASSERT_TRUE(guest.memory.try_map_ram("chip", 0xE0000000, chip.size(), chip.data()));
    guest.code(kStoreToPages);
    for (const unsigned count : {3u, 8u, 1u}) {
        std::vector<bool> pages(8);
        guest.memory.take_written_pages(0xE0000000, pages);
        guest.start.general[kEcx] = count;
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(chip[(count - 1) * 0x1000 + 0x800], 1);
        pages.assign(8, false);
        guest.memory.take_written_pages(0xE0000000, pages);
        for (unsigned page = 0; page < 8; ++page) {
            EXPECT_EQ(pages[page], page < count) << "page " << page << " of " << count;
        }
    }
}

TEST(CpuChipMemory, MayMove) {
    alignas(4096) static std::array<std::uint8_t, 0x8000> chip;
    chip.fill(0);
    Guest guest;
    guest.protected_mode();
    guest.code(kStoreToPages);
    guest.start.general[kEcx] = 1;
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(chip[0x800], 0) << "nothing is there yet";
    ASSERT_TRUE(guest.memory.try_map_ram("chip", 0xE0000000, chip.size(), chip.data()));
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(chip[0x800], 1);
    guest.memory.unmap(0xE0000000);
    ASSERT_TRUE(guest.memory.try_map_ram("chip", 0xDFFFF000, chip.size(), chip.data()));
    chip.fill(0);
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(chip[0x800], 0);
    EXPECT_EQ(chip[0x1800], 1);
}

TEST(CpuChipMemory, MovesInTheMiddleOfARunThoughPagingHidesIt) {
    alignas(4096) static std::array<std::uint8_t, 0x8000> chip;
    Guest guest;
    guest.protected_mode();
    guest.paging();  // nothing at E0000000h
    ASSERT_TRUE(guest.memory.try_map_ram("chip", 0xE0000000, chip.size(), chip.data()));
    const PortBus::Claim port = guest.ports.claim(
        {.owner = "mover", .first = 0x80, .count = 1}, {.write = [&](std::uint16_t, std::uint32_t value, unsigned) {
            if (value == 1) {
                guest.memory.unmap(0xE0000000);
            } else {
                EXPECT_TRUE(guest.memory.try_map_ram("chip", 0xE0008000, chip.size(), chip.data()));
            }
        }});
    guest.code({
        0xB0, 0x01, 0xE6, 0x80,              // MOV AL,1; OUT 80h,AL
        0xB0, 0x02, 0xE6, 0x80,              // MOV AL,2; OUT 80h,AL
        0xB9, 0x78, 0x56, 0x34, 0x12, 0xF4,  // MOV ECX,12345678h; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEcx), 0x12345678u) << "a page fault came instead";
    EXPECT_EQ(guest.cpu->state().cr2, 0u);
}

}  // namespace
}  // namespace vpc::test
