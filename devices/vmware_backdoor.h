#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string_view>

#include "core/cpu_state.h"
#include "core/device.h"
#include "core/port_bus.h"

namespace vpc::devices {

/// VMware's hypervisor port 5658h with its absolute pointer, which several guests' mouse drivers know: where the
/// pointer is, instead of how far it moved. Source of the numbers: the header of Linux's driver,
/// drivers/input/mouse/vmmouse.c, and open-vm-tools' lib/include/backdoor_def.h.
///
/// A call is a 32-bit IN from the port with EAX = 564D5868h, ECX = command, EBX = parameter; the answer comes in EAX to
/// EDX. Commands: 10 get version; 39 take words from the pointer's queue; 40 its status; 41 control it. All others, and
/// anything that is no such call, read as open bus and change nothing.
///
/// The driver enables the pointer (its first word is an identification), then asks for absolute positions. Each change
/// is a packet of four words: buttons, x, y, wheel. Packets are announced through the PS/2 mouse, whose interrupt the
/// driver waits for.
class VmwareBackdoor : public Device {
  public:
    /// How the port reads and writes the registers of the CPU that is executing the access. EAX is not written: it is
    /// the value read.
    struct Registers {
        std::function<std::uint32_t(GeneralRegister)> get;
        std::function<void(GeneralRegister, std::uint32_t)> set;
    };

    /// `wake_driver` is called when a packet was queued. Throws BusConflict.
    VmwareBackdoor(PortBus& ports, Registers registers, std::function<void()> wake_driver);

    /// The guest wants positions; otherwise it listens to the PS/2 mouse and nothing is queued here.
    bool absolute() const { return enabled_ && absolute_; }
    /// 0 is the left or upper edge of the screen, FFFFh the other one.
    void move_to(std::uint16_t x, std::uint16_t y);
    /// All buttons that are down, a sum of Ps2Mouse::Button; there are three here.
    void set_buttons(std::uint8_t buttons);
    /// Clicks towards the user.
    void turn_wheel(int clicks);

    std::string_view name() const override { return "VMware backdoor"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    static constexpr std::size_t kPacket = 4;  // words
    static constexpr std::size_t kMostWords = 64 * kPacket;

    std::uint32_t read(std::uint16_t offset, unsigned size);
    std::uint32_t status() const;
    std::uint32_t take_words(std::uint32_t count);
    void control(std::uint32_t what);
    void queue_packet(int wheel);

    Registers registers_;
    std::function<void()> wake_driver_;
    PortBus::Claim port_;

    bool enabled_ = false;
    bool absolute_ = false;
    bool failed_ = false;  // the driver asked for words that were not there; until it enables the pointer again
    std::uint16_t x_ = 0;
    std::uint16_t y_ = 0;
    std::uint8_t buttons_ = 0;
    std::uint16_t count_ = 0;  // of the words in the queue
    std::array<std::uint32_t, kMostWords> queue_{};
};

}  // namespace vpc::devices
