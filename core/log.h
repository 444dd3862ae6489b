#pragma once
#include <spdlog/spdlog.h>

#include <memory>
#include <string_view>

namespace vpc {

/// The logger of a category ("cpu", "8254", "ide", …), made on first use. All categories write to stderr.
/// Results of a program never go through here. Any thread may log.
///
/// A chip keeps the returned pointer; looking it up each time takes a lock.
std::shared_ptr<spdlog::logger> log_category(std::string_view name);

/// Sets the level of every category, present and future: "trace", "debug", "info", "warning", "error" or "off".
/// Returns false and changes nothing when the name is none of these.
bool set_log_level(std::string_view level);

/// Turns on level trace for the named category only (it may not exist yet).
void trace_category(std::string_view name);

}  // namespace vpc
