#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "core/device.h"
#include "core/port_bus.h"

namespace vpc::devices {

/// A port whose written bytes go to the host: E9h, or 402h where SeaBIOS writes its log. Reading it gives a constant
/// by which guests find out that somebody listens (E9h for both).
class DebugPort : public Device {
  public:
    /// `sink` gets every byte written. Throws BusConflict.
    DebugPort(PortBus& ports, std::uint16_t port, std::uint8_t read_value, std::function<void(std::uint8_t)> sink);

    std::string_view name() const override { return name_; }
    void reset() override {}
    void serialize(StateStream& stream) override;

  private:
    std::string name_;
    PortBus::Claim claim_;
};

}  // namespace vpc::devices
