#include "tasks/state_file.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>

namespace vpc::tasks {
namespace {

constexpr std::array<std::uint8_t, 8> kBegin{'V', 'P', 'C', 'S', 'T', 'A', 'T', 'E'};
constexpr std::array<std::uint8_t, 8> kEnd{'V', 'P', 'C', 'S', 'T', 'E', 'N', 'D'};
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kHeaderSize = 16;
constexpr std::size_t kEndSize = 16;
constexpr std::uint32_t kMostParts = 16;
constexpr std::size_t kBufferSize = 1 << 20;
// The fastest of zstd's normal levels: guests wait for it.
constexpr int kLevel = 1;

template <typename T>
void append(std::vector<std::uint8_t>& bytes, T value) {
    for (std::size_t i = 0; i < sizeof value; ++i) {
        bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

template <typename T>
T number(std::span<const std::uint8_t> bytes) {
    T value = 0;
    for (std::size_t i = 0; i < sizeof value; ++i) {
        value |= static_cast<T>(static_cast<T>(bytes[i]) << (8 * i));
    }
    return value;
}

}  // namespace

// ---- writing -------------------------------------------------------------------------------------------------------

StateFileWriter::StateFileWriter()
    : zstd_(ZSTD_createCCtx()),
      buffer_(static_cast<std::uint8_t*>(std::aligned_alloc(disk::kDirectAlignment, kBufferSize))) {
    if (zstd_ == nullptr || buffer_ == nullptr) {
        ZSTD_freeCCtx(zstd_);
        throw std::bad_alloc();
    }
    ZSTD_CCtx_setParameter(zstd_, ZSTD_c_compressionLevel, kLevel);
    ZSTD_CCtx_setParameter(zstd_, ZSTD_c_checksumFlag, 1);
}

StateFileWriter::~StateFileWriter() {
    ZSTD_freeCCtx(zstd_);
}

disk::Result<std::unique_ptr<StateFileWriter>> StateFileWriter::create(const std::filesystem::path& target) {
    auto file = disk::NewFile::create(target, true);
    if (!file) {
        return tl::unexpected(file.error());
    }
    std::unique_ptr<StateFileWriter> writer(new StateFileWriter);
    writer->file_ = std::move(*file);
    std::vector<std::uint8_t> header(kBegin.begin(), kBegin.end());
    append(header, kVersion);
    append(header, std::uint32_t{0});  // the number of parts, when it is known
    if (disk::Status status = writer->store(header); !status) {
        return tl::unexpected(status.error());
    }
    writer->part_begin_ = kHeaderSize;
    return writer;
}

disk::Status StateFileWriter::flush() {
    if (used_ == 0) {
        return {};
    }
    disk::Status status = file_->file().write_uncached(stored_, {buffer_.get(), used_});
    stored_ += used_;
    used_ = 0;
    return status;
}

disk::Status StateFileWriter::store(std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const std::size_t count = std::min(bytes.size(), kBufferSize - used_);
        std::memcpy(buffer_.get() + used_, bytes.data(), count);
        used_ += count;
        bytes = bytes.subspan(count);
        if (used_ == kBufferSize) {
            if (disk::Status status = flush(); !status) {
                return status;
            }
        }
    }
    return {};
}

disk::Status StateFileWriter::compress(std::span<const std::uint8_t> bytes, bool end) {
    ZSTD_inBuffer input{bytes.data(), bytes.size(), 0};
    for (;;) {
        ZSTD_outBuffer output{buffer_.get(), kBufferSize, used_};
        const std::size_t left = ZSTD_compressStream2(zstd_, &output, &input, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left) != 0) {
            return disk::fail(disk::ErrorCode::IoError,
                              fmt::format("{}: zstd: {}", file_->file().name(), ZSTD_getErrorName(left)));
        }
        used_ = output.pos;
        if (used_ == kBufferSize) {
            if (disk::Status status = flush(); !status) {
                return status;
            }
        }
        if (end ? left == 0 : input.pos == input.size) {
            return {};
        }
    }
}

disk::Status StateFileWriter::put(std::span<const std::uint8_t> bytes) {
    return compress(bytes, false);
}

disk::Status StateFileWriter::end_part() {
    parts_.push_back(part_begin_);
    disk::Status status = compress({}, true);
    part_begin_ = stored_ + used_;
    return status;
}

disk::Status StateFileWriter::reserve(std::uint64_t bytes) {
    // What is in the buffer stays there: writing less than a buffer would end the aligned way.
    disk::Status status = file_->file().allocate(stored_, used_ + bytes);
    // A host that cannot reserve is no reason to fail: it may have the room all the same.
    return status || status.error().code == disk::ErrorCode::Unsupported ? file_->file().sync() : status;
}

disk::Status StateFileWriter::complete() {
    std::vector<std::uint8_t> end;
    for (const std::uint64_t part : parts_) {
        append(end, part);
    }
    const std::uint64_t size = stored_ + used_ + end.size() + kEndSize;
    append(end, size);
    end.insert(end.end(), kEnd.begin(), kEnd.end());
    std::vector<std::uint8_t> count;
    append(count, static_cast<std::uint32_t>(parts_.size()));
    disk::Status status = store(end).and_then([this] { return flush(); });
    if (status) {
        status = file_->file().write(12, disk::ConstBuffer(count));
    }
    if (status) {
        status = file_->file().truncate(size);
    }
    return status ? file_->complete() : status;
}

// ---- reading -------------------------------------------------------------------------------------------------------

StateFileReader::StateFileReader() : zstd_(ZSTD_createDCtx()), input_(kBufferSize) {
    if (zstd_ == nullptr) {
        throw std::bad_alloc();
    }
}

StateFileReader::~StateFileReader() {
    ZSTD_freeDCtx(zstd_);
}

tl::unexpected<disk::Error> StateFileReader::damaged(const char* why) const {
    return disk::fail(disk::ErrorCode::Corrupt, fmt::format("{}: no intact saved state: {}", file_->name(), why));
}

disk::Result<std::unique_ptr<StateFileReader>> StateFileReader::open(const std::filesystem::path& path) {
    auto file = disk::open_file(path, disk::OpenMode::ReadOnly);
    if (!file) {
        return tl::unexpected(file.error());
    }
    std::unique_ptr<StateFileReader> reader(new StateFileReader);
    reader->file_ = std::move(*file);
    if (disk::Status status = reader->read_index(); !status) {
        return tl::unexpected(status.error());
    }
    return reader;
}

disk::Status StateFileReader::read_index() {
    const auto size = file_->size();
    if (!size) {
        return tl::unexpected(size.error());
    }
    std::vector<std::uint8_t> header(kHeaderSize);
    if (*size < kHeaderSize + kEndSize) {
        return damaged("it is too short");
    }
    if (disk::Status status = file_->read(0, disk::Buffer(header)); !status) {
        return status;
    }
    if (!std::equal(kBegin.begin(), kBegin.end(), header.begin())) {
        return damaged("it begins with something else");
    }
    const auto version = number<std::uint32_t>(std::span(header).subspan(8));
    if (version != kVersion) {
        return disk::fail(disk::ErrorCode::Unsupported,
                          fmt::format("{}: a saved state of version {}; this program reads version {}", file_->name(),
                                      version, kVersion));
    }
    const auto count = number<std::uint32_t>(std::span(header).subspan(12));
    const std::uint64_t index_size = std::uint64_t{8} * count + kEndSize;
    if (count > kMostParts || *size < kHeaderSize + index_size) {
        return damaged("its number of parts is wrong");
    }
    std::vector<std::uint8_t> index(index_size);
    if (disk::Status status = file_->read(*size - index_size, disk::Buffer(index)); !status) {
        return status;
    }
    const auto at = [&](std::uint64_t position) { return std::span(index).subspan(position); };
    if (!std::equal(kEnd.begin(), kEnd.end(), at(index_size - 8).begin()) ||
        number<std::uint64_t>(at(index_size - kEndSize)) != *size) {
        return damaged("its end is missing");
    }
    for (std::uint32_t i = 0; i < count; ++i) {
        parts_.push_back(number<std::uint64_t>(at(std::uint64_t{8} * i)));
    }
    parts_.push_back(*size - index_size);
    if (parts_.front() != kHeaderSize || !std::is_sorted(parts_.begin(), parts_.end())) {
        return damaged("its parts are out of order");
    }
    return {};
}

disk::Status StateFileReader::select(std::size_t part) {
    if (part + 1 >= parts_.size()) {
        return damaged("a part is missing");
    }
    ZSTD_DCtx_reset(zstd_, ZSTD_reset_session_only);
    next_ = parts_[part];
    part_end_ = parts_[part + 1];
    input_.clear();
    input_position_ = 0;
    at_end_ = false;
    return {};
}

disk::Result<std::size_t> StateFileReader::some(std::span<std::uint8_t> to) {
    ZSTD_outBuffer output{to.data(), to.size(), 0};
    while (!at_end_ && output.pos == 0) {
        if (input_position_ == input_.size()) {
            const std::uint64_t count = std::min<std::uint64_t>(kBufferSize, part_end_ - next_);
            if (count == 0) {
                return damaged("a part is cut short");
            }
            input_.resize(count);
            input_position_ = 0;
            if (disk::Status status = file_->read(next_, disk::Buffer(input_)); !status) {
                return tl::unexpected(status.error());
            }
            next_ += count;
        }
        ZSTD_inBuffer input{input_.data(), input_.size(), input_position_};
        const std::size_t left = ZSTD_decompressStream(zstd_, &output, &input);
        if (ZSTD_isError(left) != 0) {
            return damaged(ZSTD_getErrorName(left));
        }
        input_position_ = input.pos;
        at_end_ = left == 0;
    }
    return output.pos;
}

disk::Status StateFileReader::get(std::span<std::uint8_t> to) {
    while (!to.empty()) {
        const auto count = some(to);
        if (!count) {
            return tl::unexpected(count.error());
        }
        if (*count == 0) {
            return damaged("a part is shorter than it should be");
        }
        to = to.subspan(*count);
    }
    return {};
}

disk::Result<std::vector<std::uint8_t>> StateFileReader::rest(std::size_t limit) {
    constexpr std::size_t kStep = 1 << 16;
    std::vector<std::uint8_t> bytes;
    for (;;) {
        const std::size_t before = bytes.size();
        if (before > limit) {
            return damaged("a part is larger than it should be");
        }
        bytes.resize(before + kStep);
        const auto count = some(std::span(bytes).subspan(before));
        if (!count) {
            return tl::unexpected(count.error());
        }
        bytes.resize(before + *count);
        if (*count == 0) {
            return bytes;
        }
    }
}

}  // namespace vpc::tasks
