#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "core/device.h"
#include "core/virtual_clock.h"
#include "devices/ps2_device.h"

namespace vpc::devices {

/// A PS/2 mouse with five buttons and a wheel: IBM's commands and stream, remote and wrap modes (IBM PS/2 Hardware
/// Interface Technical Reference, "Mouse"), and Microsoft's extensions. The sample rates 200, 100, 80 set one after the
/// other make it an IntelliMouse (identification 3, four-byte packets with the wheel), 200, 200, 80 an IntelliMouse
/// Explorer (identification 4, with two more buttons). It comes up as after a passed self-test: identification 0,
/// stream mode, 100 samples a second, reporting off.
///
/// In stream mode a packet leaves at most once a sample, and only when the one before was taken. What does not fit into
/// a packet goes into the next ones, so the overflow bits are never set. Changes of the buttons queue: a click shorter
/// than a sample is seen as one. Movement comes in counts; the resolution is kept and reported and changes no count,
/// for there is no distance that it could refer to.
class Ps2Mouse : public Device, public Ps2Device {
  public:
    /// Also the bits of `buttons`.
    enum Button : std::uint8_t { kLeft = 1, kRight = 2, kMiddle = 4, kSide = 8, kExtra = 16 };

    explicit Ps2Mouse(VirtualClock& clock);

    /// Counts to the right, and down (towards the user); clicks of the wheel towards the user. Nobody sees movement
    /// while the guest has reporting off.
    void move(int right, int down, int wheel = 0);
    /// All buttons that are down, a sum of Button.
    void set_buttons(std::uint8_t buttons);
    std::uint8_t buttons() const { return buttons_; }
    /// Sends a packet even if nothing changed: something else has news for the mouse's driver.
    void wake_driver();

    void receive(std::uint8_t byte) override;
    bool has_byte() const override { return size_ != 0; }
    std::uint8_t take_byte() override;

    std::string_view name() const override { return "PS/2 mouse"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    enum class Mode : std::uint8_t { Stream, Remote };
    /// Movement that was made with these buttons down and is not yet told.
    struct Change {
        std::int32_t right = 0;
        std::int32_t up = 0;
        std::int32_t wheel = 0;
        std::uint8_t buttons = 0;
    };
    static constexpr std::size_t kLongestAnswer = 5;
    static constexpr std::size_t kMostChanges = 16;

    void set_defaults();
    void forget_changes();
    void command(std::uint8_t byte);
    void parameter(std::uint8_t command, std::uint8_t byte);
    void refuse();
    void answer(std::uint8_t byte);
    void add_packet(bool scaled);
    bool has_changes() const;
    Change& change_with(std::uint8_t buttons);
    void sample_soon();
    void sample();

    VirtualClock& clock_;
    VirtualClock::Event sample_;  // pending: the next packet has to wait for it
    VirtualClock::Event self_test_;

    std::array<std::uint8_t, kLongestAnswer> output_{};  // what is offered, oldest first
    std::array<std::uint8_t, kLongestAnswer> last_{};    // the whole of it, for resending
    std::uint8_t size_ = 0;
    std::uint8_t last_size_ = 0;
    std::array<Change, kMostChanges> changes_{};
    std::uint8_t change_count_ = 1;  // the last one collects
    bool wake_ = false;

    Mode mode_ = Mode::Stream;
    bool wrapping_ = false;
    bool reporting_ = false;
    bool double_scale_ = false;
    bool refused_ = false;       // the byte before was no command
    std::uint8_t awaiting_ = 0;  // the command whose parameter comes next; 0: none
    std::uint8_t identification_ = 0;
    std::uint8_t resolution_ = 2;  // 2^n counts a millimetre
    std::uint8_t rate_ = 100;      // samples a second
    std::array<std::uint8_t, 2> earlier_rates_{};
    std::uint8_t buttons_ = 0;
    std::uint8_t told_buttons_ = 0;
};

}  // namespace vpc::devices
