#include "devices/i8259a.h"

#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

// The even port: a byte with bit 4 is ICW1, else bit 3 tells OCW3 from OCW2.
constexpr std::uint8_t kIcw1Select = 0x10;
constexpr std::uint8_t kOcw3Select = 0x08;

constexpr std::uint8_t kIcw1Ic4 = 0x01;
constexpr std::uint8_t kIcw1Single = 0x02;
constexpr std::uint8_t kIcw1LevelTriggered = 0x08;

constexpr std::uint8_t kIcw4Mode8086 = 0x01;
constexpr std::uint8_t kIcw4AutoEoi = 0x02;
constexpr std::uint8_t kIcw4SpecialFullyNested = 0x10;

constexpr std::uint8_t kOcw3ReadIsr = 0x01;
constexpr std::uint8_t kOcw3ReadRegister = 0x02;
constexpr std::uint8_t kOcw3Poll = 0x04;
constexpr std::uint8_t kOcw3SpecialMask = 0x20;
constexpr std::uint8_t kOcw3SpecialMaskEnable = 0x40;

constexpr std::uint8_t kPollInterrupt = 0x80;

/// OCW2, bits 7-5: R, SL, EOI.
enum class Ocw2 : std::uint8_t {
    RotateOnAutoEoiClear = 0,
    NonSpecificEoi = 1,
    NoOperation = 2,
    SpecificEoi = 3,
    RotateOnAutoEoiSet = 4,
    RotateOnNonSpecificEoi = 5,
    SetPriority = 6,
    RotateOnSpecificEoi = 7,
};

constexpr std::uint8_t bit(unsigned input) {
    return static_cast<std::uint8_t>(1u << input);
}

}  // namespace

I8259A::I8259A(std::string name, PortBus& ports, std::uint16_t base, std::uint16_t elcr_port, std::uint8_t elcr_mask,
               Line intr, std::function<std::uint8_t()> cascade_acknowledge, int cascade_input)
    : name_(std::move(name)),
      log_(log_category("8259A")),
      elcr_mask_(elcr_mask),
      cascade_input_(cascade_input),
      cascade_acknowledge_(std::move(cascade_acknowledge)),
      intr_(std::move(intr)) {
    ports_ = ports.claim({.owner = name_, .first = base, .count = 2},
                         {.read = [this](std::uint16_t offset, unsigned) { return read(offset); },
                          .write =
                              [this](std::uint16_t offset, std::uint32_t value, unsigned) {
                                  offset == 0 ? write_command(static_cast<std::uint8_t>(value))
                                              : write_data(static_cast<std::uint8_t>(value));
                              },
                          .peek = [this](std::uint16_t offset, unsigned) { return peek(offset); }});
    elcr_claim_ = ports.claim({.owner = name_ + " ELCR", .first = elcr_port, .count = 1},
                              {.read = [this](std::uint16_t, unsigned) { return elcr_; },
                               .write = [this](std::uint16_t, std::uint32_t value,
                                               unsigned) { write_elcr(static_cast<std::uint8_t>(value)); },
                               .peek = [this](std::uint16_t, unsigned) { return elcr_; }});
}

void I8259A::set_irq(unsigned input, bool level) {
    if (input > 7) {
        return;
    }
    if (!level) {
        lines_ &= static_cast<std::uint8_t>(~bit(input));
    } else if ((lines_ & bit(input)) == 0) {
        lines_ |= bit(input);
        edges_ |= bit(input);
    }
    update();
}

Line I8259A::input(unsigned input) {
    return Line([this, input](bool level) { set_irq(input, level); });
}

std::uint8_t I8259A::acknowledge() {
    const int input = pending_input();
    if (input < 0) {
        return static_cast<std::uint8_t>(vector_base_ | 7);
    }
    begin_service(static_cast<unsigned>(input));
    // The slave's INTR may rise again during its own cycle, so ours must have taken the request before.
    if (input == cascade_input_ && cascade_acknowledge_) {
        return cascade_acknowledge_();
    }
    return static_cast<std::uint8_t>(vector_base_ | input);
}

void I8259A::reset() {
    edges_ = in_service_ = mask_ = elcr_ = vector_base_ = 0;
    lowest_priority_ = 7;
    expect_ = Expect::Ocw1;
    single_ = needs_icw4_ = level_triggered_ = false;
    auto_eoi_ = rotate_on_auto_eoi_ = special_fully_nested_ = special_mask_ = false;
    read_in_service_ = poll_ = false;
    update();
}

void I8259A::write_command(std::uint8_t value) {
    if ((value & kIcw1Select) != 0) {
        write_icw1(value);
    } else if ((value & kOcw3Select) != 0) {
        write_ocw3(value);
    } else {
        write_ocw2(value);
    }
    update();
}

void I8259A::write_icw1(std::uint8_t value) {
    // The edge detectors start anew: an input that is high now must fall and rise again to be seen.
    edges_ = in_service_ = mask_ = 0;
    lowest_priority_ = 7;
    special_mask_ = read_in_service_ = poll_ = false;
    auto_eoi_ = rotate_on_auto_eoi_ = special_fully_nested_ = false;  // what ICW4 would have set
    single_ = (value & kIcw1Single) != 0;
    needs_icw4_ = (value & kIcw1Ic4) != 0;
    level_triggered_ = (value & kIcw1LevelTriggered) != 0;
    if (!needs_icw4_) {
        log_->debug("{}: 8080 mode asked for; there is no such CPU here, 8086 mode stays", name_);
    }
    expect_ = Expect::Icw2;
}

void I8259A::write_ocw2(std::uint8_t value) {
    const auto level = static_cast<std::uint8_t>(value & 7);
    switch (static_cast<Ocw2>(value >> 5)) {
        case Ocw2::RotateOnAutoEoiClear:
            rotate_on_auto_eoi_ = false;
            break;
        case Ocw2::RotateOnAutoEoiSet:
            rotate_on_auto_eoi_ = true;
            break;
        case Ocw2::NonSpecificEoi:
        case Ocw2::RotateOnNonSpecificEoi:
            if (const int input = most_urgent(non_specific_eoi_candidates()); input >= 0) {
                in_service_ &= static_cast<std::uint8_t>(~bit(static_cast<unsigned>(input)));
                if (static_cast<Ocw2>(value >> 5) == Ocw2::RotateOnNonSpecificEoi) {
                    lowest_priority_ = static_cast<std::uint8_t>(input);
                }
            }
            break;
        case Ocw2::SpecificEoi:
            in_service_ &= static_cast<std::uint8_t>(~bit(level));
            break;
        case Ocw2::RotateOnSpecificEoi:
            in_service_ &= static_cast<std::uint8_t>(~bit(level));
            lowest_priority_ = level;
            break;
        case Ocw2::SetPriority:
            lowest_priority_ = level;
            break;
        case Ocw2::NoOperation:
            break;
    }
}

void I8259A::write_ocw3(std::uint8_t value) {
    if ((value & kOcw3SpecialMaskEnable) != 0) {
        special_mask_ = (value & kOcw3SpecialMask) != 0;
    }
    if ((value & kOcw3Poll) != 0) {
        poll_ = true;
    } else if ((value & kOcw3ReadRegister) != 0) {
        read_in_service_ = (value & kOcw3ReadIsr) != 0;
    }
}

void I8259A::write_data(std::uint8_t value) {
    switch (expect_) {
        case Expect::Ocw1:
            mask_ = value;
            break;
        case Expect::Icw2:
            vector_base_ = value & 0xF8;
            expect_ = !single_ ? Expect::Icw3 : needs_icw4_ ? Expect::Icw4 : Expect::Ocw1;
            break;
        case Expect::Icw3:  // where the slave sits is the board's wiring, whatever the guest believes
            expect_ = needs_icw4_ ? Expect::Icw4 : Expect::Ocw1;
            break;
        case Expect::Icw4:
            auto_eoi_ = (value & kIcw4AutoEoi) != 0;
            special_fully_nested_ = (value & kIcw4SpecialFullyNested) != 0;
            if ((value & kIcw4Mode8086) == 0) {
                log_->debug("{}: 8080 mode asked for; there is no such CPU here, 8086 mode stays", name_);
            }
            expect_ = Expect::Ocw1;
            break;
    }
    update();
}

void I8259A::write_elcr(std::uint8_t value) {
    elcr_ = value & elcr_mask_;
    update();
}

std::uint8_t I8259A::read(std::uint16_t offset) {
    const std::uint8_t value = peek(offset);
    if (poll_) {
        poll_ = false;
        if ((value & kPollInterrupt) != 0) {
            begin_service(value & 7u);
        }
    }
    return value;
}

std::uint8_t I8259A::peek(std::uint16_t offset) const {
    if (poll_) {
        const int input = pending_input();
        return input < 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(kPollInterrupt | input);
    }
    if (offset == 1) {
        return mask_;
    }
    return read_in_service_ ? in_service_ : requests();
}

std::uint8_t I8259A::level_inputs() const {
    return level_triggered_ ? std::uint8_t{0xFF} : elcr_;
}

/// IRR.
std::uint8_t I8259A::requests() const {
    const std::uint8_t level = level_inputs();
    return static_cast<std::uint8_t>((edges_ & ~level) | (lines_ & level));
}

/// The input of highest priority among `bits`, or -1.
int I8259A::most_urgent(std::uint8_t bits) const {
    for (unsigned i = 1; i <= 8; ++i) {
        const unsigned input = (lowest_priority_ + i) & 7;
        if ((bits & bit(input)) != 0) {
            return static_cast<int>(input);
        }
    }
    return -1;
}

/// The input that the next INTA cycle would serve, or -1.
int I8259A::pending_input() const {
    if (expect_ != Expect::Ocw1) {
        return -1;  // no vector yet
    }
    const int input = most_urgent(static_cast<std::uint8_t>(requests() & ~mask_));
    if (input < 0) {
        return -1;
    }
    std::uint8_t blocking = in_service_;
    if (special_mask_) {
        blocking &= static_cast<std::uint8_t>(~mask_);
    }
    if (special_fully_nested_ && cascade_input_ >= 0) {
        // The slave may interrupt its own handler with something more urgent.
        blocking &= static_cast<std::uint8_t>(~bit(static_cast<unsigned>(cascade_input_)));
    }
    const int serving = most_urgent(blocking);
    const auto rank = [this](int i) { return (static_cast<unsigned>(i) - lowest_priority_ - 1u) & 7u; };
    return serving < 0 || rank(input) < rank(serving) ? input : -1;
}

/// In special mask mode a masked bit is not for the non-specific EOI to clear.
std::uint8_t I8259A::non_specific_eoi_candidates() const {
    return special_mask_ ? static_cast<std::uint8_t>(in_service_ & ~mask_) : in_service_;
}

void I8259A::begin_service(unsigned input) {
    edges_ &= static_cast<std::uint8_t>(~bit(input));
    if (auto_eoi_) {
        if (rotate_on_auto_eoi_) {
            lowest_priority_ = static_cast<std::uint8_t>(input);
        }
    } else {
        in_service_ |= bit(input);
    }
    // INTR falls during the cycle even if more is pending: a master sees an edge for the next request.
    intr_.set(false);
    update();
}

void I8259A::update() {
    intr_.set(pending_input() >= 0);
}

void I8259A::serialize(StateStream& stream) {
    stream.section(name_, kStateVersion, [&] {
        for (std::uint8_t* value : {&lines_, &edges_, &in_service_, &mask_, &elcr_, &vector_base_}) {
            stream.field(*value);
        }
        ranged_field(stream, lowest_priority_, 0, 7);
        ranged_field(stream, expect_, Expect::Ocw1, Expect::Icw4);
        for (bool* flag : {&single_, &needs_icw4_, &level_triggered_, &auto_eoi_, &rotate_on_auto_eoi_,
                           &special_fully_nested_, &special_mask_, &read_in_service_, &poll_}) {
            stream.field(*flag);
        }
    });
    if (stream.loading()) {
        update();
    }
}

}  // namespace vpc::devices
