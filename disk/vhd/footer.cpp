#include "disk/vhd/footer.h"

#include <algorithm>
#include <limits>

#include "disk/vhd/big_endian.h"

namespace vpc::disk::vhd {
namespace {

enum Offset : std::size_t {
    kCookie = 0,
    kFeatures = 8,
    kVersion = 12,
    kDataOffset = 16,
    kTimeStamp = 24,
    kCreatorApplication = 28,
    kCreatorVersion = 32,
    kCreatorHostOs = 36,
    kOriginalSize = 40,
    kCurrentSize = 48,
    kCylinders = 56,
    kHeads = 58,
    kSectorsPerTrack = 59,
    kDiskType = 60,
    kChecksum = 64,
    kUniqueId = 68,
    kSavedState = 84,
    kReserved = 85,
};

template <typename T, std::size_t size>
void load_bytes(std::span<const std::uint8_t> bytes, std::size_t offset, std::array<T, size>& field) {
    std::transform(bytes.begin() + offset, bytes.begin() + offset + size, field.begin(),
                   [](std::uint8_t byte) { return static_cast<T>(byte); });
}

template <typename T, std::size_t size>
void store_bytes(FooterBytes& bytes, std::size_t offset, const std::array<T, size>& field) {
    std::transform(field.begin(), field.end(), bytes.begin() + offset,
                   [](T value) { return static_cast<std::uint8_t>(value); });
}

}  // namespace

Footer parse_footer(std::span<const std::uint8_t> bytes) {
    Footer footer;
    load_bytes(bytes, kCookie, footer.cookie);
    footer.features = load_big_endian<std::uint32_t>(bytes, kFeatures);
    footer.file_format_version = load_big_endian<std::uint32_t>(bytes, kVersion);
    footer.data_offset = load_big_endian<std::uint64_t>(bytes, kDataOffset);
    footer.time_stamp = load_big_endian<std::uint32_t>(bytes, kTimeStamp);
    load_bytes(bytes, kCreatorApplication, footer.creator_application);
    footer.creator_version = load_big_endian<std::uint32_t>(bytes, kCreatorVersion);
    load_bytes(bytes, kCreatorHostOs, footer.creator_host_os);
    footer.original_size = load_big_endian<std::uint64_t>(bytes, kOriginalSize);
    footer.current_size = load_big_endian<std::uint64_t>(bytes, kCurrentSize);
    footer.disk_geometry = {.cylinders = load_big_endian<std::uint16_t>(bytes, kCylinders),
                            .heads = bytes[kHeads],
                            .sectors_per_track = bytes[kSectorsPerTrack]};
    footer.disk_type = static_cast<DiskType>(load_big_endian<std::uint32_t>(bytes, kDiskType));
    footer.checksum = load_big_endian<std::uint32_t>(bytes, kChecksum);
    load_bytes(bytes, kUniqueId, footer.unique_id);
    footer.saved_state = bytes[kSavedState];
    load_bytes(bytes, kReserved, footer.reserved);
    return footer;
}

FooterBytes serialise(const Footer& footer) {
    FooterBytes bytes = {};
    store_bytes(bytes, kCookie, footer.cookie);
    store_big_endian(bytes, kFeatures, footer.features);
    store_big_endian(bytes, kVersion, footer.file_format_version);
    store_big_endian(bytes, kDataOffset, footer.data_offset);
    store_big_endian(bytes, kTimeStamp, footer.time_stamp);
    store_bytes(bytes, kCreatorApplication, footer.creator_application);
    store_big_endian(bytes, kCreatorVersion, footer.creator_version);
    store_bytes(bytes, kCreatorHostOs, footer.creator_host_os);
    store_big_endian(bytes, kOriginalSize, footer.original_size);
    store_big_endian(bytes, kCurrentSize, footer.current_size);
    store_big_endian(bytes, kCylinders, footer.disk_geometry.cylinders);
    bytes[kHeads] = footer.disk_geometry.heads;
    bytes[kSectorsPerTrack] = footer.disk_geometry.sectors_per_track;
    store_big_endian(bytes, kDiskType, static_cast<std::uint32_t>(footer.disk_type));
    store_bytes(bytes, kUniqueId, footer.unique_id);
    bytes[kSavedState] = footer.saved_state;
    store_bytes(bytes, kReserved, footer.reserved);
    store_big_endian(bytes, kChecksum, checksum_of(bytes, kChecksum));
    return bytes;
}

bool has_footer_cookie(std::span<const std::uint8_t> bytes) {
    return bytes.size() >= kFooterCookie.size() &&
           std::equal(kFooterCookie.begin(), kFooterCookie.end(), bytes.begin());
}

bool is_intact_footer(std::span<const std::uint8_t> bytes) {
    return bytes.size() == kFooterSize && has_footer_cookie(bytes) &&
           load_big_endian<std::uint32_t>(bytes, kChecksum) == checksum_of(bytes, kChecksum);
}

Status check_footer(const Footer& footer, const std::string& name) {
    if (footer.file_format_version >> 16 != kFileFormatVersion >> 16) {
        return fail(ErrorCode::Unsupported,
                    name + " is a VHD of version " + std::to_string(footer.file_format_version >> 16) + "." +
                        std::to_string(footer.file_format_version & 0xFFFF) + "; only version 1 is known");
    }
    if (footer.disk_type != DiskType::Fixed && footer.disk_type != DiskType::Dynamic &&
        footer.disk_type != DiskType::Differencing) {
        return fail(ErrorCode::Unsupported, name + " is a VHD of the unknown type " +
                                                std::to_string(static_cast<std::uint32_t>(footer.disk_type)) +
                                                "; known are 2 (fixed), 3 (dynamic) and 4 (differencing)");
    }
    if (footer.current_size < kSectorSize) {
        return fail(ErrorCode::Corrupt, name + " is damaged: its footer gives the disk no size; restore a copy of it");
    }
    if (footer.current_size > kMaxDiskSize) {
        return fail(ErrorCode::Unsupported, name + " describes a disk of " + std::to_string(footer.current_size) +
                                                " bytes, and a VHD has at most 2040 GiB; restore a copy of it");
    }
    return {};
}

std::uint32_t checksum_of(std::span<const std::uint8_t> structure, std::size_t checksum_offset) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < structure.size(); ++i) {
        if (i < checksum_offset || i >= checksum_offset + sizeof(std::uint32_t)) {
            sum += structure[i];
        }
    }
    return ~sum;
}

std::uint32_t time_from_unix(std::int64_t seconds) {
    constexpr std::int64_t kLast = std::numeric_limits<std::uint32_t>::max();
    return static_cast<std::uint32_t>(std::clamp(seconds, kTimeEpoch, kTimeEpoch + kLast) - kTimeEpoch);
}

std::int64_t time_to_unix(std::uint32_t time_stamp) {
    return kTimeEpoch + time_stamp;
}

}  // namespace vpc::disk::vhd
