#pragma once
#include <cstdint>

#include "devices/key.h"

namespace vpc::devices {

/// What the 8042 makes of a set 2 code on its way to set 1; also the way from any set 2 make code to set 1.
std::uint8_t translate_scan_code(std::uint8_t set2);

/// The make codes of a key. PrintScreen and Pause send sequences of their own; their set 2 code here is the last byte.
struct ScanCodes {
    std::uint8_t set2 = 0;  ///< 0: no such key
    bool extended = false;  ///< set 2 and set 1 put E0h before it
    std::uint8_t set3 = 0;
};

/// Key::None, Key::Count and what lies beyond have no codes.
ScanCodes scan_codes(Key key);

/// How a key behaves in set 3.
enum class Set3Kind : std::uint8_t { Make = 0, Typematic = 1, MakeBreak = 2, TypematicMakeBreak = 3 };

/// The keyboard's default for the key with this set 3 code.
Set3Kind default_set3_kind(std::uint8_t set3);

}  // namespace vpc::devices
