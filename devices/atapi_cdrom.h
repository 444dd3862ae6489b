#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/log.h"
#include "devices/ata_device.h"
#include "devices/cd_frame.h"
#include "disk/block_device.h"

namespace vpc::devices {

/// An ATAPI CD-ROM drive: the PACKET protocol of ATA/ATAPI-6 (PIO, multiword and Ultra DMA) and the commands of MMC-3 a
/// reader of data discs has. The disc is one data track of 2048-byte sectors, an ISO image; audio and, but for the
/// position, subchannels do not exist and end with CHECK CONDITION. READ CD delivers any parts of the sectors that lie
/// beside each other: the image has the user data, the rest is what it must be (devices/cd_frame.h).
///
/// The image is read through the host's IoExecutor, in pieces of at most 32 blocks; the drive is busy meanwhile. A host
/// error ends the command with MEDIUM ERROR and is logged. A saved state in the middle of a command names the piece in
/// work, and loading submits it again.
///
/// The disc belongs to the tray: the guest may open it (START STOP UNIT) and close it with the disc still in it, or
/// lock it (PREVENT ALLOW MEDIUM REMOVAL), and then it cannot be changed from outside either.
class AtapiCdrom : public AtaDevice {
  public:
    static constexpr std::uint32_t kBlockSize = 2048;

    /// `disc` may be null: the drive is empty. See cd_problem().
    explicit AtapiCdrom(std::shared_ptr<disk::BlockDevice> disc);
    ~AtapiCdrom() override;

    /// Puts a disc in, in place of the one that is there, and closes the tray. False, and nothing changes, when the
    /// guest has locked the tray over a disc.
    bool insert(std::shared_ptr<disk::BlockDevice> disc);
    /// Takes the disc out. False when the guest has locked the tray; it is told that somebody wants the disc.
    bool eject();
    bool has_disc() const { return disc_ != nullptr; }
    bool locked() const { return locked_; }

    bool packet_device() const override { return true; }
    void execute(std::uint8_t command) override;
    void begin_software_reset() override;
    void diagnose() override;
    void hardware_reset() override;
    void continue_dma() override;
    DriveStatistics statistics() const override { return statistics_; }
    void serialize(StateStream& stream) override;
    void resume() override;

  private:
    static constexpr std::uint32_t kPieceBlocks = 32;
    static constexpr std::size_t kPacketSize = 12;
    static constexpr std::size_t kMostData = std::size_t{kPieceBlocks} * cd_frame::kSize;

    enum class Phase : std::uint8_t {
        Idle,
        Identify,  // the guest reads the block of IDENTIFY PACKET DEVICE
        Packet,    // the guest writes the command packet
        ReadWork,  // the executor reads
        DataIn,    // the guest reads a block
        DmaIn,     // waiting for the bus master
    };
    /// What the next command is refused with, once.
    enum class Attention : std::uint8_t { None, PowerOn, MediumChanged };
    /// Media event codes of GET EVENT STATUS NOTIFICATION.
    enum class Event : std::uint8_t { None = 0, EjectRequest = 1, NewMedia = 2, MediaRemoval = 3 };
    struct Sense {
        std::uint8_t key = 0;
        std::uint8_t code = 0;       // ASC
        std::uint8_t qualifier = 0;  // ASCQ
    };
    /// Data on its way to the guest. While the executor has it, it belongs to the work.
    struct Piece {
        std::uint32_t lba = 0;
        std::uint32_t blocks = 0;
        bool failed = false;
        std::string message;
        std::vector<std::uint8_t> data;
    };
    using Bytes = std::vector<std::uint8_t>;

    // atapi_cdrom.cpp: the ATA side.
    void set_signature();
    void cancel();
    void identify();
    void begin_packet();
    void set_features();
    void finish_ata();
    void abort_ata();
    void block_finished() override;
    void reply(Bytes data, std::size_t allocated);
    void read_blocks(std::uint32_t lba, std::uint32_t blocks);
    void next_piece();
    void submit();
    void completed();
    void offer_data();
    void offer_next_block();
    void pump_dma();
    void piece_moved();
    void complete();
    void check_condition(Sense sense);
    bool transfer_is_sane() const;

    // atapi_cdrom_commands.cpp: the packet commands.
    void run_packet();
    void run_command();
    bool ready();
    void request_sense();
    void inquiry();
    void start_stop();
    void prevent_allow();
    void read_capacity();
    void read(std::uint32_t blocks);
    void read_cd();
    std::uint8_t wanted_parts() const;
    void seek();
    void read_subchannel();
    void read_toc();
    void get_configuration();
    void get_event_status();
    void read_disc_information();
    void mode_sense();
    void mechanism_status();
    bool disc_visible() const { return disc_ != nullptr && !tray_open_; }
    std::uint32_t blocks() const { return static_cast<std::uint32_t>(disc_->sectors() / 4); }
    void put_address(Bytes& data, std::uint32_t lba, bool msf) const;

    std::shared_ptr<disk::BlockDevice> disc_;  // shared with work that outlives it here
    std::shared_ptr<spdlog::logger> log_;
    DriveStatistics statistics_;
    std::shared_ptr<const bool> alive_;  // completions hold it weakly
    std::uint64_t generation_ = 0;       // work submitted under an older one is nobody's

    std::uint8_t transfer_mode_ = 0;  // as SET FEATURES 03h names it; only DMA modes are kept
    bool asleep_ = false;
    bool tray_open_ = false;
    bool locked_ = false;
    Attention attention_ = Attention::PowerOn;
    Event event_ = Event::None;
    Sense sense_;

    // The command in progress.
    Phase phase_ = Phase::Idle;
    std::array<std::uint8_t, kPacketSize> packet_{};
    bool dma_ = false;
    std::uint32_t byte_limit_ = 0;  // of a DRQ block
    std::uint32_t next_lba_ = 0;    // behind piece_
    std::uint32_t left_ = 0;        // blocks behind piece_
    std::shared_ptr<Piece> piece_;
    std::uint32_t position_ = 0;       // bytes of piece_ that are done, up to the current block
    std::uint32_t current_block_ = 0;  // bytes in it
    std::uint32_t loaded_left_ = 0;    // bytes of it that were left when the state was saved
};

/// Why an image with so many 512-byte sectors is no disc, one line that begins with a verb; empty when it is one.
std::string cd_problem(std::uint64_t image_sectors);

}  // namespace vpc::devices
