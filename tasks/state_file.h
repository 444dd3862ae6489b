#pragma once
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "disk/error.h"
#include "disk/new_file.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

namespace vpc::tasks {

/// The container of saved states, `.vsv`. All numbers little-endian:
///
///     0   8  "VPCSTATE"
///     8   4  version, 2
///     12  4  number of parts
///     16     the parts, one zstd frame each (RFC 8878), with content checksums
///     then, per part, 8 bytes: where it begins
///     then 8 bytes: the file's size, and 8: "VPCSTEND"
///
/// The end is written last and the file has no name before it is complete, so half a state is never found. What the
/// disk tells wrongly, the frames' checksums notice.
///
/// A writer or reader belongs to one thread at a time.
class StateFileWriter {
  public:
    /// Replaces `target` in complete(); until then what was there stays.
    static disk::Result<std::unique_ptr<StateFileWriter>> create(const std::filesystem::path& target);
    ~StateFileWriter();

    disk::Status put(std::span<const std::uint8_t> bytes);
    /// The part that was put so far is whole.
    disk::Status end_part();
    /// Stores everything, and makes sure that there is room on the host's disk for `bytes` more, so that the rest
    /// cannot fail for want of it.
    disk::Status reserve(std::uint64_t bytes);
    /// When it returns, the file is on the host's disk under its name.
    disk::Status complete();

  private:
    StateFileWriter();
    disk::Status compress(std::span<const std::uint8_t> bytes, bool end);
    disk::Status store(std::span<const std::uint8_t> bytes);
    disk::Status flush();

    struct Free {
        void operator()(std::uint8_t* bytes) const { std::free(bytes); }
    };
    std::unique_ptr<disk::NewFile> file_;
    ZSTD_CCtx_s* zstd_ = nullptr;
    std::unique_ptr<std::uint8_t, Free> buffer_;  // aligned, for the way past the host's cache
    std::size_t used_ = 0;
    std::uint64_t stored_ = 0;  // bytes before buffer_
    std::vector<std::uint64_t> parts_;
    std::uint64_t part_begin_ = 0;
};

class StateFileReader {
  public:
    /// Corrupt or Unsupported when it is no such file, of another version, or incomplete.
    static disk::Result<std::unique_ptr<StateFileReader>> open(const std::filesystem::path& path);
    ~StateFileReader();

    /// Starts at the beginning of a part, 0 first.
    disk::Status select(std::size_t part);
    /// Fills `to` with the part's next bytes; Corrupt when it ends before or is damaged.
    disk::Status get(std::span<std::uint8_t> to);
    /// The rest of the part, at most `limit` bytes of it.
    disk::Result<std::vector<std::uint8_t>> rest(std::size_t limit);

  private:
    StateFileReader();
    disk::Status read_index();
    /// Decompresses at least one byte into `to`; 0 at the end of the part.
    disk::Result<std::size_t> some(std::span<std::uint8_t> to);
    tl::unexpected<disk::Error> damaged(const char* why) const;

    std::unique_ptr<disk::File> file_;
    ZSTD_DCtx_s* zstd_ = nullptr;
    std::vector<std::uint64_t> parts_;  // and the end of the last one
    std::vector<std::uint8_t> input_;
    std::size_t input_position_ = 0;
    std::uint64_t next_ = 0;  // in the file
    std::uint64_t part_end_ = 0;
    bool at_end_ = true;
};

}  // namespace vpc::tasks
