#include "tasks/typist.h"

#include <algorithm>
#include <utility>

#include "devices/ps2_keyboard.h"

namespace vpc::tasks {
namespace {

constexpr Nanoseconds kLookForRoom = 20 * kMillisecond;

}  // namespace

std::shared_ptr<Typist> Typist::make(VirtualClock& clock, devices::Ps2Keyboard& keyboard) {
    std::shared_ptr<Typist> typist(new Typist(clock, keyboard));
    typist->event_ = clock.make_event("typist", [typist](std::int64_t, Nanoseconds) { typist->move_keys(); });
    return typist;
}

void Typist::add(const std::vector<KeyMove>& moves) {
    const std::scoped_lock guard(mutex_);
    moves_.insert(moves_.end(), moves.begin(), moves.end());
}

void Typist::begin() {
    if (!event_.pending()) {
        event_.schedule(std::max(clock_.now(), next_at_));
    }
}

void Typist::move_keys() {
    const std::scoped_lock guard(mutex_);
    const Nanoseconds now = clock_.now();
    if (moves_.empty()) {
        keyboard_.release_all();  // the event comes from a saved state, and the rest is lost
        return;
    }
    if (keyboard_.room() < devices::Ps2Keyboard::kLongestSequence) {
        event_.schedule(now + kLookForRoom);
        return;
    }
    const KeyMove move = std::move(moves_.front());
    moves_.pop_front();
    if (move.key != devices::Key::None) {
        keyboard_.key(move.key, move.pressed);
    }
    if (move.reached) {
        move.reached();
    }
    next_at_ = now + move.wait;
    if (!moves_.empty()) {
        event_.schedule(next_at_);
    }
}

}  // namespace vpc::tasks
