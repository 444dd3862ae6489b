#include "devices/debug_port.h"

#include <fmt/format.h>

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

}  // namespace

DebugPort::DebugPort(PortBus& ports, std::uint16_t port, std::uint8_t read_value,
                     std::function<void(std::uint8_t)> sink)
    : name_(fmt::format("debug port {:X}h", port)) {
    const auto constant = [read_value](std::uint16_t, unsigned) { return read_value; };
    claim_ = ports.claim({.owner = name_, .first = port, .count = 1},
                         {.read = constant,
                          .write =
                              [sink = std::move(sink)](std::uint16_t, std::uint32_t value, unsigned) {
                                  if (sink) {
                                      sink(static_cast<std::uint8_t>(value));
                                  }
                              },
                          .peek = constant});
}

/// Nothing to keep; the empty section tells a state with the port from one without.
void DebugPort::serialize(StateStream& stream) {
    stream.section(name_, kStateVersion, [] {});
}

}  // namespace vpc::devices
