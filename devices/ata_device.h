#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

#include "core/virtual_clock.h"

namespace vpc {
class IoExecutor;
class StateStream;
}  // namespace vpc

namespace vpc::devices {

/// Register bits and command block offsets of ATA/ATAPI-6.
namespace ata {
// Command block, offsets from 1F0h or 170h.
inline constexpr unsigned kData = 0;
inline constexpr unsigned kErrorFeatures = 1;
inline constexpr unsigned kSectorCount = 2;
inline constexpr unsigned kLbaLow = 3;
inline constexpr unsigned kLbaMid = 4;
inline constexpr unsigned kLbaHigh = 5;
inline constexpr unsigned kDevice = 6;
inline constexpr unsigned kStatusCommand = 7;

// Status.
inline constexpr std::uint8_t kBusy = 0x80;         // BSY
inline constexpr std::uint8_t kReady = 0x40;        // DRDY
inline constexpr std::uint8_t kDeviceFault = 0x20;  // DF
inline constexpr std::uint8_t kSeekDone = 0x10;     // DSC
inline constexpr std::uint8_t kDataRequest = 0x08;  // DRQ
inline constexpr std::uint8_t kError = 0x01;        // ERR

// Error.
inline constexpr std::uint8_t kUncorrectable = 0x40;   // UNC, for reads
inline constexpr std::uint8_t kWriteProtected = 0x40;  // WP, for writes
inline constexpr std::uint8_t kIdNotFound = 0x10;      // IDNF
inline constexpr std::uint8_t kAborted = 0x04;         // ABRT
inline constexpr std::uint8_t kDiagnosticPassed = 0x01;

// Device (drive/head).
inline constexpr std::uint8_t kDeviceLba = 0x40;
inline constexpr std::uint8_t kDeviceSelect = 0x10;  // DEV
inline constexpr std::uint8_t kDeviceHead = 0x0F;

// Device control.
inline constexpr std::uint8_t kHighOrderByte = 0x80;     // HOB
inline constexpr std::uint8_t kSoftwareReset = 0x04;     // SRST
inline constexpr std::uint8_t kInterruptDisable = 0x02;  // nIEN

inline constexpr std::uint8_t kDeviceReset = 0x08;  // for packet devices
inline constexpr std::uint8_t kExecuteDeviceDiagnostic = 0x90;
}  // namespace ata

/// What a device sees of the cable it hangs on.
class AtaHost {
  public:
    virtual ~AtaHost() = default;
    /// The device's interrupt became pending or was withdrawn.
    virtual void interrupt_changed() = 0;
    virtual IoExecutor& io() = 0;
    /// Moves data between the device and guest memory through the bus master. Returns how many bytes went; fewer than
    /// asked, or none, when the bus master is not running or ran out of memory to fill. It will call
    /// AtaDevice::continue_dma when it runs again.
    virtual std::size_t transfer_dma(std::span<std::uint8_t> data, bool to_memory) = 0;
    /// Whether the cable's other place is taken.
    virtual bool has_peer(unsigned unit) const = 0;
    virtual Nanoseconds now() const = 0;
    /// Has AtaDevice::alarm called at that time. Replaces the time asked for before; none: never.
    virtual void set_alarm(unsigned unit, std::optional<Nanoseconds> when) = 0;
};

/// Bytes that a drive has moved for the guest since it was made.
struct DriveStatistics {
    std::uint64_t bytes_read = 0;
    std::uint64_t bytes_written = 0;
};

/// A device on an ATA cable: the task file and the data port here, commands in the chip that derives from it.
///
/// Machine's thread only. No member may be called before connect().
class AtaDevice {
  public:
    AtaDevice() = default;
    AtaDevice(const AtaDevice&) = delete;
    AtaDevice& operator=(const AtaDevice&) = delete;
    virtual ~AtaDevice() = default;

    /// Called once, by the channel; `unit` is 0 or 1. The host outlives the device.
    void connect(AtaHost& host, unsigned unit) {
        host_ = &host;
        unit_ = unit;
    }

    std::uint8_t status() const { return status_; }
    bool busy() const { return (status_ & ata::kBusy) != 0; }
    bool interrupt_pending() const { return interrupt_; }
    void clear_interrupt() { set_interrupt(false); }
    void raise_interrupt() { set_interrupt(true); }

    /// Command block registers 1-6; `high_order` shows the previous contents, as HOB asks.
    std::uint8_t read_register(unsigned reg, bool high_order) const {
        if (reg == ata::kErrorFeatures) {
            return error_;
        }
        return high_order && reg != ata::kDevice ? previous_[reg] : current_[reg];
    }
    void write_register(unsigned reg, std::uint8_t value) {
        previous_[reg] = current_[reg];
        current_[reg] = value;
    }

    /// The data port: the next 2 or 4 bytes of the block in transfer (a byte access takes two and drops the second).
    std::uint32_t read_data(unsigned size) {
        const std::uint32_t value = peek_data(size);
        const auto left = static_cast<std::size_t>(in_end_ - in_);
        if (left != 0) {
            in_ += std::min<std::size_t>(left, std::max(size, 2u));
            if (in_ == in_end_) {
                in_ = in_end_ = nullptr;
                block_finished();
            }
        }
        return value;
    }
    std::uint32_t peek_data(unsigned size) const {
        std::uint32_t value = 0xFFFFFFFF;
        if (in_ != in_end_) {
            std::memcpy(&value, in_, std::min<std::size_t>(size, static_cast<std::size_t>(in_end_ - in_)));
        }
        return value;
    }
    void write_data(std::uint32_t value, unsigned size) {
        const auto left = static_cast<std::size_t>(out_end_ - out_);
        if (left == 0) {
            return;
        }
        const std::size_t count = std::min<std::size_t>(left, std::max(size, 2u));
        std::memcpy(out_, &value, count);
        out_ += count;
        if (out_ == out_end_) {
            out_ = out_end_ = nullptr;
            block_finished();
        }
    }

    /// Whether it speaks the PACKET protocol. Such a device takes DEVICE RESET while busy, and as device 0 it has
    /// nothing to show in the registers of an absent device 1.
    virtual bool packet_device() const { return false; }
    /// A write to the command register. The device is not busy; a data transfer in progress is given up.
    virtual void execute(std::uint8_t command) = 0;
    /// SRST is asserted: everything stops, the device is busy.
    virtual void begin_software_reset() = 0;
    /// SRST was released, or EXECUTE DEVICE DIAGNOSTIC: signature and diagnostic code in the task file.
    virtual void diagnose() = 0;
    /// Power-on or the bus's reset pin: settings too.
    virtual void hardware_reset() = 0;
    /// The time that set_alarm named.
    virtual void alarm() {}
    /// The bus master is running; go on with a DMA transfer that waited for it.
    virtual void continue_dma() = 0;
    virtual DriveStatistics statistics() const = 0;
    /// Fields of the device, inside the channel's section. Loading leaves it at rest until resume(), or, when the load
    /// is refused, until hardware_reset().
    virtual void serialize(StateStream& stream) = 0;
    /// Everything is loaded: submits unfinished work again.
    virtual void resume() = 0;

  protected:
    /// The guest has moved the whole block that offer_block or accept_block named.
    virtual void block_finished() = 0;

    void set_interrupt(bool pending) {
        interrupt_ = pending;
        host_->interrupt_changed();
    }
    void offer_block(std::span<const std::uint8_t> block) {
        in_ = block.data();
        in_end_ = in_ + block.size();
    }
    void accept_block(std::span<std::uint8_t> block) {
        out_ = block.data();
        out_end_ = out_ + block.size();
    }
    void end_block() {
        in_ = in_end_ = nullptr;
        out_ = out_end_ = nullptr;
    }
    /// Bytes of the current block that the guest has not moved yet.
    std::size_t block_left() const { return static_cast<std::size_t>((in_end_ - in_) + (out_end_ - out_)); }

    AtaHost* host_ = nullptr;
    unsigned unit_ = 0;
    std::uint8_t status_ = 0;
    std::uint8_t error_ = 0;
    bool interrupt_ = false;
    // Indexed by register; [0] and [7] are unused. LBA48 commands read both.
    std::array<std::uint8_t, 8> current_{};
    std::array<std::uint8_t, 8> previous_{};

  private:
    const std::uint8_t* in_ = nullptr;
    const std::uint8_t* in_end_ = nullptr;
    std::uint8_t* out_ = nullptr;
    std::uint8_t* out_end_ = nullptr;
};

}  // namespace vpc::devices
