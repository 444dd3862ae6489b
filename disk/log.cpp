#include "disk/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>

#include <memory>

namespace vpc::disk {

spdlog::logger& log() {
    // Never destroyed: images may be closed while the program's static objects are being destroyed.
    static spdlog::logger* const kLogger = [] {
        auto* made = new spdlog::logger("disk", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
        made->set_pattern("vpc: %l: %n: %v");
        made->set_level(spdlog::level::warn);
        return made;
    }();
    return *kLogger;
}

}  // namespace vpc::disk
