#include <algorithm>
#include <array>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "devices/ata_disk.h"

namespace vpc::devices {
namespace {

constexpr std::uint64_t kLba28Limit = 0x0FFFFFFF;
constexpr std::uint16_t kMaxCylinders = 16383;
constexpr std::uint8_t kMaxHeads = 16;
constexpr std::uint8_t kMaxSectorsPerTrack = 63;

using Words = std::array<std::uint16_t, 256>;

/// ATA strings are padded with spaces, two characters to a word, the first in the upper byte.
void put_text(Words& words, unsigned first, unsigned count, std::string_view text) {
    const auto character = [text](std::size_t i) { return static_cast<unsigned>(i < text.size() ? text[i] : ' '); };
    for (unsigned i = 0; i < count; ++i) {
        words[first + i] = static_cast<std::uint16_t>(character(2 * i) << 8 | character(2 * i + 1));
    }
}

void put_number(Words& words, unsigned first, unsigned count, std::uint64_t value) {
    for (unsigned i = 0; i < count; ++i) {
        words[first + i] = static_cast<std::uint16_t>(value >> (16 * i));
    }
}

/// 20 characters at most. An image without an id still tells the two drives of a cable apart.
std::string serial_number(const std::array<std::uint8_t, 16>& id, unsigned unit) {
    if (std::all_of(id.begin(), id.end(), [](std::uint8_t byte) { return byte == 0; })) {
        return "VPC-" + std::to_string(unit);
    }
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    std::string text;
    for (unsigned i = 6; i < id.size(); ++i) {
        text += kDigits[id[i] >> 4];
        text += kDigits[id[i] & 15];
    }
    return text;
}

/// Word 93: what the disk saw during reset. It was told its number by a jumper and passed its diagnostics.
std::uint16_t reset_result(unsigned unit, bool has_peer) {
    constexpr std::uint16_t kValid = 0x4000;
    if (unit == 1) {
        return kValid | 0x0B00;
    }
    // A lone device 0 answers for device 1; otherwise it saw DASP- and PDIAG-.
    return static_cast<std::uint16_t>(kValid | 0x000B | (has_peer ? 0x0030 : 0x0040));
}

}  // namespace

/// The image's geometry, cut to what words 1, 3 and 6 can say and to what lies within the disk.
AtaDisk::Translation AtaDisk::default_translation() const {
    const disk::Geometry geometry = image_->geometry();
    Translation result{.cylinders = std::min(geometry.cylinders, kMaxCylinders),
                       .heads = std::min(geometry.heads, kMaxHeads),
                       .sectors = std::min(geometry.sectors_per_track, kMaxSectorsPerTrack)};
    if (result.heads == 0 || result.sectors == 0) {
        result.heads = kMaxHeads;
        result.sectors = kMaxSectorsPerTrack;
        result.cylinders = kMaxCylinders;
    }
    if (total_sectors_ < std::uint64_t{result.heads} * result.sectors) {
        result.heads = 1;
        result.sectors = static_cast<std::uint8_t>(std::clamp<std::uint64_t>(total_sectors_, 1, result.sectors));
    }
    const std::uint64_t fitting = total_sectors_ / (std::uint64_t{result.heads} * result.sectors);
    result.cylinders = static_cast<std::uint16_t>(std::min<std::uint64_t>(
        result.cylinders != 0 ? result.cylinders : kMaxCylinders, std::max<std::uint64_t>(fitting, 1)));
    return result;
}

std::uint64_t AtaDisk::lba28_sectors() const {
    return std::min(total_sectors_, kLba28Limit);
}

/// IDENTIFY DEVICE, ATA/ATAPI-6 table 26; retired words that old drivers read are filled in as ATA-1 has them.
void AtaDisk::identify() {
    const Translation physical = default_translation();
    const unsigned capacity = unsigned{translation_.cylinders} * translation_.heads * translation_.sectors;
    const unsigned mode_number = transfer_mode_ & 7u;
    const unsigned selected = transfer_mode_ != 0 ? 0x100u << mode_number : 0;
    const bool ultra = (transfer_mode_ & 0x40) != 0;

    Words words{};
    words[0] = 0x0040;  // a fixed disk
    words[1] = physical.cylinders;
    words[2] = 0xC837;  // needs no SET FEATURES to spin up
    words[3] = physical.heads;
    words[4] = static_cast<std::uint16_t>(physical.sectors * disk::kSectorSize);
    words[5] = disk::kSectorSize;
    words[6] = physical.sectors;
    put_text(words, 10, 10, serial_number(image_->unique_id(), unit_));
    words[20] = 3;    // dual-ported buffer with look-ahead
    words[21] = 512;  // of so many sectors
    words[22] = 4;    // ECC bytes of READ LONG
    put_text(words, 23, 4, "1.0");
    put_text(words, 27, 20, "VPC Hard Disk");
    words[47] = 0x8000 | kMaxMultiple;
    words[48] = 0x0001;  // 32-bit data port
    words[49] = 0x2F00;  // the standard's standby timer values, IORDY, LBA, DMA
    words[50] = 0x4000;
    words[51] = 0x0200;  // PIO timing mode 2
    words[52] = 0x0200;  // DMA timing mode 2
    words[53] = 0x0007;  // words 54-58, 64-70 and 88 are valid
    words[54] = translation_.cylinders;
    words[55] = translation_.heads;
    words[56] = translation_.sectors;
    put_number(words, 57, 2, capacity);
    words[59] = static_cast<std::uint16_t>(multiple_ != 0 ? 0x0100 | multiple_ : 0);
    put_number(words, 60, 2, lba28_sectors());
    words[63] = static_cast<std::uint16_t>(0x0007 | (ultra ? 0 : selected));  // multiword DMA 0-2
    words[64] = 0x0003;                                                       // PIO 3 and 4
    std::fill(&words[65], &words[69], std::uint16_t{120});                    // cycle times in ns
    words[80] = 0x007E;                                                       // ATA-1 to ATA/ATAPI-6
    words[82] = 0x4069;  // NOP, look-ahead, write cache, power management, SMART
    words[83] = 0x7400;  // FLUSH CACHE (EXT), 48-bit addresses
    words[84] = 0x4000;
    words[85] = static_cast<std::uint16_t>(0x4008 | (look_ahead_ ? 0x0040 : 0) | (write_cache_ ? 0x0020 : 0) |
                                           (smart_ ? 0x0001 : 0));
    words[86] = 0x3400;
    words[87] = 0x4000;
    words[88] = static_cast<std::uint16_t>(0x003F | (ultra ? selected : 0));  // Ultra DMA 0-5
    words[93] = reset_result(unit_, host_->has_peer(unit_));
    put_number(words, 100, 4, total_sectors_);

    std::vector<std::uint8_t> bytes;
    bytes.reserve(disk::kSectorSize);
    for (const std::uint16_t word : words) {
        bytes.push_back(static_cast<std::uint8_t>(word));
        bytes.push_back(static_cast<std::uint8_t>(word >> 8));
    }
    offer_sector(std::move(bytes), 0xA5);
}

/// One sector about the disk itself. Its last word is a signature, and a checksum that makes the sum of all bytes zero.
void AtaDisk::offer_sector(std::vector<std::uint8_t> bytes, std::uint8_t signature) {
    piece_ = std::make_shared<Piece>();
    piece_->data = std::move(bytes);
    piece_->data[510] = signature;
    piece_->data[511] = static_cast<std::uint8_t>(-std::accumulate(piece_->data.begin(), piece_->data.end() - 1, 0));
    position_ = 0;
    current_block_ = disk::kSectorSize;
    phase_ = Phase::Identify;
    offer_block(piece_bytes(0, current_block_));
    status_ = ata::kReady | ata::kSeekDone | ata::kDataRequest;
    set_interrupt(true);
}

}  // namespace vpc::devices
