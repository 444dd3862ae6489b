#include "devices/atapi_cdrom.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

#include "core/io_executor.h"
#include "core/state_stream.h"

namespace vpc::devices {
namespace {

// Interrupt reason, in the sector count register.
constexpr std::uint8_t kCommand = 0x01;  // C/D
constexpr std::uint8_t kToHost = 0x02;   // I/O
constexpr std::uint8_t kReasonBits = 0x07;

constexpr std::uint8_t kFeatureDma = 0x01;
constexpr std::uint8_t kFeatureOverlap = 0x02;
constexpr std::uint8_t kSetTransferMode = 0x03;
constexpr std::uint8_t kDefaultTransferMode = 0x42;  // Ultra DMA 2, the PIIX4's fastest
constexpr std::uint32_t kMostPerBlock = 0xFFFE;

constexpr std::uint32_t kSectorsPerBlock = AtapiCdrom::kBlockSize / disk::kSectorSize;

}  // namespace

std::string cd_problem(std::uint64_t image_sectors) {
    if (image_sectors % kSectorsPerBlock != 0) {
        return fmt::format("has {} bytes: a CD image is made of sectors of 2048 bytes", image_sectors * 512);
    }
    if (image_sectors / kSectorsPerBlock > 0xFFFF'FFFF) {
        return "is larger than any disc";
    }
    return {};
}

AtapiCdrom::AtapiCdrom(std::shared_ptr<disk::BlockDevice> disc)
    : disc_(std::move(disc)), log_(log_category("cdrom")), alive_(std::make_shared<const bool>(true)) {}

AtapiCdrom::~AtapiCdrom() = default;

bool AtapiCdrom::insert(std::shared_ptr<disk::BlockDevice> disc) {
    if (disc_ && !eject()) {
        return false;
    }
    disc_ = std::move(disc);
    tray_open_ = false;
    attention_ = Attention::MediumChanged;
    event_ = Event::NewMedia;
    return true;
}

bool AtapiCdrom::eject() {
    if (locked_) {
        event_ = Event::EjectRequest;
        return false;
    }
    if (disc_) {
        disc_.reset();
        attention_ = Attention::MediumChanged;
        event_ = Event::MediaRemoval;
    }
    return true;
}

// ---- resets --------------------------------------------------------------------------------------------------------

/// Gives up the command in progress; work that is under way completes into nothing.
void AtapiCdrom::cancel() {
    ++generation_;
    end_block();
    piece_.reset();
    phase_ = Phase::Idle;
    left_ = 0;
}

void AtapiCdrom::begin_software_reset() {
    cancel();
    asleep_ = false;
    status_ = ata::kBusy;
    set_interrupt(false);
}

void AtapiCdrom::set_signature() {
    current_ = {};
    previous_ = {};
    current_[ata::kSectorCount] = 1;
    current_[ata::kLbaLow] = 1;
    current_[ata::kLbaMid] = 0x14;
    current_[ata::kLbaHigh] = 0xEB;
}

/// A packet device is not ready before its first packet: DRDY stays clear.
void AtapiCdrom::diagnose() {
    cancel();
    set_signature();
    error_ = ata::kDiagnosticPassed;
    status_ = 0;
}

void AtapiCdrom::hardware_reset() {
    begin_software_reset();
    transfer_mode_ = kDefaultTransferMode;
    locked_ = false;
    attention_ = Attention::PowerOn;
    event_ = Event::None;
    sense_ = {};
    packet_ = {};
    dma_ = false;
    diagnose();
}

// ---- ATA commands --------------------------------------------------------------------------------------------------

void AtapiCdrom::execute(std::uint8_t command) {
    if (asleep_ && command != ata::kDeviceReset) {
        return;
    }
    cancel();
    error_ = 0;
    status_ = ata::kReady | ata::kSeekDone;
    switch (command) {
        case ata::kDeviceReset: {
            asleep_ = false;
            const std::uint8_t device = current_[ata::kDevice] & ata::kDeviceSelect;
            diagnose();
            current_[ata::kDevice] = device;
            return;
        }
        case 0xA0:
            return begin_packet();
        case 0xA1:
            return identify();
        case 0x20:  // READ SECTORS and IDENTIFY DEVICE are how drivers of disks find out that this is none
        case 0xEC:
            set_signature();
            return abort_ata();
        case 0x94:  // STANDBY IMMEDIATE, STANDBY, IDLE IMMEDIATE, IDLE; the codes 9xh are older than ATA-2
        case 0x95:
        case 0x96:
        case 0x97:
        case 0xE0:
        case 0xE1:
        case 0xE2:
        case 0xE3:
        case 0xE7:  // FLUSH CACHE
            return finish_ata();
        case 0x98:
        case 0xE5:
            current_[ata::kSectorCount] = 0xFF;  // active
            return finish_ata();
        case 0x99:
        case 0xE6:
            asleep_ = true;
            return finish_ata();
        case 0xEF:
            return set_features();
        default:
            log_->debug("ATA command {:02X}h is not supported", command);
            return abort_ata();
    }
}

void AtapiCdrom::finish_ata() {
    status_ = ata::kReady | ata::kSeekDone;
    set_interrupt(true);
}

void AtapiCdrom::abort_ata() {
    error_ = ata::kAborted;
    status_ = ata::kReady | ata::kSeekDone | ata::kError;
    set_interrupt(true);
}

void AtapiCdrom::set_features() {
    const std::uint8_t mode = current_[ata::kSectorCount];
    const unsigned number = mode & 7u;
    const unsigned kind = mode >> 3;
    const bool pio = (kind == 0 && number <= 1) || (kind == 1 && number <= 4);
    const bool dma = (kind == 4 && number <= 2) || (kind == 8 && number <= 2);
    if (current_[ata::kErrorFeatures] != kSetTransferMode || (!pio && !dma)) {
        return abort_ata();
    }
    transfer_mode_ = dma ? mode : transfer_mode_;
    finish_ata();
}

/// IDENTIFY PACKET DEVICE, ATA/ATAPI-6 table 28.
void AtapiCdrom::identify() {
    std::array<std::uint16_t, 256> words{};
    const auto put_text = [&words](unsigned first, unsigned count, std::string_view text) {
        const auto character = [text](std::size_t i) { return static_cast<unsigned>(i < text.size() ? text[i] : ' '); };
        for (unsigned i = 0; i < count; ++i) {
            words[first + i] = static_cast<std::uint16_t>(character(2 * i) << 8 | character(2 * i + 1));
        }
    };
    const unsigned selected = 0x100u << (transfer_mode_ & 7u);
    const bool ultra = (transfer_mode_ & 0x40) != 0;
    words[0] = 0x85C0;  // ATAPI, CD-ROM, removable, DRQ within 50 us, packets of 12 bytes
    put_text(10, 10, "VPC-CD-" + std::to_string(unit_));
    put_text(23, 4, "1.0");
    put_text(27, 20, "VPC CD-ROM");
    words[49] = 0x0F00;  // DMA, LBA, IORDY
    words[50] = 0x4000;
    words[53] = 0x0006;  // words 64-70 and 88 are valid
    words[63] = static_cast<std::uint16_t>(0x0007 | (ultra ? 0 : selected));
    words[64] = 0x0003;
    std::fill(&words[65], &words[69], std::uint16_t{120});
    words[80] = 0x0078;  // ATA/ATAPI-3 to 6
    words[82] = 0x4218;  // NOP, DEVICE RESET, PACKET, power management
    words[83] = 0x4000;
    words[84] = 0x4000;
    words[85] = 0x4218;
    words[87] = 0x4000;
    words[88] = static_cast<std::uint16_t>(0x0007 | (ultra ? selected : 0));
    piece_ = std::make_shared<Piece>();
    for (const std::uint16_t word : words) {
        piece_->data.push_back(static_cast<std::uint8_t>(word));
        piece_->data.push_back(static_cast<std::uint8_t>(word >> 8));
    }
    position_ = 0;
    current_block_ = static_cast<std::uint32_t>(piece_->data.size());
    phase_ = Phase::Identify;
    offer_block(piece_->data);
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    set_interrupt(true);
}

void AtapiCdrom::begin_packet() {
    if ((current_[ata::kErrorFeatures] & kFeatureOverlap) != 0) {
        return abort_ata();
    }
    dma_ = (current_[ata::kErrorFeatures] & kFeatureDma) != 0;
    const unsigned limit = current_[ata::kLbaMid] | unsigned{current_[ata::kLbaHigh]} << 8;
    byte_limit_ = limit == 0 ? kMostPerBlock : std::clamp(limit & ~1u, 2u, kMostPerBlock);
    packet_ = {};
    current_block_ = kPacketSize;
    position_ = 0;
    phase_ = Phase::Packet;
    accept_block(packet_);
    current_[ata::kSectorCount] = static_cast<std::uint8_t>((current_[ata::kSectorCount] & ~kReasonBits) | kCommand);
    status_ = ata::kReady | ata::kDataRequest;
}

// ---- data ----------------------------------------------------------------------------------------------------------

void AtapiCdrom::block_finished() {
    switch (phase_) {
        case Phase::Packet:
            return run_packet();
        case Phase::Identify:
            cancel();
            status_ = ata::kReady | ata::kSeekDone;
            return;
        default:
            position_ += current_block_;
            return position_ < piece_->data.size() ? offer_next_block() : piece_moved();
    }
}

/// Ends the command with data of the drive's own, cut to what the guest has room for.
void AtapiCdrom::reply(Bytes data, std::size_t allocated) {
    data.resize(std::min(data.size(), allocated));
    if (data.empty()) {
        return complete();
    }
    piece_ = std::make_shared<Piece>();
    piece_->data = std::move(data);
    left_ = 0;
    offer_data();
}

void AtapiCdrom::read_blocks(std::uint32_t lba, std::uint32_t blocks) {
    next_lba_ = lba;
    left_ = blocks;
    if (blocks == 0) {
        return complete();
    }
    next_piece();
}

void AtapiCdrom::next_piece() {
    piece_ = std::make_shared<Piece>();
    piece_->lba = next_lba_;
    piece_->blocks = std::min(left_, kPieceBlocks);
    next_lba_ += piece_->blocks;
    left_ -= piece_->blocks;
    submit();
}

/// Last thing in whatever calls it: an executor may complete at once.
void AtapiCdrom::submit() {
    phase_ = Phase::ReadWork;
    status_ = ata::kBusy;
    piece_->data.resize(std::size_t{piece_->blocks} * kBlockSize);
    host_->io().submit(
        [disc = disc_, piece = piece_, parts = wanted_parts()] {
            piece->failed = true;
            try {
                if (!disc) {
                    piece->message = "the disc in work when the state was saved is not there";
                } else if (const disk::Status status =
                               disc->read(std::uint64_t{piece->lba} * kSectorsPerBlock, disk::Buffer(piece->data));
                           !status) {
                    piece->message = status.error().message;
                } else {
                    piece->failed = false;
                    if (parts != cd_frame::kWantsUserData) {
                        piece->data = cd_frame::cut(piece->lba, piece->data, parts);
                    }
                }
            } catch (const std::exception& problem) {
                piece->message = problem.what();
            }
        },
        [this, alive = std::weak_ptr(alive_), generation = ++generation_] {
            if (!alive.expired() && generation == generation_) {
                completed();
            }
        });
}

void AtapiCdrom::completed() {
    if (piece_->failed) {
        log_->error("{} (CD blocks {} to {})", piece_->message, piece_->lba, piece_->lba + piece_->blocks - 1);
        return check_condition({.key = 3, .code = 0x11});  // UNRECOVERED READ ERROR
    }
    statistics_.bytes_read += piece_->data.size();
    offer_data();
}

void AtapiCdrom::offer_data() {
    position_ = 0;
    if (dma_) {
        phase_ = Phase::DmaIn;
        return pump_dma();
    }
    phase_ = Phase::DataIn;
    offer_next_block();
}

void AtapiCdrom::offer_next_block() {
    // Whole CD blocks where the limit allows it: what drivers that count them expect.
    const auto block = static_cast<std::uint32_t>(cd_frame::size_of(wanted_parts()).value_or(kBlockSize));
    const std::uint32_t limit = byte_limit_ >= block ? byte_limit_ / block * block : byte_limit_;
    current_block_ = std::min(limit, static_cast<std::uint32_t>(piece_->data.size()) - position_);
    current_[ata::kLbaMid] = static_cast<std::uint8_t>(current_block_);
    current_[ata::kLbaHigh] = static_cast<std::uint8_t>(current_block_ >> 8);
    current_[ata::kSectorCount] = static_cast<std::uint8_t>((current_[ata::kSectorCount] & ~kReasonBits) | kToHost);
    offer_block(std::span(piece_->data).subspan(position_, current_block_));
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    set_interrupt(true);
}

void AtapiCdrom::continue_dma() {
    if (phase_ == Phase::DmaIn) {
        pump_dma();
    }
}

void AtapiCdrom::pump_dma() {
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    position_ += static_cast<std::uint32_t>(host_->transfer_dma(std::span(piece_->data).subspan(position_), true));
    if (position_ == piece_->data.size()) {
        piece_moved();
    }
}

void AtapiCdrom::piece_moved() {
    left_ != 0 ? next_piece() : complete();
}

// ---- ends ----------------------------------------------------------------------------------------------------------

void AtapiCdrom::complete() {
    cancel();
    current_[ata::kSectorCount] =
        static_cast<std::uint8_t>((current_[ata::kSectorCount] & ~kReasonBits) | kToHost | kCommand);
    finish_ata();
}

void AtapiCdrom::check_condition(Sense sense) {
    sense_ = sense;
    complete();
    error_ = static_cast<std::uint8_t>(sense.key << 4 | ata::kAborted);
    status_ |= ata::kError;
}

// ---- saved states --------------------------------------------------------------------------------------------------

void AtapiCdrom::serialize(StateStream& stream) {
    if (stream.loading()) {
        cancel();
    }
    std::uint64_t sectors = disc_ ? disc_->sectors() : 0;
    const std::uint64_t have = sectors;
    stream.field(sectors);
    if (sectors != have) {
        stream.refuse("the CD-ROM drive holds another disc now than when the state was saved");
    }
    stream.field(status_);
    stream.field(error_);
    stream.field(interrupt_);
    stream.field(current_);
    stream.field(previous_);
    stream.field(transfer_mode_);
    stream.field(asleep_);
    stream.field(tray_open_);
    stream.field(locked_);
    stream.field(attention_);
    stream.field(event_);
    stream.field(sense_.key);
    stream.field(sense_.code);
    stream.field(sense_.qualifier);
    stream.field(packet_);
    stream.field(dma_);
    Phase phase = phase_;
    stream.field(phase);
    if (stream.loading() &&
        (attention_ > Attention::MediumChanged || event_ > Event::MediaRemoval || phase > Phase::DmaIn)) {
        stream.refuse("a CD-ROM drive's settings are out of range");
    }
    if (phase == Phase::Idle) {
        return;
    }
    if (stream.loading()) {
        piece_ = std::make_shared<Piece>();
    }
    stream.field(byte_limit_);
    stream.field(position_);
    stream.field(current_block_);
    loaded_left_ = static_cast<std::uint32_t>(block_left());
    stream.field(loaded_left_);
    if (phase != Phase::Packet) {
        stream.field(piece_->lba);
        stream.field(piece_->blocks);
        stream.field(next_lba_);
        stream.field(left_);
    }
    // What the executor has in hand belongs to it; its results come again after loading.
    if (phase != Phase::Packet && phase != Phase::ReadWork) {
        stream.field(piece_->data, kMostData);
    }
    if (stream.loading()) {
        phase_ = phase;
        if (!transfer_is_sane()) {
            stream.refuse("a CD-ROM drive's transfer is out of range");
        }
        if (phase == Phase::Packet) {
            piece_.reset();
        }
    }
}

/// Whether what was loaded can be gone on with.
bool AtapiCdrom::transfer_is_sane() const {
    const bool limit_fits = byte_limit_ >= 2 && byte_limit_ <= kMostPerBlock && byte_limit_ % 2 == 0;
    const std::size_t size = piece_->data.size();
    const bool block_fits = loaded_left_ >= 1 && loaded_left_ <= current_block_;
    switch (phase_) {
        case Phase::Packet:
            return limit_fits && block_fits && current_block_ == kPacketSize;
        case Phase::ReadWork:
            return limit_fits && piece_->blocks >= 1 && piece_->blocks <= kPieceBlocks;
        case Phase::Identify:
            return block_fits && position_ == 0 && current_block_ == size;
        case Phase::DataIn:
            return limit_fits && block_fits && position_ <= size && current_block_ <= size - position_;
        default:
            return limit_fits && position_ < size;
    }
}

void AtapiCdrom::resume() {
    const std::uint32_t block_end = position_ + current_block_;
    if (phase_ == Phase::ReadWork) {
        submit();
    } else if (phase_ == Phase::Packet) {
        accept_block(std::span(packet_).last(loaded_left_));
    } else if (phase_ == Phase::Identify || phase_ == Phase::DataIn) {
        offer_block(std::span(piece_->data).subspan(block_end - loaded_left_, loaded_left_));
    }
}

}  // namespace vpc::devices
