#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "disk/volume/volume_reader.h"

namespace vpc::disk::volume {

/// Takes a run of sectors of the volume, counted from its start.
using FreeRun = std::function<void(std::uint64_t sector, std::uint64_t count)>;

/// What is known of a file system: its name, and where it has room.
class FileSystem {
  public:
    FileSystem() = default;
    FileSystem(const FileSystem&) = delete;
    FileSystem& operator=(const FileSystem&) = delete;
    virtual ~FileSystem() = default;

    virtual std::string name() const = 0;
    /// Hands out the unused runs in ascending order; two that touch may come apart. Corrupt or Unsupported, with the
    /// reason as a clause about "it", when the volume's records cannot be trusted: what was handed out before that is
    /// free all the same.
    virtual Status find_free(const FreeRun& free_run) = 0;
};

/// Each recognises its own kind by the first sectors of a volume; null when it is another. IoError when the volume
/// cannot be read. The reader must outlive the result.
Result<std::unique_ptr<FileSystem>> recognise_fat(VolumeReader& volume);
Result<std::unique_ptr<FileSystem>> recognise_ntfs(VolumeReader& volume);
Result<std::unique_ptr<FileSystem>> recognise_ext(VolumeReader& volume);

/// Calls `run(first, count)` for each run of zero bits among the first `bits` of a bitmap whose lowest bit comes first.
void for_each_run_of_zeros(std::span<const std::uint8_t> bitmap, std::uint64_t bits,
                           const std::function<void(std::uint64_t first, std::uint64_t count)>& run);

}  // namespace vpc::disk::volume
