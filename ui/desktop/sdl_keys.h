#pragma once
#include <SDL_scancode.h>

#include "devices/key.h"

namespace vpc::desktop {

/// The PC key at the place that SDL calls `code`; Key::None for places that a PC's keyboard does not have.
devices::Key key_at(SDL_Scancode code);

}  // namespace vpc::desktop
