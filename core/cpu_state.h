#pragma once
#include <array>
#include <cstdint>

namespace vpc {

class StateStream;

/// EFLAGS bits (Intel SDM volume 1, 3.4.3).
namespace eflags {
inline constexpr std::uint32_t kCarry = 1u << 0;
inline constexpr std::uint32_t kAlwaysOne = 1u << 1;
inline constexpr std::uint32_t kTrap = 1u << 8;
inline constexpr std::uint32_t kInterrupt = 1u << 9;
inline constexpr std::uint32_t kDirection = 1u << 10;
inline constexpr std::uint32_t kIopl = 3u << 12;
inline constexpr unsigned kIoplShift = 12;
inline constexpr std::uint32_t kNestedTask = 1u << 14;
inline constexpr std::uint32_t kResume = 1u << 16;
inline constexpr std::uint32_t kVirtual8086 = 1u << 17;
inline constexpr std::uint32_t kAlignmentCheck = 1u << 18;
inline constexpr std::uint32_t kArithmetic = 0x8D5;  // OF SF ZF AF PF CF
}  // namespace eflags

/// Control register bits (Intel SDM volume 3, 2.5).
namespace cr0 {
inline constexpr std::uint32_t kProtectionEnable = 1u << 0;
inline constexpr std::uint32_t kMonitorCoprocessor = 1u << 1;
inline constexpr std::uint32_t kEmulation = 1u << 2;
inline constexpr std::uint32_t kTaskSwitched = 1u << 3;
inline constexpr std::uint32_t kExtensionType = 1u << 4;
inline constexpr std::uint32_t kNumericError = 1u << 5;
inline constexpr std::uint32_t kWriteProtect = 1u << 16;
inline constexpr std::uint32_t kNotWriteThrough = 1u << 29;
inline constexpr std::uint32_t kCacheDisable = 1u << 30;
inline constexpr std::uint32_t kPaging = 1u << 31;
}  // namespace cr0

namespace cr4 {
inline constexpr std::uint32_t kTimeStampDisable = 1u << 2;
inline constexpr std::uint32_t kPageSizeExtension = 1u << 4;
inline constexpr std::uint32_t kPhysicalAddressExtension = 1u << 5;
inline constexpr std::uint32_t kPageGlobalEnable = 1u << 7;
inline constexpr std::uint32_t kOsFxsave = 1u << 9;
}  // namespace cr4

/// Exception vectors (Intel SDM volume 3, table 6-1).
enum class Vector : std::uint8_t {
    DivideError = 0,
    Debug = 1,
    NonMaskableInterrupt = 2,
    Breakpoint = 3,
    Overflow = 4,
    BoundRange = 5,
    InvalidOpcode = 6,
    DeviceNotAvailable = 7,
    DoubleFault = 8,
    InvalidTss = 10,
    SegmentNotPresent = 11,
    StackFault = 12,
    GeneralProtection = 13,
    PageFault = 14,
    FloatingPoint = 16,
    AlignmentCheck = 17,
    MachineCheck = 18,
    SimdFloatingPoint = 19,
};

/// A segment register with its hidden part. `attributes` are bits 8-23 of the descriptor's second word, moved down by
/// eight: type and S in 0-4, DPL in 5-6, P in 7, AVL in 12, D/B in 14, G in 15. `limit` is in bytes.
struct SegmentRegister {
    std::uint16_t selector = 0;
    std::uint32_t base = 0;
    std::uint32_t limit = 0;
    std::uint16_t attributes = 0;
    bool operator==(const SegmentRegister&) const = default;
};

/// GDTR or IDTR.
struct TableRegister {
    std::uint32_t base = 0;
    std::uint32_t limit = 0;
    bool operator==(const TableRegister&) const = default;
};

/// Order of the general registers, as instruction encodings number them.
enum GeneralRegister : unsigned { kEax, kEcx, kEdx, kEbx, kEsp, kEbp, kEsi, kEdi };
/// Order of the segment registers, likewise.
enum SegmentIndex : unsigned { kEs, kCs, kSs, kDs, kFs, kGs };

/// Everything a program can observe of the processor: what a saved state holds.
struct CpuState {
    std::array<std::uint32_t, 8> general{};
    std::uint32_t eip = 0;
    std::uint32_t eflags = eflags::kAlwaysOne;
    std::array<SegmentRegister, 6> segments{};
    SegmentRegister ldtr;
    SegmentRegister tr;
    TableRegister gdtr;
    TableRegister idtr;
    std::uint32_t cr0 = 0;
    std::uint32_t cr2 = 0;
    std::uint32_t cr3 = 0;
    std::uint32_t cr4 = 0;
    std::array<std::uint32_t, 8> debug{};  ///< DR4 and DR5 unused
    std::uint8_t cpl = 0;
    bool interrupt_shadow = false;  ///< the instruction before was STI, MOV SS or POP SS
    bool halted = false;
    bool a20 = true;

    std::array<std::array<std::uint8_t, 10>, 8> st{};  ///< ST(0)… in 80-bit format, in stack order
    std::uint16_t fpu_control = 0x37F;
    std::uint16_t fpu_status = 0;
    std::uint16_t fpu_tags = 0xFFFF;  ///< two bits a register, by register number
    std::array<std::array<std::uint8_t, 16>, 8> xmm{};
    std::uint32_t mxcsr = 0x1F80;

    std::uint32_t sysenter_cs = 0;
    std::uint32_t sysenter_esp = 0;
    std::uint32_t sysenter_eip = 0;
    std::uint64_t time_stamp_offset = 0;  ///< added to the virtual time stamp by RDTSC

    bool operator==(const CpuState&) const = default;

    /// After RESET#: real mode at F000:FFF0 with CS based at FFFF0000h. `signature` goes to EDX.
    static CpuState after_reset(std::uint32_t signature);

    /// One section, "cpu".
    void serialize(StateStream& stream);
};

}  // namespace vpc
