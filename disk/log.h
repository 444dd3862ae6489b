#pragma once
#include <spdlog/logger.h>

namespace vpc::disk {

/// Where this module reports what is no error of a call but worth knowing: a damaged footer, a failure while closing.
/// Writes to stderr from level "warning" on; a program may change level and sinks before it opens images. Any thread
/// may log.
spdlog::logger& log();

}  // namespace vpc::disk
