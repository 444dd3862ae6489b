#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "disk/block_device.h"

namespace vpc::disk {

/// Walks along the buffers of a vectored transfer and cuts off the next so many bytes at a time. `Piece` is Buffer or
/// ConstBuffer; the list of buffers must outlive the cursor.
template <typename Piece>
class BufferCursor {
  public:
    explicit BufferCursor(std::span<const Piece> buffers) : buffers_(buffers) {}

    /// The next `bytes` bytes, fewer at the end. Valid until the next call.
    std::span<const Piece> take(std::uint64_t bytes) {
        if (const auto whole = take_whole(bytes); !whole.empty()) {
            return whole;
        }
        pieces_.clear();
        while (bytes > 0 && !buffers_.empty()) {
            const Piece rest = buffers_.front().subspan(done_);
            const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(bytes, rest.size()));
            if (length > 0) {
                pieces_.push_back(rest.first(length));
            }
            bytes -= length;
            done_ += length;
            if (length == rest.size()) {
                buffers_ = buffers_.subspan(1);
                done_ = 0;
            }
        }
        return pieces_;
    }

  private:
    /// The next buffers themselves if they are `bytes` long together, as those of most requests are: no list is made.
    std::span<const Piece> take_whole(std::uint64_t bytes) {
        std::size_t count = 0;
        std::uint64_t length = 0;
        while (done_ == 0 && length < bytes && count < buffers_.size() && !buffers_[count].empty()) {
            length += buffers_[count++].size();
        }
        if (length != bytes) {
            return {};
        }
        const auto whole = buffers_.first(count);
        buffers_ = buffers_.subspan(count);
        return whole;
    }

    std::span<const Piece> buffers_;
    std::size_t done_ = 0;  // bytes taken from the first of buffers_
    std::vector<Piece> pieces_;
};

/// Checks a transfer against the size of the disk and returns its length in sectors. `name` is for the message.
template <typename Piece>
Result<std::uint64_t> transfer_sectors(const std::string& name, std::uint64_t disk_sectors, std::uint64_t sector,
                                       std::span<const Piece> buffers) {
    std::uint64_t sectors = 0;
    for (const Piece& buffer : buffers) {
        if (buffer.size() % kSectorSize != 0) {
            return fail(ErrorCode::OutOfRange, "a transfer to or from " + name + " is not made of whole sectors");
        }
        sectors += buffer.size() / kSectorSize;
    }
    if (sector > disk_sectors || sectors > disk_sectors - sector) {
        return fail(ErrorCode::OutOfRange, "sectors " + std::to_string(sector) + " to " +
                                               std::to_string(sector + sectors) + " reach beyond the end of " + name +
                                               ", which has " + std::to_string(disk_sectors));
    }
    return sectors;
}

inline void fill_with_zeros(std::span<const Buffer> pieces) {
    for (const Buffer piece : pieces) {
        std::memset(piece.data(), 0, piece.size());
    }
}

inline bool all_zeros(std::span<const ConstBuffer> pieces) {
    return std::all_of(pieces.begin(), pieces.end(), [](ConstBuffer piece) {
        // Equal to itself shifted by a byte, and the first byte is zero: the fastest test the C library offers.
        return piece.empty() || (piece[0] == 0 && std::memcmp(piece.data(), piece.data() + 1, piece.size() - 1) == 0);
    });
}

}  // namespace vpc::disk
