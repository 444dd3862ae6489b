// What the 82077AA saves, and what of it can be gone on with.

#include <numeric>

#include "core/state_stream.h"
#include "devices/i82077aa.h"
#include "devices/i82077aa_bits.h"
#include "devices/ranged_field.h"

namespace vpc::devices {

using namespace fdc;

namespace {

constexpr std::uint32_t kMostSectors = 512;  // more than any two tracks have, and than EOT can name

}  // namespace

void I82077AA::serialize(StateStream& stream) {
    const auto fields = [&] {
        for (FloppyDrive& drive : drives_) {
            drive.serialize(stream);
        }
        stream.field(digital_output_);
        stream.field(tape_);
        ranged_field(stream, rate_, 0, 3);
        stream.field(precompensation_);
        stream.field(specify_);
        stream.field(configuration_);
        stream.field(precompensation_track_);
        stream.field(perpendicular_);
        stream.field(locked_);
        stream.field(last_eot_);
        stream.field(pcn_);
        stream.field(sense_);
        ranged_field(stream, sense_seeks_, 0, 15);
        ranged_field(stream, sense_reset_, 0, 15);
        stream.field(sense_interrupt_);
        stream.field(result_interrupt_);

        Phase phase = phase_;
        stream.field(phase);
        stream.field(command_);
        stream.field(command_size_);
        stream.field(result_);
        stream.field(result_size_);
        stream.field(result_position_);
        stream.field(track_);
        stream.field(planned_);
        stream.field(first_side_);
        stream.field(ends_at_eot_);
        stream.field(terminal_count_);
        stream.field(st1_);
        stream.field(st2_);
        stream.field(position_);
        stream.field(compared_);
        if (phase >= Phase::ReadWork && phase <= Phase::WriteWork) {
            serialize_work(stream, phase);
        }
        if (stream.loading()) {
            phase_ = phase;
            if (!command_is_sane() || (in_transfer() && !transfer_is_sane())) {
                stream.refuse("a command in progress is out of range");
            }
        }
    };
    if (!stream.loading()) {
        stream.section(name(), kStateVersion, fields);
        return;
    }
    forget_command();  // but not the event, which belongs to the clock's state
    try {
        stream.section(name(), kStateVersion, fields);
    } catch (const StateError&) {
        reset();
        throw;
    }
    update_lines();
    if (phase_ == Phase::ReadWork || phase_ == Phase::WriteWork) {
        submit(phase_);
    }
}

/// What the executor has in hand belongs to it; a read's results come again after loading.
void I82077AA::serialize_work(StateStream& stream, Phase phase) {
    if (stream.loading()) {
        work_ = std::make_shared<Work>();
        if (const FloppyDrive* drive = drive_of(unit())) {
            work_->medium = drive->medium();
        }
    }
    auto count = static_cast<std::uint32_t>(work_->runs.size());
    ranged_field(stream, count, 0, kMostSectors);
    work_->runs.resize(count);
    for (Run& run : work_->runs) {
        ranged_field(stream, run.lba, 0, 0xFFFF);
        ranged_field(stream, run.sectors, 0, kMostSectors);
    }
    const bool working = phase == Phase::ReadWork || phase == Phase::WriteWork;
    std::uint32_t good = working ? 0 : work_->good;
    bool failed = !working && work_->failed;
    stream.field(good);
    stream.field(failed);
    if (stream.loading()) {
        work_->good = good;
        work_->failed = failed;
    }
    stream.field(host_data_, std::size_t{kMostSectors} * disk::kSectorSize);
    if (phase != Phase::ReadWork) {
        stream.field(work_->data, std::size_t{kMostSectors} * disk::kSectorSize);
    }
}

bool I82077AA::command_is_sane() const {
    if (phase_ > Phase::Result || command_size_ > kLongestCommand || result_size_ > kLongestResult) {
        return false;
    }
    if (phase_ == Phase::Result || phase_ == Phase::Ending) {
        return result_position_ < result_size_;
    }
    return phase_ != Phase::Command || command_size_ == 0 || command_size_ < command_length(command_[0]);
}

/// Whether the loaded command can be gone on with.
bool I82077AA::transfer_is_sane() const {
    const std::size_t planned_bytes = std::size_t{planned_} * disk::kSectorSize;
    const std::size_t run_sectors = std::accumulate(work_->runs.begin(), work_->runs.end(), std::size_t{0},
                                                    [](std::size_t sum, const Run& run) { return sum + run.sectors; });
    if (unit() >= kDrives || planned_ > kMostSectors || first_side_ > planned_ || work_->good > planned_) {
        return false;
    }
    switch (phase_) {
        case Phase::ReadWork:
            return planned_ != 0 && run_sectors == planned_;
        case Phase::DataIn:
            return work_->data.size() == planned_bytes && position_ < work_->good * disk::kSectorSize;
        case Phase::DataOut:
            if (scans(opcode()) && (host_data_.size() != disk::kSectorSize || work_->data.size() != planned_bytes ||
                                    compared_ >= work_->good)) {
                return false;
            }
            return writes_data(opcode()) ? host_data_.size() == planned_bytes && position_ < planned_bytes
                   : opcode() == kFormatTrack
                       ? host_data_.size() == command_[3] * kIdBytes && position_ < host_data_.size()
                       : scans(opcode()) && position_ < host_data_.size();
        default:
            return work_->data.size() == run_sectors * disk::kSectorSize;
    }
}

}  // namespace vpc::devices
