// How an AtaDisk moves sectors: the executor's side, the data port, the bus master; and saved states, which are about
// the same things.

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "core/io_executor.h"
#include "core/state_stream.h"
#include "devices/ata_disk.h"
#include "disk/reads_at_once.h"

namespace vpc::devices {
namespace {

constexpr Nanoseconds kLatestTime = Nanoseconds{1} << 62;  // a century and more: a saved state's times end before

}  // namespace

// ---- work ----------------------------------------------------------------------------------------------------------

bool AtaDisk::working(Phase phase) {
    return phase == Phase::PioInWork || phase == Phase::PioOutWork || phase == Phase::DmaInWork ||
           phase == Phase::DmaOutWork || phase == Phase::VerifyWork || phase == Phase::FlushWork;
}

/// Takes the next piece off the command's sectors.
void AtaDisk::new_piece() {
    if (!piece_ || piece_.use_count() > 1) {
        piece_ = std::make_shared<Piece>();
    }
    piece_->lba = next_lba_;
    piece_->sectors = std::min(left_, kPieceSectors);
    piece_->good = 0;
    piece_->failed = false;
    piece_->data.resize(std::size_t{piece_->sectors} * disk::kSectorSize);
    next_lba_ += piece_->sectors;
    left_ -= piece_->sectors;
    position_ = 0;
}

/// Runs away from the machine's thread.
void AtaDisk::run(disk::BlockDevice& image, Piece& piece, Phase phase, bool then_flush) {
    const auto move = [&](std::uint32_t first, std::uint32_t sectors) {
        const auto bytes =
            std::span(piece.data)
                .subspan(std::size_t{first} * disk::kSectorSize, std::size_t{sectors} * disk::kSectorSize);
        return writing(phase) ? image.write(piece.lba + first, disk::ConstBuffer(bytes))
                              : image.read(piece.lba + first, disk::Buffer(bytes));
    };
    const auto failed = [&piece](const disk::Status& status) {
        if (!status) {
            piece.failed = true;
            piece.message = status.error().message;
        }
        return !status;
    };
    piece.good = 0;
    piece.failed = false;
    try {
        if (piece.sectors != 0) {
            if (move(0, piece.sectors)) {
                piece.good = piece.sectors;
            } else {  // find out which sector it is
                while (piece.good < piece.sectors && !failed(move(piece.good, 1))) {
                    ++piece.good;
                }
            }
        }
        if (then_flush && !piece.failed && failed(image.flush())) {
            piece.good = 0;
        }
    } catch (const std::exception& problem) {
        piece.failed = true;
        piece.message = problem.what();
    }
}

/// Last thing in whatever calls it: an executor may complete at once.
void AtaDisk::submit(Phase phase) {
    phase_ = phase;
    status_ = ata::kBusy;
    const bool then_flush = phase == Phase::FlushWork || (writing(phase) && !write_cache_);
    unflushed_ = (unflushed_ || writing(phase)) && !then_flush;
    host_->io().submit([image = image_, piece = piece_, phase, then_flush] { run(*image, *piece, phase, then_flush); },
                       [this, alive = std::weak_ptr(alive_), generation = ++generation_] {
                           if (!alive.expired() && generation == generation_) {
                               completed();
                           }
                       });
}

void AtaDisk::completed() {
    if (piece_->failed) {
        log_->error("{} (sector {})", piece_->message, piece_->lba + piece_->good);
        ++(writing(phase_) || phase_ == Phase::FlushWork ? failed_writes_ : failed_reads_);
    }
    const std::uint64_t bytes = std::uint64_t{piece_->good} * disk::kSectorSize;
    switch (phase_) {
        case Phase::PioInWork:
            statistics_.bytes_read += bytes;
            return offer_next_block();
        case Phase::DmaInWork:
            statistics_.bytes_read += bytes;
            phase_ = Phase::DmaIn;
            return pump_dma_in();
        case Phase::VerifyWork:
            return piece_->failed ? fail_piece() : next_piece(Phase::VerifyWork);
        case Phase::PioOutWork:
        case Phase::DmaOutWork:
            statistics_.bytes_written += bytes;
            if (piece_->failed) {
                return fail_piece();
            }
            if (left_ == 0) {
                current_[ata::kSectorCount] = 0;
                store_address(next_lba_ - 1);
                return finish(true);
            }
            new_piece();
            if (phase_ == Phase::PioOutWork) {
                return accept_next_block(true);
            }
            phase_ = Phase::DmaOut;
            return pump_dma_out();
        case Phase::FlushWork:
            if (piece_->failed) {
                return fail(ata::kAborted);
            }
            power_ = power_afterwards_;
            return finish(true);
        default:
            return;
    }
}

/// A piece of a read is through: the next one, or the end.
void AtaDisk::next_piece(Phase phase) {
    if (left_ != 0) {
        new_piece();
        return submit(phase);
    }
    current_[ata::kSectorCount] = 0;
    store_address(next_lba_ - 1);
    finish(phase != Phase::PioInWork);  // PIO reads end with the last block, which has had its interrupt
}

// ---- PIO -----------------------------------------------------------------------------------------------------------

void AtaDisk::offer_next_block() {
    phase_ = Phase::PioIn;
    current_block_ = std::min(block_bytes_, static_cast<std::uint32_t>(piece_->data.size()) - position_);
    if (position_ + current_block_ > std::size_t{piece_->good} * disk::kSectorSize) {
        return fail_piece();
    }
    offer_block(piece_bytes(position_, position_ + current_block_));
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    set_interrupt(true);
}

void AtaDisk::accept_next_block(bool interrupt) {
    phase_ = Phase::PioOut;
    current_block_ = std::min(block_bytes_, static_cast<std::uint32_t>(piece_->data.size()) - position_);
    accept_block(piece_bytes(position_, position_ + current_block_));
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    if (interrupt) {
        set_interrupt(true);
    }
}

void AtaDisk::block_finished() {
    position_ += current_block_;
    const bool more = position_ < piece_->data.size();
    if (phase_ == Phase::Identify) {
        return finish(false);
    }
    if (phase_ == Phase::PioIn) {
        if (more) {
            return offer_next_block();
        }
        return next_piece(Phase::PioInWork);
    }
    if (more) {
        return accept_next_block(true);
    }
    submit(Phase::PioOutWork);
}

// ---- DMA -----------------------------------------------------------------------------------------------------------

void AtaDisk::continue_dma() {
    if (phase_ == Phase::DmaIn) {
        pump_dma_in();
    } else if (phase_ == Phase::DmaOut) {
        pump_dma_out();
    }
}

/// The next piece of a DMA read, if the host need not wait for its disk: going to the executor and back would take
/// longer than reading. Not so for PIO, where the guest would have its interrupt before its OUT has ended.
bool AtaDisk::read_at_once() {
    if (!host_->io().idle()) {
        return false;
    }
    const disk::ReadsAtOnce at_once;
    try {
        if (!image_->read(piece_->lba, disk::Buffer(piece_->data))) {
            return false;
        }
    } catch (const std::exception&) {
        return false;  // the executor will say what is wrong
    }
    piece_->good = piece_->sectors;
    statistics_.bytes_read += piece_->data.size();
    return true;
}

void AtaDisk::begin_dma_in() {
    if (!read_at_once()) {
        return submit(Phase::DmaInWork);
    }
    phase_ = Phase::DmaIn;
    pump_dma_in();
}

void AtaDisk::pump_dma_in() {
    do {
        const std::size_t good = std::size_t{piece_->good} * disk::kSectorSize;
        if (position_ < good) {
            status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
            position_ += static_cast<std::uint32_t>(host_->transfer_dma(piece_bytes(position_, good), true));
            if (position_ < good) {
                return;  // the bus master will call
            }
        }
        if (piece_->failed) {
            return fail_piece();
        }
        if (left_ == 0) {
            return next_piece(Phase::DmaInWork);
        }
        new_piece();
    } while (read_at_once());
    submit(Phase::DmaInWork);
}

void AtaDisk::pump_dma_out() {
    const std::size_t size = piece_->data.size();
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    position_ += static_cast<std::uint32_t>(host_->transfer_dma(piece_bytes(position_, size), false));
    if (position_ == size) {
        submit(Phase::DmaOutWork);
    }
}

// ---- saved states --------------------------------------------------------------------------------------------------

void AtaDisk::serialize(StateStream& stream) {
    if (stream.loading()) {
        cancel();
    }
    std::uint64_t sectors = total_sectors_;
    stream.field(sectors);
    if (sectors != total_sectors_) {
        stream.refuse(fmt::format("the disk has {} sectors now, {} when the state was saved", total_sectors_, sectors));
    }
    stream.field(status_);
    stream.field(error_);
    stream.field(interrupt_);
    stream.field(current_);
    stream.field(previous_);
    stream.field(translation_.cylinders);
    stream.field(translation_.heads);
    stream.field(translation_.sectors);
    stream.field(multiple_);
    stream.field(transfer_mode_);
    stream.field(write_cache_);
    stream.field(look_ahead_);
    stream.field(smart_);
    stream.field(standby_code_);
    stream.field(failed_reads_);
    stream.field(failed_writes_);
    stream.field(unflushed_);
    stream.field(idle_since_);
    stream.field(power_);
    stream.field(power_afterwards_);
    stream.field(addressing_);
    if (stream.loading() && !settings_are_sane()) {
        stream.refuse("a drive's settings are out of range");
    }

    Phase phase = phase_;
    stream.field(phase);
    if (phase == Phase::Idle) {
        return;
    }
    // What the executor has in hand belongs to it; a read's results come again after loading.
    const bool holds_data = !working(phase) || writing(phase);
    if (stream.loading()) {
        piece_ = std::make_shared<Piece>();
    }
    stream.field(piece_->lba);
    stream.field(piece_->sectors);
    stream.field(next_lba_);
    stream.field(left_);
    stream.field(block_bytes_);
    stream.field(position_);
    stream.field(current_block_);
    loaded_left_ = static_cast<std::uint32_t>(block_left());
    stream.field(loaded_left_);
    if (holds_data) {
        std::uint32_t good = working(phase) ? 0 : piece_->good;
        bool failed = !working(phase) && piece_->failed;
        stream.field(good);
        stream.field(failed);
        stream.field(piece_->data, std::size_t{kPieceSectors} * disk::kSectorSize);
        if (stream.loading()) {
            piece_->good = good;
            piece_->failed = failed;
        }
    }
    if (stream.loading()) {
        if (!transfer_is_sane(phase)) {
            stream.refuse("a drive's transfer is out of range");
        }
        if (!holds_data) {
            piece_->data.resize(std::size_t{piece_->sectors} * disk::kSectorSize);
        }
        phase_ = phase;
    }
}

bool AtaDisk::settings_are_sane() const {
    const bool known_mode = (transfer_mode_ >> 3 == 4 && (transfer_mode_ & 7) <= 2) ||
                            (transfer_mode_ >> 3 == 8 && (transfer_mode_ & 7) <= 5);
    return translation_.heads >= 1 && translation_.heads <= 16 && translation_.sectors >= 1 &&
           translation_.cylinders >= 1 && multiple_ <= kMaxMultiple && (multiple_ & (multiple_ - 1)) == 0 &&
           known_mode && idle_since_ >= 0 && idle_since_ <= kLatestTime && power_ <= Power::Sleep &&
           power_afterwards_ <= Power::Sleep && addressing_ <= Addressing::Lba48;
}

/// Whether the loaded piece can be gone on with in `phase`.
bool AtaDisk::transfer_is_sane(Phase phase) const {
    if (phase > Phase::FlushWork) {
        return false;
    }
    if (phase == Phase::FlushWork) {
        return piece_->sectors == 0;
    }
    const std::uint64_t size =
        phase == Phase::Identify ? disk::kSectorSize : std::uint64_t{piece_->sectors} * disk::kSectorSize;
    const bool on_disk = piece_->sectors >= 1 && piece_->sectors <= kPieceSectors && piece_->lba <= total_sectors_ &&
                         next_lba_ == piece_->lba + piece_->sectors && next_lba_ <= total_sectors_ &&
                         left_ <= 0x10000 && left_ <= total_sectors_ - next_lba_ && block_bytes_ != 0 &&
                         block_bytes_ % disk::kSectorSize == 0 && block_bytes_ <= kMaxMultiple * disk::kSectorSize;
    if (phase != Phase::Identify && !on_disk) {
        return false;
    }
    if (working(phase) && !writing(phase)) {
        return position_ == 0;
    }
    if (piece_->data.size() != size || piece_->good > piece_->sectors || position_ > size) {
        return false;
    }
    const bool in_block = phase == Phase::PioIn || phase == Phase::PioOut || phase == Phase::Identify;
    const bool block_fits = loaded_left_ >= 1 && loaded_left_ <= current_block_ && current_block_ <= size - position_;
    return !in_block || block_fits;
}

void AtaDisk::resume() {
    const std::uint32_t block_end = position_ + current_block_;
    if (working(phase_)) {
        submit(phase_);
    } else if (phase_ == Phase::PioIn || phase_ == Phase::Identify) {
        offer_block(piece_bytes(block_end - loaded_left_, block_end));
    } else if (phase_ == Phase::PioOut) {
        accept_block(piece_bytes(block_end - loaded_left_, block_end));
    }
}

}  // namespace vpc::devices
