#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

#include "disk/error.h"

namespace vpc::disk {

/// Bytes in a sector, always: VHD knows no other size.
inline constexpr std::uint32_t kSectorSize = 512;

/// Cylinders, heads, sectors per track as an ATA drive with this image reports them (VHD footer offset 56).
struct Geometry {
    std::uint16_t cylinders = 0;
    std::uint8_t heads = 0;
    std::uint8_t sectors_per_track = 0;
    bool operator==(const Geometry&) const = default;
};

/// A parallel piece of a vectored transfer: bytes in host memory, a multiple of kSectorSize.
using Buffer = std::span<std::uint8_t>;
using ConstBuffer = std::span<const std::uint8_t>;

/// Sectors that are alike, as far as an image knows without reading what they hold.
struct Extent {
    std::uint64_t sectors = 0;
    bool data = false;   ///< false: they read as zeros
    unsigned depth = 0;  ///< which image of a chain holds them: 0 the image itself, 1 its parent, ...
};

/// A disk as a row of 512-byte sectors: what a machine's drive and every image operation work on.
///
/// Threads: one call at a time; the caller sees to it (a machine uses its I/O thread). No call blocks for anything but
/// the host's disk. A failed write leaves the sectors it named undefined and every other sector as it was.
class BlockDevice {
  public:
    BlockDevice() = default;
    BlockDevice(const BlockDevice&) = delete;
    BlockDevice& operator=(const BlockDevice&) = delete;
    virtual ~BlockDevice() = default;

    /// Size of the virtual disk in sectors. Never changes while open.
    virtual std::uint64_t sectors() const = 0;
    virtual Geometry geometry() const = 0;
    virtual bool read_only() const = 0;
    /// 16 bytes that identify the image (VHD footer offset 68), zeros for formats without one.
    virtual std::array<std::uint8_t, 16> unique_id() const = 0;

    /// Scatter read from consecutive sectors into the buffers, in order.
    virtual Status read(std::uint64_t sector, std::span<const Buffer> buffers) = 0;
    /// The run that begins at `sector`: at least 1 and at most `limit` sectors, not necessarily as long as it could be.
    /// The caller keeps `sector` + `limit` within the disk.
    virtual Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) = 0;
    /// Gather write. Not durable until flush() has returned.
    virtual Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers) = 0;
    /// When it returns, everything written before is on the host's disk (fdatasync or better).
    virtual Status flush() = 0;
    /// These sectors' contents are no longer needed; they may read as zeros or unchanged afterwards.
    virtual Status discard(std::uint64_t sector, std::uint64_t count) = 0;

    Status read(std::uint64_t sector, Buffer buffer) { return read(sector, std::span<const Buffer>(&buffer, 1)); }
    Status write(std::uint64_t sector, ConstBuffer buffer) {
        return write(sector, std::span<const ConstBuffer>(&buffer, 1));
    }
};

enum class OpenMode {
    ReadOnly,
    ReadWrite,
};

/// Opens an image by what it contains, not by its name: VHD, VHDX, else raw. The file is locked against
/// other writers until the device is destroyed.
Result<std::unique_ptr<BlockDevice>> open_image(const std::filesystem::path& file, OpenMode mode);

}  // namespace vpc::disk
