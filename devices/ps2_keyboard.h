#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <utility>

#include "core/device.h"
#include "core/virtual_clock.h"
#include "devices/key.h"
#include "devices/ps2_device.h"
#include "devices/scan_codes.h"

namespace vpc::devices {

/// A 104-key PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, "Keyboards"): scan code sets 1-3,
/// typematic repeat, LEDs, and the 16-byte buffer whose overrun the guest sees as 00h (FFh in set 1). It comes up as
/// after a passed self-test, in set 2, scanning.
///
/// The navigation keys send no artificial shift codes when Num Lock or shift is on: the guest tells them from the
/// keypad by their E0h prefix.
class Ps2Keyboard : public Device, public Ps2Device {
  public:
    enum Led : std::uint8_t { kScrollLock = 1, kNumLock = 2, kCapsLock = 4 };

    explicit Ps2Keyboard(VirtualClock& clock);

    /// A key goes down or up. Telling it twice changes nothing; repeats are the keyboard's own.
    void key(Key key, bool pressed);
    /// All keys up, each telling the guest: the window lost its focus.
    void release_all();
    /// The lit LEDs, a sum of Led.
    std::uint8_t leds() const { return leds_; }
    /// Who is told, on the machine's thread, whenever the LEDs change. It must not call back into the keyboard.
    void on_leds(std::function<void(std::uint8_t)> callback) { on_leds_ = std::move(callback); }
    /// The most bytes that one key sends.
    static constexpr std::size_t kLongestSequence = 8;
    /// How many more bytes the buffer takes. Who types fast waits for room for a sequence.
    std::size_t room() const { return buffer_size_ < kBufferSize ? kBufferSize - buffer_size_ : 0; }

    void receive(std::uint8_t byte) override;
    bool has_byte() const override { return reply_size_ != 0 || buffer_size_ != 0; }
    std::uint8_t take_byte() override;

    std::string_view name() const override { return "PS/2 keyboard"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    static constexpr std::size_t kBufferSize = 16;
    static constexpr std::size_t kReplySize = 4;
    static constexpr std::size_t kKeys = static_cast<std::size_t>(Key::Count);

    void set_defaults();
    void light(std::uint8_t leds);
    void clear_buffer();
    void reply(std::uint8_t byte);
    void command(std::uint8_t byte);
    void parameter(std::uint8_t command, std::uint8_t byte);
    void set_all_kinds(Set3Kind kind);
    void emit(Key key, bool pressed);
    void emit_set3(Key key, bool pressed);
    void emit_set2(std::span<const std::uint8_t> bytes);
    void push(std::span<const std::uint8_t> bytes);
    bool down(Key key) const { return pressed_[static_cast<std::size_t>(key)]; }
    bool repeats(Key key) const;
    Nanoseconds repeat_delay() const;
    Nanoseconds repeat_period() const;
    void repeat(Nanoseconds late);

    VirtualClock& clock_;
    VirtualClock::Event typematic_;
    VirtualClock::Event self_test_;

    std::array<std::uint8_t, kBufferSize + 1> buffer_{};  // scan codes, oldest first; one more for the overrun code
    std::array<std::uint8_t, kReplySize> reply_{};        // answers to the host go before scan codes
    std::uint8_t buffer_size_ = 0;
    std::uint8_t reply_size_ = 0;
    std::uint8_t last_sent_ = 0;
    std::uint8_t awaiting_ = 0;  // the command whose parameter comes next; 0: none
    std::uint8_t scan_set_ = 2;
    std::uint8_t leds_ = 0;
    std::function<void(std::uint8_t)> on_leds_;
    std::uint8_t rate_ = 0;  // as set by F3h
    bool scanning_ = true;
    bool testing_ = false;             // the self-test runs; keys are not looked at
    bool system_request_ = false;      // PrintScreen went down as Alt+PrintScreen
    bool plain_print_screen_ = false;  // ... or with no artificial shift before it
    Key repeating_ = Key::None;
    std::array<std::uint8_t, 256> kinds_{};  // Set3Kind by set 3 code
    std::array<bool, kKeys> pressed_{};
};

}  // namespace vpc::devices
