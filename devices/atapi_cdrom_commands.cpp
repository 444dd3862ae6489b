// The packet commands of an AtapiCdrom, by their names in MMC-3 and SPC-2.

#include <algorithm>
#include <string_view>

#include "devices/atapi_cdrom.h"

namespace vpc::devices {
namespace {

enum Command : std::uint8_t {
    kTestUnitReady = 0x00,
    kRequestSense = 0x03,
    kInquiry = 0x12,
    kStartStopUnit = 0x1B,
    kPreventAllow = 0x1E,
    kReadCapacity = 0x25,
    kRead10 = 0x28,
    kSeek10 = 0x2B,
    kReadSubchannel = 0x42,
    kReadToc = 0x43,
    kGetConfiguration = 0x46,
    kGetEventStatus = 0x4A,
    kReadDiscInformation = 0x51,
    kModeSense10 = 0x5A,
    kRead12 = 0xA8,
    kSetCdSpeed = 0xBB,
    kMechanismStatus = 0xBD,
    kReadCd = 0xBE,
};

constexpr std::uint8_t kNotReady = 2;
constexpr std::uint8_t kIllegalRequest = 5;
constexpr std::uint8_t kUnitAttention = 6;

constexpr std::uint8_t kInvalidOpcode = 0x20;
constexpr std::uint8_t kOutOfRange = 0x21;
constexpr std::uint8_t kInvalidField = 0x24;
constexpr std::uint8_t kMediumMayHaveChanged = 0x28;
constexpr std::uint8_t kPowerOnOrReset = 0x29;
constexpr std::uint8_t kSavingNotSupported = 0x39;
constexpr std::uint8_t kMediumNotPresent = 0x3A;
constexpr std::uint8_t kRemovalPrevented = 0x53;
constexpr std::uint8_t kIllegalModeForTrack = 0x64;

constexpr std::uint8_t kDataTrack = 0x14;  // ADR 1, control: data track, no copy
constexpr std::uint8_t kLeadOut = 0xAA;
constexpr std::uint32_t kFramesPerSecond = 75;
constexpr std::uint32_t kPregap = 150;  // frames before block 0
constexpr std::uint16_t kSpeed = 5645;  // kB/s: 32x

template <std::size_t N>
std::uint32_t big_endian(const std::array<std::uint8_t, N>& bytes, std::size_t first, std::size_t count) {
    std::uint32_t value = 0;
    for (std::size_t i = first; i < first + count; ++i) {
        value = value << 8 | bytes[i];
    }
    return value;
}

void put(std::vector<std::uint8_t>& data, std::uint32_t value, unsigned bytes) {
    while (bytes-- > 0) {
        data.push_back(static_cast<std::uint8_t>(value >> (8 * bytes)));
    }
}

void put_text(std::vector<std::uint8_t>& data, std::string_view text, std::size_t width) {
    data.insert(data.end(), text.begin(), text.end());
    data.insert(data.end(), width - text.size(), ' ');
}

/// The first two bytes of many answers: how many follow.
void put_length(std::vector<std::uint8_t>& data) {
    const std::size_t length = data.size() - 2;
    data[0] = static_cast<std::uint8_t>(length >> 8);
    data[1] = static_cast<std::uint8_t>(length);
}

bool needs_no_ready_unit(std::uint8_t command) {
    return command == kRequestSense || command == kInquiry || command == kGetEventStatus ||
           command == kGetConfiguration;
}

}  // namespace

void AtapiCdrom::run_packet() {
    const std::uint8_t command = packet_[0];
    log_->trace("packet command {:02X}h", command);
    if (!needs_no_ready_unit(command) && attention_ != Attention::None) {
        const bool changed = attention_ == Attention::MediumChanged;
        attention_ = Attention::None;
        return check_condition({.key = kUnitAttention, .code = changed ? kMediumMayHaveChanged : kPowerOnOrReset});
    }
    if (command != kRequestSense) {
        sense_ = {};
    }
    run_command();
}

void AtapiCdrom::run_command() {
    switch (packet_[0]) {
        case kTestUnitReady:
            return ready() ? complete() : void();
        case kRequestSense:
            return request_sense();
        case kInquiry:
            return inquiry();
        case kStartStopUnit:
            return start_stop();
        case kPreventAllow:
            return prevent_allow();
        case kReadCapacity:
            return read_capacity();
        case kRead10:
            return read(big_endian(packet_, 7, 2));
        case kRead12:
            return read(big_endian(packet_, 6, 4));
        case kReadCd:
            return read_cd();
        case kSeek10:
            return seek();
        case kReadSubchannel:
            return read_subchannel();
        case kReadToc:
            return read_toc();
        case kGetConfiguration:
            return get_configuration();
        case kGetEventStatus:
            return get_event_status();
        case kReadDiscInformation:
            return read_disc_information();
        case kModeSense10:
            return mode_sense();
        case kMechanismStatus:
            return mechanism_status();
        case kSetCdSpeed:  // there is one speed: as fast as the host reads
            return complete();
        default:
            log_->debug("packet command {:02X}h is not supported", packet_[0]);
            return check_condition({.key = kIllegalRequest, .code = kInvalidOpcode});
    }
}

/// Whether there is a disc to be read; ends the command otherwise.
bool AtapiCdrom::ready() {
    if (disc_visible()) {
        return true;
    }
    const std::uint8_t tray = tray_open_ ? 2 : 1;
    check_condition({.key = kNotReady, .code = kMediumNotPresent, .qualifier = tray});
    return false;
}

void AtapiCdrom::request_sense() {
    Sense sense = sense_;
    if (sense.key == 0 && attention_ != Attention::None) {
        const bool changed = attention_ == Attention::MediumChanged;
        sense = {.key = kUnitAttention, .code = changed ? kMediumMayHaveChanged : kPowerOnOrReset};
        attention_ = Attention::None;
    }
    sense_ = {};
    Bytes data(18);
    data[0] = 0x70;  // current error
    data[2] = sense.key;
    data[7] = 10;  // bytes that follow
    data[12] = sense.code;
    data[13] = sense.qualifier;
    reply(std::move(data), packet_[4]);
}

void AtapiCdrom::inquiry() {
    if ((packet_[1] & 1) != 0) {  // vital product data
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    Bytes data{0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0};  // CD-ROM, removable, ATAPI
    put_text(data, "VPC", 8);
    put_text(data, "CD-ROM", 16);
    put_text(data, "1.0", 4);
    reply(std::move(data), packet_[4]);
}

void AtapiCdrom::start_stop() {
    const bool load_eject = (packet_[4] & 2) != 0;
    const bool start = (packet_[4] & 1) != 0;
    if (!load_eject) {
        return complete();
    }
    if (!start) {
        if (locked_) {
            return check_condition({.key = kIllegalRequest, .code = kRemovalPrevented, .qualifier = 2});
        }
        if (!tray_open_) {
            event_ = Event::MediaRemoval;
        }
        tray_open_ = true;
    } else if (tray_open_) {
        tray_open_ = false;
        if (disc_) {
            attention_ = Attention::MediumChanged;
            event_ = Event::NewMedia;
        }
    }
    complete();
}

void AtapiCdrom::prevent_allow() {
    locked_ = (packet_[4] & 1) != 0;
    complete();
}

void AtapiCdrom::read_capacity() {
    if (ready()) {
        Bytes data;
        put(data, blocks() != 0 ? blocks() - 1 : 0, 4);
        put(data, kBlockSize, 4);
        reply(std::move(data), 8);
    }
}

void AtapiCdrom::read(std::uint32_t count) {
    if (!ready()) {
        return;
    }
    const std::uint32_t lba = big_endian(packet_, 2, 4);
    if (lba > blocks() || count > blocks() - lba) {
        return check_condition({.key = kIllegalRequest, .code = kOutOfRange});
    }
    read_blocks(lba, count);
}

/// What the command in progress reads of each block.
std::uint8_t AtapiCdrom::wanted_parts() const {
    const auto parts = static_cast<std::uint8_t>(packet_[9] & 0xF8);
    const bool known = packet_[0] == kReadCd && cd_frame::size_of(parts).value_or(0) != 0;  // states can be made up
    return known ? parts : cd_frame::kWantsUserData;
}

/// Sectors of mode 1: an image has no others. Neither errors of the first level of correction nor subchannel data.
void AtapiCdrom::read_cd() {
    constexpr unsigned kAnyType = 0;
    constexpr unsigned kMode1 = 2;
    if (!ready()) {
        return;
    }
    const unsigned type = packet_[1] >> 2 & 7;
    if (type != kAnyType && type != kMode1) {
        return check_condition({.key = kIllegalRequest, .code = kIllegalModeForTrack});
    }
    const auto size = cd_frame::size_of(packet_[9] & 0xF8);
    if (!size || (packet_[9] & 0x06) != 0 || (packet_[10] & 7) != 0) {
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    if (size == 0u) {
        return complete();
    }
    const std::uint32_t count = big_endian(packet_, 6, 3);
    if (wanted_parts() != cd_frame::kWantsUserData &&
        std::uint64_t{big_endian(packet_, 2, 4)} + count > cd_frame::kFirstWithoutAddress) {
        return check_condition({.key = kIllegalRequest, .code = kOutOfRange});
    }
    read(count);
}

void AtapiCdrom::seek() {
    if (!ready()) {
        return;
    }
    if (big_endian(packet_, 2, 4) >= blocks()) {
        return check_condition({.key = kIllegalRequest, .code = kOutOfRange});
    }
    complete();
}

void AtapiCdrom::put_address(Bytes& data, std::uint32_t lba, bool msf) const {
    if (!msf) {
        return put(data, lba, 4);
    }
    const std::uint32_t frame = lba + kPregap;
    data.push_back(0);
    data.push_back(static_cast<std::uint8_t>(frame / kFramesPerSecond / 60));
    data.push_back(static_cast<std::uint8_t>(frame / kFramesPerSecond % 60));
    data.push_back(static_cast<std::uint8_t>(frame % kFramesPerSecond));
}

void AtapiCdrom::read_subchannel() {
    constexpr std::uint8_t kNoAudioStatus = 0x15;
    if (!ready()) {
        return;
    }
    const bool msf = (packet_[1] & 2) != 0;
    const std::uint8_t format = packet_[3];
    Bytes data{0, kNoAudioStatus, 0, 0};
    if ((packet_[2] & 0x40) != 0) {
        if (format == 1) {  // the current position: the head rests on the first block
            data.insert(data.end(), {1, kDataTrack, 1, 1});
            put_address(data, 0, msf);
            put_address(data, 0, msf);
        } else if (format == 2 || format == 3) {  // catalogue number and ISRC, of which there are none
            data.insert(data.end(), {format, kDataTrack, static_cast<std::uint8_t>(format == 3 ? 1 : 0), 0});
            data.resize(24);
        } else {
            return check_condition({.key = kIllegalRequest, .code = kInvalidField});
        }
    }
    data[3] = static_cast<std::uint8_t>(data.size() - 4);
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::read_toc() {
    if (!ready()) {
        return;
    }
    const bool msf = (packet_[1] & 2) != 0;
    // SFF-8020i had the format in the last byte.
    const unsigned format = (packet_[2] & 15) != 0 ? packet_[2] & 15u : packet_[9] >> 6u;
    const std::uint8_t first = packet_[6];
    Bytes data{0, 0, 1, 1};  // first and last track or session
    const auto full_entry = [&data](std::uint8_t point, std::array<std::uint8_t, 3> position) {
        data.insert(data.end(), {1, kDataTrack, 0, point, 0, 0, 0, 0, position[0], position[1], position[2]});
    };
    if (format == 0 && (first <= 1 || first == kLeadOut)) {
        if (first <= 1) {
            data.insert(data.end(), {0, kDataTrack, 1, 0});
            put_address(data, 0, msf);
        }
        data.insert(data.end(), {0, kDataTrack, kLeadOut, 0});
        put_address(data, blocks(), msf);
    } else if (format == 1) {  // the last session's first track
        data.insert(data.end(), {0, kDataTrack, 1, 0});
        put_address(data, 0, msf);
    } else if (format == 2) {
        Bytes end;
        put_address(end, blocks(), true);
        full_entry(0xA0, {1, 0, 0});
        full_entry(0xA1, {1, 0, 0});
        full_entry(0xA2, {end[1], end[2], end[3]});
        full_entry(1, {0, 2, 0});
    } else {
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    put_length(data);
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::get_configuration() {
    constexpr std::uint16_t kProfileCdRom = 0x0008;
    constexpr std::uint8_t kPersistent = 2;
    constexpr std::uint8_t kCurrent = 1;
    const unsigned wanted = packet_[1] & 3;
    const std::uint32_t first = big_endian(packet_, 2, 2);
    const std::uint8_t present = disc_visible() ? kCurrent : 0;
    Bytes data(6);
    put(data, disc_visible() ? kProfileCdRom : 0, 2);
    const auto feature = [&](std::uint16_t code, unsigned version, std::uint8_t flags,
                             std::initializer_list<std::uint8_t> body) {
        const bool listed = wanted == 0 || (wanted == 1 && (flags & kCurrent) != 0);
        if (wanted == 2 ? code == first : listed && code >= first) {
            put(data, code, 2);
            data.push_back(static_cast<std::uint8_t>(version << 2 | flags));
            data.push_back(static_cast<std::uint8_t>(body.size()));
            data.insert(data.end(), body);
        }
    };
    if (wanted == 3) {
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    feature(0x0000, 0, kPersistent | kCurrent, {0, kProfileCdRom, present, 0});  // profile list
    feature(0x0001, 0, kPersistent | kCurrent, {0, 0, 0, 2});                    // core: ATAPI
    feature(0x0003, 0, kPersistent | kCurrent, {0x29, 0, 0, 0});                 // removable: tray, eject, lock
    feature(0x0010, 0, present, {0, 0, 8, 0, 0, 16, 0, 0});                      // random readable: 2048 bytes
    feature(0x001E, 0, present, {0});                                            // CD read
    feature(0x0100, 0, kPersistent | kCurrent, {});                              // power management
    const auto length = static_cast<std::uint32_t>(data.size() - 4);
    for (unsigned i = 0; i < 4; ++i) {
        data[i] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
    }
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::get_event_status() {
    constexpr std::uint8_t kMediaClass = 4;
    constexpr std::uint8_t kNoEventAvailable = 0x80;
    if ((packet_[1] & 1) == 0) {  // asynchronous notification
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    Bytes data{0, 0, kNoEventAvailable, 1 << kMediaClass};
    if ((packet_[4] >> kMediaClass & 1) != 0) {
        data[2] = kMediaClass;
        const auto status = static_cast<std::uint8_t>((tray_open_ ? 1 : 0) | (disc_visible() ? 2 : 0));
        data.insert(data.end(), {static_cast<std::uint8_t>(event_), status, 0, 0});
        event_ = Event::None;
    }
    put_length(data);
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::read_disc_information() {
    if (!ready()) {
        return;
    }
    Bytes data(34);
    data[2] = 0x0E;  // the last session is complete, and the disc
    data[3] = 1;     // first track
    data[4] = 1;     // sessions
    data[5] = 1;     // first and last track in the last session
    data[6] = 1;
    std::fill(&data[16], &data[24], std::uint8_t{0xFF});  // nothing can be added
    put_length(data);
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::mode_sense() {
    constexpr std::uint8_t kErrorRecovery = 0x01;
    constexpr std::uint8_t kCapabilities = 0x2A;
    constexpr std::uint8_t kAllPages = 0x3F;
    const unsigned control = packet_[2] >> 6;
    const std::uint8_t page = packet_[2] & 0x3F;
    constexpr unsigned kChangeable = 1;
    constexpr unsigned kSaved = 3;
    if (control == kSaved) {
        return check_condition({.key = kIllegalRequest, .code = kSavingNotSupported});
    }
    if ((page != kErrorRecovery && page != kCapabilities && page != kAllPages)) {
        return check_condition({.key = kIllegalRequest, .code = kInvalidField});
    }
    Bytes data(8);
    data[2] = tray_open_ ? 0x71 : disc_ ? 0x01 : 0x70;  // medium type: open, a 120 mm data disc, none
    const auto append = [&](Bytes body) {
        if (control == kChangeable) {  // nothing can be
            std::fill(body.begin() + 2, body.end(), std::uint8_t{0});
        }
        data.insert(data.end(), body.begin(), body.end());
    };
    if (page != kCapabilities) {
        append({kErrorRecovery, 6, 0, 5, 0, 0, 0, 0});
    }
    if (page != kErrorRecovery) {
        const auto tray = static_cast<std::uint8_t>(0x29 | (locked_ ? 2 : 0));  // tray loader, eject, lock
        Bytes body{kCapabilities, 18, 0, 0, 0, 0, tray, 0};
        put(body, kSpeed, 2);
        put(body, 0, 2);    // volume levels
        put(body, 512, 2);  // KiB of buffer
        put(body, kSpeed, 2);
        put(body, 0, 4);
        append(std::move(body));
    }
    put_length(data);
    reply(std::move(data), big_endian(packet_, 7, 2));
}

void AtapiCdrom::mechanism_status() {
    Bytes data(8);
    data[1] = tray_open_ ? 0x10 : 0;
    reply(std::move(data), big_endian(packet_, 8, 2));
}

}  // namespace vpc::devices
