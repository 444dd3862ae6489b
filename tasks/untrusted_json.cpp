#include "tasks/untrusted_json.h"

#include <algorithm>

namespace vpc::tasks {

std::optional<nlohmann::json> parse_untrusted_json(std::string_view text) {
    using nlohmann::json;
    int depth = 0;
    const auto callback = [&depth](int level, json::parse_event_t, json&) {
        depth = std::max(depth, level);
        return level <= kDeepestJson;
    };
    json parsed = json::parse(text, callback, false);
    if (parsed.is_discarded() || depth > kDeepestJson) {
        return std::nullopt;
    }
    return parsed;
}

}  // namespace vpc::tasks
