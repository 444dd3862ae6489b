#include "devices/i8254.h"

#include <algorithm>
#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;
constexpr std::uint16_t kBasePort = 0x40;
constexpr std::uint16_t kControlOffset = 3;

// The control word.
constexpr unsigned kReadBackSelect = 3;  // bits 7-6
constexpr unsigned kAccessLatch = 0;     // bits 5-4
constexpr unsigned kAccessLow = 1;
constexpr unsigned kAccessHigh = 2;
constexpr unsigned kAccessWord = 3;
constexpr std::uint8_t kReadBackNoCount = 0x20;
constexpr std::uint8_t kReadBackNoStatus = 0x10;

constexpr std::uint8_t kStatusOut = 0x80;
constexpr std::uint8_t kStatusNullCount = 0x40;

constexpr std::int64_t kMostTicks = std::int64_t{1} << 54;  // later than the clock can get

constexpr Nanoseconds kBacklog = kSecond;
constexpr Nanoseconds kShortestGap = 20 * kMicrosecond;

/// The tick that is current at `time`.
std::int64_t ticks_at(Nanoseconds time) {
    const Nanoseconds seconds = time / kSecond;
    return seconds * I8254::kFrequency + time % kSecond * I8254::kFrequency / kSecond;
}

/// When `tick` begins, rounded up, so that ticks_at of it is `tick`.
Nanoseconds time_of(std::int64_t tick) {
    const std::int64_t seconds = tick / I8254::kFrequency;
    const std::int64_t rest = tick % I8254::kFrequency;
    return seconds * kSecond + (rest * kSecond + I8254::kFrequency - 1) / I8254::kFrequency;
}

std::int64_t from_bcd(std::uint16_t raw) {
    return (raw >> 12) * 1000 + ((raw >> 8) & 15) * 100 + ((raw >> 4) & 15) * 10 + (raw & 15);
}

std::uint16_t to_bcd(std::int64_t value) {
    return static_cast<std::uint16_t>((value / 1000 % 10) << 12 | (value / 100 % 10) << 8 | (value / 10 % 10) << 4 |
                                      value % 10);
}

}  // namespace

I8254::I8254(PortBus& ports, VirtualClock& clock, Line out0) : clock_(clock), out0_(std::move(out0)) {
    counters_[2].gate = false;
    edge_ = clock.make_event("8254 OUT0", [this](std::int64_t tick, Nanoseconds) { rising_edge(tick); });
    ports_ = ports.claim({.owner = "8254", .first = kBasePort, .count = 4},
                         {.read = [this](std::uint16_t offset, unsigned) { return read(offset); },
                          .write =
                              [this](std::uint16_t offset, std::uint32_t value, unsigned) {
                                  const auto byte = static_cast<std::uint8_t>(value);
                                  offset == kControlOffset ? write_control(byte) : write_count(offset, byte);
                              },
                          .peek = [this](std::uint16_t offset, unsigned) { return peek(offset); }});
}

void I8254::reset() {
    // The gates are inputs and keep their level.
    for (Counter& counter : counters_) {
        counter = Counter{.gate = counter.gate};
    }
    counter0_changed(now_ticks());
}

std::int64_t I8254::now_ticks() const {
    return ticks_at(clock_.now());
}

// ---- the wave of one counter ---------------------------------------------------------------------------------------

/// Ticks since the count was loaded; negative in the tick between writing and loading.
std::int64_t I8254::elapsed(const Counter& counter, std::int64_t tick) {
    return counter.stopped ? counter.elapsed : tick - counter.start;
}

/// Mode 3: how long OUT is high in a cycle; an odd count gives the high half one tick more.
std::int64_t I8254::high_ticks(std::int64_t count) {
    return (count + 1) / 2;
}

void I8254::apply_reload(Counter& counter) {
    const std::int64_t phase = counter.reload_at - counter.start;
    const bool at_cycle_end = counter.mode == 2 || phase % counter.count == 0;
    counter.count = counter.written;
    counter.start = at_cycle_end ? counter.reload_at : counter.reload_at - high_ticks(counter.count);
    counter.reload_pending = false;
}

/// The counter with a reload that has come due by `tick` done.
I8254::Counter I8254::at(Counter counter, std::int64_t tick) {
    if (counter.reload_pending && tick >= counter.reload_at) {
        apply_reload(counter);
    }
    return counter;
}

bool I8254::out(const Counter& counter, std::int64_t tick) {
    const std::int64_t done = elapsed(counter, tick);
    switch (counter.mode) {
        case 0:
            return counter.counting && done >= counter.count;
        case 1:
            return !counter.triggered || done < 0 || done >= counter.count;
        case 2:
            return !counter.counting || counter.stopped || done < 0 || done % counter.count != counter.count - 1;
        case 3:
            return !counter.counting || counter.stopped || done < 0 || done % counter.count < high_ticks(counter.count);
        case 4:
            return !counter.counting || done != counter.count;
        default:
            return !counter.triggered || done != counter.count;
    }
}

bool I8254::null_count(const Counter& counter, std::int64_t tick) {
    if (!counter.counting || counter.reload_pending) {
        return true;
    }
    return !counter.stopped && tick < counter.start;
}

/// What a read of the counting element shows.
std::uint16_t I8254::value(const Counter& counter, std::int64_t tick) {
    const std::int64_t done = std::max<std::int64_t>(elapsed(counter, tick), 0);
    const std::int64_t modulus = counter.bcd ? 10000 : 65536;
    std::int64_t left = counter.count;
    if (counter.mode == 2) {
        left -= done % counter.count;
    } else if (counter.mode == 3) {  // counts down by two, twice per cycle, from the even part of the count
        const std::int64_t phase = done % counter.count;
        const std::int64_t high = high_ticks(counter.count);
        left -= counter.count % 2 + 2 * (phase < high ? phase : phase - high);
    } else if (counter.counting && (counter.mode == 0 || counter.mode == 4 || counter.triggered)) {
        left -= done;
    }
    left = (left % modulus + modulus) % modulus;
    return counter.bcd ? to_bcd(left) : static_cast<std::uint16_t>(left);
}

std::uint8_t I8254::status(const Counter& counter, std::int64_t tick) {
    return static_cast<std::uint8_t>((out(counter, tick) ? kStatusOut : 0) |
                                     (null_count(counter, tick) ? kStatusNullCount : 0) | counter.access << 4 |
                                     counter.mode << 1 | (counter.bcd ? 1 : 0));
}

/// The first tick later than `after` in which OUT rises.
std::optional<std::int64_t> I8254::next_rise(const Counter& counter, std::int64_t after) {
    if (!counter.counting || counter.stopped) {
        return std::nullopt;
    }
    const auto if_later = [after](std::int64_t tick) { return tick > after ? std::optional(tick) : std::nullopt; };
    const auto cycle_end = [after](const Counter& c) {
        return after < c.start ? c.start + c.count : c.start + ((after - c.start) / c.count + 1) * c.count;
    };
    switch (counter.mode) {
        case 0:
            return if_later(counter.start + counter.count);
        case 1:
            return counter.triggered ? if_later(counter.start + counter.count) : std::nullopt;
        case 2:
        case 3: {
            const std::int64_t rise = cycle_end(counter);
            if (!counter.reload_pending || rise <= counter.reload_at) {
                return rise;
            }
            Counter reloaded = counter;
            apply_reload(reloaded);
            return cycle_end(reloaded);
        }
        case 4:
            return if_later(counter.start + counter.count + 1);
        default:
            return counter.triggered ? if_later(counter.start + counter.count + 1) : std::nullopt;
    }
}

// ---- registers -----------------------------------------------------------------------------------------------------

std::uint8_t I8254::peek(unsigned index) const {
    if (index == kControlOffset) {
        return 0xFF;  // write-only
    }
    const std::int64_t tick = now_ticks();
    const Counter counter = at(counters_[index], tick);
    if (counter.status_latched) {
        return counter.status_latch;
    }
    const std::uint16_t count = counter.count_latched ? counter.count_latch : value(counter, tick);
    const bool high = counter.access == kAccessHigh || (counter.access == kAccessWord && counter.read_high);
    return static_cast<std::uint8_t>(high ? count >> 8 : count);
}

std::uint8_t I8254::read(unsigned index) {
    const std::uint8_t result = peek(index);
    if (index == kControlOffset) {
        return result;
    }
    Counter& counter = counters_[index];
    if (counter.status_latched) {
        counter.status_latched = false;
    } else if (counter.access == kAccessWord && !counter.read_high) {
        counter.read_high = true;
    } else {
        counter.read_high = false;
        counter.count_latched = false;
    }
    return result;
}

void I8254::write_control(std::uint8_t value) {
    const unsigned select = value >> 6;
    const unsigned access = (value >> 4) & 3u;
    if (select == kReadBackSelect) {
        read_back(value);
        return;
    }
    const std::int64_t tick = now_ticks();
    Counter& counter = counters_[select];
    if (access == kAccessLatch) {
        latch_count(counter, tick);
        return;
    }
    if (select == 0) {
        out0_.set(wire_level(tick));  // a rise whose event has not run yet
    }
    const unsigned mode = (value >> 1) & 7u;
    const std::int64_t last = I8254::value(at(counter, tick), tick);
    counter = Counter{.mode = static_cast<std::uint8_t>(mode > 5 ? mode - 4 : mode),
                      .access = static_cast<std::uint8_t>(access),
                      .bcd = (value & 1) != 0,
                      .gate = counter.gate};
    counter.count = last != 0 ? last : 65536;  // reads show where the counting element stopped
    counter.stopped = true;
    if (select == 0) {
        counter0_changed(tick);
    }
}

void I8254::latch_count(Counter& counter, std::int64_t tick) {
    if (!counter.count_latched) {
        counter.count_latch = value(at(counter, tick), tick);
        counter.count_latched = true;
    }
}

void I8254::read_back(std::uint8_t value) {
    const std::int64_t tick = now_ticks();
    for (unsigned i = 0; i < kCounters; ++i) {
        Counter& counter = counters_[i];
        if ((value & (2u << i)) == 0) {
            continue;
        }
        if ((value & kReadBackNoCount) == 0) {
            latch_count(counter, tick);
        }
        if ((value & kReadBackNoStatus) == 0 && !counter.status_latched) {
            counter.status_latch = status(at(counter, tick), tick);
            counter.status_latched = true;
        }
    }
}

void I8254::write_count(unsigned index, std::uint8_t value) {
    const std::int64_t tick = now_ticks();
    Counter& counter = counters_[index];
    if (index == 0) {
        out0_.set(wire_level(tick));  // a rise whose event has not run yet
    }
    counter = at(counter, tick);
    if (counter.access == kAccessWord && !counter.write_high) {
        counter.low_byte = value;
        counter.write_high = true;
        if (counter.mode == 0) {  // the first half stops the count and pulls OUT low
            counter.elapsed = 0;
            counter.stopped = true;
        }
    } else {
        const unsigned high_and_low = counter.access == kAccessLow    ? value
                                      : counter.access == kAccessHigh ? value << 8u
                                                                      : value << 8u | counter.low_byte;
        counter.write_high = false;
        load(counter, static_cast<std::uint16_t>(high_and_low), tick);
    }
    if (index == 0) {
        counter0_changed(tick);
    }
}

/// A complete count was written. It reaches the counting element with the next tick, cycle or trigger.
void I8254::load(Counter& counter, std::uint16_t raw, std::int64_t tick) {
    const std::int64_t count = counter.bcd ? from_bcd(raw) : raw;
    counter.written = count != 0 ? count : counter.bcd ? 10000 : 65536;
    const bool periodic = counter.mode == 2 || counter.mode == 3;
    if (counter.mode == 1 || counter.mode == 5) {
        counter.counting = true;
        counter.stopped = false;
        return;
    }
    if (periodic && counter.counting && (counter.stopped || tick >= counter.start)) {
        if (!counter.stopped) {  // a stopped one is reloaded by the gate's rise
            const std::int64_t done = tick - counter.start;
            const std::int64_t phase = done % counter.count;
            const std::int64_t high = high_ticks(counter.count);
            const bool first_half = counter.mode == 3 && phase < high;
            counter.reload_at = tick - phase + (first_half ? high : counter.count);
            counter.reload_pending = true;
        }
        return;
    }
    counter.count = counter.written;
    counter.start = tick + 1;
    counter.elapsed = 0;
    counter.counting = true;
    counter.stopped = !counter.gate;
}

void I8254::set_gate(unsigned index, bool level) {
    if (index >= kCounters || counters_[index].gate == level) {
        return;
    }
    const std::int64_t tick = now_ticks();
    Counter& counter = counters_[index];
    counter = at(counter, tick);
    counter.gate = level;
    if (counter.counting) {
        const bool one_shot = counter.mode == 1 || counter.mode == 5;
        const bool periodic = counter.mode == 2 || counter.mode == 3;
        if (!level && !one_shot) {
            counter.elapsed = std::max<std::int64_t>(elapsed(counter, tick), 0);
            counter.stopped = true;
            counter.reload_pending = false;
        } else if (level && (one_shot || periodic)) {
            counter.count = counter.written;
            counter.start = tick + 1;
            counter.stopped = false;
            counter.triggered = one_shot;
        } else if (level && !counter.write_high) {
            counter.start = tick - counter.elapsed;
            counter.stopped = false;
        }
    }
    if (index == 0) {
        counter0_changed(tick);
    }
}

bool I8254::output(unsigned counter) const {
    const std::int64_t tick = now_ticks();
    return counter < kCounters && out(at(counters_[counter], tick), tick);
}

std::int64_t I8254::period(unsigned counter) const {
    return counter < kCounters && counters_[counter].counting ? at(counters_[counter], now_ticks()).count : 0;
}

// ---- OUT0 ----------------------------------------------------------------------------------------------------------

/// Only mode 0 rests low; the other modes rest high between the edges.
bool I8254::wire_level(std::int64_t tick) const {
    return counters_[0].mode != 0 || out(counters_[0], tick);
}

void I8254::counter0_changed(std::int64_t tick) {
    out0_.set(wire_level(tick));
    if (const auto rise = next_rise(counters_[0], tick)) {
        edge_.schedule(time_of(*rise), *rise);
    } else {
        edge_.cancel();
    }
}

void I8254::rising_edge(std::int64_t scheduled_tick) {
    const std::int64_t tick = std::clamp<std::int64_t>(scheduled_tick, 0, now_ticks());  // a loaded one may be anything
    Counter& counter = counters_[0];
    counter = at(counter, tick);
    out0_.set(false);
    out0_.set(true);
    auto rise = next_rise(counter, tick);
    if (!rise) {
        return;
    }
    const Nanoseconds now = clock_.now();
    const Nanoseconds gap = std::max(kShortestGap, (time_of(*rise) - time_of(tick)) / 4);
    if (time_of(*rise) < now - kBacklog) {
        rise = next_rise(counter, ticks_at(now - kBacklog));
    }
    edge_.schedule(std::max(time_of(*rise), now + gap), *rise);
}

void I8254::serialize(StateStream& stream) {
    bool wire = out0_.level();
    stream.section(name(), kStateVersion, [&] {
        for (Counter& counter : counters_) {
            ranged_field(stream, counter.mode, 0, 5);
            ranged_field(stream, counter.access, 1, 3);
            for (bool* flag : {&counter.bcd, &counter.gate, &counter.counting, &counter.stopped, &counter.triggered,
                               &counter.reload_pending, &counter.write_high, &counter.read_high, &counter.count_latched,
                               &counter.status_latched}) {
                stream.field(*flag);
            }
            stream.field(counter.low_byte);
            stream.field(counter.status_latch);
            stream.field(counter.count_latch);
            ranged_field(stream, counter.written, 1, 65536);
            ranged_field(stream, counter.count, 1, 65536);
            for (std::int64_t* tick : {&counter.start, &counter.elapsed, &counter.reload_at}) {
                ranged_field(stream, *tick, -kMostTicks, kMostTicks);
            }
        }
        stream.field(wire);
    });
    if (stream.loading()) {
        out0_.set(wire);  // the event comes back with the clock
    }
}

}  // namespace vpc::devices
