#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/device.h"
#include "core/io_executor.h"
#include "core/line.h"
#include "core/log.h"
#include "core/port_bus.h"
#include "core/virtual_clock.h"
#include "devices/floppy_drive.h"
#include "devices/i8237a.h"

namespace vpc::devices {

/// The 82077AA floppy disk controller in AT mode (Intel 82077AA data sheet, order number 290166) with two drives: DOR
/// 3F2h, TDR 3F3h, MSR and DSR 3F4h, FIFO 3F5h, DIR and CCR 3F7h; SRA and SRB do not exist in this mode, and 3F6h
/// belongs to the hard disk. Data goes through DMA or, where SPECIFY says so, through the FIFO byte by byte.
///
/// Mechanics are quicker than steel: a step takes 50 us, and a command ends as soon as its data is there. An empty or
/// standing drive has no index pulses, and the real chip would wait for one until it is reset; here such a command ends
/// with "missing address mark", as it would on a blank disk.
///
/// Images hold 512-byte sectors and nothing else. So no other sector size is found, no sector is marked as deleted
/// (WRITE DELETED DATA writes its data, READ DELETED DATA finds the other mark), and FORMAT TRACK accepts the sector
/// numbers of the disk's own format only: anything else ends with "no data" and a line in the log. FM is not read.
///
/// Everything that touches the image runs through the IoExecutor, a command at a time. Host errors end the command with
/// "data error" (ST1 and ST2) at the sector concerned. What was written is flushed when the motor stops and when the
/// disk is taken out. A saved state in the middle of a command names the sectors in work; loading submits them again.
class I82077AA : public Device {
  public:
    static constexpr unsigned kDrives = 2;

    /// Everything given outlives the chip. Throws BusConflict.
    I82077AA(PortBus& ports, VirtualClock& clock, IoExecutor& io, I8237A::Channel& dma, Line interrupt,
             std::array<FloppyDriveType, kDrives> drives);
    ~I82077AA() override;

    /// The image must fit (see floppy_problem()); it replaces what was there. Machine's thread, at any moment.
    void insert(unsigned drive, std::shared_ptr<disk::BlockDevice> medium);
    /// Nothing happens when the drive is empty. Machine's thread, at any moment.
    void eject(unsigned drive);
    const FloppyDrive& drive(unsigned number) const { return drives_[number]; }

    std::string_view name() const override { return "82077AA"; }
    void reset() override;
    void serialize(StateStream& stream) override;

  private:
    static constexpr unsigned kUnits = 4;  // drives that commands can name
    static constexpr std::size_t kLongestCommand = 9;
    static constexpr std::size_t kLongestResult = 10;
    static constexpr std::uint16_t kStateVersion = 1;

    enum class Phase : std::uint8_t {
        Reset,
        Command,    // waiting for, or in the middle of, a command
        ReadWork,   // the executor reads
        DataIn,     // to the host
        DataOut,    // from the host
        WriteWork,  // the executor writes
        Ending,     // the result comes when the event is due
        Result,
    };

    /// Consecutive sectors on the disk.
    struct Run {
        std::uint64_t lba = 0;
        std::uint32_t sectors = 0;
    };
    /// What a command has to do with the image. While the executor has it, it belongs to the work.
    struct Work {
        std::shared_ptr<disk::BlockDevice> medium;
        std::vector<Run> runs;
        std::vector<std::uint8_t> data;
        std::uint32_t good = 0;  // sectors that went well, counted from the first
        bool failed = false;     // the sector after them did not
        std::string message;
    };
    struct SectorId {
        std::uint8_t head = 0;
        std::uint8_t sector = 0;
    };

    // i82077aa.cpp: registers, phases, commands without data.
    std::uint32_t read(unsigned offset);
    std::uint32_t peek(unsigned offset) const;
    void write(unsigned offset, std::uint8_t value);
    std::uint8_t main_status() const;
    std::uint8_t digital_input() const;
    void write_digital_output(std::uint8_t value);
    std::uint8_t read_fifo();
    void write_fifo(std::uint8_t value);
    void software_reset();
    void leave_reset();
    void cancel();
    void forget_command();
    void execute();
    void reply(std::initializer_list<std::uint8_t> bytes);
    void update_lines();

    void specify();
    void sense_interrupt();
    void sense_drive();
    void configure();
    void dump_registers();
    void seek(int steps, std::uint8_t cylinder);
    void recalibrate();
    void relative_seek();
    void seek_ended(unsigned unit);

    // i82077aa_transfer.cpp: commands with data, saved states.
    bool find_track();
    void read_id();
    void begin_transfer();
    void begin_format();
    void plan_sectors();
    SectorId sector_id(std::uint32_t index) const;
    std::uint64_t lba(SectorId id) const;
    std::vector<Run> runs(std::uint32_t sectors) const;
    void accept_data(std::size_t bytes);
    void pump();
    void data_in_moved();
    void data_out_moved();
    void compare_sector();
    void write_sectors(std::uint32_t sectors);
    void write_format();
    void submit(Phase phase);
    void completed();
    bool ends_by_itself(std::uint32_t sectors) const;
    void end_after(std::uint32_t sectors);
    void end_at_error(std::uint32_t sectors);
    void end_command(std::uint8_t st0, std::uint8_t st1, std::uint8_t st2, std::array<std::uint8_t, 4> id);
    std::array<std::uint8_t, 4> given_id() const { return {command_[2], command_[3], command_[4], command_[5]}; }
    std::array<std::uint8_t, 4> id_after(std::uint32_t sectors) const;
    void serialize_work(StateStream& stream, Phase phase);
    bool command_is_sane() const;
    bool transfer_is_sane() const;
    void flush(unsigned drive);
    static void run(Work& work, bool writes);

    std::uint8_t opcode() const { return command_[0] & 0x1F; }
    unsigned unit() const { return command_[1] & 3u; }
    std::uint8_t head() const { return command_[1] >> 2 & 1; }
    bool in_transfer() const { return phase_ >= Phase::ReadWork && phase_ <= Phase::WriteWork; }
    bool uses_dma() const { return (specify_[1] & 1) == 0; }
    bool dma_gate() const { return (digital_output_ & 0x08) != 0; }
    bool motor_on(unsigned unit) const { return (digital_output_ >> (4 + unit) & 1) != 0; }
    FloppyDrive* drive_of(unsigned unit) { return unit < kDrives ? &drives_[unit] : nullptr; }

    VirtualClock& clock_;
    IoExecutor& io_;
    I8237A::Channel& dma_;
    Line interrupt_line_;
    std::shared_ptr<spdlog::logger> log_;
    std::array<FloppyDrive, kDrives> drives_;
    std::array<bool, kDrives> unflushed_{};
    std::shared_ptr<const bool> alive_;  // completions hold it weakly
    std::uint64_t generation_ = 0;       // work submitted under an older one is nobody's
    VirtualClock::Event ready_event_;    // the end of a reset
    VirtualClock::Event result_event_;
    std::array<VirtualClock::Event, kUnits> seek_events_;

    // Registers and settings.
    std::uint8_t digital_output_ = 0;  // DOR
    std::uint8_t tape_ = 0;            // TDR
    std::uint8_t rate_ = 2;            // DSR and CCR bits 1-0
    std::uint8_t precompensation_ = 0;
    std::array<std::uint8_t, 2> specify_{};  // SRT and HUT; HLT and ND
    std::uint8_t configuration_ = 0;         // EIS, EFIFO, POLL, FIFOTHR
    std::uint8_t precompensation_track_ = 0;
    std::uint8_t perpendicular_ = 0;
    bool locked_ = false;
    std::uint8_t last_eot_ = 0;                 // as DUMPREG shows it
    std::array<std::uint8_t, kUnits> pcn_{};    // present cylinder numbers
    std::array<std::uint8_t, kUnits> sense_{};  // ST0 for SENSE INTERRUPT STATUS
    std::uint8_t sense_seeks_ = 0;              // a bit for each unit whose seek has ended
    std::uint8_t sense_reset_ = 0;              // or that the reset has to report
    bool sense_interrupt_ = false;              // INT until SENSE INTERRUPT STATUS
    bool result_interrupt_ = false;             // INT until the result is read

    // The command in progress.
    Phase phase_ = Phase::Command;
    std::array<std::uint8_t, kLongestCommand> command_{};
    std::uint8_t command_size_ = 0;  // bytes received
    std::array<std::uint8_t, kLongestResult> result_{};
    std::uint8_t result_size_ = 0;
    std::uint8_t result_position_ = 0;
    std::uint8_t track_ = 0;
    std::uint32_t planned_ = 0;     // sectors to the command's own end
    std::uint32_t first_side_ = 0;  // how many of them lie on the first head
    bool ends_at_eot_ = false;      // else a sector is missing
    bool terminal_count_ = false;
    std::uint8_t st1_ = 0;
    std::uint8_t st2_ = 0;
    std::uint32_t position_ = 0;           // bytes the host has moved; for SCAN, in the current sector
    std::uint32_t compared_ = 0;           // sectors SCAN is through with
    std::vector<std::uint8_t> host_data_;  // from the host
    std::shared_ptr<Work> work_;

    std::array<PortBus::Claim, 2> claims_;
};

}  // namespace vpc::devices
