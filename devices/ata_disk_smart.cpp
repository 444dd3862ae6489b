// SMART, ATA/ATAPI-6 8.55: the commands that the feature set demands, and READ DATA.

#include <algorithm>
#include <utility>
#include <vector>

#include "devices/ata_disk.h"

namespace vpc::devices {
namespace {

// Subcommands, in the features register.
constexpr std::uint8_t kReadData = 0xD0;
constexpr std::uint8_t kAttributeAutosave = 0xD2;
constexpr std::uint8_t kEnableOperations = 0xD8;
constexpr std::uint8_t kDisableOperations = 0xD9;
constexpr std::uint8_t kReturnStatus = 0xDA;

// LBA mid and high: the key of every subcommand, and RETURN STATUS' answer when a threshold is exceeded.
constexpr std::uint8_t kKeyMid = 0x4F;
constexpr std::uint8_t kKeyHigh = 0xC2;
constexpr std::uint8_t kExceededMid = 0xF4;
constexpr std::uint8_t kExceededHigh = 0x2C;

constexpr std::uint8_t kAutosaveOn = 0xF1;

// An entry of the attribute table. The standard leaves the first 362 bytes to the vendor; since SFF-8035i all have put
// the revision there, and 30 entries of 12 bytes: number, flags (2), value, worst, raw (6), reserved.
constexpr unsigned kRevision = 0x0010;
constexpr unsigned kReadErrorRate = 1;
constexpr unsigned kWriteErrorRate = 200;
constexpr unsigned kPrefailure = 0x0001;
constexpr unsigned kOnline = 0x0002;
constexpr unsigned kBest = 100;

}  // namespace

void AtaDisk::smart() {
    const std::uint8_t subcommand = current_[ata::kErrorFeatures];
    if (current_[ata::kLbaMid] != kKeyMid || current_[ata::kLbaHigh] != kKeyHigh ||
        (!smart_ && subcommand != kEnableOperations)) {
        return fail(ata::kAborted);
    }
    switch (subcommand) {
        case kReadData:
            return smart_read_data();
        case kAttributeAutosave: {  // the counters last until power-off either way
            const std::uint8_t setting = current_[ata::kSectorCount];
            return setting == 0 || setting == kAutosaveOn ? finish(true) : fail(ata::kAborted);
        }
        case kEnableOperations:
        case kDisableOperations:
            smart_ = subcommand == kEnableOperations;
            return finish(true);
        case kReturnStatus:
            if (failed_reads_ != 0 || failed_writes_ != 0) {
                current_[ata::kLbaMid] = kExceededMid;
                current_[ata::kLbaHigh] = kExceededHigh;
            }
            return finish(true);
        default:  // logs, self-tests
            return fail(ata::kAborted);
    }
}

void AtaDisk::smart_read_data() {
    std::vector<std::uint8_t> bytes(disk::kSectorSize);
    bytes[0] = kRevision;
    const auto put_attribute = [&bytes](unsigned entry, unsigned number, std::uint32_t count) {
        const unsigned at = 2 + 12 * entry;
        const auto value = static_cast<std::uint8_t>(kBest - std::min(count, kBest - 1));
        bytes[at] = static_cast<std::uint8_t>(number);
        bytes[at + 1] = kPrefailure | kOnline;
        bytes[at + 3] = value;
        bytes[at + 4] = value;
        for (unsigned i = 0; i < 4; ++i) {
            bytes[at + 5 + i] = static_cast<std::uint8_t>(count >> (8 * i));
        }
    };
    put_attribute(0, kReadErrorRate, failed_reads_);
    put_attribute(1, kWriteErrorRate, failed_writes_);
    // Bytes 362 to 371 stay zero: no data collection off-line, no self-test was run, nothing is saved, no error log.
    offer_sector(std::move(bytes), 0);
}

}  // namespace vpc::devices
