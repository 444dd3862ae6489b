#include "core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <map>
#include <mutex>
#include <set>
#include <string>

namespace vpc {
namespace {

struct Registry {
    std::mutex mutex;
    std::shared_ptr<spdlog::sinks::stderr_color_sink_mt> sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    std::map<std::string, std::shared_ptr<spdlog::logger>, std::less<>> loggers;
    std::set<std::string, std::less<>> traced;
    spdlog::level::level_enum level = spdlog::level::warn;
};

Registry& registry() {
    static Registry instance;
    return instance;
}

}  // namespace

std::shared_ptr<spdlog::logger> log_category(std::string_view name) {
    Registry& all = registry();
    const std::scoped_lock guard(all.mutex);
    if (const auto found = all.loggers.find(name); found != all.loggers.end()) {
        return found->second;
    }
    auto logger = std::make_shared<spdlog::logger>(std::string(name), all.sink);
    logger->set_pattern("vpc: %l: %n: %v");
    logger->set_level(all.traced.contains(name) ? spdlog::level::trace : all.level);
    all.loggers.emplace(name, logger);
    return logger;
}

bool set_log_level(std::string_view level) {
    const std::string text(level);
    const spdlog::level::level_enum parsed = spdlog::level::from_str(text);
    if (parsed == spdlog::level::off && text != "off") {
        return false;
    }
    Registry& all = registry();
    const std::scoped_lock guard(all.mutex);
    all.level = parsed;
    for (const auto& [name, logger] : all.loggers) {
        logger->set_level(all.traced.contains(name) ? spdlog::level::trace : parsed);
    }
    return true;
}

void trace_category(std::string_view name) {
    Registry& all = registry();
    const std::scoped_lock guard(all.mutex);
    all.traced.emplace(name);
    if (const auto found = all.loggers.find(name); found != all.loggers.end()) {
        found->second->set_level(spdlog::level::trace);
    }
}

}  // namespace vpc
