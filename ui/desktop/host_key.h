#pragma once
#include <array>
#include <cstddef>

#include "devices/key.h"

namespace vpc::desktop {

/// What the user asks of the program itself, with the host key held.
enum class HostAction {
    None,
    FullScreen,     ///< Enter: to the full screen or back
    CtrlAltDelete,  ///< Delete
    PauseOrResume,  ///< P
    Reset,          ///< R
    Close,          ///< F4, or the window's own button
    ReleaseMouse,   ///< the host key alone
};

/// Tells the guest's keys from the host's. The host key and whatever is pressed while it is held never reach the guest;
/// a key that the guest saw going down is seen going up.
class HostKey {
  public:
    explicit HostKey(devices::Key key) : key_(key) {}

    struct Verdict {
        bool for_guest = false;
        HostAction action = HostAction::None;
    };
    /// A key of the host's keyboard went down or up; repeats are left out.
    Verdict key(devices::Key key, bool pressed);
    /// The window lost the keyboard: nothing is held any more.
    void forget();

  private:
    static constexpr auto kKeys = static_cast<std::size_t>(devices::Key::Count);

    devices::Key key_;
    bool held_ = false;
    bool combined_ = false;  // something was pressed while it was held
    std::array<bool, kKeys> guest_has_{};
};

}  // namespace vpc::desktop
