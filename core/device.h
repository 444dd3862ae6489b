#pragma once
#include <string_view>

namespace vpc {

class StateStream;

/// What every chip is to the board that holds it. All members are called on the machine's thread, or before it starts.
///
/// A chip is handed its surroundings when it is built: the buses it claims ranges on, the virtual clock, the lines it
/// drives. It never reads the host's clock, files or threads, and nothing a guest does may make it throw or assert.
class Device {
  public:
    Device() = default;
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;
    virtual ~Device() = default;

    /// Stable and unique within the board ("8259A-master"); names the chip in logs and in saved states.
    virtual std::string_view name() const = 0;
    /// The state after the reset pin was asserted. Must be callable at any moment, twice in a row too.
    virtual void reset() = 0;
    /// Saves or loads the whole architectural state, one list of fields for both directions (see StateStream).
    /// After loading the chip drives its lines and schedules its events again.
    virtual void serialize(StateStream& stream) = 0;
};

}  // namespace vpc
