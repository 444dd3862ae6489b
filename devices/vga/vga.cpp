#include "devices/vga/vga.h"

#include <algorithm>
#include <utility>

#include "core/state_stream.h"
#include "devices/vga/linear_frame.h"

namespace vpc::devices {
namespace {

constexpr std::uint16_t kStateVersion = 2;

// Ports. Those of the CRTC and input status 1 are at 3Bxh on a monochrome screen and at 3Dxh on a colour one.
constexpr std::uint16_t kAttribute = 0x3C0;
constexpr std::uint16_t kAttributeRead = 0x3C1;
constexpr std::uint16_t kMiscellaneousWriteStatus0 = 0x3C2;
constexpr std::uint16_t kVideoSubsystemEnable = 0x3C3;
constexpr std::uint16_t kSequencerIndex = 0x3C4;
constexpr std::uint16_t kSequencerData = 0x3C5;
constexpr std::uint16_t kDacMask = 0x3C6;
constexpr std::uint16_t kDacReadAddressState = 0x3C7;
constexpr std::uint16_t kDacAddress = 0x3C8;
constexpr std::uint16_t kDacData = 0x3C9;
constexpr std::uint16_t kFeatureControlRead = 0x3CA;
constexpr std::uint16_t kMiscellaneousRead = 0x3CC;
constexpr std::uint16_t kGraphicsIndex = 0x3CE;
constexpr std::uint16_t kGraphicsData = 0x3CF;
constexpr std::uint16_t kCrtcIndex = 0x3D4;
constexpr std::uint16_t kCrtcData = 0x3D5;
constexpr std::uint16_t kStatus1FeatureControl = 0x3DA;
constexpr std::uint16_t kDispiIndex = 0x1CE;  // and 1CFh for data; both are 16 bits wide
constexpr std::uint16_t kNoPort = 0;

// Miscellaneous output.
constexpr std::uint8_t kColorPorts = 0x01;
constexpr std::uint8_t kMemoryEnable = 0x02;

// Input status.
constexpr std::uint8_t kSwitchSense = 0x10;      // as with a monitor connected
constexpr std::uint8_t kDisplayDisabled = 0x01;  // 1
constexpr std::uint8_t kVerticalRetrace = 0x08;  // 1

constexpr std::uint8_t kOpenBus = 0xFF;

bool is_cursor_register(std::uint8_t index) {
    return index == vga::Crtc::kCursorStart || index == vga::Crtc::kCursorEnd ||
           index == vga::Crtc::kCursorLocationHigh || index == vga::Crtc::kCursorLocationLow;
}

}  // namespace

Vga::Vga(PortBus& ports, PhysicalMemory& memory, VirtualClock& clock, vga::Aperture::Later later)
    : clock_(clock), aperture_(memory, ram_, memory_, std::move(later)) {
    const auto claim = [&](const char* owner, std::uint16_t first, std::uint32_t count) {
        return ports.claim(
            {.owner = owner, .first = first, .count = count},
            {.read = [this, first](std::uint16_t offset,
                                   unsigned) { return read(static_cast<std::uint16_t>(first + offset)); },
             .write =
                 [this, first](std::uint16_t offset, std::uint32_t value, unsigned) {
                     write(static_cast<std::uint16_t>(first + offset), static_cast<std::uint8_t>(value));
                 },
             .peek = [this, first](std::uint16_t offset,
                                   unsigned) { return peek(static_cast<std::uint16_t>(first + offset)); }});
    };
    claims_ = {
        claim("VGA monochrome CRTC", 0x3B4, 2),
        claim("VGA monochrome status", 0x3BA, 1),
        claim("VGA", 0x3C0, 16),
        claim("VGA colour CRTC", 0x3D4, 2),
        claim("VGA colour status", 0x3DA, 1),
        ports.claim({.owner = "Bochs display interface", .first = kDispiIndex, .count = 3, .widest = 2},
                    {.read = [this](std::uint16_t offset, unsigned size) { return read_dispi(offset, size); },
                     .write = [this](std::uint16_t offset, std::uint32_t value,
                                     unsigned size) { write_dispi(offset, static_cast<std::uint16_t>(value), size); },
                     .peek = [this](std::uint16_t offset, unsigned size) { return read_dispi(offset, size); }})};
    reset();
}

void Vga::reset() {
    aperture_.close();
    miscellaneous_output_ = 0;
    feature_control_ = 0;
    enabled_ = true;
    sequencer_.reset();
    graphics_.reset();
    attributes_.reset();
    dac_.reset();
    crtc_.reset();
    dispi_.reset();
    memory_.reset();
    configure_memory();
    display_changed();
}

void Vga::serialize(StateStream& stream) {
    if (stream.loading()) {
        aperture_.close();
    } else {
        aperture_.collect();
    }
    stream.section(name(), kStateVersion, [&] {
        stream.field(miscellaneous_output_);
        stream.field(feature_control_);
        stream.field(enabled_);
        sequencer_.serialize(stream);
        graphics_.serialize(stream);
        attributes_.serialize(stream);
        dac_.serialize(stream);
        crtc_.serialize(stream);
        dispi_.serialize(stream);
        memory_.serialize(stream);
    });
    if (stream.loading()) {
        configure_memory();
        display_changed();
    }
}

std::uint16_t Vga::decode(std::uint16_t port) const {
    if (!enabled_) {
        return port == kVideoSubsystemEnable ? port : kNoPort;
    }
    const std::uint16_t block = port & 0xFFF0;
    if (block == 0x3C0) {
        return port;
    }
    const bool color = (miscellaneous_output_ & kColorPorts) != 0;
    return block == (color ? 0x3D0 : 0x3B0) ? static_cast<std::uint16_t>(0x3D0 | (port & 0xF)) : kNoPort;
}

std::uint8_t Vga::input_status_1() const {
    const auto beam = timing_.beam(clock_.now());
    return static_cast<std::uint8_t>((beam.displaying ? 0 : kDisplayDisabled) |
                                     (beam.vertical_retrace ? kVerticalRetrace : 0));
}

std::uint8_t Vga::peek(std::uint16_t port) const {
    switch (decode(port)) {
        case kAttribute:
            return attributes_.index();
        case kAttributeRead:
            return attributes_.read_data();
        case kMiscellaneousWriteStatus0:
            return kSwitchSense;
        case kVideoSubsystemEnable:
            return enabled_ ? 1 : 0;
        case kSequencerIndex:
            return sequencer_.index();
        case kSequencerData:
            return sequencer_.read_data();
        case kDacMask:
            return dac_.mask();
        case kDacReadAddressState:
            return dac_.state();
        case kDacAddress:
            return dac_.address();
        case kDacData:
            return dac_.peek_data();
        case kFeatureControlRead:
            return feature_control_;
        case kMiscellaneousRead:
            return miscellaneous_output_;
        case kGraphicsIndex:
            return graphics_.index();
        case kGraphicsData:
            return graphics_.read_data();
        case kCrtcIndex:
            return crtc_.index();
        case kCrtcData:
            return crtc_.read_data();
        case kStatus1FeatureControl:
            return input_status_1();
        default:
            return kOpenBus;
    }
}

std::uint8_t Vga::read(std::uint16_t port) {
    switch (decode(port)) {
        case kDacData:
            return dac_.read_data();
        case kStatus1FeatureControl:
            attributes_.reset_flip_flop();
            return input_status_1();
        default:
            return peek(port);
    }
}

void Vga::write(std::uint16_t port, std::uint8_t value) {
    bool changed = false;
    switch (decode(port)) {
        case kAttribute:
            changed = attributes_.write(value);
            break;
        case kMiscellaneousWriteStatus0:
            if (miscellaneous_output_ != value) {
                miscellaneous_output_ = value;
                configure_memory();
                timing_.configure(crtc_, sequencer_, miscellaneous_output_);
            }
            break;
        case kVideoSubsystemEnable:
            enabled_ = (value & 1) != 0;
            configure_memory();
            break;
        case kSequencerIndex:
            sequencer_.write_index(value);
            break;
        case kSequencerData:
            if (sequencer_.write_data(value)) {
                configure_memory();
                changed = sequencer_.index() == vga::Sequencer::kClockingMode ||
                          sequencer_.index() == vga::Sequencer::kCharacterMapSelect;
            }
            break;
        case kDacMask:
            changed = dac_.write_mask(value);
            break;
        case kDacReadAddressState:
            dac_.write_read_address(value);
            break;
        case kDacAddress:
            dac_.write_write_address(value);
            break;
        case kDacData:
            changed = dac_.write_data(value);
            break;
        case kGraphicsIndex:
            graphics_.write_index(value);
            break;
        case kGraphicsData:
            changed = write_graphics(value);
            break;
        case kCrtcIndex:
            crtc_.write_index(value);
            break;
        case kCrtcData:
            changed = crtc_.write_data(value) && !(graphics_.graphics() && is_cursor_register(crtc_.index()));
            break;
        case kStatus1FeatureControl:
            feature_control_ = value & 0x03;
            break;
        default:
            break;
    }
    if (changed) {
        display_changed();
    }
}

bool Vga::write_graphics(std::uint8_t value) {
    const auto shift = graphics_.shift();
    const bool graphics = graphics_.graphics();
    if (graphics_.write_data(value)) {
        configure_memory();
    }
    return graphics_.shift() != shift || graphics_.graphics() != graphics;
}

std::uint32_t Vga::read_dispi(std::uint16_t offset, unsigned size) const {
    if (size != 2) {
        return kOpenBus;  // the registers know words only
    }
    return offset == 0 ? dispi_.index() : dispi_.read_data();
}

void Vga::write_dispi(std::uint16_t offset, std::uint16_t value, unsigned size) {
    if (size != 2) {
        return;
    }
    if (offset == 0) {
        dispi_.write_index(value);
        return;
    }
    const auto change = dispi_.write_data(value);
    if (change == vga::BochsDispi::Change::None) {
        return;
    }
    dac_.set_eight_bits(dispi_.eight_bit_dac());
    configure_memory();
    if (change == vga::BochsDispi::Change::ModeAndClear) {
        const std::uint32_t size_in_units = dispi_.pitch() * dispi_.height();
        if (dispi_.bits_per_pixel() == 4) {
            memory_.clear(0, size_in_units);
        } else {
            std::fill_n(ram_.data(), size_in_units, std::uint8_t{0});
            ram_.mark(0, size_in_units);
        }
    }
    display_changed();
}

void Vga::place_frame_buffer(std::optional<std::uint32_t> address) {
    aperture_.place_frame_buffer(address);
}

std::optional<TextScreen> Vga::text() {
    collect();
    return vga::read_text_screen(display());
}

Frame Vga::render() {
    collect();
    return vga::render_frame(display());
}

std::uint64_t Vga::generation() {
    collect();
    return generation_;
}

void Vga::collect() {
    aperture_.collect();
    if (memory_.visible_changes() != seen_plane_changes_) {
        seen_plane_changes_ = memory_.visible_changes();
        whole_generation_ = ++generation_;
    }
    std::vector<bool>& marks = ram_.marks();
    if (std::find(marks.begin(), marks.end(), true) == marks.end()) {
        return;
    }
    if (!dispi_.enabled() || dispi_.bits_per_pixel() == 4) {
        const auto end = dispi_.enabled() ? marks.end()  // what a VGA cannot reach does not show
                                          : marks.begin() + vga::VideoMemory::kVgaSize / vga::VideoRam::kPage;
        if (std::find(marks.begin(), end, true) != end) {
            whole_generation_ = ++generation_;
        }
        marks.assign(marks.size(), false);
        return;
    }
    ++generation_;
    for (std::size_t page = 0; page < marks.size(); ++page) {
        if (marks[page]) {
            page_generations_[page] = generation_;
        }
    }
    marks.assign(marks.size(), false);
}

FrameBand Vga::refresh(Picture& picture) {
    collect();
    if (picture.generation == generation_) {
        return {};
    }
    const std::uint64_t seen = std::exchange(picture.generation, generation_);
    const bool by_lines = dispi_.enabled() && dispi_.bits_per_pixel() != 4 && seen >= whole_generation_;
    if (!by_lines) {
        picture.frame = vga::render_frame(display());
        return {.first = 0, .count = picture.frame.height};
    }
    const vga::Display shown = display();
    if (!shown.linear_shows()) {
        return {};
    }
    unsigned first = 0;
    unsigned end = 0;
    for (unsigned line = 0; line < picture.frame.height; ++line) {
        const vga::LinearSpan span = vga::linear_span(shown, line);
        const std::uint32_t last = (span.first + span.size - 1) / vga::VideoRam::kPage;
        bool changed = false;
        for (std::uint32_t page = span.first / vga::VideoRam::kPage; page <= last && !changed; ++page) {
            changed = page_generations_[page % vga::VideoRam::kPages] > seen;
        }
        if (changed) {
            const auto to = std::span(picture.frame.pixels);
            vga::paint_linear_line(shown, line,
                                   to.subspan(std::size_t{line} * picture.frame.width, picture.frame.width));
            first = end == 0 ? line : first;
            end = line + 1;
        }
    }
    return {.first = first, .count = end - first};
}

void Vga::configure_memory() {
    memory_.configure(sequencer_, graphics_,
                      {.enabled = enabled_ && (miscellaneous_output_ & kMemoryEnable) != 0,
                       .bank = dispi_.enabled() ? dispi_.bank() : 0,
                       .linear = dispi_.enabled() && dispi_.bits_per_pixel() != 4});
    aperture_.reconsider();
}

void Vga::display_changed() {
    whole_generation_ = ++generation_;
    timing_.configure(crtc_, sequencer_, miscellaneous_output_);

    if (dispi_.enabled()) {
        memory_.watch(0, vga::VideoMemory::kPlaneSize, 0xFFFFFFFF);
        return;
    }
    const unsigned everywhere = graphics_.graphics() ? 0 : 0xFFu << 16;  // plane 2 holds the fonts
    const bool split = crtc_.line_compare() < crtc_.vertical_displayed();
    if (crtc_.banked() || split) {
        memory_.watch(0, vga::VideoMemory::kPlaneSize, everywhere);
        return;
    }
    const unsigned rows = crtc_.vertical_displayed() / display().row_lines() + 2;  // the first and last may be cut
    const unsigned counts = rows * crtc_.row_pitch() + crtc_.horizontal_displayed() + 1;
    memory_.watch(static_cast<std::uint32_t>(crtc_.start_address()) << crtc_.address_shift(),
                  std::min(counts << crtc_.address_shift(), vga::VideoMemory::kPlaneSize), everywhere);
}

}  // namespace vpc::devices
