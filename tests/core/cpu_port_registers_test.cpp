// A port's owner sees and changes the registers of the CPU that accesses it.
#include <gtest/gtest.h>

#include "guest.h"

namespace vpc::test {
namespace {

constexpr std::uint16_t kPort = 0x5658;

TEST(CpuPortRegisters, AreThoseOfTheInstructionAndStayChanged) {
    Guest guest;
    guest.protected_mode();
    std::array<std::uint32_t, 8> seen{};
    const PortBus::Claim claim = guest.ports.claim({.owner = "test", .first = kPort, .count = 4, .widest = 4},
                                                   {.read = [&](std::uint16_t, unsigned) {
                                                       for (const GeneralRegister which : {kEax, kEbx, kEcx, kEdx}) {
                                                           seen[which] = guest.cpu->general(which);
                                                       }
                                                       guest.cpu->set_general(kEbx, seen[kEbx] + 1);
                                                       guest.cpu->set_general(kEcx, 0xC0C0C0C0);
                                                       guest.cpu->set_general(kEdx, 0xD0D0D0D0);
                                                       return 0xA0A0A0A0u;
                                                   }});
    guest.start.general[kEax] = 0x564D5868;
    guest.start.general[kEbx] = 0xB0000000;
    guest.start.general[kEcx] = 1;
    guest.start.general[kEdx] = kPort;
    // INC ECX; IN EAX, DX; MOV ESI, ECX; MOV EDI, EBX; INC EBX; HLT: values of the block itself, before and after
    guest.code({0x41, 0xED, 0x89, 0xCE, 0x89, 0xDF, 0x43, 0xF4});
    ASSERT_EQ(guest.run(), CpuExit::Halted);
    EXPECT_EQ(seen[kEax], 0x564D5868u);
    EXPECT_EQ(seen[kEbx], 0xB0000000u);
    EXPECT_EQ(seen[kEcx], 2u);
    EXPECT_EQ(seen[kEdx], kPort);
    EXPECT_EQ(guest.reg(kEax), 0xA0A0A0A0u);
    EXPECT_EQ(guest.reg(kEsi), 0xC0C0C0C0u);
    EXPECT_EQ(guest.reg(kEdi), 0xB0000001u);
    EXPECT_EQ(guest.reg(kEbx), 0xB0000002u);
    EXPECT_EQ(guest.reg(kEcx), 0xC0C0C0C0u);
    EXPECT_EQ(guest.reg(kEdx), 0xD0D0D0D0u);
}

}  // namespace
}  // namespace vpc::test
