#pragma once
#include <type_traits>

#include "core/state_stream.h"

namespace vpc::devices {

/// StateStream::field for a value that the chip relies on to lie in [low, high]. A loaded one outside is refused, and
/// replaced by `low` first: even after a refused load the chip is fit to be reset and used.
template <typename T>
void ranged_field(StateStream& stream, T& value, std::type_identity_t<T> low, std::type_identity_t<T> high) {
    stream.field(value);
    if (stream.loading() && (value < low || value > high)) {
        value = low;
        stream.refuse("a register is out of range");
    }
}

}  // namespace vpc::devices
