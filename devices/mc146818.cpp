#include "devices/mc146818.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/state_stream.h"
#include "devices/ranged_field.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

enum Cell : std::uint8_t {
    kSeconds = 0x00,
    kSecondsAlarm = 0x01,
    kMinutes = 0x02,
    kMinutesAlarm = 0x03,
    kHours = 0x04,
    kHoursAlarm = 0x05,
    kWeekday = 0x06,
    kDay = 0x07,
    kMonth = 0x08,
    kYear = 0x09,
    kRegisterA = 0x0A,
    kRegisterB = 0x0B,
    kRegisterC = 0x0C,
    kRegisterD = 0x0D,
    kCentury = 0x32,
};

// Register A.
constexpr std::uint8_t kUpdateInProgress = 0x80;
constexpr std::uint8_t kDividerReset = 0x60;  // DV2 and DV1: 11x holds the divider
constexpr std::uint8_t kRate = 0x0F;

// Registers B (enable) and C (flag) have the same layout for the three interrupts.
constexpr std::uint8_t kPeriodic = 0x40;
constexpr std::uint8_t kAlarm = 0x20;
constexpr std::uint8_t kUpdateEnded = 0x10;
constexpr std::uint8_t kInterrupts = kPeriodic | kAlarm | kUpdateEnded;

constexpr std::uint8_t kSet = 0x80;
constexpr std::uint8_t kSquareWave = 0x08;
constexpr std::uint8_t kBinary = 0x04;
constexpr std::uint8_t k24Hours = 0x02;

constexpr std::uint8_t kInterruptRequest = 0x80;  // register C
constexpr std::uint8_t kValidRamAndTime = 0x80;   // register D
constexpr std::uint8_t kNmiMask = 0x80;           // port 70h
constexpr std::uint8_t kPm = 0x80;                // hours in 12-hour mode
constexpr std::uint8_t kAlarmDoesNotCare = 0xC0;

constexpr Nanoseconds kUpdateLead = 244 * kMicrosecond;  // tBUC
constexpr std::int64_t kCrystal = 32768;                 // Hz
constexpr std::int64_t kSecondsPerDay = 86400;
constexpr std::int64_t kFirstSecond = -62'167'219'200;  // 0000-01-01
constexpr std::int64_t kLastSecond = 253'402'300'799;   // 9999-12-31 23:59:59
constexpr Nanoseconds kFarthestTime = Nanoseconds{1} << 61;

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
    return a / b - (a % b < 0 ? 1 : 0);
}

}  // namespace

Mc146818::Mc146818(PortBus& ports, VirtualClock& clock, std::function<std::int64_t()> unix_time, Line irq8,
                   std::function<void(bool)> nmi_mask)
    : clock_(clock), irq8_(std::move(irq8)), nmi_mask_(std::move(nmi_mask)) {
    base_time_ = checked_ = clock.now();
    base_seconds_ = std::clamp(unix_time ? unix_time() : 0, kFirstSecond, kLastSecond);
    event_ = clock.make_event("MC146818", [this](std::int64_t, Nanoseconds) {
        catch_up();
        update_interrupt();
    });
    ports_ = ports.claim({.owner = "MC146818", .first = 0x70, .count = 2},
                         {.read = [this](std::uint16_t offset,
                                         unsigned) { return offset == 0 ? std::uint8_t{0xFF} : read_cell(index_); },
                          .write =
                              [this](std::uint16_t offset, std::uint32_t value, unsigned) {
                                  offset == 0 ? write_index(static_cast<std::uint8_t>(value))
                                              : set_cell(index_, static_cast<std::uint8_t>(value));
                              },
                          .peek = [this](std::uint16_t offset,
                                         unsigned) { return offset == 0 ? std::uint8_t{0xFF} : peek_cell(index_); }});
    extended_ports_ =
        ports.claim({.owner = "MC146818 extended RAM", .first = 0x72, .count = 2},
                    {.read = [this](std::uint16_t offset,
                                    unsigned) { return offset == 0 ? std::uint8_t{0xFF} : cells_[extended_index_]; },
                     .write =
                         [this](std::uint16_t offset, std::uint32_t value, unsigned) {
                             if (offset == 0) {
                                 extended_index_ = static_cast<std::uint8_t>(value | 0x80);
                             } else {
                                 cells_[extended_index_] = static_cast<std::uint8_t>(value);
                             }
                         },
                     .peek = [this](std::uint16_t offset,
                                    unsigned) { return offset == 0 ? std::uint8_t{0xFF} : cells_[extended_index_]; }});
}

void Mc146818::reset() {
    catch_up();
    b_ &= static_cast<std::uint8_t>(~(kInterrupts | kSquareWave));
    c_ = 0;
    update_interrupt();
}

// ---- registers -----------------------------------------------------------------------------------------------------

void Mc146818::write_index(std::uint8_t value) {
    index_ = value & 0x7F;
    if (const bool masked = (value & kNmiMask) != 0; masked != nmi_masked_) {
        nmi_masked_ = masked;
        if (nmi_mask_) {
            nmi_mask_(masked);
        }
    }
}

bool Mc146818::is_time_cell(std::uint8_t index) const {
    return (index < kClockCells && index != kSecondsAlarm && index != kMinutesAlarm && index != kHoursAlarm) ||
           index == kCentury;
}

std::uint8_t Mc146818::peek_cell(std::uint8_t index) const {
    switch (index) {
        case kRegisterA:
            return register_a();
        case kRegisterB:
            return b_;
        case kRegisterC: {
            const std::uint8_t seen = flags();
            return static_cast<std::uint8_t>(seen | ((seen & b_ & kInterrupts) != 0 ? kInterruptRequest : 0));
        }
        case kRegisterD:
            return kValidRamAndTime;
        default:
            if (is_time_cell(index) && running()) {
                return face_cells(face())[index == kCentury ? kClockCells : index];
            }
            return cells_[index];
    }
}

std::uint8_t Mc146818::read_cell(std::uint8_t index) {
    const std::uint8_t value = peek_cell(index);
    if (index == kRegisterC) {
        catch_up();
        c_ = 0;
        update_interrupt();
    }
    return value;
}

void Mc146818::set_cell(std::uint8_t index, std::uint8_t value) {
    switch (index) {
        case kRegisterA:
            write_register_a(value);
            return;
        case kRegisterB:
            write_register_b(value);
            return;
        case kRegisterC:
        case kRegisterD:
            return;
        default:
            break;
    }
    catch_up();
    if (is_time_cell(index) && running()) {
        stop_face();
        cells_[index] = value;
        start_face();
    } else {
        cells_[index] = value;
    }
    update_interrupt();  // the alarm may have moved
}

void Mc146818::write_register_a(std::uint8_t value) {
    catch_up();
    const bool was_running = running();
    const bool was_held = divider_held();
    if (was_running) {
        stop_face();
    }
    a_ = value & static_cast<std::uint8_t>(~kUpdateInProgress);
    if (was_held && !divider_held()) {
        base_time_ = clock_.now() - kSecond / 2;  // the first update comes half a second after the release
    }
    if (running()) {
        start_face();
    }
    checked_ = clock_.now();
    update_interrupt();
}

void Mc146818::write_register_b(std::uint8_t value) {
    catch_up();
    const bool was_running = running();
    if (was_running && (value & kSet) != 0) {
        stop_face();
    }
    b_ = value;
    if ((value & kSet) != 0) {
        b_ &= static_cast<std::uint8_t>(~kUpdateEnded);
    }
    if (!was_running && running()) {
        start_face();
    }
    update_interrupt();
}

bool Mc146818::update_in_progress() const {
    if (!running()) {
        return false;
    }
    const Nanoseconds phase = (clock_.now() - base_time_) % kSecond;
    return phase >= kSecond - kUpdateLead;
}

std::uint8_t Mc146818::register_a() const {
    return static_cast<std::uint8_t>(a_ | (update_in_progress() ? kUpdateInProgress : 0));
}

// ---- the face of the clock -----------------------------------------------------------------------------------------

bool Mc146818::divider_held() const {
    return (a_ & kDividerReset) == kDividerReset;
}

bool Mc146818::running() const {
    return (b_ & kSet) == 0 && !divider_held();
}

/// Whole seconds from base_time_ to `time`.
std::int64_t Mc146818::second_at(Nanoseconds time) const {
    return floor_divide(time - base_time_, kSecond);
}

/// Seconds since 1970 on the running clock.
std::int64_t Mc146818::face() const {
    return base_seconds_ + second_at(clock_.now());
}

std::uint8_t Mc146818::encode(int value) const {
    return static_cast<std::uint8_t>((b_ & kBinary) != 0 ? value : value / 10 * 16 + value % 10);
}

int Mc146818::decode(std::uint8_t value) const {
    return (b_ & kBinary) != 0 ? value : (value >> 4) * 10 + (value & 15);
}

std::uint8_t Mc146818::encode_hour(int hour) const {
    if ((b_ & k24Hours) != 0) {
        return encode(hour);
    }
    const int twelve = hour % 12 == 0 ? 12 : hour % 12;
    return static_cast<std::uint8_t>(encode(twelve) | (hour >= 12 ? kPm : 0));
}

int Mc146818::decode_hour(std::uint8_t value) const {
    if ((b_ & k24Hours) != 0) {
        return decode(value);
    }
    const int twelve = decode(value & static_cast<std::uint8_t>(~kPm));
    return (twelve == 12 ? 0 : twelve) + ((value & kPm) != 0 ? 12 : 0);
}

/// Cells 00h-09h and, last, the century.
std::array<std::uint8_t, Mc146818::kClockCells + 1> Mc146818::face_cells(std::int64_t seconds) const {
    const std::int64_t shown = std::clamp(seconds, kFirstSecond, kLastSecond);
    const std::int64_t day = floor_divide(shown, kSecondsPerDay);
    const auto second_of_day = static_cast<int>(shown - day * kSecondsPerDay);
    const std::chrono::sys_days date{std::chrono::days{day}};
    const std::chrono::year_month_day calendar{date};
    const auto year = static_cast<int>(calendar.year());
    const unsigned weekday = (std::chrono::weekday{date}.c_encoding() + weekday_offset_) % 7u + 1u;

    std::array<std::uint8_t, kClockCells + 1> cells{};
    cells[kSeconds] = encode(second_of_day % 60);
    cells[kMinutes] = encode(second_of_day / 60 % 60);
    cells[kHours] = encode_hour(second_of_day / 3600);
    cells[kWeekday] = encode(static_cast<int>(weekday));
    cells[kDay] = encode(static_cast<int>(static_cast<unsigned>(calendar.day())));
    cells[kMonth] = encode(static_cast<int>(static_cast<unsigned>(calendar.month())));
    cells[kYear] = encode(year % 100);
    cells[kClockCells] = encode(year / 100);
    return cells;
}

/// Puts the running time into the cells, where the guest may change it.
void Mc146818::stop_face() {
    const auto shown = face_cells(face());
    for (std::uint8_t index = 0; index < kClockCells; ++index) {
        if (is_time_cell(index)) {
            cells_[index] = shown[index];
        }
    }
    cells_[kCentury] = shown[kClockCells];
}

/// Runs from what the cells say. The phase within the second stays: the divider has not been touched.
void Mc146818::start_face() {
    using namespace std::chrono;
    const int year_number = std::min(decode(cells_[kCentury]), 99) * 100 + std::min(decode(cells_[kYear]), 99);
    const auto month_number = static_cast<unsigned>(std::clamp(decode(cells_[kMonth]), 1, 12));
    const year_month_day_last last{year{year_number}, month_day_last{month{month_number}}};
    const auto days_in_month = static_cast<int>(static_cast<unsigned>(last.day()));
    const auto day_number = static_cast<unsigned>(std::clamp(decode(cells_[kDay]), 1, days_in_month));
    const sys_days date{year_month_day{year{year_number}, month{month_number}, day{day_number}}};

    const int hour = std::min(decode_hour(cells_[kHours]), 23);
    const int minute = std::min(decode(cells_[kMinutes]), 59);
    const int second = std::min(decode(cells_[kSeconds]), 59);
    const Nanoseconds now = clock_.now();
    base_time_ += second_at(now) * kSecond;
    base_seconds_ = date.time_since_epoch().count() * kSecondsPerDay + hour * 3600 + minute * 60 + second;

    const auto shown = static_cast<unsigned>(std::clamp(decode(cells_[kWeekday]), 1, 7)) - 1;
    weekday_offset_ = static_cast<std::uint8_t>((shown + 7 - weekday{date}.c_encoding()) % 7);
    checked_ = now;
}

/// The first second after `after` at which the alarm cells match, or -1: never.
std::int64_t Mc146818::next_alarm(std::int64_t after) const {
    struct Field {
        bool any;
        int value;
        bool matches(int shown) const { return any || value == shown; }
    };
    const auto field = [](std::uint8_t cell, int value) { return Field{cell >= kAlarmDoesNotCare, value}; };
    const Field hour = field(cells_[kHoursAlarm], decode_hour(cells_[kHoursAlarm]));
    const Field minute = field(cells_[kMinutesAlarm], decode(cells_[kMinutesAlarm]));
    const Field second = field(cells_[kSecondsAlarm], decode(cells_[kSecondsAlarm]));
    if ((!hour.any && hour.value > 23) || (!minute.any && minute.value > 59) || (!second.any && second.value > 59)) {
        return -1;
    }
    const std::int64_t first = after + 1;
    const std::int64_t midnight = floor_divide(first, kSecondsPerDay) * kSecondsPerDay;
    const auto from = static_cast<int>(first - midnight);
    for (int hours = from / 3600; hours <= 48; ++hours) {
        if (!hour.matches(hours % 24)) {
            continue;
        }
        for (int m = 0; m < 60; ++m) {
            if (!minute.matches(m) || hours * 3600 + m * 60 + 59 < from) {
                continue;
            }
            for (int s = 0; s < 60; ++s) {
                if (const int time = hours * 3600 + m * 60 + s; second.matches(s) && time >= from) {
                    return midnight + time;
                }
            }
        }
    }
    return -1;
}

// ---- interrupts ----------------------------------------------------------------------------------------------------

/// The periodic interrupt's period in ticks of the crystal; 0: none.
std::int64_t Mc146818::period_ticks() const {
    const unsigned rate = a_ & kRate;
    if (rate == 0 || divider_held()) {
        return 0;
    }
    return std::int64_t{1} << (rate <= 2 ? rate + 6 : rate - 1);  // rates 1 and 2 repeat 8 and 9
}

/// How many periods ended between the zero of the divider and `time`.
std::int64_t Mc146818::periodic_count(Nanoseconds time) const {
    const Nanoseconds since = std::max<Nanoseconds>(time - base_time_, 0);
    const std::int64_t ticks = since / kSecond * kCrystal + since % kSecond * kCrystal / kSecond;
    return ticks / period_ticks();
}

/// PF, AF and UF as they stand now.
std::uint8_t Mc146818::flags() const {
    const Nanoseconds now = clock_.now();
    std::uint8_t result = c_;
    if (now <= checked_) {
        return result;
    }
    if (period_ticks() != 0 && periodic_count(now) != periodic_count(checked_)) {
        result |= kPeriodic;
    }
    if (running() && second_at(now) != second_at(checked_)) {
        result |= kUpdateEnded;
        const std::int64_t alarm = next_alarm(base_seconds_ + second_at(checked_));
        if (alarm >= 0 && alarm <= face()) {
            result |= kAlarm;
        }
    }
    return result;
}

void Mc146818::catch_up() {
    c_ = flags();
    checked_ = std::max(checked_, clock_.now());
}

/// Drives the pin and places the event at the next moment that could raise it.
void Mc146818::update_interrupt() {
    irq8_.set((c_ & b_ & kInterrupts) != 0);

    const auto waits_for = [this](std::uint8_t source) { return (b_ & source) != 0 && (c_ & source) == 0; };
    const Nanoseconds now = clock_.now();
    Nanoseconds next = -1;
    const auto earliest = [&next](Nanoseconds time) { next = next < 0 ? time : std::min(next, time); };
    if (waits_for(kPeriodic) && period_ticks() != 0) {
        const std::int64_t ticks = (periodic_count(now) + 1) * period_ticks();
        const std::int64_t rest = ticks % kCrystal * kSecond;
        earliest(base_time_ + ticks / kCrystal * kSecond + (rest + kCrystal - 1) / kCrystal);
    }
    if (running() && waits_for(kUpdateEnded)) {
        earliest(base_time_ + (second_at(now) + 1) * kSecond);
    }
    if (running() && waits_for(kAlarm)) {
        if (const std::int64_t alarm = next_alarm(face()); alarm >= 0) {
            earliest(base_time_ + (alarm - base_seconds_) * kSecond);
        }
    }
    if (next >= 0) {
        event_.schedule(next);
    } else {
        event_.cancel();
    }
}

void Mc146818::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(cells_);
        ranged_field(stream, index_, 0, 0x7F);
        ranged_field(stream, extended_index_, 0x80, 0xFF);
        for (std::uint8_t* value : {&a_, &b_, &c_}) {
            stream.field(*value);
        }
        ranged_field(stream, weekday_offset_, 0, 6);
        stream.field(nmi_masked_);
        ranged_field(stream, base_seconds_, kFirstSecond, kLastSecond);
        ranged_field(stream, base_time_, -kFarthestTime, kFarthestTime);
        ranged_field(stream, checked_, -kFarthestTime, kFarthestTime);
    });
    if (stream.loading()) {
        irq8_.set((c_ & b_ & kInterrupts) != 0);  // the event comes back with the clock
        if (nmi_mask_) {
            nmi_mask_(nmi_masked_);
        }
    }
}

}  // namespace vpc::devices
