// Page tables: what the processor's own accesses do to them, and page faults.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint32_t kAccessed = 0x20;
constexpr std::uint32_t kDirty = 0x40;
constexpr std::uint32_t kLarge = 0x80;
constexpr std::uint32_t kSupervisor = 3;  // present, writable
constexpr std::uint32_t kUserPage = 7;

TEST(CpuPaging, DeliveryMarksThePagesItTouches) {
    Guest guest;
    guest.protected_mode(3);
    guest.paging();
    guest.gate(0x40, kInterruptGate32, kCode32, 0x60000, 3);
    guest.store(0x60000, {0xF4});
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.page_entry(kInnerStack - 1), ((kInnerStack - 1) & ~0xFFFu) | kUserPage | kAccessed | kDirty);
    EXPECT_EQ(guest.page_entry(kIdt), kIdt | kUserPage | kAccessed);
    EXPECT_EQ(guest.page_entry(kGdt), kGdt | kUserPage | kAccessed);
    EXPECT_EQ(guest.page_entry(kTss), kTss | kUserPage | kAccessed);
    EXPECT_NE(guest.load32(kPageDirectory) & kAccessed, 0u);
    EXPECT_EQ(guest.page_entry(0x70000), 0x70000 | kUserPage) << "untouched";
}

TEST(CpuPaging, DeliveryThroughLargePages) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr4 = cr4::kPageSizeExtension;
    guest.start.cr3 = kPageDirectory;
    guest.start.cr0 |= cr0::kPaging;
    guest.store32(kPageDirectory, 0 | kSupervisor | kLarge);
    guest.store32(kPageDirectory + 4, 0 | kSupervisor | kLarge);  // the same 4 MiB again: the stack
    guest.start.general[kEsp] = 0x400000 + kStack;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.load32(kStack - 12), kCode + 2);
    EXPECT_EQ(guest.load32(kPageDirectory) & 0xFFF, kSupervisor | kLarge | kAccessed);
    EXPECT_EQ(guest.load32(kPageDirectory + 4) & 0xFFF, kSupervisor | kLarge | kAccessed | kDirty);
}

TEST(CpuPaging, DeliveryThroughPhysicalAddressExtension) {
    constexpr std::uint32_t kPointers = 0x20000;
    constexpr std::uint32_t kDirectory = 0x22000;
    constexpr std::uint32_t kTable = 0x23000;
    Guest guest;
    guest.protected_mode();
    guest.start.cr4 = cr4::kPhysicalAddressExtension;
    guest.start.cr3 = kPointers;
    guest.start.cr0 |= cr0::kPaging;
    guest.store32(kPointers, kDirectory | 1);
    guest.store32(kDirectory, kTable | kSupervisor);                 // 0-2 MiB by 4 KiB pages
    guest.store32(kDirectory + 8, 0x200000 | kSupervisor | kLarge);  // 2-4 MiB
    guest.store32(kDirectory + 16, 0 | kSupervisor | kLarge);        // the first 2 MiB again
    for (std::uint32_t page = 0; page < 512; ++page) {
        guest.store32(kTable + 8 * page, page << 12 | kSupervisor);
    }
    guest.start.general[kEsp] = 0x400000 + kStack;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.load32(kStack - 12), kCode + 2);
    EXPECT_EQ(guest.load32(kDirectory + 16) & 0xFFF, kSupervisor | kLarge | kAccessed | kDirty);
    EXPECT_EQ(guest.load32(kDirectory) & 0xFFF, kSupervisor | kAccessed);
    EXPECT_EQ(guest.load32(kTable + 8 * (kIdt >> 12)) & 0xFFF, kSupervisor | kAccessed);
    EXPECT_EQ(guest.load32(kDirectory + 8) & 0xFFF, kSupervisor | kLarge) << "untouched";
}

TEST(CpuPaging, NothingAnswersAboveTheAddressBus) {
    std::vector<std::uint8_t> other(0x4000, 0x5A);
    for (const bool pae : {false, true}) {
        Guest guest;
        const PortBus::Claim claim = guest.ports.claim(
            {.owner = "window", .first = 0x80, .count = 1}, {.write = [&](std::uint16_t, std::uint32_t, unsigned) {
                guest.memory.set_window(0xC0000, 0x4000, {.read = other.data(), .write = nullptr});
            }});
        guest.protected_mode();
        guest.start.cr4 = pae ? cr4::kPhysicalAddressExtension : cr4::kPageSizeExtension;
        guest.start.cr3 = kPageDirectory;
        guest.start.cr0 |= cr0::kPaging;
        constexpr std::uint32_t kDirectory = 0x22000;
        if (pae) {
            guest.store32(kPageDirectory, kDirectory | 1);
            guest.store32(kDirectory, 0 | kSupervisor | kLarge);
            guest.store32(kDirectory + 16, 0 | kSupervisor | kLarge);
            guest.store32(kDirectory + 20, 0x000F'FFFF);  // bits 51-32: a Pentium III reserves those from 36 on
        } else {
            guest.store32(kPageDirectory, 0 | kSupervisor | kLarge);
            guest.store32(kPageDirectory + 4, 0 | kSupervisor | kLarge | 0xFF << 13);  // bits 39-32
        }
        guest.code({
            0xA1, 0x00, 0x00, 0x40, 0x00, 0xA3, 0x00, 0x00, 0x40, 0x00,  // MOV EAX,[400000h]; MOV [400000h],EAX
            0xE6, 0x80, 0x8A, 0x1D, 0x00, 0x00, 0x0C, 0x00, 0xF4,        // OUT 80h,AL; MOV BL,[C0000h]; HLT
        });
        ASSERT_EQ(guest.run(), CpuExit::Halted) << guest.cpu->failure();
        constexpr int kNone = -1;
        const int handler = guest.handler();
        if (handler != 14 || !pae) {
            EXPECT_EQ(handler, kNone);
            EXPECT_EQ(guest.reg(kEax), 0xFFFFFFFF);
            EXPECT_EQ(guest.reg(kEbx), 0x5Au);
        }
    }
}

TEST(CpuPaging, AbsentPointerTableEntryIsAPageFault) {
    Guest guest;
    guest.protected_mode();
    guest.start.cr4 = cr4::kPhysicalAddressExtension;
    guest.start.cr3 = 0x20000;
    guest.start.cr0 |= cr0::kPaging;
    guest.store32(0x20000, 0x22000 | 1);
    guest.store32(0x22000, 0 | kSupervisor | kLarge);
    guest.code({0xA1, 0x00, 0x00, 0x00, 0x80});  // MOV EAX,[80000000h]
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 14);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.state().cr2, 0x80000000u);
}

struct Access {
    const char* name;
    unsigned cpl;
    std::uint32_t entry_rights;
    bool write_protect;
    bool store;
    int error_code;  // -1: none
};
class CpuPageFault : public testing::TestWithParam<Access> {};

TEST_P(CpuPageFault, ErrorCodeTellsTheAccess) {
    const Access& access = GetParam();
    Guest guest;
    guest.protected_mode(access.cpl);
    guest.paging();
    guest.set_page_entry(0x50000, 0x50000 | access.entry_rights);
    guest.start.cr0 |= access.write_protect ? cr0::kWriteProtect : 0;
    if (access.store) {
        guest.code({0xA3, 0x34, 0x02, 0x05, 0x00, 0xCD, 0x41});  // MOV [50234h],EAX; INT 41h
    } else {
        guest.code({0xA1, 0x34, 0x02, 0x05, 0x00, 0xCD, 0x41});  // MOV EAX,[50234h]; INT 41h
    }
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    if (access.error_code < 0) {
        EXPECT_EQ(guest.handler(), 0x41);
        return;
    }
    EXPECT_EQ(guest.handler(), 14);
    EXPECT_EQ(guest.stacked32(0), static_cast<std::uint32_t>(access.error_code));
    EXPECT_EQ(guest.stacked32(1), kCode);
    EXPECT_EQ(guest.state().cr2, 0x50234u);
}

INSTANTIATE_TEST_SUITE_P(Rights, CpuPageFault,
                         testing::Values(Access{"SupervisorReadsAbsent", 0, 0, false, false, 0},
                                         Access{"SupervisorWritesAbsent", 0, 0, false, true, 2},
                                         Access{"SupervisorWritesReadOnly", 0, 1, false, true, -1},
                                         Access{"SupervisorWritesReadOnlyWithWriteProtect", 0, 1, true, true, 3},
                                         Access{"SupervisorReadsReadOnlyWithWriteProtect", 0, 1, true, false, -1},
                                         Access{"UserReadsAbsent", 3, 0, false, false, 4},
                                         Access{"UserWritesAbsent", 3, 0, false, true, 6},
                                         Access{"UserReadsSupervisorPage", 3, 3, false, false, 5},
                                         Access{"UserWritesSupervisorPage", 3, 3, false, true, 7},
                                         Access{"UserWritesReadOnly", 3, 5, false, true, 7},
                                         Access{"UserReadsReadOnly", 3, 5, false, false, -1},
                                         Access{"UserWritesOwnPage", 3, 7, false, true, -1}),
                         [](const auto& each) { return each.param.name; });

TEST(CpuPaging, FetchFromAnAbsentPageFaultsThere) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.set_page_entry(0x50000, 0);
    guest.code({0xB8, 0x78, 0x05, 0x05, 0x00, 0xFF, 0xE0});  // MOV EAX,50578h; JMP EAX
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 14);
    EXPECT_EQ(guest.stacked32(0), 0u);
    EXPECT_EQ(guest.stacked32(1), 0x50578u);
    EXPECT_EQ(guest.state().cr2, 0x50578u);
}

TEST(CpuPaging, HandlerRepairsThePageAndTheInstructionIsRepeated) {
    Guest guest;
    guest.protected_mode(3);
    guest.paging();
    guest.set_page_entry(0x50000, 0);
    guest.store32(0x50010, 0x600DF00D);
    guest.code({0xA1, 0x10, 0x00, 0x05, 0x00, 0xCD, 0x41});  // MOV EAX,[50010h]; INT 41h
    guest.gate(14, kInterruptGate32, kCode32, 0x60000);
    guest.store(0x60000, {
                             0xC7, 0x05, 0x40, 0x11, 0x02, 0x00, 0x07, 0x00, 0x05, 0x00,  // MOV DWORD [21140h],50007h
                             0x83, 0xC4, 0x04, 0xCF,                                      // ADD ESP,4; IRETD
                         });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x41);
    EXPECT_EQ(guest.reg(kEax), 0x600DF00Du);
    EXPECT_EQ(guest.cpu->statistics().exceptions, 1u);
}

// INT 40h from the outer ring whose inner stack cannot be written; a task handles the page fault.
class CpuPageFaultOfDelivery : public testing::Test {
  protected:
    void expect_error_code(std::uint32_t entry, std::uint32_t error_code) {
        guest.protected_mode(3);
        guest.paging();
        guest.task32();
        guest.start.cr0 |= cr0::kWriteProtect;
        guest.gate(14, kTaskGate, kTaskSelector, 0);
        guest.gate(0x40, kInterruptGate32, kCode32, handler_of(0x40), 3);
        guest.store32(kTss + 4, 0x51000);
        guest.set_page_entry(0x50000, entry);
        guest.code({0xCD, 0x40});
        ASSERT_EQ(guest.run(), CpuExit::Halted);
        EXPECT_EQ(guest.state().tr.selector, kTaskSelector);
        EXPECT_EQ(guest.stacked32(0), error_code);
        EXPECT_EQ(guest.state().cr2, 0x50FFCu);
        EXPECT_EQ(guest.load32(kTss + 0x20), kCode) << "back to the INT";
        EXPECT_EQ(guest.load16(kTss + 0x4C), kUserCode);
    }
    Guest guest;
};

TEST_F(CpuPageFaultOfDelivery, OnAnAbsentStackIsASupervisorWrite) {
    expect_error_code(0, 2);
}
TEST_F(CpuPageFaultOfDelivery, OnAReadOnlyStackSaysPresent) {
    expect_error_code(0x50001, 3);
}

TEST(CpuPaging, FrameAcrossTwoPagesIsWrittenWhole) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.set_page_entry(0x50000, 0x60007);  // neighbours in linear, not in physical memory
    guest.set_page_entry(0x51000, 0x70007);
    guest.start.general[kEsp] = 0x51006;  // EFLAGS lies across the boundary
    guest.start.eflags = 0x246;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.handler(), 0x40);
    EXPECT_EQ(guest.load32(0x70002), 0x246u);
    EXPECT_EQ(guest.load16(0x60FFE), kCode32);
    EXPECT_EQ(guest.load32(0x60FFA), kCode + 2);
}

TEST(CpuPaging, FaultAddressRegisterSurvivesRuns) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.start.cr2 = 0x12345678;
    guest.code({0xCD, 0x40});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.state().cr2, 0x12345678u);
}

TEST(CpuPaging, InvlpgForgetsATranslation) {
    Guest guest;
    guest.protected_mode();
    guest.paging();
    guest.store32(0x50000, 0x11111111);
    guest.store32(0x60000, 0x22222222);
    guest.code({
        0x8B, 0x1D, 0x00, 0x00, 0x05, 0x00,                          // MOV EBX,[50000h]
        0xC7, 0x05, 0x40, 0x11, 0x02, 0x00, 0x07, 0x00, 0x06, 0x00,  // MOV DWORD [21140h],60007h
        0x0F, 0x01, 0x3D, 0x00, 0x00, 0x05, 0x00,                    // INVLPG [50000h]
        0x8B, 0x0D, 0x00, 0x00, 0x05, 0x00, 0xF4,                    // MOV ECX,[50000h]; HLT
    });
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(guest.reg(kEbx), 0x11111111u);
    EXPECT_EQ(guest.reg(kEcx), 0x22222222u);
}

}  // namespace
}  // namespace vpc::test
