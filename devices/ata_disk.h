#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/log.h"
#include "devices/ata_device.h"
#include "disk/block_device.h"

namespace vpc::devices {

/// An ATA/ATAPI-6 hard disk on a block device: CHS, LBA28 and LBA48 addressing; PIO, multiword and Ultra DMA.
///
/// Everything that touches the image runs through the host's IoExecutor, in pieces of at most 128 KiB; the disk is busy
/// meanwhile. Work that a reset overtakes still ends on its own, but nobody waits for it any more. A saved state in the
/// middle of a command names the piece in work, and loading submits it again: reading or writing it twice does no harm.
///
/// SMART: the mandatory commands and READ DATA, whose attributes count the sectors that the image failed to read and to
/// write since power-on; it is good as long as there were none. Enabled at power-on. Power: the standby timer has the
/// values of the standard (ATA/ATAPI-6 table 19), runs while no command does, and is off at power-on.
///
/// What it has none of it neither announces nor does: SMART logs and self-tests, host protected area (READ NATIVE MAX
/// ADDRESS answers, SET MAX does not), security, power-up in standby, overlapped commands.
///
/// Host errors: an unreadable sector ends a read with UNC, a failed write with ABRT, the sector's address in the task
/// file; each is logged. Writing to a read-only image ends with ABRT and WP. Writes are acknowledged when the image has
/// accepted them, which is this disk's write cache: they become durable with FLUSH CACHE, with standby and sleep, or,
/// when the guest turns the write cache off, with each write; and a second after the last command, for guests that
/// never flush.
class AtaDisk : public AtaDevice {
  public:
    explicit AtaDisk(std::unique_ptr<disk::BlockDevice> image);
    ~AtaDisk() override;

    void execute(std::uint8_t command) override;
    void begin_software_reset() override;
    void diagnose() override;
    void hardware_reset() override;
    void continue_dma() override;
    void alarm() override;
    DriveStatistics statistics() const override { return statistics_; }
    void serialize(StateStream& stream) override;
    void resume() override;

  private:
    /// What the disk is doing. In the phases named ...Work it is busy with a piece that the executor has.
    enum class Phase : std::uint8_t {
        Idle,
        PioInWork,
        PioIn,     // the guest reads a block
        Identify,  // or the block of IDENTIFY DEVICE or SMART READ DATA
        PioOut,
        PioOutWork,
        DmaInWork,
        DmaIn,  // waiting for the bus master
        DmaOut,
        DmaOutWork,
        VerifyWork,
        FlushWork,
    };
    enum class Power : std::uint8_t { Active, Idle, Standby, Sleep };
    enum class Addressing : std::uint8_t { Chs, Lba28, Lba48 };
    enum class Move : std::uint8_t { PioIn, PioOut, DmaIn, DmaOut, Verify };

    static constexpr std::uint32_t kPieceSectors = 256;
    static constexpr std::uint8_t kMaxMultiple = 16;

    /// A run of sectors on its way between image and guest. While the executor has it, it belongs to the work.
    struct Piece {
        std::uint64_t lba = 0;
        std::uint32_t sectors = 0;
        std::uint32_t good = 0;  // sectors that went well, counted from the first
        bool failed = false;     // the sector after them did not
        std::string message;
        std::vector<std::uint8_t> data;
    };
    /// The translation that INITIALIZE DEVICE PARAMETERS sets.
    struct Translation {
        std::uint16_t cylinders = 0;
        std::uint8_t heads = 0;
        std::uint8_t sectors = 0;
    };

    // ata_disk_identify.cpp: what the disk says of itself.
    Translation default_translation() const;
    std::uint64_t lba28_sectors() const;
    void identify();
    void offer_sector(std::vector<std::uint8_t> bytes, std::uint8_t signature);

    // ata_disk.cpp: commands.
    void execute_checked(std::uint8_t command);
    void transfer(Move move, bool extended, unsigned block_sectors = 1);
    bool take_address(bool extended);
    bool check_range(std::uint64_t sectors);
    void store_address(std::uint64_t lba);
    void set_multiple();
    void set_translation();
    void set_features();
    bool set_transfer_mode();
    void read_native_max(bool extended);
    void seek();
    void flush(Power afterwards);

    // ata_disk_power.cpp: power modes, and what an idle disk does on its own.
    void idle();
    void check_power_mode();
    void command_ended();
    void set_alarm();
    void flush_in_background();

    // ata_disk_smart.cpp
    void smart();
    void smart_read_data();

    // ata_disk_transfer.cpp: transfers and saved states.
    void new_piece();
    bool read_at_once();
    void submit(Phase phase);
    void completed();
    void offer_next_block();
    void accept_next_block(bool interrupt);
    void block_finished() override;
    void begin_dma_in();
    void pump_dma_in();
    void pump_dma_out();
    void next_piece(Phase phase);
    void finish(bool interrupt);
    void fail(std::uint8_t error);
    void fail_at(std::uint64_t lba, std::uint8_t error);
    void fail_piece();
    void cancel();
    void power_on_settings();
    bool settings_are_sane() const;
    bool transfer_is_sane(Phase phase) const;
    std::span<std::uint8_t> piece_bytes(std::size_t from, std::size_t to) {
        return std::span(piece_->data).subspan(from, to - from);
    }

    static bool working(Phase phase);
    static bool writing(Phase phase) { return phase == Phase::PioOutWork || phase == Phase::DmaOutWork; }
    static void run(disk::BlockDevice& image, Piece& piece, Phase phase, bool then_flush);

    std::shared_ptr<disk::BlockDevice> image_;  // shared with work that outlives the disk
    std::uint64_t total_sectors_;
    std::shared_ptr<spdlog::logger> log_;
    DriveStatistics statistics_;
    std::shared_ptr<const bool> alive_;  // completions hold it weakly
    std::uint64_t generation_ = 0;       // work submitted under an older one is nobody's

    // Settings.
    Translation translation_;
    std::uint8_t multiple_ = 0;       // sectors per block of READ MULTIPLE; 0: not set
    std::uint8_t transfer_mode_ = 0;  // as SET FEATURES 03h names it; only DMA modes are kept
    bool write_cache_ = true;
    bool look_ahead_ = true;
    std::uint8_t standby_code_ = 0;  // the standby timer, as IDLE and STANDBY name it
    Power power_ = Power::Active;

    // What a disk keeps without power, and so over every reset (ATA/ATAPI-6 8.55).
    bool smart_ = true;               // SMART is enabled
    std::uint32_t failed_reads_ = 0;  // sectors
    std::uint32_t failed_writes_ = 0;
    bool unflushed_ = false;  // written since the last flush that was submitted
    Nanoseconds idle_since_ = 0;

    // The command in progress.
    Phase phase_ = Phase::Idle;
    Addressing addressing_ = Addressing::Lba28;
    Power power_afterwards_ = Power::Active;
    std::uint64_t next_lba_ = 0;     // behind piece_
    std::uint32_t left_ = 0;         // sectors behind piece_
    std::uint32_t block_bytes_ = 0;  // of a whole DRQ block
    std::shared_ptr<Piece> piece_;
    std::uint32_t position_ = 0;       // bytes of piece_ that are done, up to the current block
    std::uint32_t current_block_ = 0;  // bytes in it
    std::uint32_t loaded_left_ = 0;    // bytes of it that were left when the state was saved
};

}  // namespace vpc::devices
