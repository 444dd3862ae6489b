#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>

namespace vpc::tasks {

/// Parses what somebody sent who is not trusted: nothing when it is no JSON, or nested deeper than kDeepestJson, which
/// nobody needs and which the parser would descend into.
inline constexpr int kDeepestJson = 8;
std::optional<nlohmann::json> parse_untrusted_json(std::string_view text);

}  // namespace vpc::tasks
