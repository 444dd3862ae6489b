#pragma once
#include <string>
#include <string_view>

#include "core/virtual_clock.h"

namespace vpc::devices {
class Board;
}

namespace vpc::cli {

/// What `--stats` prints: one JSON object on one line. Times are in seconds. The machine must have stopped.
std::string run_statistics(devices::Board& board, Nanoseconds wall_time, std::string_view reason);

}  // namespace vpc::cli
