#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "core/virtual_clock.h"
#include "devices/key.h"

namespace vpc::devices {
class Ps2Keyboard;
}

namespace vpc::tasks {

/// A key goes down or up (none with Key::None), somebody hears that it has come to that, and then some time passes.
struct KeyMove {
    devices::Key key = devices::Key::None;
    bool pressed = false;
    Nanoseconds wait = 0;
    std::function<void()> reached = {};  ///< on the machine's thread; must not block. Empty: nobody
};

/// Moves a machine's keys, one after the other. The time between them is the guest's, by an event of the board's clock:
/// however busy the host is, a key is not down for longer than it should be, and the keyboard does not repeat it.
///
/// What is still to be typed is not in saved states; keys that were down in one go up when it is gone on from.
class Typist {
  public:
    /// For a board that has never run, whose clock holds it from then on. Throws std::logic_error: it has one.
    static std::shared_ptr<Typist> make(VirtualClock& clock, devices::Ps2Keyboard& keyboard);

    /// Behind what is there already; begin() has to follow. Any thread.
    void add(const std::vector<KeyMove>& moves);
    /// The machine's thread.
    void begin();

  private:
    Typist(VirtualClock& clock, devices::Ps2Keyboard& keyboard) : clock_(clock), keyboard_(keyboard) {}
    void move_keys();

    VirtualClock& clock_;
    devices::Ps2Keyboard& keyboard_;
    VirtualClock::Event event_;
    Nanoseconds next_at_ = 0;  // machine's thread only
    std::mutex mutex_;
    std::deque<KeyMove> moves_;
};

}  // namespace vpc::tasks
