#include "ui/cli/line_matcher.h"

#include <algorithm>

namespace vpc::cli {

tl::expected<LineMatcher, std::string> LineMatcher::make(const std::string& expression) {
    try {
        return LineMatcher(std::regex(expression, std::regex::ECMAScript | std::regex::optimize));
    } catch (const std::regex_error& error) {
        return tl::unexpected("'" + expression + "' is no regular expression: " + error.what());
    }
}

bool LineMatcher::matches(const std::string& line) const {
    try {
        return std::regex_search(line, expression_);
    } catch (const std::regex_error&) {
        return false;  // too complex for this line: the standard library gives up instead of running for ever
    }
}

bool LineMatcher::feed(std::uint8_t byte) {
    if (byte == '\n') {
        const bool found = matches(line_);
        line_.clear();
        return found;
    }
    if (byte != '\r') {
        line_.push_back(static_cast<char>(byte));
    }
    if (line_.size() < 2 * kLongestMatch) {
        return false;
    }
    const bool found = matches(line_);
    line_.erase(0, kLongestMatch);
    return found;
}

bool LineMatcher::matches_any(std::span<const std::string> lines) const {
    return std::any_of(lines.begin(), lines.end(), [this](const std::string& line) {
        const std::size_t end = line.find_last_not_of(' ');
        return matches(line.substr(0, end == std::string::npos ? 0 : end + 1));
    });
}

}  // namespace vpc::cli
