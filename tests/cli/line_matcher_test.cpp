#include "ui/cli/line_matcher.h"

#include <gtest/gtest.h>

namespace vpc::cli {
namespace {

LineMatcher matcher(const std::string& expression) {
    auto made = LineMatcher::make(expression);
    EXPECT_TRUE(made.has_value()) << (made ? "" : made.error());
    return std::move(*made);
}

bool feed(LineMatcher& lines, std::string_view text) {
    bool found = false;
    for (const char character : text) {
        found = lines.feed(static_cast<std::uint8_t>(character)) || found;
    }
    return found;
}

TEST(LineMatcher, MatchesWithinOneLineOnly) {
    LineMatcher lines = matcher("^login: $");
    EXPECT_FALSE(feed(lines, "log\r\nin: \r\n"));
    EXPECT_TRUE(feed(lines, "login: \r\n"));
}

TEST(LineMatcher, SeesAnUnfinishedLine) {
    LineMatcher lines = matcher("\\$ $");
    EXPECT_FALSE(feed(lines, "root $ "));
    EXPECT_TRUE(lines.matches_pending());
}

TEST(LineMatcher, FindsMatchesInOutputWithoutLineEnds) {
    LineMatcher lines = matcher("Pass: +1");
    EXPECT_FALSE(feed(lines, std::string(100'000, 'x')));
    EXPECT_TRUE(feed(lines, "Pass:  1" + std::string(3 * LineMatcher::kLongestMatch, 'y')));
}

TEST(LineMatcher, LooksAtScreensWithoutTheirTrailingSpaces) {
    const std::vector<std::string> screen{"first    ", "grub>    "};
    EXPECT_TRUE(matcher("^grub>$").matches_any(screen));
    EXPECT_FALSE(matcher("^rub>").matches_any(screen));
}

TEST(LineMatcher, RefusesAMalformedExpression) {
    const auto made = LineMatcher::make("a(b");
    ASSERT_FALSE(made.has_value());
    EXPECT_NE(made.error().find("a(b"), std::string::npos);
}

}  // namespace
}  // namespace vpc::cli
