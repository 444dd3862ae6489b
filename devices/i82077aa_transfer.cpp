// How the 82077AA moves sectors: what a command will touch, the executor's side, the host's side.

#include <algorithm>
#include <exception>
#include <utility>

#include "devices/i82077aa.h"
#include "devices/i82077aa_bits.h"

namespace vpc::devices {

using namespace fdc;

namespace {

constexpr Nanoseconds kResultTime = 100 * kMicrosecond;  // from the end of a command's work to its interrupt
constexpr std::uint8_t kSizeCode = 2;                    // N of 512-byte sectors

std::uint32_t whole_sectors(std::uint32_t bytes) {
    return (bytes + disk::kSectorSize - 1) / disk::kSectorSize;
}

}  // namespace

// ---- what a command will touch -------------------------------------------------------------------------------------

/// Whether anything can be read where the head is; ends the command otherwise.
bool I82077AA::find_track() {
    const FloppyDrive* drive = drive_of(unit());
    const auto track = drive != nullptr && motor_on(unit()) ? drive->track() : std::nullopt;
    if (!track || (command_[0] & kMfm) == 0 || !drive->reads_at(static_cast<FloppyRate>(rate_)) ||
        head() >= drive->format()->heads) {
        end_command(kSt0Abnormal, kSt1MissingAddressMark, 0, given_id());
        return false;
    }
    track_ = *track;
    return true;
}

void I82077AA::read_id() {
    if (find_track()) {
        end_command(0, 0, 0, {track_, head(), drive_of(unit())->sector_passing(clock_.now()), kSizeCode});
    }
}

void I82077AA::begin_transfer() {
    last_eot_ = command_[6];
    st1_ = 0;
    st2_ = 0;
    terminal_count_ = false;
    position_ = 0;
    compared_ = 0;
    FloppyDrive* drive = drive_of(unit());
    if ((configuration_ & kConfigureImpliedSeek) != 0) {
        if (drive != nullptr) {
            drive->step(command_[2] - pcn_[unit()]);
        }
        pcn_[unit()] = command_[2];
    }
    if (!find_track()) {
        return;
    }
    if (writes_data(opcode()) && drive->write_protected()) {
        return end_command(kSt0Abnormal, kSt1NotWritable, 0, given_id());
    }
    plan_sectors();
    if (planned_ == 0) {
        return end_after(0);
    }
    work_ = std::make_shared<Work>();
    work_->medium = drive->medium();
    if (writes_data(opcode())) {
        return accept_data(std::size_t{planned_} * disk::kSectorSize);
    }
    work_->runs = runs(planned_);
    submit(Phase::ReadWork);
}

void I82077AA::plan_sectors() {
    const FloppyFormat& format = *drive_of(unit())->format();
    const unsigned first = command_[4];
    const unsigned end_of_track = command_[6];
    planned_ = 0;
    first_side_ = 0;
    ends_at_eot_ = false;
    if (command_[5] != kSizeCode) {
        return;
    }
    const bool right_track = command_[2] == track_ && command_[3] == head();
    if (opcode() == kReadTrack) {  // reads on whatever the sectors' addresses say, from the index hole
        st1_ |= right_track && first == 1 ? 0 : kSt1NoData;
        first_side_ = planned_ = std::min<std::uint32_t>(end_of_track, format.sectors);
        ends_at_eot_ = end_of_track <= format.sectors;
        return;
    }
    if (command_[2] != track_) {
        st2_ |= command_[2] == 0xFF ? kSt2BadCylinder : kSt2WrongCylinder;
    }
    if (!right_track || first == 0 || first > format.sectors) {
        return;
    }
    const bool reached = first <= end_of_track && end_of_track <= format.sectors;
    first_side_ = (reached ? end_of_track : format.sectors) - first + 1;
    planned_ = first_side_;
    ends_at_eot_ = reached;
    if (reached && (command_[0] & kMultiTrack) != 0 && head() == 0 && format.heads > 1) {
        planned_ += end_of_track;
    }
    if (opcode() == kReadDeleted) {  // no sector has the mark it looks for
        st2_ |= kSt2ControlMark;
        planned_ = (command_[0] & kSkip) != 0 ? 0 : 1;
    }
    if (opcode() == kVerify && (command_[1] & kVerifyCount) != 0) {
        planned_ = std::min<std::uint32_t>(planned_, command_[8]);
    }
    first_side_ = std::min(first_side_, planned_);
}

I82077AA::SectorId I82077AA::sector_id(std::uint32_t index) const {
    if (index >= first_side_) {
        return {.head = static_cast<std::uint8_t>(head() ^ 1),
                .sector = static_cast<std::uint8_t>(index - first_side_ + 1)};
    }
    const std::uint32_t first = opcode() == kReadTrack ? 1 : command_[4];
    return {.head = head(), .sector = static_cast<std::uint8_t>(first + index)};
}

std::uint64_t I82077AA::lba(SectorId id) const {
    const FloppyFormat& format = *drives_[unit()].format();
    return (std::uint64_t{track_} * format.heads + id.head) * format.sectors + id.sector - 1;
}

/// Where the command's first so many sectors lie.
std::vector<I82077AA::Run> I82077AA::runs(std::uint32_t sectors) const {
    std::vector<Run> result;
    const std::uint32_t near_side = std::min(sectors, first_side_);
    if (near_side != 0) {
        result.push_back({.lba = lba(sector_id(0)), .sectors = near_side});
    }
    if (sectors > near_side) {
        result.push_back({.lba = lba(sector_id(first_side_)), .sectors = sectors - near_side});
    }
    return result;
}

void I82077AA::begin_format() {
    st1_ = 0;
    st2_ = 0;
    terminal_count_ = false;
    if (!find_track()) {
        return;
    }
    const FloppyDrive& drive = drives_[unit()];
    const std::array<std::uint8_t, 4> id{track_, head(), 1, command_[2]};
    last_eot_ = command_[3];
    if (drive.write_protected()) {
        return end_command(kSt0Abnormal, kSt1NotWritable, 0, id);
    }
    if (command_[2] != kSizeCode || command_[3] == 0) {
        log_->warn("a track with sectors of {} bytes cannot be formatted: images hold sectors of 512",
                   128u << (command_[2] & 7));
        return end_command(kSt0Abnormal, kSt1NoData, 0, id);
    }
    work_ = std::make_shared<Work>();
    work_->medium = drive.medium();
    accept_data(command_[3] * kIdBytes);
}

// ---- the host's side -----------------------------------------------------------------------------------------------

void I82077AA::accept_data(std::size_t bytes) {
    host_data_.assign(bytes, 0);
    position_ = 0;
    phase_ = Phase::DataOut;
    update_lines();
    pump();
}

/// Moves through the DMA channel what it lets through.
void I82077AA::pump() {
    if (!dma_gate() || !uses_dma()) {
        return;
    }
    if (phase_ == Phase::DataIn) {
        const std::size_t available = std::size_t{work_->good} * disk::kSectorSize;
        const auto outcome = dma_.to_memory(std::span(work_->data).first(available).subspan(position_));
        position_ += static_cast<std::uint32_t>(outcome.bytes);
        terminal_count_ = outcome.terminal_count;
        data_in_moved();
    }
    while (phase_ == Phase::DataOut) {
        const auto outcome = dma_.from_memory(std::span(host_data_).subspan(position_));
        position_ += static_cast<std::uint32_t>(outcome.bytes);
        terminal_count_ = outcome.terminal_count;
        if (outcome.bytes == 0) {
            return;
        }
        data_out_moved();
    }
}

void I82077AA::data_in_moved() {
    if (terminal_count_) {
        return end_after(whole_sectors(position_));
    }
    if (position_ == std::size_t{work_->good} * disk::kSectorSize) {
        return work_->failed ? end_at_error(work_->good) : end_after(planned_);
    }
}

void I82077AA::data_out_moved() {
    if (!terminal_count_ && position_ < host_data_.size()) {
        return;
    }
    if (scans(opcode())) {
        return compare_sector();
    }
    if (opcode() == kFormatTrack) {
        return write_format();
    }
    write_sectors(whole_sectors(position_));  // the rest of the last one is zeros
}

/// SCAN: the host's sector against the disk's. FFh on either side goes with everything.
void I82077AA::compare_sector() {
    bool equal = true;
    bool satisfied = true;
    const std::uint8_t* on_disk = &work_->data[std::size_t{compared_} * disk::kSectorSize];
    for (std::size_t i = 0; i < position_; ++i) {
        const std::uint8_t host = host_data_[i];
        if (host == 0xFF || on_disk[i] == 0xFF || host == on_disk[i]) {
            continue;
        }
        equal = false;
        satisfied = satisfied && ((opcode() == kScanLowOrEqual && on_disk[i] < host) ||
                                  (opcode() == kScanHighOrEqual && on_disk[i] > host));
    }
    const std::uint32_t at = compared_;
    compared_ += command_[8] == 2 ? 2 : 1;  // STP
    st2_ &= static_cast<std::uint8_t>(~(kSt2ScanEqual | kSt2ScanNotSatisfied));
    if (satisfied) {
        st2_ |= equal ? kSt2ScanEqual : 0;
        return end_after(at);
    }
    if (terminal_count_ || compared_ >= planned_) {
        st2_ |= kSt2ScanNotSatisfied;
        return end_after(std::min(compared_, planned_));
    }
    if (compared_ >= work_->good) {
        return end_at_error(work_->good);
    }
    position_ = 0;
}

void I82077AA::write_sectors(std::uint32_t sectors) {
    if (!work_->medium || drives_[unit()].medium() != work_->medium) {  // taken out meanwhile
        return end_command(kSt0Abnormal, kSt1MissingAddressMark, 0, given_id());
    }
    work_->runs = runs(sectors);
    work_->data = std::move(host_data_);
    work_->data.resize(std::size_t{sectors} * disk::kSectorSize);
    submit(Phase::WriteWork);
}

/// FORMAT TRACK: fills the sectors whose addresses the host has sent.
void I82077AA::write_format() {
    const std::array<std::uint8_t, 4> id{track_, head(), 1, kSizeCode};
    const FloppyDrive& drive = drives_[unit()];
    if (!work_->medium || drive.medium() != work_->medium) {
        return end_command(kSt0Abnormal, kSt1MissingAddressMark, 0, id);
    }
    planned_ = position_ / kIdBytes;
    first_side_ = planned_;
    for (std::uint32_t i = 0; i < planned_; ++i) {
        const std::uint8_t* sent = &host_data_[i * kIdBytes];
        if (sent[0] != track_ || sent[1] != head() || sent[2] == 0 || sent[2] > drive.format()->sectors ||
            sent[3] != kSizeCode) {
            log_->warn("a track cannot be formatted with a sector {}/{}/{} of {} bytes: the image is a {} disk",
                       sent[0], sent[1], sent[2], 128u << (sent[3] & 7), drive.format()->name);
            return end_command(kSt0Abnormal, kSt1NoData, 0, {sent[0], sent[1], sent[2], sent[3]});
        }
        work_->runs.push_back({.lba = lba({.head = head(), .sector = sent[2]}), .sectors = 1});
    }
    work_->data.assign(std::size_t{planned_} * disk::kSectorSize, command_[5]);
    host_data_.clear();
    submit(Phase::WriteWork);
}

// ---- the executor's side -------------------------------------------------------------------------------------------

/// Runs away from the machine's thread.
void I82077AA::run(Work& work, bool writes) {
    const auto move = [&](std::uint64_t lba, std::size_t sector, std::uint32_t sectors) {
        const auto bytes =
            std::span(work.data).subspan(sector * disk::kSectorSize, std::size_t{sectors} * disk::kSectorSize);
        return writes ? work.medium->write(lba, disk::ConstBuffer(bytes)) : work.medium->read(lba, disk::Buffer(bytes));
    };
    work.good = 0;
    work.failed = false;
    try {
        if (!work.medium) {
            work.failed = true;
            work.message = "the floppy disk in work when the state was saved is not there";
            return;
        }
        for (const Run& run : work.runs) {
            if (move(run.lba, work.good, run.sectors)) {
                work.good += run.sectors;
                continue;
            }
            for (std::uint32_t i = 0; i < run.sectors; ++i) {  // find out which sector it is
                if (const disk::Status status = move(run.lba + i, work.good, 1); !status) {
                    work.failed = true;
                    work.message = status.error().message;
                    return;
                }
                ++work.good;
            }
        }
    } catch (const std::exception& problem) {
        work.failed = true;
        work.message = problem.what();
    }
}

/// Last thing in whatever calls it: an executor may complete at once.
void I82077AA::submit(Phase phase) {
    phase_ = phase;
    const bool writes = phase == Phase::WriteWork;
    if (writes) {
        unflushed_[unit()] = true;
    } else {
        work_->data.resize(std::size_t{planned_} * disk::kSectorSize);
    }
    update_lines();
    io_.submit([work = work_, writes] { run(*work, writes); },
               [this, alive = std::weak_ptr(alive_), generation = ++generation_] {
                   if (!alive.expired() && generation == generation_) {
                       completed();
                   }
               });
}

void I82077AA::completed() {
    if (work_->failed) {
        log_->error("{} (floppy {}, cylinder {}, head {})", work_->message, unit(), track_, head());
    }
    DriveStatistics& statistics = drives_[unit()].statistics;
    const std::uint64_t bytes = std::uint64_t{work_->good} * disk::kSectorSize;
    if (phase_ == Phase::WriteWork) {
        statistics.bytes_written += bytes;
        return work_->failed ? end_at_error(work_->good)
                             : end_after(whole_sectors(static_cast<std::uint32_t>(work_->data.size())));
    }
    statistics.bytes_read += bytes;
    if (work_->good == 0 || (work_->failed && opcode() == kVerify)) {
        return end_at_error(work_->good);
    }
    if (opcode() == kVerify) {
        return end_after(planned_);
    }
    if (scans(opcode())) {
        return accept_data(disk::kSectorSize);
    }
    phase_ = Phase::DataIn;
    update_lines();
    pump();
}

/// A job of its own behind all others; the guest does not wait for it.
void I82077AA::flush(unsigned drive) {
    if (!std::exchange(unflushed_[drive], false) || !drives_[drive].medium()) {
        return;
    }
    io_.submit(
        [medium = drives_[drive].medium(), log = log_] {
            try {
                if (const disk::Status status = medium->flush(); !status) {
                    log->error("{}", status.error().message);
                }
            } catch (const std::exception& problem) {
                log->error("{}", problem.what());
            }
        },
        [] {});
}

// ---- ends ----------------------------------------------------------------------------------------------------------

/// C, H, R and N of the result: the sector the next command would go on with.
std::array<std::uint8_t, 4> I82077AA::id_after(std::uint32_t sectors) const {
    auto id = given_id();
    if (opcode() == kFormatTrack) {
        return {track_, head(), 1, kSizeCode};
    }
    if (sectors == 0) {
        return id;
    }
    const bool multi_track = (command_[0] & kMultiTrack) != 0;
    const SectorId last = sector_id(sectors - 1);
    id[1] = last.head;
    if (last.sector != command_[6]) {
        id[2] = static_cast<std::uint8_t>(last.sector + 1);
        return id;
    }
    id[2] = 1;
    if (!multi_track || last.head == 1) {
        ++id[0];
    }
    if (multi_track) {
        id[1] ^= 1;
    }
    return id;
}

/// Whether the command is through behind so many good sectors although the host has not said so.
bool I82077AA::ends_by_itself(std::uint32_t sectors) const {
    switch (opcode()) {
        case kFormatTrack:
            return true;
        case kVerify: {
            const bool counted = (command_[1] & kVerifyCount) != 0 && sectors == command_[8];
            return sectors != 0 && (ends_at_eot_ || counted);
        }
        case kReadDeleted:  // stops behind the first sector with the other mark
            return sectors != 0;
        default:
            return scans(opcode()) && planned_ != 0;
    }
}

/// The command has come to an end behind so many good sectors: the host said so, it was enough, or there are no more.
void I82077AA::end_after(std::uint32_t sectors) {
    if (!terminal_count_ && !ends_by_itself(sectors)) {
        st1_ |= ends_at_eot_ ? kSt1EndOfCylinder : kSt1NoData;
    }
    const bool bad = (st1_ & (kSt1EndOfCylinder | kSt1NoData)) != 0;
    end_command(bad ? kSt0Abnormal : 0, st1_, st2_, id_after(sectors));
}

/// The sector behind so many good ones could not be read or written.
void I82077AA::end_at_error(std::uint32_t sectors) {
    auto id = given_id();
    if (opcode() == kFormatTrack) {
        id = {track_, head(), 1, kSizeCode};
    } else {
        const SectorId at = sector_id(sectors);
        id[1] = at.head;
        id[2] = at.sector;
    }
    end_command(kSt0Abnormal, st1_ | kSt1DataError, st2_ | kSt2DataError, id);
}

void I82077AA::end_command(std::uint8_t st0, std::uint8_t st1, std::uint8_t st2, std::array<std::uint8_t, 4> id) {
    const auto status = static_cast<std::uint8_t>(st0 | (command_[1] & 7));
    cancel();
    result_ = {status, st1, st2, id[0], id[1], id[2], id[3]};
    result_size_ = 7;
    phase_ = Phase::Ending;
    update_lines();
    result_event_.schedule(clock_.now() + kResultTime);
}

}  // namespace vpc::devices
