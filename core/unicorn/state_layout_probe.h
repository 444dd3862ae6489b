#pragma once
#include <string>
#include <tl/expected.hpp>

#include "core/unicorn/engine_state.h"

namespace vpc::unicorn {

/// Finds the layout of the engine's saved state by writing markers through the public interface and looking where they
/// come out. The error names the field that was not found.
tl::expected<StateLayout, std::string> find_state_layout();

}  // namespace vpc::unicorn
