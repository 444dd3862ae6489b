#include "devices/ata_disk.h"

#include <algorithm>
#include <utility>

namespace vpc::devices {
namespace {

constexpr std::uint8_t kDefaultTransferMode = 0x42;  // Ultra DMA 2, the PIIX4's fastest, as a BIOS would choose

// SET FEATURES subcommands.
constexpr std::uint8_t kEnableWriteCache = 0x02;
constexpr std::uint8_t kSetTransferMode = 0x03;
constexpr std::uint8_t kDisableLookAhead = 0x55;
constexpr std::uint8_t kKeepSettings = 0x66;
constexpr std::uint8_t kDisableWriteCache = 0x82;
constexpr std::uint8_t kEnableLookAhead = 0xAA;
constexpr std::uint8_t kRevertSettings = 0xCC;

}  // namespace

AtaDisk::AtaDisk(std::unique_ptr<disk::BlockDevice> image)
    : image_(std::move(image)),
      total_sectors_(image_->sectors()),
      log_(log_category("ide")),
      alive_(std::make_shared<const bool>(true)) {}

AtaDisk::~AtaDisk() = default;

// ---- resets --------------------------------------------------------------------------------------------------------

/// Gives up the command in progress; work that is under way completes into nothing.
void AtaDisk::cancel() {
    ++generation_;
    end_block();
    piece_.reset();
    phase_ = Phase::Idle;
    next_lba_ = 0;
    left_ = 0;
    block_bytes_ = 0;
    position_ = 0;
    current_block_ = 0;
}

void AtaDisk::begin_software_reset() {
    cancel();
    power_ = Power::Active;
    status_ = ata::kBusy;
    set_interrupt(false);
}

void AtaDisk::diagnose() {
    cancel();
    current_ = {};
    previous_ = {};
    current_[ata::kSectorCount] = 1;
    current_[ata::kLbaLow] = 1;
    error_ = ata::kDiagnosticPassed;
    status_ = ata::kReady | ata::kSeekDone;
    command_ended();
}

void AtaDisk::power_on_settings() {
    translation_ = default_translation();
    multiple_ = 0;
    transfer_mode_ = kDefaultTransferMode;
    write_cache_ = true;
    look_ahead_ = true;
    standby_code_ = 0;
}

void AtaDisk::hardware_reset() {
    begin_software_reset();
    power_on_settings();
    diagnose();
}

// ---- commands ------------------------------------------------------------------------------------------------------

void AtaDisk::execute(std::uint8_t command) {
    if (power_ == Power::Sleep) {
        return;  // only a reset wakes it
    }
    cancel();
    error_ = 0;
    status_ = ata::kReady | ata::kSeekDone;
    execute_checked(command);
}

void AtaDisk::execute_checked(std::uint8_t command) {
    constexpr bool kExtended = true;
    if ((command & 0xF0) == 0x10) {  // RECALIBRATE
        finish(true);
        return;
    }
    if ((command & 0xF0) == 0x70) {
        seek();
        return;
    }
    switch (command) {
        case 0x20:  // READ SECTORS, with and without retries
        case 0x21:
            return transfer(Move::PioIn, !kExtended);
        case 0x24:
            return transfer(Move::PioIn, kExtended);
        case 0x25:  // READ DMA EXT
            return transfer(Move::DmaIn, kExtended);
        case 0x27:
            return read_native_max(kExtended);
        case 0x29:  // READ MULTIPLE EXT
            return transfer(Move::PioIn, kExtended, multiple_);
        case 0x30:  // WRITE SECTORS
        case 0x31:
            return transfer(Move::PioOut, !kExtended);
        case 0x34:
            return transfer(Move::PioOut, kExtended);
        case 0x35:  // WRITE DMA EXT
            return transfer(Move::DmaOut, kExtended);
        case 0x39:  // WRITE MULTIPLE EXT
            return transfer(Move::PioOut, kExtended, multiple_);
        case 0x40:  // READ VERIFY SECTORS
        case 0x41:
            return transfer(Move::Verify, !kExtended);
        case 0x42:
            return transfer(Move::Verify, kExtended);
        case 0x91:  // INITIALIZE DEVICE PARAMETERS
            return set_translation();
        case 0xC4:  // READ MULTIPLE
            return transfer(Move::PioIn, !kExtended, multiple_);
        case 0xC5:  // WRITE MULTIPLE
            return transfer(Move::PioOut, !kExtended, multiple_);
        case 0xC6:
            return set_multiple();
        case 0xC8:  // READ DMA
        case 0xC9:
            return transfer(Move::DmaIn, !kExtended);
        case 0xCA:  // WRITE DMA
        case 0xCB:
            return transfer(Move::DmaOut, !kExtended);
        case 0x96:  // STANDBY; the codes 9xh are older than ATA-2
        case 0xE2:
            standby_code_ = current_[ata::kSectorCount];
            return flush(Power::Standby);
        case 0x94:  // STANDBY IMMEDIATE
        case 0xE0:
            return flush(Power::Standby);
        case 0x97:  // IDLE
        case 0xE3:
            standby_code_ = current_[ata::kSectorCount];
            return idle();
        case 0x95:  // IDLE IMMEDIATE
        case 0xE1:
            return idle();
        case 0xB0:
            return smart();
        case 0x98:
        case 0xE5:
            return check_power_mode();
        case 0x99:
        case 0xE6:
            return flush(Power::Sleep);
        case 0xE7:  // FLUSH CACHE, FLUSH CACHE EXT
        case 0xEA:
            return flush(power_);
        case 0xEC:
            return identify();
        case 0xEF:
            return set_features();
        case 0xF8:
            return read_native_max(!kExtended);
        default:
            log_->debug("command {:02X}h is not supported", command);
            return fail(ata::kAborted);
    }
}

void AtaDisk::transfer(Move move, bool extended, unsigned block_sectors) {
    const bool writes = move == Move::PioOut || move == Move::DmaOut;
    if (block_sectors == 0) {  // no SET MULTIPLE MODE yet
        return fail(ata::kAborted);
    }
    if (writes && image_->read_only()) {
        return fail(ata::kAborted | ata::kWriteProtected);
    }
    const unsigned low = current_[ata::kSectorCount];
    const unsigned count = extended ? previous_[ata::kSectorCount] << 8u | low : low;
    const std::uint32_t sectors = count != 0 ? count : extended ? 65536 : 256;
    if (!take_address(extended) || !check_range(sectors)) {
        return;
    }
    power_ = Power::Active;
    left_ = sectors;
    block_bytes_ = block_sectors * disk::kSectorSize;
    new_piece();
    switch (move) {
        case Move::PioIn:
            return submit(Phase::PioInWork);
        case Move::DmaIn:
            return begin_dma_in();
        case Move::Verify:
            return submit(Phase::VerifyWork);
        case Move::PioOut:
            return accept_next_block(false);
        case Move::DmaOut:
            phase_ = Phase::DmaOut;
            return pump_dma_out();
    }
}

/// Reads the task file's address into next_lba_; ends the command when it names no sector.
bool AtaDisk::take_address(bool extended) {
    const auto& now = current_;
    const auto byte = [](std::uint8_t value, unsigned shift) { return std::uint64_t{value} << shift; };
    const std::uint64_t low24 = byte(now[ata::kLbaLow], 0) | byte(now[ata::kLbaMid], 8) | byte(now[ata::kLbaHigh], 16);
    const std::uint8_t head = now[ata::kDevice] & ata::kDeviceHead;
    if (extended) {
        addressing_ = Addressing::Lba48;
        next_lba_ = low24 | byte(previous_[ata::kLbaLow], 24) | byte(previous_[ata::kLbaMid], 32) |
                    byte(previous_[ata::kLbaHigh], 40);
        return true;
    }
    if ((now[ata::kDevice] & ata::kDeviceLba) != 0) {
        addressing_ = Addressing::Lba28;
        next_lba_ = low24 | byte(head, 24);
        return true;
    }
    addressing_ = Addressing::Chs;
    const unsigned cylinder = unsigned{now[ata::kLbaHigh]} << 8 | now[ata::kLbaMid];
    const unsigned sector = now[ata::kLbaLow];
    if (sector == 0 || sector > translation_.sectors || head >= translation_.heads ||
        cylinder >= translation_.cylinders) {
        fail(ata::kIdNotFound);
        return false;
    }
    next_lba_ = (std::uint64_t{cylinder} * translation_.heads + head) * translation_.sectors + sector - 1;
    return true;
}

/// Ends the command at the first sector that lies beyond the disk's end.
bool AtaDisk::check_range(std::uint64_t sectors) {
    if (next_lba_ >= total_sectors_ || sectors > total_sectors_ - next_lba_) {
        fail_at(std::max(next_lba_, total_sectors_), ata::kIdNotFound);
        return false;
    }
    return true;
}

/// Writes a sector's address back into the task file, in the form that the command used.
void AtaDisk::store_address(std::uint64_t lba) {
    const auto byte = [](std::uint64_t value, unsigned shift) { return static_cast<std::uint8_t>(value >> shift); };
    const auto set_head = [this](unsigned head) {
        current_[ata::kDevice] = static_cast<std::uint8_t>((current_[ata::kDevice] & ~ata::kDeviceHead) | (head & 15));
    };
    if (addressing_ == Addressing::Chs) {
        const std::uint64_t track = lba / translation_.sectors;
        const std::uint64_t cylinder = track / translation_.heads;
        current_[ata::kLbaLow] = static_cast<std::uint8_t>(lba % translation_.sectors + 1);
        current_[ata::kLbaMid] = byte(cylinder, 0);
        current_[ata::kLbaHigh] = byte(cylinder, 8);
        set_head(static_cast<unsigned>(track % translation_.heads));
        return;
    }
    current_[ata::kLbaLow] = byte(lba, 0);
    current_[ata::kLbaMid] = byte(lba, 8);
    current_[ata::kLbaHigh] = byte(lba, 16);
    if (addressing_ == Addressing::Lba28) {
        set_head(byte(lba, 24));
    } else {
        previous_[ata::kLbaLow] = byte(lba, 24);
        previous_[ata::kLbaMid] = byte(lba, 32);
        previous_[ata::kLbaHigh] = byte(lba, 40);
    }
}

void AtaDisk::set_multiple() {
    const std::uint8_t count = current_[ata::kSectorCount];
    if (count > kMaxMultiple || (count & (count - 1)) != 0) {
        return fail(ata::kAborted);
    }
    multiple_ = count;
    finish(true);
}

void AtaDisk::set_translation() {
    const std::uint8_t sectors = current_[ata::kSectorCount];
    const auto heads = static_cast<std::uint8_t>((current_[ata::kDevice] & ata::kDeviceHead) + 1);
    if (sectors == 0) {
        return fail(ata::kAborted);
    }
    const std::uint64_t cylinders = lba28_sectors() / (std::uint64_t{heads} * sectors);
    if (cylinders == 0) {
        return fail(ata::kAborted);
    }
    translation_ = {.cylinders = static_cast<std::uint16_t>(std::min<std::uint64_t>(cylinders, 0xFFFF)),
                    .heads = heads,
                    .sectors = sectors};
    finish(true);
}

void AtaDisk::set_features() {
    switch (current_[ata::kErrorFeatures]) {
        case kEnableWriteCache:
            write_cache_ = true;
            return finish(true);
        case kDisableWriteCache:  // what is in the cache goes to the disk first
            write_cache_ = false;
            return flush(power_);
        case kEnableLookAhead:
        case kDisableLookAhead:
            look_ahead_ = current_[ata::kErrorFeatures] == kEnableLookAhead;
            return finish(true);
        case kSetTransferMode:
            return set_transfer_mode() ? finish(true) : fail(ata::kAborted);
        case kKeepSettings:  // settings survive a software reset either way
        case kRevertSettings:
            return finish(true);
        default:
            return fail(ata::kAborted);
    }
}

bool AtaDisk::set_transfer_mode() {
    const std::uint8_t mode = current_[ata::kSectorCount];
    const unsigned number = mode & 7u;
    switch (mode >> 3) {
        case 0:  // PIO default
            return number <= 1;
        case 1:  // PIO with flow control
            return number <= 4;
        case 4:  // multiword DMA
            transfer_mode_ = number <= 2 ? mode : transfer_mode_;
            return number <= 2;
        case 8:  // Ultra DMA
            transfer_mode_ = number <= 5 ? mode : transfer_mode_;
            return number <= 5;
        default:
            return false;
    }
}

void AtaDisk::read_native_max(bool extended) {
    if (!extended && (current_[ata::kDevice] & ata::kDeviceLba) == 0) {
        return fail(ata::kAborted);
    }
    addressing_ = extended ? Addressing::Lba48 : Addressing::Lba28;
    const std::uint64_t sectors = extended ? total_sectors_ : lba28_sectors();
    store_address(std::max<std::uint64_t>(sectors, 1) - 1);
    finish(true);
}

void AtaDisk::seek() {
    if (take_address(false) && check_range(1)) {
        power_ = Power::Active;
        finish(true);
    }
}

void AtaDisk::flush(Power afterwards) {
    power_afterwards_ = afterwards;
    piece_ = std::make_shared<Piece>();
    submit(Phase::FlushWork);
}

// ---- ends ----------------------------------------------------------------------------------------------------------

void AtaDisk::finish(bool interrupt) {
    phase_ = Phase::Idle;
    piece_.reset();
    status_ = ata::kReady | ata::kSeekDone;
    command_ended();
    if (interrupt) {
        set_interrupt(true);
    }
}

void AtaDisk::fail(std::uint8_t error) {
    finish(false);
    status_ |= ata::kError;
    error_ = error;
    set_interrupt(true);
}

void AtaDisk::fail_at(std::uint64_t lba, std::uint8_t error) {
    store_address(lba);
    fail(error);
}

/// The sector after the piece's good ones could not be read or written.
void AtaDisk::fail_piece() {
    const std::uint64_t lba = piece_->lba + piece_->good;
    const std::uint32_t missing = piece_->sectors - piece_->good + left_;
    current_[ata::kSectorCount] = static_cast<std::uint8_t>(missing);
    if (addressing_ == Addressing::Lba48) {
        previous_[ata::kSectorCount] = static_cast<std::uint8_t>(missing >> 8);
    }
    fail_at(lba, writing(phase_) ? ata::kAborted : ata::kUncorrectable);
}

}  // namespace vpc::devices
