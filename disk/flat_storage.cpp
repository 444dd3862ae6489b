#include "disk/flat_storage.h"

#include <utility>

#include "disk/large_write.h"
#include "disk/log.h"
#include "disk/transfer.h"

namespace vpc::disk {

FlatStorage::FlatStorage(std::unique_ptr<File> file, std::uint64_t sectors, OpenMode mode)
    : file_(std::move(file)), sectors_(sectors), mode_(mode) {}

FlatStorage::~FlatStorage() {
    if (auto status = flush(); !status) {
        log().error("closing failed: {}", status.error().message);
    }
}

Status FlatStorage::read(std::uint64_t sector, std::span<const Buffer> buffers) {
    if (auto checked = transfer_sectors(file_->name(), sectors_, sector, buffers); !checked) {
        return tl::unexpected<Error>(checked.error());
    }
    return file_->read(sector * kSectorSize, buffers);
}

Result<Extent> FlatStorage::extent(std::uint64_t sector, std::uint64_t limit) {
    const auto run = file_->extent(sector * kSectorSize, limit * kSectorSize);
    if (!run) {
        return tl::unexpected<Error>(run.error());
    }
    // A sector of which any part is stored is data.
    const std::uint64_t whole = run->bytes / kSectorSize;
    if (!run->data && whole > 0) {
        return Extent{.sectors = whole, .data = false};
    }
    return Extent{.sectors = run->data ? (run->bytes + kSectorSize - 1) / kSectorSize : 1, .data = true};
}

Status FlatStorage::write(std::uint64_t sector, std::span<const ConstBuffer> buffers) {
    if (auto checked = transfer_sectors(file_->name(), sectors_, sector, buffers); !checked) {
        return tl::unexpected<Error>(checked.error());
    }
    if (read_only()) {
        return fail(ErrorCode::ReadOnly, file_->name() + " was opened read-only");
    }
    changed_ = true;
    return write_data(*file_, sector * kSectorSize, buffers);
}

Status FlatStorage::flush() {
    if (!changed_) {
        return {};
    }
    if (auto status = file_->sync(); !status) {
        return status;
    }
    changed_ = false;
    return {};
}

Status FlatStorage::discard(std::uint64_t sector, std::uint64_t count) {
    if (sector > sectors_ || count > sectors_ - sector) {
        return fail(ErrorCode::OutOfRange, "sectors to be discarded lie beyond the end of " + file_->name());
    }
    return {};
}

}  // namespace vpc::disk
