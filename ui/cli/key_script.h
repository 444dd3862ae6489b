#pragma once
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "core/virtual_clock.h"
#include "devices/key.h"

namespace vpc::cli {

/// A change of disks.
struct MediaStep {
    std::string drive;  ///< "a", "b" or "cd"
    std::string file;   ///< to be inserted; empty: eject
    bool operator==(const MediaStep&) const = default;
};

/// One thing a typist does: change a disk if `media` names a drive, else move a key (unless it is Key::None); then
/// wait.
struct KeyStep {
    devices::Key key = devices::Key::None;
    bool pressed = false;
    Nanoseconds wait = 0;
    MediaStep media = {};
    bool operator==(const KeyStep&) const = default;
};

/// Parses what `--keys` takes: plain characters, typed as on a US keyboard (a newline is Enter); names in braces
/// ({ENTER}, {F1}, {UP}); keys held together ({CTRL+ALT+DEL}, {SHIFT+a}), for a while if a number
/// of seconds follows ({LEFT 1.5}); pauses ({WAIT 2}, seconds); changes of disks ({INSERT a FILE},
/// {EJECT cd}; drives a, b and cd; FILE has no closing brace in its name); {{} and {}} for
/// the braces themselves. Names are not case-sensitive. The error says where and why.
tl::expected<std::vector<KeyStep>, std::string> parse_key_script(std::string_view script);

}  // namespace vpc::cli
