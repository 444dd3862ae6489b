#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

/// Commands and status bits of the 82077AA, by their data sheet's names; for the controller's own sources and tests.
namespace vpc::devices::fdc {

// Command codes, bits 4-0 of the first byte.
inline constexpr std::uint8_t kReadTrack = 0x02;
inline constexpr std::uint8_t kSpecify = 0x03;
inline constexpr std::uint8_t kSenseDriveStatus = 0x04;
inline constexpr std::uint8_t kWriteData = 0x05;
inline constexpr std::uint8_t kReadData = 0x06;
inline constexpr std::uint8_t kRecalibrate = 0x07;
inline constexpr std::uint8_t kSenseInterrupt = 0x08;
inline constexpr std::uint8_t kWriteDeleted = 0x09;
inline constexpr std::uint8_t kReadId = 0x0A;
inline constexpr std::uint8_t kReadDeleted = 0x0C;
inline constexpr std::uint8_t kFormatTrack = 0x0D;
inline constexpr std::uint8_t kDumpRegisters = 0x0E;
inline constexpr std::uint8_t kSeek = 0x0F;
inline constexpr std::uint8_t kVersionCommand = 0x10;
inline constexpr std::uint8_t kScanEqual = 0x11;
inline constexpr std::uint8_t kPerpendicular = 0x12;
inline constexpr std::uint8_t kConfigure = 0x13;
inline constexpr std::uint8_t kLock = 0x14;
inline constexpr std::uint8_t kVerify = 0x16;
inline constexpr std::uint8_t kScanLowOrEqual = 0x19;
inline constexpr std::uint8_t kScanHighOrEqual = 0x1D;

// Modifiers in the first byte.
inline constexpr std::uint8_t kMultiTrack = 0x80;       // MT
inline constexpr std::uint8_t kMfm = 0x40;              // MFM
inline constexpr std::uint8_t kSkip = 0x20;             // SK
inline constexpr std::uint8_t kRelative = 0x80;         // of SEEK
inline constexpr std::uint8_t kRelativeInwards = 0x40;  // DIR
inline constexpr std::uint8_t kVerifyCount = 0x80;      // EC, in VERIFY's second byte

// MSR.
inline constexpr std::uint8_t kMsrReady = 0x80;   // RQM
inline constexpr std::uint8_t kMsrToHost = 0x40;  // DIO
inline constexpr std::uint8_t kMsrNoDma = 0x20;
inline constexpr std::uint8_t kMsrBusy = 0x10;

// ST0.
inline constexpr std::uint8_t kSt0Abnormal = 0x40;
inline constexpr std::uint8_t kSt0Invalid = 0x80;
inline constexpr std::uint8_t kSt0ReadyChanged = 0xC0;
inline constexpr std::uint8_t kSt0SeekEnd = 0x20;
inline constexpr std::uint8_t kSt0EquipmentCheck = 0x10;

// ST1.
inline constexpr std::uint8_t kSt1EndOfCylinder = 0x80;       // EN
inline constexpr std::uint8_t kSt1DataError = 0x20;           // DE
inline constexpr std::uint8_t kSt1NoData = 0x04;              // ND
inline constexpr std::uint8_t kSt1NotWritable = 0x02;         // NW
inline constexpr std::uint8_t kSt1MissingAddressMark = 0x01;  // MA

// ST2.
inline constexpr std::uint8_t kSt2ControlMark = 0x40;       // CM
inline constexpr std::uint8_t kSt2DataError = 0x20;         // DD
inline constexpr std::uint8_t kSt2WrongCylinder = 0x10;     // WC
inline constexpr std::uint8_t kSt2ScanEqual = 0x08;         // SH
inline constexpr std::uint8_t kSt2ScanNotSatisfied = 0x04;  // SN
inline constexpr std::uint8_t kSt2BadCylinder = 0x02;       // BC

// ST3.
inline constexpr std::uint8_t kSt3WriteProtected = 0x40;
inline constexpr std::uint8_t kSt3Ready = 0x20;
inline constexpr std::uint8_t kSt3Track0 = 0x10;
inline constexpr std::uint8_t kSt3TwoSided = 0x08;

// CONFIGURE's second parameter.
inline constexpr std::uint8_t kConfigureImpliedSeek = 0x40;  // EIS
inline constexpr std::uint8_t kConfigureNoPolling = 0x10;    // POLL

/// Bytes of a command with its parameters, and which modifiers its first byte may carry.
struct CommandForm {
    std::uint8_t length = 0;  ///< 0: no such command
    std::uint8_t modifiers = 0;
};

inline constexpr std::array<CommandForm, 32> kCommandForms = [] {
    std::array<CommandForm, 32> forms{};
    forms[kReadTrack] = {9, kMfm};
    forms[kSpecify] = {3, 0};
    forms[kSenseDriveStatus] = {2, 0};
    forms[kWriteData] = {9, kMultiTrack | kMfm};
    forms[kReadData] = {9, kMultiTrack | kMfm | kSkip};
    forms[kRecalibrate] = {2, 0};
    forms[kSenseInterrupt] = {1, 0};
    forms[kWriteDeleted] = {9, kMultiTrack | kMfm};
    forms[kReadId] = {2, kMfm};
    forms[kReadDeleted] = {9, kMultiTrack | kMfm | kSkip};
    forms[kFormatTrack] = {6, kMfm};
    forms[kDumpRegisters] = {1, 0};
    forms[kSeek] = {3, kRelative | kRelativeInwards};
    forms[kVersionCommand] = {1, 0};
    forms[kScanEqual] = {9, kMultiTrack | kMfm | kSkip};
    forms[kPerpendicular] = {2, 0};
    forms[kConfigure] = {4, 0};
    forms[kLock] = {1, 0x80};
    forms[kVerify] = {9, kMultiTrack | kMfm | kSkip};
    forms[kScanLowOrEqual] = {9, kMultiTrack | kMfm | kSkip};
    forms[kScanHighOrEqual] = {9, kMultiTrack | kMfm | kSkip};
    return forms;
}();

constexpr bool is_command(std::uint8_t first) {
    const CommandForm form = kCommandForms[first & 0x1F];
    return form.length != 0 && (first & 0xE0 & ~form.modifiers) == 0;
}
/// An invalid command is over with its first byte.
constexpr std::size_t command_length(std::uint8_t first) {
    return is_command(first) ? kCommandForms[first & 0x1F].length : 1;
}

inline constexpr std::size_t kIdBytes = 4;  // C, H, R, N, as FORMAT TRACK takes them

inline bool writes_data(std::uint8_t opcode) {
    return opcode == kWriteData || opcode == kWriteDeleted;
}
inline bool scans(std::uint8_t opcode) {
    return opcode == kScanEqual || opcode == kScanLowOrEqual || opcode == kScanHighOrEqual;
}

}  // namespace vpc::devices::fdc
