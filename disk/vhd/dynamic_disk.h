#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "disk/file.h"
#include "disk/vhd/block_table.h"
#include "disk/vhd/dynamic_header.h"
#include "disk/vhd/image.h"
#include "disk/vhd/page_holders.h"
#include "disk/vhd/sector_bitmaps.h"

namespace vpc::disk::vhd {

/// A dynamic VHD (type 3): blocks of the disk that were never written take no room in the file. Or a differencing VHD
/// (type 4), which is the same over a parent: sectors that were never written here hold what the parent holds.
///
/// How it stays whole when the power fails at any moment, assuming only that a sector is written whole or not at all:
///
/// * The table entry of a new block, and the bits of newly written sectors of an old one, are changed in memory only.
///   They reach the file with the next flush(): barrier (the data is on the disk) - entries and bits - barrier. So the
///   file never points at anything that is not there, and reads through this object see every write at once.
/// * The footer always exists. Before a block is put where the footer is, a second footer is written further out, with
///   room for several blocks in front of it, and has to be on the disk. Unused room is a hole in the file (it takes no
///   place on the host's disk) and is cut off when the object is destroyed.
/// * When kWaitingBlocks new blocks wait for a flush, they get one.
/// * The copy of the footer at the start of the file is never touched.
///
/// The destructor flushes and cuts; it can only log a failure, so call flush() first where it matters. Data that was
/// written but not flushed is lost if the process is killed: an owner should flush when the disk has been idle for a
/// moment, for guests that never ask for it.
///
/// New blocks of a dynamic disk get a bitmap of ones, as their other sectors are zeros; writing zeros to a missing
/// block does nothing. In a differencing disk only written sectors get a one, and zeros are stored unless the parents
/// hold nothing there. If the file was laid out for disks with 4 KiB sectors (its size is a multiple of 4096), new
/// blocks keep to that.
class DynamicDisk final : public Image {
  public:
    /// Blocks for which room is made at once.
    static constexpr std::uint32_t kReservedBlocks = 8;
    /// Most new blocks that a killed process loses: half a gigabyte of the usual ones. A flush writes out all that the
    /// host has in its cache of the file, so few of them must not be forced upon a guest that asks for none.
    static constexpr std::uint32_t kWaitingBlocks = 256;

    /// `footer` is what the file says of itself, already checked, and `footer_offset` where it stands at the end of the
    /// file (the file's size, if it is missing there). For ReadWrite the whole table is checked: Corrupt when a block
    /// lies outside the file, on another one or on the file's other structures. For ReadOnly such blocks only fail when
    /// they are read. A differencing disk needs its `parent`, whose identity is the caller's business; it may be
    /// smaller than the child, which holds zeros beyond its end.
    static Result<std::unique_ptr<DynamicDisk>> open(std::unique_ptr<File> file, const Footer& footer,
                                                     std::uint64_t footer_offset, OpenMode mode,
                                                     std::unique_ptr<BlockDevice> parent = nullptr);
    ~DynamicDisk() override;

    const Footer& footer() const override { return footer_; }
    const DynamicHeader& header() const { return header_; }
    const BlockTable& table() const { return table_; }
    /// Null for a dynamic disk.
    BlockDevice* parent() const { return parent_.get(); }
    std::uint64_t sectors() const override { return footer_.current_size / kSectorSize; }
    bool read_only() const override { return mode_ == OpenMode::ReadOnly; }

    using BlockDevice::read;
    using BlockDevice::write;
    Status read(std::uint64_t sector, std::span<const Buffer> buffers) override;
    Result<Extent> extent(std::uint64_t sector, std::uint64_t limit) override;
    Status write(std::uint64_t sector, std::span<const ConstBuffer> buffers) override;
    Status flush() override;
    /// Does nothing: the sectors keep their contents.
    Status discard(std::uint64_t sector, std::uint64_t count) override;

  private:
    friend class BlockMover;

    DynamicDisk(std::unique_ptr<File> file, const Footer& footer, const DynamicHeader& header, BlockTable table,
                std::uint64_t footer_offset, std::uint64_t file_size, OpenMode mode,
                std::unique_ptr<BlockDevice> parent);

    Status check_table();
    void find_chain();
    Status read_missing(std::uint64_t sector, std::span<const Buffer> pieces);
    Result<Extent> extent_of_missing(std::uint64_t sector, std::uint64_t limit);
    Result<bool> reads_as_zeros(std::uint64_t sector, std::uint64_t count);
    Status read_through_chain(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                              std::span<const Buffer> pieces);
    std::span<const std::uint8_t> holders_of(std::uint32_t block);
    bool add_to_holders(std::uint32_t block, std::uint8_t image, std::span<std::uint8_t> pages);
    Status read_block(std::uint32_t block, std::uint32_t first, std::uint32_t count, std::span<const Buffer> pieces);
    Status read_below(std::uint32_t block, std::uint32_t first, std::uint32_t count, std::span<const Buffer> pieces);
    Status read_stored(std::uint32_t block, std::uint32_t first, std::span<const Buffer> pieces);
    Status write_block(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                       std::span<const ConstBuffer> pieces);
    Status write_new_block(std::uint32_t block, std::uint32_t first, std::uint32_t count,
                           std::span<const ConstBuffer> pieces);
    Status zero_stale_bytes(std::uint64_t start, std::uint64_t end);
    Status make_room();
    Status write_metadata();
    Status cut_unused_room();

    std::uint64_t block_place(std::uint64_t end) const;
    std::uint64_t footer_place(std::uint64_t end) const;
    std::uint64_t bitmap_offset(std::uint32_t block) const;
    bool lies_in_file(std::uint32_t block) const { return bitmap_offset(block) + slot_bytes() <= footer_offset_; }
    void forget(std::uint32_t block);
    std::uint64_t slot_bytes() const { return std::uint64_t{bitmap_bytes(header_.block_size)} + header_.block_size; }
    std::uint32_t sectors_per_block() const { return header_.block_size / kSectorSize; }

    std::unique_ptr<File> file_;
    Footer footer_;
    DynamicHeader header_;
    OpenMode mode_;
    std::unique_ptr<BlockDevice> parent_;
    BlockTable table_;
    SectorBitmaps bitmaps_;
    /// This disk and the parents above it, as long as they are differencing disks of the same size in the same blocks.
    std::vector<DynamicDisk*> chain_;
    PageHolders holders_;          ///< by their number in chain_
    std::uint64_t footer_offset_;  ///< where the last footer is: everything else ends before it
    std::uint64_t blocks_end_;     ///< end of the last block: where the next can begin
    std::uint64_t stale_end_;      ///< from here on the file has never held anything but footers
    std::uint32_t unallocated_ = 0;
    std::uint32_t waiting_ = 0;  ///< new blocks whose entries wait for a flush
    bool aligned_;               ///< data of new blocks begins at multiples of 4096
    bool has_room_ = false;      ///< make_room() has moved the footer since the file was opened
    bool changed_ = false;       ///< something was written since the last flush
};

}  // namespace vpc::disk::vhd
