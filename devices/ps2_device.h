#pragma once
#include <cstdint>
#include <functional>
#include <utility>

#include "core/virtual_clock.h"

namespace vpc::devices {

/// What hangs on a PS/2 connector: a keyboard or a mouse. The controller (the host end) sends it bytes and takes the
/// bytes it offers; the device holds them until they are taken. Machine's thread only.
class Ps2Device {
  public:
    Ps2Device() = default;
    Ps2Device(const Ps2Device&) = delete;
    Ps2Device& operator=(const Ps2Device&) = delete;
    virtual ~Ps2Device() = default;

    /// A byte from the host. Any answer appears among the bytes offered.
    virtual void receive(std::uint8_t byte) = 0;
    virtual bool has_byte() const = 0;
    /// The next byte; 0 when there is none.
    virtual std::uint8_t take_byte() = 0;

    /// `ready` is called when the device gets something to say on its own. The controller sets it when it is
    /// connected, and outlives the device or sets an empty one.
    void on_ready(std::function<void()> ready) { ready_ = std::move(ready); }

  protected:
    /// How long a self-test takes. Real ones take half a second; Bochs' BIOS waits for some thousand accesses of a
    /// port, which a fast host soon makes.
    static constexpr Nanoseconds kSelfTestTime = 500 * kMicrosecond;

    void announce() const {
        if (ready_) {
            ready_();
        }
    }

  private:
    std::function<void()> ready_;
};

}  // namespace vpc::devices
