#include "devices/piix4_pm.h"

#include <utility>

#include "core/state_stream.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 1;

// Configuration space.
constexpr unsigned kPmBase = 0x40;
constexpr std::uint32_t kPmBaseAddress = 0xFFC0;
constexpr unsigned kPmRegMisc = 0x80;
constexpr std::uint8_t kPmIoEnable = 0x01;  // PMIOSE
constexpr unsigned kSmbBase = 0x90;
constexpr std::uint32_t kSmbBaseAddress = 0xFFF0;
constexpr unsigned kSmbHostConfiguration = 0xD2;
constexpr std::uint8_t kSmbHostEnable = 0x01;
constexpr std::uint8_t kSmbInterruptSelect = 0x0E;
constexpr std::uint8_t kSmbInterruptIrq9 = 0x08;
constexpr unsigned kDevActB = 0x58;
constexpr std::uint32_t kApmcEnable = 1u << 25;
constexpr unsigned kDevResA = 0x5C;
constexpr unsigned kDevResB = 0x60;
constexpr unsigned kDevResC = 0x64;
constexpr std::uint32_t kDevResAParallel = 1u << 31;  // LPT_DEC_EN
constexpr std::uint32_t kDevResCSerial1 = 1u << 27;   // COMA_DEC_EN
constexpr std::uint32_t kDevResCSerial2 = 1u << 31;   // COMB_DEC_EN, with the decode range 2F8h in bits 30-28
constexpr std::uint32_t kDevResCSerial2Range = 1u << 28;

// The block at PMBASE.
constexpr unsigned kPmPorts = 64;
constexpr unsigned kPmStatus = 0x00;
constexpr unsigned kPmEnable = 0x02;
constexpr unsigned kPmControl = 0x04;
constexpr unsigned kPmTimer = 0x08;

// PM1 status and enable.
constexpr std::uint16_t kTimerOverflow = 0x0001;
constexpr std::uint16_t kGlobal = 0x0020;
constexpr std::uint16_t kPowerButton = 0x0100;
constexpr std::uint16_t kRtc = 0x0400;
constexpr std::uint16_t kEnableBits = kTimerOverflow | kGlobal | kPowerButton | kRtc;

// PM1 control.
constexpr std::uint16_t kSciEnable = 0x0001;
constexpr std::uint16_t kControlBits = 0x1C03;  // SLP_TYP, BRLD_EN_BM, SCI_EN
constexpr std::uint16_t kSleepEnable = 0x2000;  // reads as zero
constexpr unsigned kSleepTypeShift = 10;
constexpr unsigned kSleepTypeSoftOff = 0;

constexpr std::uint32_t kTimerMask = 0xFFFFFF;
constexpr unsigned kOverflowShift = 23;  // TMROF_STS is set whenever the timer's highest bit changes

// The APM ports; the FADT in SeaBIOS names these commands ACPI_ENABLE and ACPI_DISABLE.
constexpr std::uint16_t kApmPort = 0xB2;
constexpr std::uint8_t kAcpiEnable = 0xF1;
constexpr std::uint8_t kAcpiDisable = 0xF0;

constexpr std::uint16_t kGpePort = 0xAFE0;

// The SMBus host controller.
constexpr unsigned kSmbStatus = 0x00;
constexpr unsigned kSmbControl = 0x02;
constexpr unsigned kSmbBlockData = 0x07;
constexpr unsigned kSmbSlaveStatus = 0x01;
constexpr std::uint8_t kSmbDeviceError = 0x04;
constexpr std::uint8_t kSmbStatusBits = 0x1E;  // INTER, DEV_ERR, BUS_ERR, FAILED: a written one clears
constexpr std::uint8_t kSmbInterruptEnable = 0x01;
constexpr std::uint8_t kSmbStart = 0x40;
constexpr std::uint8_t kSmbControlBits = 0x1F;

std::int64_t ticks_at(Nanoseconds time) {
    return time / kSecond * Piix4Pm::kTimerFrequency + time % kSecond * Piix4Pm::kTimerFrequency / kSecond;
}

Nanoseconds time_of(std::int64_t tick) {
    const std::int64_t rest = tick % Piix4Pm::kTimerFrequency;
    return tick / Piix4Pm::kTimerFrequency * kSecond +
           (rest * kSecond + Piix4Pm::kTimerFrequency - 1) / Piix4Pm::kTimerFrequency;
}

}  // namespace

Piix4Pm::Piix4Pm(PortBus& ports, VirtualClock& clock, Line sci, std::function<void()> power_off, Present present)
    : PciFunction({.vendor = 0x8086,
                   .device = 0x7113,
                   .revision = 3,
                   .class_code = 0x068000,
                   .subsystem_vendor = 0x1AF4,
                   .subsystem = 0x1100,
                   .interrupt_pin = 1}),
      bus_(ports),
      clock_(clock),
      log_(log_category("pm")),
      sci_(std::move(sci)),
      power_off_(std::move(power_off)) {
    define_register(pci::kCommand, 2, 0, pci::kCommandIo);
    define_register(pci::kStatus, 2, pci::kStatusMediumDevsel | pci::kStatusFastBackToBack, 0, 0x7800);
    define_register(kPmBase, 4, 1, kPmBaseAddress);
    for (unsigned reg = 0x44; reg < kPmRegMisc; reg += 4) {  // CNTA to DEVRESJ
        define_register(reg, 4, 0, 0xFFFFFFFF);
    }
    define_register(kDevActB, 4, kApmcEnable, 0xFFFFFFFF);
    define_register(kDevResA, 4, present.parallel ? kDevResAParallel : 0, 0xFFFFFFFF);
    define_register(kDevResB, 4, 0x60000000, 0xFFFFFFFF);
    define_register(
        kDevResC, 4,
        (present.serial1 ? kDevResCSerial1 : 0) | (present.serial2 ? kDevResCSerial2 | kDevResCSerial2Range : 0),
        0xFFFFFFFF);
    define_register(kPmRegMisc, 1, 0, kPmIoEnable);
    define_register(kSmbBase, 4, 1, kSmbBaseAddress);
    define_register(kSmbHostConfiguration, 1, 0, kSmbHostEnable | kSmbInterruptSelect);
    define_register(0xD3, 1, 0, 0xFF);    // SMBSLVC
    define_register(0xD4, 2, 0, 0xFFFF);  // SMBSHDW1, SMBSHDW2

    overflow_ = clock.make_event("PIIX4 PM timer overflow", [this](std::int64_t, Nanoseconds) { update(); });
    gpe_ports_ = ports.claim({.owner = "PIIX4 general purpose events", .first = kGpePort, .count = 4},
                             {.read = [this](std::uint16_t offset, unsigned) { return read_gpe(offset); },
                              .write = [this](std::uint16_t offset, std::uint32_t value,
                                              unsigned) { write_gpe(offset, static_cast<std::uint8_t>(value)); },
                              .peek = [this](std::uint16_t offset, unsigned) { return read_gpe(offset); }});
    const auto read_apm = [this](std::uint16_t offset, unsigned) { return offset == 0 ? apm_control_ : apm_status_; };
    apm_ports_ = ports.claim({.owner = "PIIX4 APM", .first = kApmPort, .count = 2},
                             {.read = read_apm,
                              .write =
                                  [this](std::uint16_t offset, std::uint32_t value, unsigned) {
                                      const auto byte = static_cast<std::uint8_t>(value);
                                      if (offset == 0) {
                                          write_apm_command(byte);
                                      } else {
                                          apm_status_ = byte;
                                      }
                                  },
                              .peek = read_apm});
}

void Piix4Pm::reset() {
    PciFunction::reset();
    status_ = 0;
    enable_ = 0;
    control_ = 0;
    overflow_seen_ = ticks_at(clock_.now()) >> kOverflowShift;
    gpe_status_ = 0;
    gpe_enable_ = 0;
    apm_control_ = 0;
    apm_status_ = 0;
    smbus_ = {};
    smbus_block_ = {};
    smbus_block_index_ = 0;
    update();
}

// ---- where the blocks lie ------------------------------------------------------------------------------------------

void Piix4Pm::config_written(unsigned, unsigned) {
    place_pm();
    place_smbus();
    update();
}

void Piix4Pm::place_pm() {
    const bool enabled = (config8(kPmRegMisc) & kPmIoEnable) != 0;
    const std::uint32_t base = enabled ? config32(kPmBase) & kPmBaseAddress : 0;
    if (base == pm_base_) {
        return;
    }
    pm_base_ = base;
    pm_ports_.release();
    if (base == 0) {
        return;
    }
    const auto look = [this](std::uint16_t offset, unsigned size) {
        if (offset == kPmTimer && size == 4) {
            return static_cast<std::uint32_t>(timer()) & kTimerMask;  // at one moment: bytes would tear
        }
        std::uint32_t value = 0;
        for (unsigned i = 0; i < size; ++i) {
            value |= std::uint32_t{read_pm(offset + i)} << (8 * i);
        }
        return value;
    };
    pm_ports_ = bus_.try_claim(
        {.owner = "PIIX4 PM", .first = static_cast<std::uint16_t>(base), .count = kPmPorts, .widest = 4},
        {.read = look,
         .write = [this](std::uint16_t offset, std::uint32_t value, unsigned size) { write_pm(offset, value, size); },
         .peek = look});
}

void Piix4Pm::place_smbus() {
    const bool enabled = (config8(kSmbHostConfiguration) & kSmbHostEnable) != 0;
    const std::uint32_t base = enabled ? config32(kSmbBase) & kSmbBaseAddress : 0;
    if (base == smbus_base_) {
        return;
    }
    smbus_base_ = base;
    smbus_ports_.release();
    if (base == 0) {
        return;
    }
    smbus_ports_ =
        bus_.try_claim({.owner = "PIIX4 SMBus", .first = static_cast<std::uint16_t>(base), .count = kSmbusPorts},
                       {.read = [this](std::uint16_t offset, unsigned) { return read_smbus(offset); },
                        .write = [this](std::uint16_t offset, std::uint32_t value,
                                        unsigned) { write_smbus(offset, static_cast<std::uint8_t>(value)); },
                        .peek = [this](std::uint16_t offset, unsigned) { return peek_smbus(offset); }});
}

// ---- power management ----------------------------------------------------------------------------------------------

std::int64_t Piix4Pm::timer() const {
    return ticks_at(clock_.now());
}

bool Piix4Pm::timer_overflowed() const {
    return timer() >> kOverflowShift != overflow_seen_;
}

std::uint16_t Piix4Pm::pm_status() const {
    return static_cast<std::uint16_t>(status_ | (timer_overflowed() ? kTimerOverflow : 0));
}

std::uint8_t Piix4Pm::read_pm(unsigned offset) const {
    const auto byte_of = [offset](std::uint32_t value, unsigned first) {
        return static_cast<std::uint8_t>(value >> (8 * (offset - first)));
    };
    if (offset < kPmEnable) {
        return byte_of(pm_status(), kPmStatus);
    }
    if (offset < kPmControl) {
        return byte_of(enable_, kPmEnable);
    }
    if (offset < kPmControl + 2) {
        return byte_of(control_, kPmControl);
    }
    if (offset >= kPmTimer && offset < kPmTimer + 4) {
        return byte_of(static_cast<std::uint32_t>(timer()) & kTimerMask, kPmTimer);
    }
    return 0;
}

void Piix4Pm::write_pm(unsigned offset, std::uint32_t value, unsigned size) {
    // Sleep type and enable come in one 16-bit write; only a write to the upper byte can put the machine to sleep.
    for (unsigned i = 0; i < size; ++i) {
        write_pm_byte(offset + i, static_cast<std::uint8_t>(value >> (8 * i)));
    }
    update();
}

void Piix4Pm::write_pm_byte(unsigned offset, std::uint8_t value) {
    const unsigned shift = 8 * (offset & 1);
    const auto placed = static_cast<std::uint16_t>(value << shift);
    const auto other = static_cast<std::uint16_t>(0xFF00 >> shift);
    if (offset < kPmEnable) {
        status_ = static_cast<std::uint16_t>(status_ & ~placed);
        if ((placed & kTimerOverflow) != 0) {
            overflow_seen_ = timer() >> kOverflowShift;
        }
    } else if (offset < kPmControl) {
        enable_ = static_cast<std::uint16_t>((enable_ & other) | (placed & kEnableBits));
    } else if (offset < kPmControl + 2) {
        write_control(static_cast<std::uint16_t>((control_ & other) | placed));
    }
}

void Piix4Pm::write_control(std::uint16_t value) {
    control_ = value & kControlBits;
    if ((value & kSleepEnable) == 0) {
        return;
    }
    const unsigned type = (value >> kSleepTypeShift) & 7u;
    if (type != kSleepTypeSoftOff) {
        // Once a type: a guest may ask as often as it likes.
        const bool known = (sleep_types_logged_ & 1u << type) != 0;
        sleep_types_logged_ |= static_cast<std::uint8_t>(1u << type);
        log_->log(known ? spdlog::level::debug : spdlog::level::warn,
                  "the guest asks for sleep type {}, which this PC does not offer; ignored", type);
    } else if (power_off_) {
        log_->info("soft off");
        power_off_();
    }
}

void Piix4Pm::press_power_button() {
    status_ |= kPowerButton;
    update();
}

std::uint8_t Piix4Pm::read_gpe(unsigned offset) const {
    return static_cast<std::uint8_t>((offset < 2 ? gpe_status_ : gpe_enable_) >> (8 * (offset & 1)));
}

void Piix4Pm::write_gpe(unsigned offset, std::uint8_t value) {
    const unsigned shift = 8 * (offset & 1);
    if (offset < 2) {
        gpe_status_ = static_cast<std::uint16_t>(gpe_status_ & ~(value << shift));
    } else {
        gpe_enable_ = static_cast<std::uint16_t>((gpe_enable_ & (0xFF00 >> shift)) | value << shift);
    }
    update();
}

void Piix4Pm::write_apm_command(std::uint8_t value) {
    apm_control_ = value;
    if (value == kAcpiEnable) {
        control_ |= kSciEnable;
    } else if (value == kAcpiDisable) {
        control_ = static_cast<std::uint16_t>(control_ & ~kSciEnable);
    } else {
        log_->debug("APM command {:02X}h is not known", value);
    }
    update();
}

/// Drives the SCI and watches for the next overflow that could raise it.
void Piix4Pm::update() {
    const bool sci_enabled = (control_ & kSciEnable) != 0;
    const bool power_event = (pm_status() & enable_) != 0 || (gpe_status_ & gpe_enable_) != 0;
    const bool smbus_event = (smbus_[kSmbStatus] & kSmbStatusBits) != 0 &&
                             (smbus_[kSmbControl] & kSmbInterruptEnable) != 0 &&
                             (config8(kSmbHostConfiguration) & kSmbInterruptSelect) == kSmbInterruptIrq9;
    sci_.set((sci_enabled && power_event) || smbus_event);
    if (!sci_enabled || (enable_ & kTimerOverflow) == 0 || timer_overflowed()) {
        overflow_.cancel();
        return;
    }
    const Nanoseconds when = time_of((overflow_seen_ + 1) << kOverflowShift);
    if (!overflow_.pending() || overflow_.when() != when) {
        overflow_.schedule(when);
    }
}

// ---- SMBus ---------------------------------------------------------------------------------------------------------

std::uint8_t Piix4Pm::peek_smbus(unsigned offset) const {
    return offset == kSmbBlockData ? smbus_block_[smbus_block_index_] : smbus_[offset];
}

std::uint8_t Piix4Pm::read_smbus(unsigned offset) {
    const std::uint8_t value = peek_smbus(offset);
    if (offset == kSmbControl) {
        smbus_block_index_ = 0;  // a read of SMBHSTCNT rewinds the block buffer
    } else if (offset == kSmbBlockData) {
        smbus_block_index_ = (smbus_block_index_ + 1) % kSmbusBlock;
    }
    return value;
}

void Piix4Pm::write_smbus(unsigned offset, std::uint8_t value) {
    switch (offset) {
        case kSmbStatus:
            smbus_[kSmbStatus] = static_cast<std::uint8_t>(smbus_[kSmbStatus] & ~(value & kSmbStatusBits));
            break;
        case kSmbSlaveStatus:
            break;  // no slave events ever happen
        case kSmbControl:
            smbus_[kSmbControl] = value & kSmbControlBits;
            if ((value & kSmbStart) != 0) {
                smbus_[kSmbStatus] |= kSmbDeviceError;  // nobody acknowledges the address
            }
            break;
        case kSmbBlockData:
            smbus_block_[smbus_block_index_] = value;
            smbus_block_index_ = (smbus_block_index_ + 1) % kSmbusBlock;
            break;
        default:
            smbus_[offset] = value;
    }
    update();
}

void Piix4Pm::serialize(StateStream& stream) {
    stream.section(name(), kStateVersion, [&] {
        stream.field(status_);
        stream.field(enable_);
        stream.field(control_);
        stream.field(overflow_seen_);
        stream.field(gpe_status_);
        stream.field(gpe_enable_);
        stream.field(apm_control_);
        stream.field(apm_status_);
        stream.field(smbus_);
        stream.field(smbus_block_);
        stream.field(smbus_block_index_);
        smbus_block_index_ %= kSmbusBlock;
        if (stream.loading() && (overflow_seen_ < 0 || overflow_seen_ > std::int64_t{1} << 30)) {
            overflow_seen_ = 0;
            stream.refuse("the timer's overflow count is out of range");
        }
        serialize_config(stream);
    });
}

}  // namespace vpc::devices
