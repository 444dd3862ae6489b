#pragma once
#include <cstdint>
#include <initializer_list>
#include <ostream>

#include "guest.h"

namespace vpc::test {

/// A way to make the processor deliver an exception or interrupt; the guest then halts.
struct DeliveryCase {
    const char* name;
    void (*prepare)(Guest& guest);
    /// Otherwise the code at kCode causes the event.
    bool hardware_interrupt = false;
};
inline std::ostream& operator<<(std::ostream& out, const DeliveryCase& which) {
    return out << which.name;
}

inline constexpr std::uint8_t kHardwareVector = 0x50;
inline constexpr std::uint32_t kDeliveryFlags = 0x202 | 0x8D5;  // every arithmetic flag, and IF

namespace delivery {

inline void protected_mode(Guest& guest, unsigned cpl, std::initializer_list<std::uint8_t> code) {
    guest.protected_mode(cpl);
    guest.start.eflags = kDeliveryFlags;
    guest.code(code);
}
inline void real_mode(Guest& guest, std::initializer_list<std::uint8_t> code) {
    guest.real_mode();
    guest.start.eflags = kDeliveryFlags;
    guest.code(code);
}
inline void virtual_8086(Guest& guest, unsigned iopl, std::initializer_list<std::uint8_t> code) {
    guest.virtual_8086(iopl);
    guest.start.eflags |= kDeliveryFlags;
    guest.code(code);
}
inline constexpr DeliveryCase kCases[] = {
    {"RealInt",
     [](Guest& g) {
         real_mode(g, {0xCD, 0x40});
     }},
    {"RealInt3", [](Guest& g) { real_mode(g, {0xCC}); }},
    {"RealDivide",
     [](Guest& g) {
         real_mode(g, {0x31, 0xC9, 0xF7, 0xF1});
     }},
    {"RealStackWraps",
     [](Guest& g) {
         real_mode(g, {0xCD, 0x40});
         g.start.general[kEsp] = 0x10002;
     }},
    {"RealHardware", [](Guest& g) { real_mode(g, {0x90}); }, true},
    {"SamePrivilege",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
     }},
    {"SamePrivilegeTrap",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kTrapGate32, kCode32, handler_of(0x40));
     }},
    {"SamePrivilege16",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate16, kCode32, handler_of(0x40));
     }},
    {"SamePrivilege16To16",
     [](Guest& g) {
         g.protected_mode_16();
         g.start.eflags = kDeliveryFlags;
         g.start.general[kEsp] = 0x55557000;
         g.code({0xCD, 0x40});
         g.gate(0x40, kTrapGate16, kCode32, handler_of(0x40));
     }},
    {"SamePrivilegeHardware", [](Guest& g) { protected_mode(g, 0, {0x90}); }, true},
    {"NestedTaskFlagIsCleared",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.start.eflags |= eflags::kNestedTask;
     }},
    {"Breakpoint", [](Guest& g) { protected_mode(g, 0, {0xCC}); }},
    {"OverflowTrap", [](Guest& g) { protected_mode(g, 0, {0xCE}); }},
    {"Divide",
     [](Guest& g) {
         protected_mode(g, 0, {0x31, 0xC9, 0xF7, 0xF1});
     }},
    {"Bound",
     [](Guest& g) {
         protected_mode(g, 0, {0x62, 0x05, 0x00, 0xB0, 0x00, 0x00});  // BOUND EAX,[kData]: 0 to 0
     }},
    {"DeviceNotAvailable",
     [](Guest& g) {
         protected_mode(g, 0, {0xD9, 0xE8});
         g.start.cr0 |= cr0::kTaskSwitched;
     }},
    {"InnerPrivilege",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
     }},
    {"InnerPrivilege16",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.gate(0x41, kInterruptGate16, kCode32, handler_of(0x41), 3);
     }},
    {"InnerPrivilegeHardware", [](Guest& g) { protected_mode(g, 3, {0x90}); }, true},
    {"InnerPrivilegeSmallStack",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.store16(kTss + 8, kData16);
         g.store32(kTss + 4, 0x77776000);
     }},
    {"InnerPrivilegeOf16BitTask",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.descriptor(kTssSelector, kTss, 0x2B, 0x83);
         g.start.tr = {.selector = kTssSelector, .base = kTss, .limit = 0x2B, .attributes = 0x83};
         g.store16(kTss + 2, kInnerStack);
         g.store16(kTss + 4, kData32);
     }},
    {"Ring1",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.gate(0x41, kInterruptGate32, kRing1Code | 1, handler_of(0x41), 3);
         g.store32(kTss + 0x0C, 0x6800);
         g.store16(kTss + 0x10, kRing1Data | 1);
         g.store(handler_of(0x41), {0xCD, 0x42});  // to where HLT is allowed
         g.gate(0x42, kInterruptGate32, kCode32, handler_of(0x42), 3);
     }},
    {"Conforming",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.gate(0x41, kInterruptGate32, kConforming, handler_of(0x41), 3);
         g.store(handler_of(0x41), {0xCD, 0x42});
         g.gate(0x42, kInterruptGate32, kCode32, handler_of(0x42), 3);
     }},
    {"GatePrivilege",
     [](Guest& g) {
         protected_mode(g, 3, {0x90, 0xCD, 0x40});
     }},
    {"GateBeyondTheTable",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0xFF});
         g.start.idtr.limit = 0x7F7;
     }},
    {"GateAbsent",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32 & 0x7F, kCode32, handler_of(0x40));
     }},
    {"GateOfNoKind",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, 0x89, kCode32, handler_of(0x40));
     }},
    {"GateToNull",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32, 0, handler_of(0x40));
     }},
    {"GateBeyondTheGdt",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32, kBeyondGdt, handler_of(0x40));
     }},
    {"GateToData",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32, kData32, handler_of(0x40));
     }},
    {"GateToAbsentCode",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32, kAbsentCode, handler_of(0x40));
     }},
    {"GateToOuterCode",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kInterruptGate32, kUserCode, handler_of(0x40));
     }},
    {"SelectorBeyondTheGdt",
     [](Guest& g) {
         protected_mode(g, 0, {0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
     }},
    {"SelectorAbsent",
     [](Guest& g) {
         protected_mode(g, 3, {0x66, 0xB8, kAbsentData, 0x00, 0x8E, 0xD8});
     }},
    {"InnerStackOfAnotherPrivilege",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.gate(10, kTaskGate, kTaskSelector, 0);
         g.task32();
         g.store16(kTss + 8, kUserData);
     }},
    {"InnerStackNull",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.gate(10, kTaskGate, kTaskSelector, 0);
         g.task32();
         g.store16(kTss + 8, 0);
     }},
    {"PageFaultOfTheUser",
     [](Guest& g) {
         protected_mode(g, 3, {0x89, 0x1D, 0x00, 0xB0, 0x00, 0x00});  // MOV [kData],EBX
         g.paging();
         g.set_page_entry(kData, kData | 5);
     }},
    {"PageFaultOfTheSupervisor",
     [](Guest& g) {
         protected_mode(g, 0, {0xA1, 0x08, 0xB0, 0x00, 0x00});  // MOV EAX,[kData+8]
         g.paging();
         g.set_page_entry(kData, 0);
     }},
    {"PageFaultOnTheInnerStack",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.paging();
         g.store32(kTss + 4, 0xA80000 + 0x1000);  // not present: a fault without a stack for its handler
         g.gate(14, kTaskGate, kTaskSelector, 0);
         g.gate(8, kTaskGate, kTaskSelector, 0);
         g.task32();
     }},
    {"DoubleFault",
     [](Guest& g) {
         protected_mode(g, 0, {0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
         g.gate(13, kInterruptGate32, kAbsentCode, handler_of(13));
     }},
    {"BenignThenFault",
     [](Guest& g) {
         protected_mode(g, 0, {0xCC});
         g.gate(3, kInterruptGate32, kAbsentCode, handler_of(3));
     }},
    {"Virtual8086",
     [](Guest& g) {
         virtual_8086(g, 3, {0xCD, 0x41});
     }},
    {"Virtual8086Gate16",
     [](Guest& g) {
         virtual_8086(g, 3, {0xCD, 0x41});
         g.gate(0x41, kInterruptGate16, kCode32, handler_of(0x41), 3);
     }},
    {"Virtual8086Hardware", [](Guest& g) { virtual_8086(g, 0, {0x90}); }, true},
    {"Virtual8086LowIopl",
     [](Guest& g) {
         virtual_8086(g, 2, {0x90, 0xCD, 0x41});
     }},
    {"Virtual8086GatePrivilege",
     [](Guest& g) {
         virtual_8086(g, 3, {0xCD, 0x40});
     }},
    {"Virtual8086Privileged", [](Guest& g) { virtual_8086(g, 3, {0xF4}); }},
    {"Task32",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kTaskGate, kTaskSelector, 0);
         g.task32();
     }},
    {"Task32Hardware",
     [](Guest& g) {
         protected_mode(g, 3, {0x90});
         g.gate(kHardwareVector, kTaskGate, kTaskSelector, 0);
         g.task32();
     },
     true},
    {"Task32WithErrorCode",
     [](Guest& g) {
         protected_mode(g, 0, {0x66, 0xB8, 0xF8, 0x07, 0x8E, 0xD8});
         g.gate(13, kTaskGate, kTaskSelector, 0);
         g.task32();
     }},
    {"Task32FromTheUserWithPaging",
     [](Guest& g) {
         protected_mode(g, 3, {0xCD, 0x41});
         g.paging();
         g.gate(0x41, kTaskGate, kTaskSelector, 0, 3);
         g.task32();
     }},
    {"Task32FromVirtual8086",
     [](Guest& g) {
         virtual_8086(g, 3, {0xCD, 0x41});
         g.gate(0x41, kTaskGate, kTaskSelector, 0, 3);
         g.task32();
     }},
    {"Task32Busy",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kTaskGate, kTaskSelector, 0);
         g.task32();
         g.descriptor(kTaskSelector, kTaskTss, 0x67, 0x8B);
     }},
    {"Task32Absent",
     [](Guest& g) {
         protected_mode(g, 0, {0xCD, 0x40});
         g.gate(0x40, kTaskGate, kTaskSelector, 0);
         g.task32();
         g.descriptor(kTaskSelector, kTaskTss, 0x67, 0x09);
     }},
};

}  // namespace delivery

/// In a fresh guest: recognisable registers, then what the case wants.
inline void prepare(Guest& guest, const DeliveryCase& which) {
    for (unsigned i = 0; i < 8; ++i) {
        guest.start.general[i] = 0x11110000 + i;
    }
    which.prepare(guest);
}

}  // namespace vpc::test
