#include "ui/cli/disk_size.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <string_view>

namespace vpc::cli {
namespace {

constexpr std::string_view kUnits = "KMGT";

}  // namespace

tl::expected<std::uint64_t, std::string> parse_size(const std::string& text) {
    const auto wrong = [&] {
        return tl::unexpected("'" + text + "' is not a size: bytes, or a number with K, M, G or T, as in 2G");
    };
    std::uint64_t number = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (problem != std::errc()) {
        return wrong();
    }
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    if (unit.empty() || unit == "B") {
        return number;
    }
    const std::size_t power = kUnits.find(static_cast<char>(unit[0] & ~0x20));
    unit.remove_prefix(1);
    if (power == std::string_view::npos || !(unit.empty() || unit == "B" || unit == "iB")) {
        return wrong();
    }
    const unsigned shift = static_cast<unsigned>(power + 1) * 10;
    if (number > std::numeric_limits<std::uint64_t>::max() >> shift) {
        return tl::unexpected("'" + text + "' is larger than any disk");
    }
    return number << shift;
}

std::string size_text(std::uint64_t bytes) {
    if (bytes < 1024) {
        return fmt::format("{} bytes", bytes);
    }
    auto number = static_cast<double>(bytes);
    std::size_t power = 0;
    for (number /= 1024; number >= 1024 && power + 1 < kUnits.size(); ++power) {
        number /= 1024;
    }
    return fmt::format("{:.1f} {}iB", number, kUnits[power]);
}

}  // namespace vpc::cli
