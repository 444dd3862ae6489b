#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "core/virtual_clock.h"

namespace vpc::devices {
class Board;
}

namespace vpc::cli {

/// What `--stats` tells of the board, which stands still. Times are in seconds.
nlohmann::ordered_json run_statistics(devices::Board& board);
/// What `--stats` prints: those, and how the run ended, as one JSON object on one line.
std::string with_ending(const nlohmann::ordered_json& statistics, Nanoseconds wall_time, std::string_view reason);

}  // namespace vpc::cli
