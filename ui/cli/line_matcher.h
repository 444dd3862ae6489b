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
    /// A match may be this long. Of a longer line, as a guest writes that places its cursor instead of ending lines,
    /// the last so many bytes are searched.
    static constexpr std::size_t kLongestMatch = 2048;

    /// The error says what is wrong with the expression.
    static tl::expected<LineMatcher, std::string> make(const std::string& expression);

    /// The next byte of a stream. True when it completes a line that matches. Carriage returns are left out.
    bool feed(std::uint8_t byte);
    /// Whether the unfinished line matches: a prompt has no newline. Searching at every byte would slow the guest down,
    /// so this is for the moments when somebody looks.
    bool matches_pending() const { return matches(line_); }
    /// True when any of the lines matches; their trailing spaces are left out.
    bool matches_any(std::span<const std::string> lines) const;

  private:
    explicit LineMatcher(std::regex expression) : expression_(std::move(expression)) {}
    bool matches(const std::string& line) const;

    std::regex expression_;
    std::string line_;
};

}  // namespace vpc::cli
