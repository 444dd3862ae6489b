#pragma once
#include <cstdint>
#include <regex>
#include <span>
#include <string>
#include <tl/expected.hpp>

namespace vpc::cli {

/// Searches lines of guest output for an ECMAScript regular expression.
class LineMatcher {
  public:
    /// Longer lines are searched by their first so many bytes only.
    static constexpr std::size_t kLongestLine = 4096;

    /// The error says what is wrong with the expression.
    static tl::expected<LineMatcher, std::string> make(const std::string& expression);

    /// The next byte of a stream. True when the line it belongs to, as far as it has come, matches: a prompt needs no
    /// newline. Carriage returns are left out.
    bool feed(std::uint8_t byte);
    /// True when any of the lines matches; their trailing spaces are left out.
    bool matches_any(std::span<const std::string> lines) const;

  private:
    explicit LineMatcher(std::regex expression) : expression_(std::move(expression)) {}
    bool matches(const std::string& line) const;

    std::regex expression_;
    std::string line_;
};

}  // namespace vpc::cli
