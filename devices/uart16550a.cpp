#include "devices/uart16550a.h"

#include <algorithm>
#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::int64_t kClock = 1'843'200 / 16;  // Hz: the bit rate at divisor 1

enum Register : std::uint16_t { kRbrThr = 0, kIer = 1, kIirFcr = 2, kLcr = 3, kMcr = 4, kLsr = 5, kMsr = 6, kScr = 7 };

constexpr std::uint8_t kIerReceived = 0x01;
constexpr std::uint8_t kIerThre = 0x02;
constexpr std::uint8_t kIerLineStatus = 0x04;
constexpr std::uint8_t kIerModemStatus = 0x08;

constexpr std::uint8_t kIirNone = 0x01;
constexpr std::uint8_t kIirModemStatus = 0x00;
constexpr std::uint8_t kIirThre = 0x02;
constexpr std::uint8_t kIirReceived = 0x04;
constexpr std::uint8_t kIirLineStatus = 0x06;
constexpr std::uint8_t kIirTimeOut = 0x0C;
constexpr std::uint8_t kIirFifoEnabled = 0xC0;

constexpr std::uint8_t kFcrEnable = 0x01;
constexpr std::uint8_t kFcrClearReceiver = 0x02;
constexpr std::uint8_t kFcrTrigger = 0xC0;

constexpr std::uint8_t kLcrWordLength = 0x03;
constexpr std::uint8_t kLcrTwoStopBits = 0x04;
constexpr std::uint8_t kLcrParity = 0x08;
constexpr std::uint8_t kLcrDivisorAccess = 0x80;

constexpr std::uint8_t kMcrDtr = 0x01;
constexpr std::uint8_t kMcrRts = 0x02;
constexpr std::uint8_t kMcrOut1 = 0x04;
constexpr std::uint8_t kMcrOut2 = 0x08;
constexpr std::uint8_t kMcrLoop = 0x10;
constexpr std::uint8_t kMcrWritable = 0x1F;

constexpr std::uint8_t kLsrDataReady = 0x01;
constexpr std::uint8_t kLsrOverrun = 0x02;
constexpr std::uint8_t kLsrErrors = 0x1E;
constexpr std::uint8_t kLsrThre = 0x20;
constexpr std::uint8_t kLsrTransmitterEmpty = 0x40;

constexpr std::uint8_t kMsrLevels = 0xF0;
constexpr std::uint8_t kMsrTrailingRing = 0x04;

}  // namespace

Uart16550A::Uart16550A(std::string name, PortBus& ports, VirtualClock& clock, std::uint16_t base, Line irq,
                       std::function<void(std::uint8_t)> transmit)
    : name_(std::move(name)), clock_(clock), irq_(std::move(irq)), transmit_(std::move(transmit)) {
    fifo_time_out_ = clock.make_event(name_ + " FIFO time-out", [this](std::int64_t, Nanoseconds) {
        time_out_pending_ = fifo_enabled() && fifo_count_ != 0;
        update_interrupt();
    });
    ports_ = ports.claim({.owner = name_, .first = base, .count = 8},
                         {.read = [this](std::uint16_t offset, unsigned) { return read(offset); },
                          .write = [this](std::uint16_t offset, std::uint32_t value,
                                          unsigned) { write(offset, static_cast<std::uint8_t>(value)); },
                          .peek = [this](std::uint16_t offset, unsigned) { return peek(offset); }});
}

void Uart16550A::reset() {
    ier_ = fcr_ = lcr_ = mcr_ = line_errors_ = modem_deltas_ = scratch_ = last_received_ = 0;
    divisor_ = 12;
    thre_pending_ = false;
    clear_receiver();
    update_interrupt();
}

// ---- registers -----------------------------------------------------------------------------------------------------

std::uint8_t Uart16550A::peek(std::uint16_t offset) const {
    switch (offset) {
        case kRbrThr:
            if (divisor_access()) {
                return static_cast<std::uint8_t>(divisor_);
            }
            return fifo_count_ != 0 ? fifo_[0] : last_received_;
        case kIer:
            return divisor_access() ? static_cast<std::uint8_t>(divisor_ >> 8) : ier_;
        case kIirFcr:
            return static_cast<std::uint8_t>(interrupt_id() | (fifo_enabled() ? kIirFifoEnabled : 0));
        case kLcr:
            return lcr_;
        case kMcr:
            return mcr_;
        case kLsr:
            return line_status();
        case kMsr:
            return modem_levels() | modem_deltas_;
        default:
            return scratch_;
    }
}

std::uint8_t Uart16550A::read(std::uint16_t offset) {
    const std::uint8_t value = peek(offset);
    switch (offset) {
        case kRbrThr:
            return divisor_access() ? value : read_rbr();
        case kIirFcr:
            if ((value & 0x0F) == kIirThre) {  // reading IIR answers this source only
                thre_pending_ = false;
            }
            break;
        case kLsr:
            line_errors_ = 0;
            break;
        case kMsr:
            modem_deltas_ = 0;
            break;
        default:
            return value;
    }
    update_interrupt();
    return value;
}

void Uart16550A::write(std::uint16_t offset, std::uint8_t value) {
    switch (offset) {
        case kRbrThr:
            if (divisor_access()) {
                divisor_ = static_cast<std::uint16_t>((divisor_ & 0xFF00) | value);
            } else {
                write_thr(value);
            }
            break;
        case kIer:
            if (divisor_access()) {
                divisor_ = static_cast<std::uint16_t>((divisor_ & 0x00FF) | value << 8);
            } else {
                write_ier(value);
            }
            break;
        case kIirFcr:
            write_fcr(value);
            break;
        case kLcr:
            lcr_ = value;
            break;
        case kMcr:
            write_mcr(value);
            break;
        case kScr:
            scratch_ = value;
            break;
        default:  // LSR and MSR are read-only
            break;
    }
}

void Uart16550A::write_thr(std::uint8_t value) {
    // THR fills and empties again: an edge-triggered interrupt controller must see the request fall and rise.
    thre_pending_ = false;
    update_interrupt();
    if (loop_back()) {
        take_in(static_cast<std::uint8_t>(value & word_mask()));
    } else if (transmit_) {
        transmit_(value);
    }
    thre_pending_ = true;
    update_interrupt();
}

void Uart16550A::write_ier(std::uint8_t value) {
    const bool thre_was_enabled = (ier_ & kIerThre) != 0;
    ier_ = value & 0x0F;
    if (!thre_was_enabled && (ier_ & kIerThre) != 0) {
        thre_pending_ = true;  // THR is empty at this moment
    }
    update_interrupt();
}

void Uart16550A::write_fcr(std::uint8_t value) {
    const bool mode_changes = ((value ^ fcr_) & kFcrEnable) != 0;
    if (mode_changes || (value & kFcrClearReceiver) != 0) {
        clear_receiver();
    }
    // The other bits can be written only together with the enable bit.
    fcr_ = (value & kFcrEnable) != 0 ? value & (kFcrEnable | kFcrTrigger) : 0;
    update_interrupt();
    room_made();
}

void Uart16550A::write_mcr(std::uint8_t value) {
    const std::uint8_t before = modem_levels();
    mcr_ = value & kMcrWritable;
    modem_changed(before);
    room_made();
}

std::uint8_t Uart16550A::read_rbr() {
    if (fifo_count_ != 0) {
        last_received_ = fifo_[0];
        std::shift_left(fifo_.begin(), fifo_.begin() + fifo_count_, 1);
        --fifo_count_;
    }
    const std::uint8_t value = last_received_;
    time_out_pending_ = false;
    if (fifo_enabled() && fifo_count_ != 0) {
        fifo_time_out_.schedule(clock_.now() + time_out());
    } else {
        fifo_time_out_.cancel();
    }
    update_interrupt();
    room_made();
    return value;
}

std::uint8_t Uart16550A::line_status() const {
    return static_cast<std::uint8_t>(line_errors_ | kLsrThre | kLsrTransmitterEmpty |
                                     (fifo_count_ != 0 ? kLsrDataReady : 0));
}

// ---- modem lines ---------------------------------------------------------------------------------------------------

std::uint8_t Uart16550A::modem_levels() const {
    if (!loop_back()) {
        return modem_inputs_;
    }
    unsigned levels = (mcr_ & kMcrRts) != 0 ? unsigned{kCts} : 0u;
    levels |= (mcr_ & kMcrDtr) != 0 ? unsigned{kDsr} : 0u;
    levels |= (mcr_ & kMcrOut1) != 0 ? unsigned{kRi} : 0u;
    levels |= (mcr_ & kMcrOut2) != 0 ? unsigned{kDcd} : 0u;
    return static_cast<std::uint8_t>(levels);
}

void Uart16550A::modem_changed(std::uint8_t before) {
    const std::uint8_t now = modem_levels();
    auto deltas = static_cast<std::uint8_t>((before ^ now) >> 4);
    if ((now & kRi) != 0) {
        deltas &= static_cast<std::uint8_t>(~kMsrTrailingRing);  // only the end of a ring counts
    }
    modem_deltas_ |= deltas;
    update_interrupt();
}

void Uart16550A::set_modem_inputs(std::uint8_t inputs) {
    const std::uint8_t before = modem_levels();
    modem_inputs_ = inputs & kMsrLevels;
    modem_changed(before);
}

// ---- receiver ------------------------------------------------------------------------------------------------------

std::size_t Uart16550A::room() const {
    return loop_back() || fifo_count_ >= capacity() ? 0 : capacity() - fifo_count_;
}

void Uart16550A::receive(std::uint8_t byte) {
    if (!loop_back()) {
        take_in(byte);
    }
}

void Uart16550A::take_in(std::uint8_t byte) {
    if (fifo_count_ < capacity()) {
        fifo_[fifo_count_++] = byte;
    } else {
        line_errors_ |= kLsrOverrun;
        if (!fifo_enabled()) {
            fifo_[0] = byte;  // the FIFO keeps what it has, RBR does not
        }
    }
    if (fifo_enabled()) {
        fifo_time_out_.schedule(clock_.now() + time_out());
    }
    update_interrupt();
}

void Uart16550A::clear_receiver() {
    fifo_count_ = 0;
    time_out_pending_ = false;
    fifo_time_out_.cancel();
}

void Uart16550A::room_made() {
    if (on_room_ && can_receive()) {
        on_room_();
    }
}

bool Uart16550A::divisor_access() const {
    return (lcr_ & kLcrDivisorAccess) != 0;
}

bool Uart16550A::fifo_enabled() const {
    return (fcr_ & kFcrEnable) != 0;
}

bool Uart16550A::loop_back() const {
    return (mcr_ & kMcrLoop) != 0;
}

unsigned Uart16550A::trigger_level() const {
    static constexpr std::array<unsigned, 4> kLevels = {1, 4, 8, 14};
    return fifo_enabled() ? kLevels[fcr_ >> 6] : 1;
}

std::uint8_t Uart16550A::word_mask() const {
    return static_cast<std::uint8_t>(0xFF >> (3 - (lcr_ & kLcrWordLength)));
}

/// Four characters.
Nanoseconds Uart16550A::time_out() const {
    const int bits =
        1 + 5 + (lcr_ & kLcrWordLength) + ((lcr_ & kLcrParity) != 0 ? 1 : 0) + ((lcr_ & kLcrTwoStopBits) != 0 ? 2 : 1);
    const std::int64_t divisor = divisor_ != 0 ? divisor_ : 65536;
    return 4 * bits * divisor * kSecond / kClock;
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

/// IIR bits 3-0: the most urgent source that is enabled.
std::uint8_t Uart16550A::interrupt_id() const {
    if ((ier_ & kIerLineStatus) != 0 && (line_errors_ & kLsrErrors) != 0) {
        return kIirLineStatus;
    }
    if ((ier_ & kIerReceived) != 0 && fifo_count_ >= trigger_level()) {
        return kIirReceived;
    }
    if ((ier_ & kIerReceived) != 0 && time_out_pending_) {
        return kIirTimeOut;
    }
    if ((ier_ & kIerThre) != 0 && thre_pending_) {
        return kIirThre;
    }
    if ((ier_ & kIerModemStatus) != 0 && modem_deltas_ != 0) {
        return kIirModemStatus;
    }
    return kIirNone;
}

void Uart16550A::update_interrupt() {
    irq_.set(interrupt_id() != kIirNone && (mcr_ & kMcrOut2) != 0);
}

void Uart16550A::serialize(StateStream& stream) {
    stream.section(name_, kStateVersion, [&] {
        std::fill(fifo_.begin() + fifo_count_, fifo_.end(), std::uint8_t{0});
        stream.field(fifo_);
        ranged_field(stream, fifo_count_, 0, kFifoSize);
        for (std::uint8_t* value :
             {&last_received_, &ier_, &fcr_, &lcr_, &mcr_, &line_errors_, &modem_deltas_, &modem_inputs_, &scratch_}) {
            stream.field(*value);
        }
        stream.field(divisor_);
        stream.field(thre_pending_);
        stream.field(time_out_pending_);
    });
    if (stream.loading()) {
        update_interrupt();
    }
}

}  // namespace vpc::devices
