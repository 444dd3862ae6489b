#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "core/device.h"
#include "core/physical_memory.h"
#include "core/port_bus.h"

namespace vpc::devices {

/// The two 8237A DMA controllers of an AT and the page registers beside them, as the PIIX4 holds them (Intel 8237A data
/// sheet 231466; 82371AB data sheet, "DMA registers"): channels 0-3 move bytes and lie at 00h-0Fh, channels 5-7 move
/// words and lie at C0h-DFh, every second port; pages at 80h-8Fh. Channel 4 carries the first controller: unless it is
/// unmasked and in cascade mode, channels 0-3 do not run.
///
/// A device holds a channel, raises its request and moves as much as it has; the controller takes what the guest's
/// programming allows, at once. The device sets the pace in every mode: single, demand and block differ in who else
/// gets the bus meanwhile, which here is nobody. Addresses wrap within their 64 KiB (128 KiB for words): the page
/// register does not count. Memory-to-memory transfers and compressed timing do not exist, as in the PIIX4. A software
/// request runs a channel in block mode to its end without a device: memory gets FFh, the idle bus.
class I8237A : public Device {
  public:
    static constexpr unsigned kChannels = 8;

    struct Outcome {
        std::size_t bytes = 0;  ///< how many went; fewer than given when the channel is masked, disabled or through
        bool terminal_count = false;  ///< the last of them was the last one the guest asked for (TC)
    };

    /// A device's end of a channel: DREQ, DACK and TC. Machine's thread only; lives as long as the controllers.
    class Channel {
      public:
        /// DREQ. Never calls back. Not saved: a device raises it again after loading.
        void set_request(bool requested) { requested_ = requested; }
        /// Moves device data to memory. Where the guest programmed "verify" the transfer is counted and memory left
        /// alone; where it programmed the opposite direction, too. A word channel moves whole words only.
        Outcome to_memory(std::span<const std::uint8_t> data);
        /// Fills `data` from memory; with FFh where the guest did not program "read".
        Outcome from_memory(std::span<std::uint8_t> data);
        /// Called when the guest has let the channel run while the request is up. At most one listener.
        void on_ready(std::function<void()> listener) { on_ready_ = std::move(listener); }

      private:
        friend class I8237A;
        I8237A* owner_ = nullptr;
        unsigned number_ = 0;
        bool requested_ = false;
        std::function<void()> on_ready_;
    };

    /// `memory` outlives the chip. Throws BusConflict.
    I8237A(PortBus& ports, PhysicalMemory& memory);

    /// 0-3 and 5-7.
    Channel& channel(unsigned number) { return channels_[number]; }

    std::string_view name() const override { return "8237A"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    struct Registers {
        std::uint16_t base_address = 0;
        std::uint16_t base_count = 0;
        std::uint16_t address = 0;  // current
        std::uint16_t count = 0;    // current: transfers left, less one
        std::uint8_t mode = 0;
        bool masked = true;
        bool software_request = false;
    };
    struct Controller {
        std::array<Registers, 4> channels;
        std::uint8_t command = 0;
        std::uint8_t terminal_counts = 0;  // status bits 3-0
        bool upper_byte = false;           // the byte pointer flip-flop
    };

    std::uint32_t read(unsigned controller, unsigned reg);
    std::uint32_t peek(unsigned controller, unsigned reg) const;
    void write(unsigned controller, unsigned reg, std::uint8_t value);
    void write_count_or_address(Controller& controller, unsigned reg, std::uint8_t value);
    static void master_clear(Controller& controller);
    void service();
    void run_without_device(unsigned number);

    Registers& registers(unsigned number) { return controllers_[number / 4].channels[number % 4]; }
    const Registers& registers(unsigned number) const { return controllers_[number / 4].channels[number % 4]; }
    bool can_run(unsigned number) const;
    std::uint32_t physical_address(unsigned number) const;
    template <typename Access>
    Outcome move(unsigned number, std::size_t bytes, Access access);
    void reach_terminal_count(unsigned number);

    PhysicalMemory& memory_;
    std::array<Controller, 2> controllers_;
    std::array<std::uint8_t, 16> pages_{};  // as at 80h-8Fh
    std::array<Channel, kChannels> channels_;
    std::array<PortBus::Claim, 3> claims_;
};

}  // namespace vpc::devices
