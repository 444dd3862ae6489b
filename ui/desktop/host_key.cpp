#include "ui/desktop/host_key.h"

namespace vpc::desktop {
namespace {

using devices::Key;

HostAction action_of(Key key) {
    switch (key) {
        case Key::Enter:
        case Key::KeypadEnter:
            return HostAction::FullScreen;
        case Key::Delete:
        case Key::KeypadDecimal:
            return HostAction::CtrlAltDelete;
        case Key::P:
            return HostAction::PauseOrResume;
        case Key::R:
            return HostAction::Reset;
        case Key::F4:
            return HostAction::Close;
        default:
            return HostAction::None;
    }
}

}  // namespace

HostKey::Verdict HostKey::key(Key key, bool pressed) {
    const auto index = static_cast<std::size_t>(key);
    if (key == Key::None || index >= kKeys) {
        return {};
    }
    if (key == key_) {
        const bool alone = held_ && !pressed && !combined_;
        held_ = pressed;
        combined_ = false;
        return {.action = alone ? HostAction::ReleaseMouse : HostAction::None};
    }
    if (!pressed) {
        const bool known = guest_has_[index];
        guest_has_[index] = false;
        return {.for_guest = known};
    }
    if (held_) {
        combined_ = true;
        return {.action = action_of(key)};
    }
    guest_has_[index] = true;
    return {.for_guest = true};
}

void HostKey::forget() {
    held_ = combined_ = false;
    guest_has_.fill(false);
}

}  // namespace vpc::desktop
